//! Arithmetic on one row of logits. It computes no logits.

use candle_core::{DType, Tensor};

use crate::error::Result;

/// Logits as rows of numbers, (batch, seq, vocab) of one batch row → seq rows.
pub(super) fn rows(logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(logits.to_dtype(DType::F32)?.squeeze(0)?.to_vec2::<f32>()?)
}

/// ln Σ exp(x), in f64.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - max).exp()).sum();
    max + sum.ln()
}

/// The distribution that a row of logits is, to measure others against.
#[derive(Debug)]
pub(super) struct Distribution {
    probabilities: Vec<f64>,
    /// Σ p·ln p.
    own: f64,
}

impl Distribution {
    pub(super) fn of(logits: &[f32]) -> Self {
        let lse = log_sum_exp(logits);
        let log_p = || logits.iter().map(|x| f64::from(*x) - lse);
        let probabilities: Vec<f64> = log_p().map(f64::exp).collect();
        let terms = probabilities.iter().zip(log_p()).filter(|(p, _)| **p > 0.0);
        let own = terms.map(|(p, log_p)| p * log_p).sum();
        Self { probabilities, own }
    }

    /// KL(this ‖ other) = Σ p · (ln p − ln q), in nats and in f64, of another row of logits and its
    /// [`log_sum_exp`]. What it says is as exact as the logits are: where they are f32's and off
    /// by a share of their size, so is a divergence, which is a mean of their differences.
    pub(super) fn divergence(&self, other: &[f32], lse: f64) -> f64 {
        let terms = self.probabilities.iter().zip(other).filter(|(p, _)| **p > 0.0);
        let cross: f64 = terms.map(|(p, q)| p * (f64::from(*q) - lse)).sum();
        (self.own - cross).max(0.0)
    }
}

/// The `count` largest, the largest first, the lower id of equals.
pub(super) fn largest(logits: &[f32], count: usize) -> Vec<usize> {
    let mut top: Vec<usize> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY;
    for (id, logit) in logits.iter().enumerate() {
        if top.len() == count && *logit <= least {
            continue;
        }
        let place = top.partition_point(|other| logits[*other] >= *logit);
        top.insert(place, id);
        top.truncate(count);
        least = top.last().map_or(least, |id| logits[*id]);
    }
    top
}
