//! The lesson of attention on a prompt of one's own: every number is taken from this model's run of
//! it, and what has to add up is checked. It trains nothing and leaves the model as it is.

mod cost;
mod heads;
mod numbers;
mod order;
mod scores;
mod seen;
mod start;
mod sums;

use candle_core::DType;

use super::attention::{Plan, attend};
use super::document::{Check, Document};
use super::tokens::title;
use crate::error::{Error, Result};
use crate::model::Model;
use seen::Seen;

/// Tokens that a lesson is about at most.
pub const MOST_WORDS: usize = 512;

/// What the lesson looks at closely; what is `None` is chosen by what is telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Focus {
    /// The layer, from 0.
    pub layer: Option<usize>,
    /// The head, from 0.
    pub head: Option<usize>,
    /// The position of the token that asks.
    pub token: Option<usize>,
    /// Products round their activations (quantised weights): sums may be off by as much.
    pub rounded: bool,
}

/// A lesson, and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// The layer looked at.
    pub layer: usize,
    /// The head looked at.
    pub head: usize,
    /// The position of the token looked at.
    pub token: usize,
    /// The lesson.
    pub document: Document,
}

impl Lesson {
    /// What has to be so and is not.
    pub fn failed(&self) -> Vec<&Check> {
        self.document.checks().filter(|check| !check.holds()).collect()
    }
}

/// How far sums may be off, as a share of the largest number in them.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// In arithmetic of f32.
    exact: f64,
    /// Where numbers went through the model's dtype.
    kept: f64,
    /// Where they went through a product with the model's weights.
    product: f64,
}

/// The lesson about `ids`.
///
/// # Errors
/// A layer, head or token that does not exist; no tokens, or more than [`MOST_WORDS`]; as
/// [`crate::nn::Decoder::run`].
pub fn lesson(model: &Model, ids: &[u32], focus: &Focus) -> Result<Lesson> {
    let decoder = &model.decoder;
    let token = asking(ids, focus)?;
    let (layer, head) = telling(model, ids, focus, token)?;
    let seen = Seen::new(model, ids, (layer, head, token))?;
    let kept = if decoder.dtype() == DType::F32 { 1e-5 } else { 2e-2 };
    let product = if focus.rounded { 5e-2 } else { kept * 10.0 };
    let limits = Limits { exact: 1e-5, kept, product };
    let sections = vec![
        start::tokens(&seen),
        order::places(model, ids, &seen)?,
        start::three(&seen),
        scores::scores(&seen, &limits),
        scores::mask(&seen),
        scores::weights(&seen, &limits),
        sums::values(&seen, &limits),
        heads::together(model, &seen, &limits)?,
        heads::next(model, &seen)?,
        cost::time(model, &seen)?,
        cost::cache(model, &seen),
        heads::checks(),
    ];
    let mut document = Document {
        title: format!("Attention, step by step, in {}", title(model)),
        lead: format!(
            "What layer {layer}, head {head} does for token {token}, {}. Every number here was \
             computed by this model from this text of {} tokens; what has to add up is checked and \
             marked.",
            seen.label(token),
            ids.len()
        ),
        sections,
    };
    heads::count(&mut document);
    Ok(Lesson { layer, head, token, document })
}

/// The position of the token that asks.
fn asking(ids: &[u32], focus: &Focus) -> Result<usize> {
    if ids.is_empty() || ids.len() > MOST_WORDS {
        let problem = format!(
            "a lesson is about 1 to {MOST_WORDS} tokens, this text has {}; taper attend takes any length",
            ids.len()
        );
        return Err(Error::request("PROMPT", problem));
    }
    let token = focus.token.unwrap_or(ids.len() - 1);
    if token >= ids.len() {
        let problem = format!("{token} is none of 0 to {}", ids.len() - 1);
        return Err(Error::request("--token", problem));
    }
    Ok(token)
}

/// The layer and head asked for; of several the head with the largest weight on a token that is
/// neither the first, the asking one, nor the one before.
fn telling(model: &Model, ids: &[u32], focus: &Focus, token: usize) -> Result<(usize, usize)> {
    let plan = Plan {
        layers: focus.layer.into_iter().collect(),
        heads: focus.head.into_iter().collect(),
        top: 4,
        map: None,
        whole: false,
    };
    plan.validate(model.spec())?;
    if let (Some(layer), Some(head)) = (focus.layer, focus.head) {
        return Ok((layer, head));
    }
    let seen = attend(&model.decoder, ids, &plan, None, &mut |_, _| Ok(()))?;
    let far = |key: usize| key != 0 && key != token && key + 1 != token;
    let best = seen.heads.iter().map(|head| {
        let looks = head.queries.get(token).into_iter().flat_map(|row| &row.top);
        let weight =
            looks.filter(|look| far(look.key)).map(|look| look.weight).fold(0f32, f32::max);
        (weight, head.layer, head.head)
    });
    let best = best.reduce(|best, next| if next.0 > best.0 { next } else { best });
    Ok(best.map_or((0, 0), |(_, layer, head)| (layer, head)))
}

#[cfg(test)]
mod tests;
