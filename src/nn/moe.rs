//! A mixture of experts: each token's features go to a few of many feed-forwards, and the results
//! come back weighted. How the few are chosen is in `route.rs`.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::sigmoid;

use super::linear::Linear;
use super::mlp::{Mlp, Shape};
use super::route::{Route, route};
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
}

#[cfg(test)]
mod tests;
