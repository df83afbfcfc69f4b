//! Every head of a checkpoint: what it does, and what it is worth. Scores and losses themselves are
//! `scores.rs`'s and `worth.rs`'s affair.

use serde::Serialize;

use super::scores::{HeadScores, Trial, score};
use super::tokens::title;
use super::worth::{Bench, Instead, Worth, least_first, shuffled};
use crate::error::{Error, Result};
use crate::model::Model;

/// Places at which a curve is measured.
const POINTS: usize = 24;

/// What is to be found out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Questions {
    /// Tokens of the run that is said twice.
    pub period: usize,
    /// Texts of two such runs.
    pub texts: usize,
    /// The same seed gives the same texts, and the same random order.
    pub seed: u64,
    /// Take each head out alone, with this in its place.
    pub ablate: Option<Instead>,
    /// Take heads out one after another; needs `ablate`.
    pub curve: bool,
    /// The text that losses are of.
    pub text: Vec<u32>,
}

/// The loss while heads go one after another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// `least worth first` or `at random`.
    pub order: &'static str,
    /// Heads gone, and the loss without them in nats a token.
    pub points: Vec<(usize, f64)>,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// The checkpoint.
    pub name: String,
    /// Every head's scores.
    pub heads: Vec<HeadScores>,
    /// Every head's worth, in the same order, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worths: Vec<Worth>,
    /// The loss with every head, in nats a token.
    pub loss: Option<f64>,
    /// Where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curve>,
}

impl Questions {
    /// What [`survey`] will report progress of: texts, heads and places of curves.
    pub fn steps(&self, model: &Model) -> usize {
        let heads: usize = model.spec().layers.iter().map(|layer| layer.attention.n_heads).sum();
        let curves = if self.curve { 2 * heads.div_ceil(heads.div_ceil(POINTS).max(1)) } else { 0 };
        self.texts + if self.ablate.is_some() { heads } else { 0 } + curves
    }
}

/// The texts that heads of `model` are scored on: its own first token, and of its vocabulary what
/// is no special token.
///
/// # Errors
/// A period or number of texts that makes none; more tokens than positions.
pub fn trial(model: &Model, questions: &Questions) -> Result<Trial> {
    let spec = model.spec();
    let needed = 2 * questions.period + 1;
    if needed > spec.max_seq_len {
        return Err(Error::ContextFull { needed, max_seq_len: spec.max_seq_len });
    }
    let tokenizer = model.tokenizer.as_ref();
    let mut without = model.eos_ids.clone();
    let mut vocab_size = spec.vocab_size;
    if let Some(tokenizer) = tokenizer {
        vocab_size = vocab_size.min(tokenizer.vocab_size());
        without.extend((0..vocab_size as u32).filter(|id| tokenizer.is_special(*id)));
    }
    let start = tokenizer.and_then(|tokenizer| tokenizer.bos_id()).unwrap_or(0);
    let Questions { period, texts, seed, .. } = *questions;
    Ok(Trial { start, vocab_size, without, period, texts, seed })
}

/// Asks `model`; `progress` hears of every step, and may end it with an error.
///
/// # Errors
/// As [`trial`]; a text of fewer than two tokens; as [`crate::nn::Decoder::run`].
pub fn survey(
    model: &Model,
    questions: &Questions,
    progress: &mut dyn FnMut() -> Result<()>,
) -> Result<Survey> {
    let texts = trial(model, questions)?.texts()?;
    let mut heads = Vec::new();
    for text in &texts {
        let scored = score(&model.decoder, std::slice::from_ref(text), questions.period)?;
        add(&mut heads, scored, 1.0 / texts.len() as f64);
        progress()?;
    }
    let mut found =
        Survey { name: title(model), heads, worths: Vec::new(), loss: None, curves: Vec::new() };
    if let Some(instead) = questions.ablate {
        let bench = Bench::new(&model.decoder, &questions.text)?;
        found.loss = Some(bench.loss);
        found.worths = bench.worths(instead, progress)?;
        if questions.curve {
            let least = least_first(&found.worths);
            let random = shuffled(&least, questions.seed);
            for (order, heads) in [("least worth first", &least), ("at random", &random)] {
                let points = bench.curve(heads, instead, POINTS, progress)?;
                found.curves.push(Curve { order, points });
            }
        }
    }
    Ok(found)
}

/// Adds a text's scores to the means.
fn add(heads: &mut Vec<HeadScores>, scored: Vec<HeadScores>, share: f64) {
    if heads.is_empty() {
        let zero = |head: &HeadScores| HeadScores { scores: Default::default(), ..*head };
        heads.extend(scored.iter().map(zero));
    }
    for (sum, head) in heads.iter_mut().zip(scored) {
        sum.scores.add_share(&head.scores, share);
    }
}
