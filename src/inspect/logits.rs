//! Arithmetic on one row of logits. It computes no logits.

use candle_core::{DType, Tensor};

use crate::error::Result;

/// Logits as rows of numbers, (batch, seq, vocab) of one batch row → seq rows.
pub(super) fn rows(logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(logits.to_dtype(DType::F32)?.squeeze(0)?.to_vec2::<f32>()?)
}

/// ln Σ exp(x).
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from((x - max).exp())).sum();
    f64::from(max) + sum.ln()
}

/// Σ p · (ln p − ln q), in nats, of the distributions that two rows of logits are; `lse` is of
/// each its [`log_sum_exp`].
pub(super) fn divergence((p, p_lse): (&[f32], f64), (q, q_lse): (&[f32], f64)) -> f64 {
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (log_p, log_q) = (f64::from(*p) - p_lse, f64::from(*q) - q_lse);
        f64::from((log_p as f32).exp()) * (log_p - log_q)
    });
    terms.sum::<f64>().max(0.0)
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
