//! The feed-forward branch: every position for itself, up to a wider space and down again.

use candle_core::Tensor;

use super::linear::Linear;
use crate::error::Result;
use crate::kernels;
use crate::spec::{Activation, FeedForward};
use crate::weights::{Param, Weights};

/// `down(act(up(x)))` (Vaswani et al. 2017, 1706.03762, section 3.3), or
/// `down(act(gate(x)) * up(x))` (Shazeer 2020, 2002.05202).
#[derive(Debug)]
pub struct Mlp {
    gate: Option<Linear>, // dim → hidden
    up: Linear,           // dim → hidden
    down: Linear,         // hidden → dim
    activation: Activation,
}

impl Mlp {
    pub(crate) fn load(
        spec: &FeedForward,
        dim: usize,
        layer: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let (hidden, activation, bias, gated) = match *spec {
            FeedForward::Plain { hidden_dim, activation, bias } => {
                (hidden_dim, activation, bias, false)
            }
            FeedForward::Gated { hidden_dim, activation, bias } => {
                (hidden_dim, activation, bias, true)
            }
        };
        let load = |param, shape| Linear::load(weights, param, Some(layer), shape, bias);
        Ok(Self {
            gate: if gated { Some(load(Param::Gate, (hidden, dim))?) } else { None },
            up: load(Param::Up, (hidden, dim))?,
            down: load(Param::Down, (dim, hidden))?,
            activation,
        })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = match &self.gate {
            Some(gate) => self.gated(gate, x)?, // (batch, seq, hidden)
            None => activate(&self.up.forward(x)?, self.activation)?,
        };
        self.down.forward(&hidden)
    }

    /// act(gate(x)) * up(x)
    fn gated(&self, gate: &Linear, x: &Tensor) -> Result<Tensor> {
        if let (Some(gate), Some(up)) = (gate.as_bare_packed(), self.up.as_bare_packed())
            && let Some(activation) = fused(self.activation)
            && let Some(hidden) = kernels::gated(x, gate, up, activation)?
        {
            return Ok(hidden);
        }
        let [gate, up] = Linear::forward_all([gate, &self.up], x)?;
        if let Some(activation) = fused(self.activation)
            && let Some(hidden) = kernels::activate_times(&gate, &up, activation)?
        {
            return Ok(hidden);
        }
        Ok((activate(&gate, self.activation)? * up)?)
    }
}

/// What the kernels call it, where they have it.
fn fused(activation: Activation) -> Option<kernels::Activation> {
    match activation {
        Activation::Silu => Some(kernels::Activation::Silu),
        Activation::GeluTanh => Some(kernels::Activation::GeluTanh),
        Activation::Relu => Some(kernels::Activation::Relu),
        Activation::ReluSquared => Some(kernels::Activation::ReluSquared),
        Activation::GeluErf => None,
    }
}

fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        Activation::GeluErf => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Silu => x.silu()?,
        Activation::Relu => x.relu()?,
        Activation::ReluSquared => x.relu()?.sqr()?,
    })
}
