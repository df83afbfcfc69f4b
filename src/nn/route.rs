//! Routing: from scores to each token's experts and their weights. It runs no expert.

use candle_core::{D, Tensor};

use super::attend::softmax;
use crate::error::Result;
use crate::spec::Routing;

/// Where tokens go.
pub(super) struct Route {
    /// The experts of each token, largest score first, token after token.
    pub(super) chosen: Vec<u32>,
    /// What their outputs are multiplied with, (tokens, per_token).
    pub(super) weights: Tensor,
}

/// Chooses `per_token` experts for every row of `scores`, (tokens, experts) in f32.
///
/// The choice is made on the host, for it decides what is computed; the weights are computed where
/// the scores are, and have a gradient.
pub(super) fn route(scores: &Tensor, per_token: usize, routing: Routing) -> Result<Route> {
    let rows = scores.to_vec2::<f32>()?;
    let chosen: Vec<u32> = rows.iter().flat_map(|row| largest(row, per_token)).collect();
    let index = Tensor::from_slice(&chosen, (rows.len(), per_token), scores.device())?;
    let weights = match routing {
        Routing::SoftmaxThenTop { renormalise } => {
            let weights = softmax(scores)?.gather(&index, D::Minus1)?;
            match renormalise {
                true => weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?,
                false => weights,
            }
        }
        Routing::TopThenSoftmax => softmax(&scores.gather(&index, D::Minus1)?)?,
        Routing::SparseMixer { jitter } => {
            let weights = (0..per_token).map(|place| {
                let near: Vec<f32> =
                    rows.iter().flat_map(|row| nearness(row, place, jitter)).collect();
                let near = Tensor::from_vec(near, scores.shape(), scores.device())?;
                let taken = index.narrow(1, place, 1)?.contiguous()?;
                Ok(softmax(&(scores + near)?)?.gather(&taken, D::Minus1)?)
            });
            Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 1)?
        }
    };
    Ok(Route { chosen, weights })
}

/// The `n` largest of `row`, largest first, the first of equals first.
fn largest(row: &[f32], n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..row.len() as u32).collect();
    order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
    order.truncate(n);
    order
}

/// 0 for the scores that compete with the one in `place` (0 = the largest), −∞ for those before
/// it and those too far below: `(top − score) / max(|score|, top) > 2 · jitter`.
fn nearness(row: &[f32], place: usize, jitter: f64) -> Vec<f32> {
    let order = largest(row, place + 1);
    let (before, top) = (&order[..place], row[order[place] as usize]);
    let limit = (2.0 * jitter) as f32;
    let far = |score: f32| (top - score) / score.abs().max(top) > limit;
    let hidden = |(expert, score): (usize, &f32)| before.contains(&(expert as u32)) || far(*score);
    row.iter()
        .enumerate()
        .map(|entry| if hidden(entry) { f32::NEG_INFINITY } else { 0.0 })
        .collect()
}

#[cfg(test)]
mod tests;
