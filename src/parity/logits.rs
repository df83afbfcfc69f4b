//! How far apart two models' predictions are: their logits, position by position.

use candle_core::Tensor;
use serde::Serialize;

use crate::error::{Error, Result};

/// How two runs' logits over the same tokens compare.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LogitReport {
    /// Kullback-Leibler divergence of ours from the reference, nats, one a position.
    pub kl: Vec<f64>,
    /// Share of positions with the same likeliest token.
    pub top1: f64,
    /// Share of the five likeliest tokens that are the same.
    pub top5: f64,
    /// Squared differences over the reference's squares.
    pub nmse: f64,
}

impl LogitReport {
    /// The mean divergence.
    pub fn kl_mean(&self) -> f64 {
        self.kl.iter().sum::<f64>() / self.kl.len().max(1) as f64
    }

    /// The largest divergence.
    pub fn kl_max(&self) -> f64 {
        self.kl.iter().copied().fold(0.0, f64::max)
    }
}

/// Compares logits, (batch, seq, vocab) each.
///
/// # Errors
/// Other shapes.
pub fn compare_logits(ours: &Tensor, theirs: &Tensor) -> Result<LogitReport> {
    if ours.dims() != theirs.dims() {
        let problem = format!("have shape {:?}, the reference's {:?}", ours.dims(), theirs.dims());
        return Err(Error::request("logits", problem));
    }
    let (a, b) = (rows(ours)?, rows(theirs)?);
    let mut report = LogitReport::default();
    let (mut off, mut all) = (0.0, 0.0);
    for (a, b) in a.iter().zip(&b) {
        report.kl.push(divergence(b, a));
        let (mine, other) = (likeliest(a, 5), likeliest(b, 5));
        report.top1 += f64::from(u8::from(mine.first() == other.first()));
        let common = mine.iter().filter(|id| other.contains(id)).count();
        report.top5 += common as f64 / other.len().max(1) as f64;
        for (a, b) in a.iter().zip(b) {
            off += f64::from(a - b).powi(2);
            all += f64::from(*b).powi(2);
        }
    }
    let count = a.len().max(1) as f64;
    (report.top1, report.top5) = (report.top1 / count, report.top5 / count);
    report.nmse = if off == 0.0 { 0.0 } else { off / all };
    Ok(report)
}

/// (…, vocab) as rows.
pub(super) fn rows(x: &Tensor) -> Result<Vec<Vec<f32>>> {
    let vocab = x.dim(candle_core::D::Minus1)?;
    Ok(x.reshape(((), vocab))?.to_dtype(candle_core::DType::F32)?.to_vec2()?)
}

/// ln Σ exp of logits.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + logits.iter().map(|logit| (f64::from(*logit) - top).exp()).sum::<f64>().ln()
}

/// Σ p · (ln p − ln q), of the softmax of each; 0 at least, whatever rounding makes of it.
pub(super) fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let (total_p, total_q) = (log_sum_exp(p), log_sum_exp(q));
    let term = |(p, q): (&f32, &f32)| {
        let (p, q) = (f64::from(*p) - total_p, f64::from(*q) - total_q);
        if p == f64::NEG_INFINITY { 0.0 } else { p.exp() * (p - q) }
    };
    p.iter().zip(q).map(term).sum::<f64>().max(0.0)
}

/// The likeliest tokens, first to last; of equals the one with the smaller id comes first.
pub(super) fn likeliest(logits: &[f32], count: usize) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::with_capacity(count + 1);
    for (id, logit) in logits.iter().enumerate() {
        let full = best.len() == count;
        if full && best.last().is_some_and(|last| logits[*last] >= *logit) {
            continue;
        }
        let at = best.partition_point(|other| logits[*other] >= *logit);
        best.insert(at, id);
        best.truncate(count);
    }
    best
}
