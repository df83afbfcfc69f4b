//! The lens as a document: what each layer would say at every position, how far that is from the
//! end, and when the answer is there. It reads nothing off a model: see `lens.rs`.

use super::document::{Cell, Document, Part, Plot, Section, Table};
use super::lens::{Depth, Reading};
use super::tokens::shortened;
use super::viewer::MOST_TOKENS;
use crate::error::{Error, Result};

/// Characters of a token in the large table.
const WIDE: usize = 12;

/// `readings` as a document about the model of this name; `label` says what a token looks like,
/// and `labels` are those of the text.
///
/// # Errors
/// More than [`MOST_TOKENS`] positions, or none.
pub fn depths(
    name: &str,
    labels: &[String],
    readings: &[Reading],
    label: &dyn Fn(u32) -> String,
) -> Result<Document> {
    let Some(last) = readings.last().filter(|_| readings.len() <= MOST_TOKENS) else {
        let problem = format!(
            "a page shows 1 to {MOST_TOKENS} positions, not {}; --position names one, --json takes any",
            readings.len()
        );
        return Err(Error::request("--html", problem));
    };
    let place = |reading: &Reading| {
        let token = labels.get(reading.position).map_or("", String::as_str);
        format!("{} {}", reading.position, shortened(token, WIDE))
    };
    let mut whole = Section::new("Every position");
    whole.say(
        "Each cell is the likeliest next token if the model ended there, the deeper its colour the \
         likelier. Columns are positions of the text, rows the layers, the last on top.",
    );
    whole.parts.push(Part::Table(wall(readings, &place, label)));
    let mut one = Section::new(format!("After {}", place(last)));
    one.say("The likeliest next tokens after each layer, and how far that is from the end.");
    one.parts.push(Part::Table(layers(last, label)));
    Ok(Document {
        title: format!("What each layer would say next: {name}"),
        lead: "The logit lens (nostalgebraist 2020): the final norm and the output head, applied \
               to the residual stream after every layer."
            .into(),
        sections: vec![whole, one, way(readings), when(readings, &place, label)],
    })
}

/// How far each layer is from the end.
fn way(readings: &[Reading]) -> Section {
    let mut way = Section::new("The way to the answer");
    way.say(
        "KL divergence from what each layer would say to what the whole model says, in nats, the \
         mean of all positions: how much is still to come.",
    );
    way.parts.push(Part::Plot(distance(readings)));
    way
}

/// Each position's answer, and after how many layers it is there.
fn when(
    readings: &[Reading],
    place: &dyn Fn(&Reading) -> String,
    label: &dyn Fn(u32) -> String,
) -> Section {
    let mut when = Section::new("When the answer is there");
    when.say(
        "After how many layers the final answer is first the likeliest, and after how many it \
         stays so; 0 is the embeddings.",
    );
    when.parts.push(Part::Table(answers(readings, place, label)));
    when
}

fn depth_name(depth: &Depth) -> String {
    match depth.layers {
        0 => "embeddings".into(),
        layers => format!("layer {}", layers - 1),
    }
}

fn wall(
    readings: &[Reading],
    place: &dyn Fn(&Reading) -> String,
    label: &dyn Fn(u32) -> String,
) -> Table {
    let columns = std::iter::once("after".to_string()).chain(readings.iter().map(place)).collect();
    let mut table = Table { columns, dense: true, ..Table::default() };
    let depths = readings.first().map_or(0, |reading| reading.depths.len());
    for depth in (0..depths).rev() {
        let name = readings.first().map(|reading| depth_name(&reading.depths[depth]));
        let cells = readings.iter().map(|reading| match reading.depths[depth].top.first() {
            Some(guess) => Cell::new(shortened(&label(guess.id), WIDE)).shaded(guess.probability),
            None => Cell::default(),
        });
        table.rows.push(name.map(Cell::new).into_iter().chain(cells).collect());
    }
    table
}

/// One position, a row a layer.
fn layers(reading: &Reading, label: &dyn Fn(u32) -> String) -> Table {
    let mut table = Table::new(&["after", "KL, nats", "answer", "likeliest next"]);
    for depth in reading.depths.iter().rev() {
        let there = depth.layers == reading.settled;
        let guesses = depth.top.iter().map(|guess| {
            format!("{} {:.0}%", shortened(&label(guess.id), WIDE), guess.probability * 100.0)
        });
        table.rows.push(vec![
            Cell::new(depth_name(depth)).strong(there),
            Cell::number(depth.kl, 3),
            Cell::new(format!("{:.1}%", depth.answer * 100.0)).shaded(depth.answer),
            Cell::new(guesses.collect::<Vec<_>>().join("  ")),
        ]);
    }
    table
}

/// The mean divergence after so many layers.
fn distance(readings: &[Reading]) -> Plot {
    let depths = readings.first().map_or(0, |reading| reading.depths.len());
    let mean = |depth: usize| {
        let sum: f64 = readings.iter().map(|reading| reading.depths[depth].kl).sum();
        (depth as f64, sum / readings.len() as f64)
    };
    Plot {
        across: "layers".into(),
        upwards: "KL to the last, nats".into(),
        lines: vec![("mean of all positions".into(), (0..depths).map(mean).collect())],
    }
}

fn answers(
    readings: &[Reading],
    place: &dyn Fn(&Reading) -> String,
    label: &dyn Fn(u32) -> String,
) -> Table {
    let mut table = Table::new(&["position", "says", "first after", "stays after"]);
    let depths = readings.first().map_or(1, |reading| reading.depths.len()).max(2) - 1;
    for reading in readings {
        let share = |layers: usize| layers as f64 / depths as f64;
        table.rows.push(vec![
            Cell::new(place(reading)),
            Cell::new(label(reading.answer)),
            Cell::number(reading.first as f64, 0).shaded(share(reading.first)),
            Cell::number(reading.settled as f64, 0).shaded(share(reading.settled)),
        ]);
    }
    table
}
