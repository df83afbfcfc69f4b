//! A mixture of experts: each token's features go to a few of many feed-forwards, and the results
//! come back weighted. How the few are chosen is in `route.rs`.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::sigmoid;

use super::linear::Linear;
use super::mlp::{Mlp, Shape};
use super::route::{Route, largest, route, weigh};
use crate::error::Result;
use crate::spec::{self, Gating, Routing};
use crate::weights::{Owner, Param, Weights};

/// Sparsely gated experts (Shazeer et al. 2017, 1701.06538).
///
/// The tokens of an expert are gathered and go through it in one product; an expert that no token
/// chose costs nothing. There is no capacity: no token is dropped.
#[derive(Debug)]
pub struct Experts {
    router: Linear, // dim → experts
    experts: Vec<Mlp>,
    shared: Option<Shared>,
    per_token: usize,
    routing: Routing,
}

/// An expert that every token takes, in a measure of its own.
#[derive(Debug)]
struct Shared {
    mlp: Mlp,
    measure: Linear, // dim → 1
}

impl Experts {
    pub(crate) fn load(
        spec: &spec::Experts,
        dim: usize,
        layer: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let router = (spec.n_experts, dim);
        let params = [Param::ExpertGate, Param::ExpertUp, Param::ExpertDown];
        let shape = Shape { dim, hidden: spec.hidden_dim, bias: spec.bias };
        let expert =
            |expert| Mlp::gated(weights, params, Owner::expert(layer, expert), shape, spec.gating);
        Ok(Self {
            router: Linear::load(weights, Param::Router, Some(layer), router, spec.router_bias)?,
            experts: (0..spec.n_experts).map(expert).collect::<Result<_>>()?,
            shared: match spec.shared {
                Some(hidden) => Some(Shared::load(spec.gating, (hidden, dim), layer, weights)?),
                None => None,
            },
            per_token: spec.per_token,
            routing: spec.routing,
        })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, seq, dim) = x.dims3()?;
        let n_tokens = batch * seq;
        let scores = self.router.forward(x)?.reshape((n_tokens, ()))?; // (tokens, experts)
        // Scores and softmax are f32 whatever the activations are: a near tie decides who computes.
        let Route { chosen, weights } =
            route(&scores.to_dtype(DType::F32)?, self.per_token, self.routing)?;
        let out = self.dispatch(&x.reshape((n_tokens, dim))?, &chosen)?; // (tokens, per_token, dim)
        let weights = weights.to_dtype(x.dtype())?.unsqueeze(D::Minus1)?; // (tokens, per_token, 1)
        let out = out.broadcast_mul(&weights)?.sum(1)?.reshape((batch, seq, dim))?;
        match &self.shared {
            Some(shared) => Ok((out + shared.forward(x)?)?),
            None => Ok(out),
        }
    }

    /// Each token through its experts: sorted by expert, computed, put back into their order.
    ///
    /// # Shapes
    /// (tokens, dim) → (tokens, per_token, dim)
    fn dispatch(&self, tokens: &Tensor, chosen: &[u32]) -> Result<Tensor> {
        let (n_tokens, dim) = tokens.dims2()?;
        let mut order: Vec<usize> = (0..chosen.len()).collect();
        order.sort_by_key(|place| chosen[*place]); // stable: by token within an expert
        let mut back = vec![0u32; order.len()];
        for (row, place) in order.iter().enumerate() {
            back[*place] = row as u32;
        }
        let rows: Vec<u32> = order.iter().map(|place| (place / self.per_token) as u32).collect();
        let device = tokens.device();
        let sorted = tokens.index_select(&Tensor::new(rows, device)?, 0)?;
        let (mut outs, mut start) = (Vec::new(), 0);
        for run in order.chunk_by(|a, b| chosen[*a] == chosen[*b]) {
            let expert = &self.experts[chosen[run[0]] as usize];
            let x = sorted.narrow(0, start, run.len())?.unsqueeze(0)?;
            outs.push(expert.forward(&x)?.squeeze(0)?);
            start += run.len();
        }
        let out = Tensor::cat(&outs, 0)?.index_select(&Tensor::new(back, device)?, 0)?;
        Ok(out.reshape((n_tokens, self.per_token, dim))?)
    }
}

/// Room for rows on their way through a feed-forward, of experts or not.
#[derive(Debug)]
pub(super) struct Room {
    /// Between up and down, (rows · hidden) each.
    pub(super) hidden: [Vec<f32>; 3],
    scores: Vec<f32>, // (rows · experts)
    chosen: Vec<u32>, // (rows · per_token), and so the next ones
    weights: Vec<f32>,
    order: [Vec<usize>; 2], // by expert, and back
    sides: [Vec<f32>; 2],   // (rows · per_token · dim): what experts read, and what they give
}

impl Room {
    /// For so many rows of the widest of `layers`.
    pub(super) fn new<'a>(
        layers: impl Iterator<Item = &'a spec::FeedForward>,
        rows: usize,
        dim: usize,
    ) -> Self {
        let (mut hidden, mut experts, mut taken) = (0, 0, 0);
        for layer in layers {
            hidden = hidden.max(match *layer {
                spec::FeedForward::Plain { hidden_dim, .. }
                | spec::FeedForward::Gated { hidden_dim, .. } => rows * hidden_dim,
                spec::FeedForward::Experts(ref spec) => {
                    experts = experts.max(rows * spec.n_experts);
                    taken = taken.max(rows * spec.per_token);
                    rows * spec.hidden_dim.max(spec.shared.unwrap_or(0))
                }
            });
        }
        let room = |count: usize| vec![0f32; count];
        Self {
            hidden: [hidden; 3].map(room),
            scores: room(experts),
            chosen: vec![0; taken],
            weights: room(taken),
            order: [taken; 2].map(|count| vec![0; count]),
            sides: [taken * dim; 2].map(room),
        }
    }
}

impl Experts {
    /// [`Experts::forward`] of rows in a slice, where the kernels have all of it.
    ///
    /// # Shapes
    /// (rows · dim) → (rows · dim)
    pub(super) fn rows(&self, x: &[f32], room: &mut Room, y: &mut [f32]) -> Option<()> {
        let (n, dim) = self.router.shape()?;
        let (rows, taken) = (x.len() / dim, x.len() / dim * self.per_token);
        let scores = room.scores.get_mut(..rows * n)?;
        self.router.rows(x, scores)?;
        let (chosen, weights) = (room.chosen.get_mut(..taken)?, room.weights.get_mut(..taken)?);
        let places = chosen.chunks_exact_mut(self.per_token);
        let places = places.zip(weights.chunks_exact_mut(self.per_token));
        for (row, (chosen, weights)) in scores.chunks_exact(n).zip(places) {
            largest(row, chosen);
            weigh(row, chosen, self.routing, weights);
        }
        self.rows_dispatched(x, dim, taken, room)?;
        y.fill(0.0);
        let Room { order: [_, back], sides: [_, outputs], weights, .. } = &*room;
        for (place, (row, weight)) in back.iter().zip(weights).take(taken).enumerate() {
            let out = &outputs[row * dim..][..dim];
            let y = y.get_mut(place / self.per_token * dim..)?;
            y.iter_mut().zip(out).for_each(|(y, out)| *y += out * weight);
        }
        match &self.shared {
            Some(shared) => shared.add_rows(x, dim, room, y),
            None => Some(()),
        }
    }

    /// [`Experts::dispatch`] of rows in a slice; the results are in the room's second side, in the order
    /// that it says.
    fn rows_dispatched(&self, x: &[f32], dim: usize, taken: usize, room: &mut Room) -> Option<()> {
        let Room { hidden, chosen, order: [order, back], sides: [inputs, outputs], .. } = room;
        let order = order.get_mut(..taken)?;
        order.iter_mut().enumerate().for_each(|(at, place)| *place = at);
        order.sort_unstable_by_key(|place| (chosen[*place], *place));
        for (row, (place, input)) in order.iter().zip(inputs.chunks_exact_mut(dim)).enumerate() {
            input.copy_from_slice(&x[place / self.per_token * dim..][..dim]);
            back[*place] = row;
        }
        let mut start = 0;
        for run in order.chunk_by(|a, b| chosen[*a] == chosen[*b]) {
            let rows = start * dim..(start + run.len()) * dim;
            let expert = &self.experts[chosen[run[0]] as usize];
            expert.rows(&inputs[rows.clone()], hidden, &mut outputs[rows])?;
            start += run.len();
        }
        Some(())
    }
}

impl Shared {
    fn load(
        gating: Gating,
        (hidden, dim): (usize, usize),
        layer: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let params = [Param::SharedGate, Param::SharedUp, Param::SharedDown];
        let shape = Shape { dim, hidden, bias: false };
        let owner = Owner::from(Some(layer));
        Ok(Self {
            mlp: Mlp::gated(weights, params, owner, shape, gating)?,
            measure: Linear::load(weights, Param::SharedRouter, owner, (1, dim), false)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let measure = sigmoid(&self.measure.forward(x)?)?; // (batch, seq, 1)
        Ok(self.mlp.forward(x)?.broadcast_mul(&measure)?)
    }

    /// Adds to rows in a slice what [`Shared::forward`] makes of `x`.
    fn add_rows(&self, x: &[f32], dim: usize, room: &mut Room, y: &mut [f32]) -> Option<()> {
        let Room { hidden, scores, sides: [out, _], .. } = room;
        let rows = x.len() / dim;
        let (measures, out) = (scores.get_mut(..rows)?, out.get_mut(..x.len())?);
        self.measure.rows(x, measures)?;
        self.mlp.rows(x, hidden, out)?;
        let rows = y.chunks_exact_mut(dim).zip(out.chunks_exact(dim)).zip(measures);
        for ((y, out), measure) in rows {
            let measure = ((-*measure).exp() + 1.0).recip();
            y.iter_mut().zip(out).for_each(|(y, out)| *y += out * measure);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
