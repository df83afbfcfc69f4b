//! The feed-forward branch: dense, or of experts. What either computes is in their own files.

use candle_core::Tensor;

use super::mlp::{Mlp, Shape};
use super::moe::{Experts, Room};
use crate::error::Result;
use crate::spec::{self, Gating};
use crate::weights::{Owner, Param, Weights};

/// The feed-forward branch of a block.
#[derive(Debug)]
pub enum FeedForward {
    /// One that every token takes.
    Dense(Mlp),
    /// Several, of which every token takes a few.
    Experts(Experts),
}

impl FeedForward {
    pub(crate) fn load(
        spec: &spec::FeedForward,
        dim: usize,
        layer: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let owner = Owner::from(Some(layer));
        Ok(match *spec {
            spec::FeedForward::Plain { hidden_dim: hidden, activation, bias } => {
                let shape = Shape { dim, hidden, bias };
                Self::Dense(Mlp::plain(weights, owner, shape, activation)?)
            }
            spec::FeedForward::Gated { hidden_dim: hidden, activation, bias } => {
                let params = [Param::Gate, Param::Up, Param::Down];
                let shape = Shape { dim, hidden, bias };
                let gating = Gating::Plain(activation);
                Self::Dense(Mlp::gated(weights, params, owner, shape, gating)?)
            }
            spec::FeedForward::Experts(ref experts) => {
                Self::Experts(Experts::load(experts, dim, layer, weights)?)
            }
        })
    }

    /// [`FeedForward::forward`] of rows in a slice.
    pub(super) fn token(&self, x: &[f32], room: &mut Room, y: &mut [f32]) -> Option<()> {
        match self {
            Self::Dense(mlp) => mlp.rows(x, &mut room.hidden, y),
            Self::Experts(experts) => experts.rows(x, room, y),
        }
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(mlp) => mlp.forward(x),
            Self::Experts(experts) => experts.forward(x),
        }
    }
}
