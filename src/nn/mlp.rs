//! The feed-forward branch: every position for itself, up to a wider space and down again.

use candle_core::{DType, Tensor};

use super::linear::Linear;
use crate::error::Result;
use crate::spec::{Activation, FeedForward};
use crate::weights::{Param, Weights};

/// `down(act(up(x)))` (Vaswani et al. 2017, 1706.03762, section 3.3), or
/// `down(act(gate(x)) * up(x))` (Shazeer 2020, 2002.05202).
#[derive(Debug)]
pub struct Mlp {
    gate: Option<Linear>, // dim → hidden
    up: Linear,           // dim → hidden
    down: Linear,         // hidden → dim
    activation: Nonlinearity,
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
            activation: Nonlinearity::load(activation, layer, weights)?,
        })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let up = self.up.forward(x)?; // (batch, seq, hidden)
        let hidden = match &self.gate {
            Some(gate) => (self.activation.forward(&gate.forward(x)?)? * up)?,
            None => self.activation.forward(&up)?,
        };
        self.down.forward(&hidden)
    }
}

/// A nonlinearity, with what it was trained with.
#[derive(Debug)]
pub(crate) enum Nonlinearity {
    GeluErf,
    GeluTanh,
    Silu,
    Relu,
    ReluSquared,
    /// `p · x² + beta · x` for x > 0, else `n · (exp(min(x, eps)) − 1 − x) + beta · x`, with
    /// p = softplus(positive) and n = beta + softplus(negative) (Huang & Schlag 2024, 2411.13010).
    Xielu {
        positive: Tensor,
        negative: Tensor,
        beta: Tensor,
        eps: Tensor,
    },
}

impl Nonlinearity {
    pub(crate) fn load(
        activation: Activation,
        layer: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        Ok(match activation {
            Activation::GeluErf => Self::GeluErf,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::Silu => Self::Silu,
            Activation::Relu => Self::Relu,
            Activation::ReluSquared => Self::ReluSquared,
            Activation::Xielu => {
                let scalar = |param| weights.scalar(param, Some(layer));
                Self::Xielu {
                    positive: scalar(Param::XieluPositive)?,
                    negative: scalar(Param::XieluNegative)?,
                    beta: scalar(Param::XieluBeta)?,
                    eps: scalar(Param::XieluEps)?,
                }
            }
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::GeluErf => x.gelu_erf()?,
            Self::GeluTanh => x.gelu()?,
            Self::Silu => x.silu()?,
            Self::Relu => x.relu()?,
            Self::ReluSquared => x.relu()?.sqr()?,
            Self::Xielu { positive, negative, beta, eps } => {
                let dtype = x.dtype();
                let x = x.to_dtype(DType::F32)?;
                let right = x.sqr()?.broadcast_mul(&softplus(positive)?)?;
                let exp_less_1 = (x.broadcast_minimum(eps)?.exp()? - 1.0)?;
                let negative = (softplus(negative)? + beta)?;
                let left = (exp_less_1 - &x)?.broadcast_mul(&negative)?;
                let curved = x.gt(0.0)?.where_cond(&right, &left)?;
                (curved + x.broadcast_mul(beta)?)?.to_dtype(dtype)?
            }
        })
    }
}

/// `ln(1 + exp(x))`.
fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok((x.exp()? + 1.0)?.log()?)
}
