//! Two models over one text: two checkpoints, dtypes or quantisations of the same vocabulary. How
//! far the second's predictions are from the first's, and how well each predicts.

use serde::Serialize;

use super::logits::{divergence, likeliest, log_sum_exp, rows};
use super::score::mean;
use super::windows::{Plan, Reader};
use crate::error::{Error, Result};
use crate::nn::Decoder;

/// Two models compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// Tokens predicted.
    pub predicted: usize,
    /// Mean Kullback-Leibler divergence of the model from the other, nats.
    pub kl: f64,
    /// Its standard error.
    pub kl_error: f64,
    /// The largest.
    pub kl_max: f64,
    /// The divergence that half, 90, 99 in 100 positions stay below.
    pub kl_quantiles: [f64; 3],
    /// Share of positions with the same likeliest token.
    pub same_top1: f64,
    /// The model's perplexity, and its standard error.
    pub perplexity: (f64, f64),
    /// The other's.
    pub other_perplexity: (f64, f64),
}

/// What is kept of each position.
#[derive(Default)]
struct Seen {
    kl: Vec<f64>,
    same: usize,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// Compares `model` with `other`, which is taken for the truth; `progress` hears how many tokens
/// were predicted since it last heard.
///
/// # Errors
/// Vocabularies of other sizes, a plan that one of the two cannot follow, a text of one token.
pub fn against(
    model: &Decoder,
    other: &Decoder,
    ids: &[u32],
    plan: Plan,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Against> {
    let (ours, theirs) = (model.spec().vocab_size, other.spec().vocab_size);
    if ours != theirs {
        let problem = format!("has a vocabulary of {theirs}, the model one of {ours}");
        return Err(Error::request("--against", problem));
    }
    plan.check(model)?;
    plan.check(other)?;
    if ids.len() < 2 {
        return Err(Error::request("the text", "has fewer than two tokens"));
    }
    let (mut a, mut b) = (Reader::new(model, plan.window), Reader::new(other, plan.window));
    let piece = a.piece().min(b.piece());
    let whole = a.piece().max(b.piece()) == usize::MAX;
    let mut seen = Seen::default();
    for window in plan.windows(ids.len()) {
        a.clear();
        b.clear();
        let mut at = window.begin;
        while at + 1 < window.end {
            let piece = if whole { usize::MAX } else { piece };
            let next = (window.end - 1).min(at.saturating_add(piece));
            let from = (window.first - 1).clamp(at, next);
            let read = |reader: &mut Reader<'_>| {
                let logits = reader.read(&ids[at..next])?;
                if next > from {
                    rows(&logits.narrow(0, from - at, next - from)?)
                } else {
                    Ok(vec![])
                }
            };
            let (x, y) = (read(&mut a)?, read(&mut b)?);
            for ((x, y), target) in x.iter().zip(&y).zip(from + 1..) {
                seen.add(x, y, ids[target] as usize);
            }
            progress(next - from)?;
            at = next;
        }
    }
    Ok(seen.told())
}

impl Seen {
    fn add(&mut self, ours: &[f32], theirs: &[f32], target: usize) {
        self.kl.push(divergence(theirs, ours));
        self.same += usize::from(likeliest(ours, 1) == likeliest(theirs, 1));
        let loss = |row: &[f32]| {
            log_sum_exp(row) - f64::from(row.get(target).copied().unwrap_or(f32::NAN))
        };
        self.ours.push(loss(ours));
        self.theirs.push(loss(theirs));
    }

    fn told(mut self) -> Against {
        let (kl, kl_error, predicted) = mean(self.kl.iter().copied());
        self.kl.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let at = (share * self.kl.len() as f64) as usize;
            self.kl.get(at.min(self.kl.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        let perplexity = |losses: &[f64]| {
            let (nll, error, _) = mean(losses.iter().copied());
            (nll.exp(), nll.exp() * error)
        };
        Against {
            predicted,
            kl,
            kl_error,
            kl_max: self.kl.last().copied().unwrap_or_default(),
            kl_quantiles: [0.5, 0.9, 0.99].map(quantile),
            same_top1: self.same as f64 / predicted.max(1) as f64,
            perplexity: perplexity(&self.ours),
            other_perplexity: perplexity(&self.theirs),
        }
    }
}
