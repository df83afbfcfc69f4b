//! Heads turned down or off while generating, and what that changes.

use std::io::{self, Write};
use std::ops::ControlFlow;

use clap::Args;

use crate::error::{Error, Result};
use crate::generate::{Completion, Request, Voice, generate};
use crate::inspect::{Token, moved, padded, shortened};
use crate::model::Model;
use crate::nn::{HeadEdits, HeadScale};

/// Bars of a divergence this large are full, in nats.
const FULL: f64 = 2.0;

/// Which heads, and how far down.
#[derive(Debug, Clone, Args)]
pub(crate) struct EditArgs {
    /// Switch heads off, LAYER.HEAD from 0, divided by commas
    #[arg(long, value_name = "L.H", value_delimiter = ',')]
    ablate: Vec<String>,
    /// Multiply heads' outputs, LAYER.HEAD=FACTOR
    #[arg(long, value_name = "L.H=F", value_delimiter = ',')]
    scale: Vec<String>,
    /// The text without these changes too, and how far they move each token's prediction
    #[arg(long)]
    pub against: bool,
}

impl EditArgs {
    /// The heads and their factors.
    pub(crate) fn scales(&self) -> Result<Vec<HeadScale>> {
        let off = self.ablate.iter().map(|head| parse("--ablate", head, "0"));
        let scaled = self.scale.iter().map(|text| match text.split_once('=') {
            Some((head, factor)) => parse("--scale", head, factor),
            None => Err(Error::request("--scale", format!("`{text}` is not LAYER.HEAD=FACTOR"))),
        });
        let scales: Vec<HeadScale> = off.chain(scaled).collect::<Result<_>>()?;
        if self.against && scales.is_empty() {
            return Err(Error::request("--against", "nothing is changed; add --ablate or --scale"));
        }
        Ok(scales)
    }
}

fn parse(option: &str, head: &str, factor: &str) -> Result<HeadScale> {
    let wrong = || Error::request(option, format!("`{head}` is no head; LAYER.HEAD, such as 5.1"));
    let (layer, head) = head.trim().split_once('.').ok_or_else(wrong)?;
    let no_factor = |_| Error::request(option, format!("`{factor}` is no factor; a number"));
    Ok(HeadScale {
        layer: layer.parse().map_err(|_| wrong())?,
        head: head.parse().map_err(|_| wrong())?,
        factor: factor.trim().parse().map_err(no_factor)?,
    })
}

/// Continues the same prompts without the changes, and writes both and the divergence of each
/// token of the changed text.
pub(crate) fn compare(
    model: &Model,
    request: &Request,
    edited: &[Completion],
) -> anyhow::Result<()> {
    let plain = Request { heads: Vec::new(), ..request.clone() };
    let voice = model.tokenizer.as_ref().map(|tokenizer| tokenizer as &dyn Voice);
    let plain = generate(&model.decoder, voice, &plain, &mut |_| ControlFlow::Continue(()))?;
    let edits = HeadEdits::scaled(model.spec(), &request.heads)?;
    let mut out = io::stdout().lock();
    for (edited, plain) in edited.iter().zip(&plain) {
        let ids = [edited.prompt_ids.as_slice(), &edited.token_ids].concat();
        let divergences = moved(&model.decoder, &ids[..ids.len() - 1], &edits)?;
        writeln!(out, "\n--- without the changes\n{}", said(model, plain))?;
        writeln!(out, "--- KL(without ‖ with) in nats, before each token of the changed text")?;
        let start = edited.prompt_ids.len() - 1;
        let tokens = Token::of(model, &edited.token_ids);
        for (token, kl) in tokens.iter().zip(&divergences[start..]) {
            let label = padded(&shortened(&token.label(), 18), 18);
            let bar = "█".repeat((kl / FULL * 24.0).round().clamp(0.0, 24.0) as usize);
            writeln!(out, "{label} {kl:>8.4} {bar}")?;
        }
        let said = &divergences[start..];
        let mean = said.iter().sum::<f64>() / said.len().max(1) as f64;
        writeln!(out, "{} {mean:>8.4}", padded("mean", 18))?;
    }
    Ok(())
}

fn said(model: &Model, completion: &Completion) -> String {
    match model.tokenizer {
        Some(_) => completion.text.clone(),
        None => format!("{:?}", completion.token_ids),
    }
}
