//! All heads of one text in one file to click through, which needs no other file and no network.
//! What it looks like is in `assets/viewer/`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::attention::{Attended, Of, Plan, attend};
use super::colour::{NIGHT, PAPER};
use super::escape::{escape, script_json};
use super::lens::{Reading, Residuals};
use super::pack::{Depth, blob, thumbnail, triangle};
use super::scores::HeadScores;
use super::survey::{Questions, survey};
use super::tokens::{Token, title};
use crate::error::{Error, Result};
use crate::model::Model;

/// Tokens that a page shows at most.
pub const MOST_TOKENS: usize = 512;

/// Cells along a thumbnail's side.
const THUMB: usize = 32;

/// Tokens of the run that is said twice, for scores.
const PERIOD: usize = 40;

/// Guesses of each layer that the lens names.
const GUESSES: usize = 5;

const PAGE: &str = include_str!("assets/viewer/page.html");
const STYLE: &str = include_str!("assets/viewer/style.css");
const SCRIPTS: [&str; 7] = [
    include_str!("assets/viewer/data.js"),
    include_str!("assets/viewer/rove.js"),
    include_str!("assets/viewer/wall.js"),
    include_str!("assets/viewer/map.js"),
    include_str!("assets/viewer/lines.js"),
    include_str!("assets/viewer/lens.js"),
    concat!(include_str!("assets/viewer/ranking.js"), "\n", include_str!("assets/viewer/main.js")),
];

/// The page about `ids`, of which the model said those from `prompt` on.
///
/// # Errors
/// More than [`MOST_TOKENS`] tokens; as [`attend`].
pub fn page(model: &Model, ids: &[u32], prompt: usize) -> Result<String> {
    if ids.len() > MOST_TOKENS {
        let problem = format!(
            "a page shows up to {MOST_TOKENS} tokens, this text has {}; --png and --json take any length",
            ids.len()
        );
        return Err(Error::request("--html", problem));
    }
    let layers = &model.spec().layers;
    let heads: usize = layers.iter().map(|layer| layer.attention.n_heads).sum();
    let depth = Depth::fitting(heads, ids.len());
    let plan = Plan { map: Some(ids.len()), ..Plan::default() };
    let mut residuals = Residuals::new(&model.decoder);
    let mut blobs = String::new();
    let mut thumbs: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let seen = attend(&model.decoder, ids, &plan, Some(&mut residuals), &mut |of, map| {
        let name = match of {
            Of::Head(layer, head) => {
                thumbs.entry(layer).or_default().extend(thumbnail(&map, THUMB));
                format!("map-h{layer}.{head}")
            }
            Of::Layer(layer) => format!("map-l{layer}"),
            Of::All => "map-all".into(),
        };
        blobs.push_str(&blob(&name, &triangle(&map, depth))?);
        Ok(())
    })?;
    for (layer, cells) in thumbs {
        blobs.push_str(&blob(&format!("thumbs-{layer}"), &cells)?);
    }
    let readings = residuals.read(&model.decoder, 0..ids.len(), GUESSES)?;
    blobs.push_str(&blob("lens", lens(model, &readings).to_string().as_bytes())?);
    let data = data(model, ids, prompt, &seen, depth)?;
    Ok(assemble(&format!("{}: attention", title(model)), &data, &blobs))
}

fn assemble(title: &str, data: &Value, blobs: &str) -> String {
    // One pass over the page, so that nothing in what is put in is taken for a place.
    let mut out = String::new();
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((place, after)) = after.split_once("}}") else { break };
        match place {
            "title" => out.push_str(&escape(title)),
            "style" => out.push_str(STYLE),
            "data" => out.push_str(&script_json(&data.to_string())),
            "blobs" => out.push_str(blobs),
            _ => SCRIPTS.iter().for_each(|script| out.push_str(script)),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn data(model: &Model, ids: &[u32], prompt: usize, seen: &Attended, depth: Depth) -> Result<Value> {
    let tokens = Token::of(model, ids);
    let labelled = tokens
        .iter()
        .map(|token| json!({ "id": token.id, "text": token.text, "label": token.label() }));
    let layers = seen.layers.iter().map(|layer| {
        let mut value = json!(layer);
        value["words"] = json!(layer.describe());
        value
    });
    // A text of random tokens needs some to draw, and positions.
    let period = PERIOD.min(model.spec().max_seq_len.saturating_sub(1) / 2);
    let questions = Questions { period, texts: 2, ..Questions::default() };
    let scored = if period < 2 { None } else { survey(model, &questions, &mut || Ok(())).ok() };
    let scored = scored.map(|survey| survey.heads);
    Ok(json!({
        "name": title(model),
        "family": model.family,
        "prompt": prompt,
        "tokens": labelled.collect::<Vec<_>>(),
        "bits": depth.bits(),
        "thumb": THUMB,
        "period": scored.as_ref().map(|_| period),
        "colours": { "night": NIGHT, "paper": PAPER },
        "layers": layers.collect::<Vec<_>>(),
        "heads": heads(seen, scored.as_deref()),
    }))
}

/// Each head's numbers; its scores beside them where there are some.
fn heads(seen: &Attended, scored: Option<&[HeadScores]>) -> Vec<Value> {
    let with_scores = |(at, head)| {
        let mut value = json!(head);
        // The learned sink's share; the scores have another sink, the first token.
        if let Some(share) = value.as_object_mut().and_then(|map| map.remove("sink")) {
            value["sink_weight"] = share;
        }
        if let Some(head) = scored.and_then(|scored| scored.get::<usize>(at)) {
            value["induction"] = json!(head.scores.induction);
            value["duplicate"] = json!(head.scores.duplicate);
            value["local"] = json!(head.scores.local);
        }
        value
    };
    seen.heads.iter().enumerate().map(with_scores).collect()
}

/// The lens, its words once each.
fn lens(model: &Model, readings: &[Reading]) -> Value {
    let mut words = BTreeMap::new();
    let mut word = |id: u32| {
        words.entry(id).or_insert_with(|| {
            Token::of(model, &[id]).first().map(Token::label).unwrap_or_default()
        });
        id
    };
    let rounded = |x: f64| (x * 1e5).round() / 1e5;
    let positions: Vec<Value> = readings
        .iter()
        .map(|reading| {
            let depths = reading.depths.iter().map(|depth| {
                let top = depth
                    .top
                    .iter()
                    .map(|guess| json!([word(guess.id), rounded(guess.probability)]));
                let top: Vec<Value> = top.collect();
                json!({ "top": top, "kl": rounded(depth.kl), "answer": rounded(depth.answer) })
            });
            let depths: Vec<Value> = depths.collect();
            json!({
                "position": reading.position, "answer": word(reading.answer),
                "first": reading.first, "settled": reading.settled, "depths": depths,
            })
        })
        .collect();
    json!({ "words": words, "positions": positions })
}
