//! Routing: from scores to each token's experts and their weights. It runs no expert.

use candle_core::{D, Tensor};

use super::attend::softmax;
use crate::error::Result;
use crate::kernels;
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
    let mut chosen = vec![0; rows.len() * per_token];
    for (row, chosen) in rows.iter().zip(chosen.chunks_exact_mut(per_token)) {
        largest(row, chosen);
    }
    if !kernels::offering() || !scores.device().is_cpu() || scores.track_op() {
        let weights = plain_weights(scores, &rows, &chosen, routing)?;
        return Ok(Route { chosen, weights });
    }
    let mut weights = vec![0f32; chosen.len()];
    let places = chosen.chunks_exact(per_token).zip(weights.chunks_exact_mut(per_token));
    for (row, (chosen, weights)) in rows.iter().zip(places) {
        weigh(row, chosen, routing, weights);
    }
    let weights = Tensor::from_vec(weights, (rows.len(), per_token), scores.device())?;
    Ok(Route { chosen, weights })
}

/// The weights of the experts `chosen`, (tokens, per_token), by the definition.
fn plain_weights(
    scores: &Tensor,
    rows: &[Vec<f32>],
    chosen: &[u32],
    routing: Routing,
) -> Result<Tensor> {
    let per_token = chosen.len() / rows.len().max(1);
    let index = Tensor::from_slice(chosen, (rows.len(), per_token), scores.device())?;
    Ok(match routing {
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
                let chosen = chosen.chunks(per_token);
                let near = rows.iter().zip(chosen);
                let near: Vec<f32> =
                    near.flat_map(|(row, c)| nearness(row, &c[..=place], jitter)).collect();
                let near = Tensor::from_vec(near, scores.shape(), scores.device())?;
                let taken = index.narrow(1, place, 1)?.contiguous()?;
                Ok(softmax(&(scores + near)?)?.gather(&taken, D::Minus1)?)
            });
            Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 1)?
        }
    })
}

/// The largest of `row`, as many as `chosen` has places, largest first, the first of equals first.
pub(super) fn largest(row: &[f32], chosen: &mut [u32]) {
    for place in 0..chosen.len() {
        let (before, rest) = chosen.split_at_mut(place);
        let free = row.iter().enumerate().filter(|(expert, _)| !before.contains(&(*expert as u32)));
        let first =
            |a: (usize, f32), b: (usize, f32)| if b.1.total_cmp(&a.1).is_gt() { b } else { a };
        let next = free.map(|(expert, score)| (expert, *score)).reduce(first);
        rest[0] = next.map_or(0, |(expert, _)| expert as u32);
    }
}

/// What the outputs of the experts `chosen` by a token's scores are multiplied with: the definition is
/// [`plain_weights`]'s, this takes nothing from the allocator.
pub(super) fn weigh(row: &[f32], chosen: &[u32], routing: Routing, weights: &mut [f32]) {
    let score = |expert: &u32| row[*expert as usize];
    let top = chosen.iter().map(score).fold(f32::NEG_INFINITY, f32::max);
    let mut taken = 0.0;
    for (weight, expert) in weights.iter_mut().zip(chosen) {
        *weight = (score(expert) - top).exp();
        taken += *weight;
    }
    let all = match routing {
        Routing::SoftmaxThenTop { renormalise: true } | Routing::TopThenSoftmax => taken,
        Routing::SoftmaxThenTop { renormalise: false } => row.iter().map(|s| (s - top).exp()).sum(),
        Routing::SparseMixer { jitter } => {
            for (place, weight) in weights.iter_mut().enumerate() {
                let top = score(&chosen[place]);
                let competes =
                    |entry: &(usize, &f32)| competes(*entry, &chosen[..=place], top, jitter);
                let all = row.iter().enumerate().filter(competes);
                *weight = 1.0 / all.map(|(_, score)| (score - top).exp()).sum::<f32>();
            }
            return;
        }
    };
    weights.iter_mut().for_each(|weight| *weight /= all);
}

/// Whether a score competes with `top`, the last of `chosen`: it is none of those before, and not too far
/// below: `(top − score) / max(|score|, top) ≤ 2 · jitter`.
fn competes((expert, score): (usize, &f32), chosen: &[u32], top: f32, jitter: f64) -> bool {
    let before = chosen.split_last().is_some_and(|(_, before)| before.contains(&(expert as u32)));
    let far = (top - score) / score.abs().max(top) > (2.0 * jitter) as f32;
    !before && !far
}

/// 0 for the scores that compete with the last of `chosen`, −∞ for the others.
fn nearness(row: &[f32], chosen: &[u32], jitter: f64) -> Vec<f32> {
    let top = chosen.last().map_or(f32::NEG_INFINITY, |top| row[*top as usize]);
    let near = |entry| if competes(entry, chosen, top, jitter) { 0.0 } else { f32::NEG_INFINITY };
    row.iter().enumerate().map(near).collect()
}

#[cfg(test)]
mod tests;
