//! One dense feed-forward: every position for itself, up to a wider space and down again. Which
//! tokens an expert gets is `moe.rs`'s affair.

use candle_core::Tensor;
use candle_nn::ops::sigmoid;

use super::activation::Nonlinearity;
use super::linear::Linear;
use crate::error::Result;
use crate::kernels;
use crate::spec::{Activation, Gating};
use crate::weights::{Owner, Param, Weights};

/// `down(act(up(x)))` (Vaswani et al. 2017, 1706.03762, section 3.3), or
/// `down(act(gate(x)) * up(x))` (Shazeer 2020, 2002.05202).
#[derive(Debug)]
pub struct Mlp {
    form: Form,
    up: Linear,   // dim → hidden
    down: Linear, // hidden → dim
}

#[derive(Debug)]
enum Form {
    Plain(Nonlinearity),
    Gated(Linear, Gate), // dim → hidden
}

/// How gate and up are joined: [`Gating`] with what it was trained with.
#[derive(Debug)]
enum Gate {
    Plain(Nonlinearity),
    Clamped { alpha: f64, limit: f64 },
}

/// The widths of a feed-forward, and whether its projections have biases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) dim: usize,
    pub(crate) hidden: usize,
    pub(crate) bias: bool,
}

impl Mlp {
    pub(crate) fn plain(
        weights: &Weights<'_>,
        owner: Owner,
        shape: Shape,
        activation: Activation,
    ) -> Result<Self> {
        let Shape { dim, hidden, bias } = shape;
        Ok(Self {
            form: Form::Plain(Nonlinearity::load(activation, owner, weights)?),
            up: Linear::load(weights, Param::Up, owner, (hidden, dim), bias)?,
            down: Linear::load(weights, Param::Down, owner, (dim, hidden), bias)?,
        })
    }

    /// From the parameters [gate, up, down].
    pub(crate) fn gated(
        weights: &Weights<'_>,
        [gate, up, down]: [Param; 3],
        owner: Owner,
        shape: Shape,
        gating: Gating,
    ) -> Result<Self> {
        let Shape { dim, hidden, bias } = shape;
        let gate = Linear::load(weights, gate, owner, (hidden, dim), bias)?;
        let join = match gating {
            Gating::Plain(activation) => {
                Gate::Plain(Nonlinearity::load(activation, owner, weights)?)
            }
            Gating::Clamped { alpha, limit } => Gate::Clamped { alpha, limit },
        };
        Ok(Self {
            form: Form::Gated(gate, join),
            up: Linear::load(weights, up, owner, (hidden, dim), bias)?,
            down: Linear::load(weights, down, owner, (dim, hidden), bias)?,
        })
    }

    /// Of these projections; the nonlinearity is SiLU.
    #[cfg(test)]
    pub(crate) fn of(gate: Linear, up: Linear, down: Linear, gating: Gating) -> Self {
        let join = match gating {
            Gating::Plain(_) => Gate::Plain(Nonlinearity::Silu),
            Gating::Clamped { alpha, limit } => Gate::Clamped { alpha, limit },
        };
        Self { form: Form::Gated(gate, join), up, down }
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(y) = self.offered(x)? {
            return Ok(y);
        }
        let hidden = match &self.form {
            Form::Plain(activation) => activation.forward(&self.up.forward(x)?)?,
            Form::Gated(gate, join) => self.gated_hidden(gate, join, x)?, // (batch, seq, hidden)
        };
        self.down.forward(&hidden)
    }

    /// [`Mlp::forward`] of rows in a slice, where the kernels have all of it.
    ///
    /// # Shapes
    /// (rows · dim) → (rows · dim)
    pub(super) fn rows(&self, x: &[f32], scratch: &mut [Vec<f32>; 3], y: &mut [f32]) -> Option<()> {
        if self.rows_offered(x, y).is_some() {
            return Some(());
        }
        let (out, input) = self.up.shape()?;
        let width = x.len() / input * out;
        let [hidden, gated, up] = scratch.each_mut().map(|room| room.get_mut(..width));
        let (hidden, gated, up) = (hidden?, gated?, up?);
        match &self.form {
            Form::Plain(activation) => {
                self.up.rows(x, up)?;
                kernels::activate_row(up, activation.fused()?, hidden)?;
            }
            Form::Gated(gate, join) => {
                let fused = join.fused();
                let done = match (gate.as_bare_packed(), self.up.as_bare_packed(), fused) {
                    (Some(gate), Some(up), Some(activation)) => {
                        kernels::gated_rows(x, [gate, up], activation, hidden)
                    }
                    _ => None,
                };
                if done.is_none() {
                    Linear::rows_all([gate, &self.up], x, [&mut *gated, &mut *up])?;
                    join.rows(gated, up, hidden)?;
                }
            }
        }
        self.down.rows(hidden, y)
    }

    /// [`Mlp::offered`] of rows in a slice.
    fn rows_offered(&self, x: &[f32], y: &mut [f32]) -> Option<()> {
        let Form::Gated(gate, join) = &self.form else { return None };
        let [gate, up, down] = [gate, &self.up, &self.down].map(Linear::as_bare_packed);
        kernels::gated_down_rows(x, [gate?, up?, down?], join.fused()?, y)
    }

    /// All of it in one piece, where nobody adds a bias between.
    fn offered(&self, x: &Tensor) -> Result<Option<Tensor>> {
        if let Form::Gated(gate, join) = &self.form
            && let Some(activation) = join.fused()
            && let Some(gate) = gate.as_bare_packed()
            && let Some(up) = self.up.as_bare_packed()
            && let Some(down) = self.down.as_bare_packed()
        {
            return kernels::gated_down(x, [gate, up, down], activation);
        }
        Ok(None)
    }

    /// What goes down: gate and up of `x`, joined.
    fn gated_hidden(&self, gate: &Linear, join: &Gate, x: &Tensor) -> Result<Tensor> {
        let fused = join.fused();
        if let (Some(gate), Some(up)) = (gate.as_bare_packed(), self.up.as_bare_packed())
            && let Some(activation) = fused
            && let Some(hidden) = kernels::gated(x, gate, up, activation)?
        {
            return Ok(hidden);
        }
        let [gate, up] = Linear::forward_all([gate, &self.up], x)?;
        if let Some(activation) = fused
            && let Some(hidden) = kernels::activate_times(&gate, &up, activation)?
        {
            return Ok(hidden);
        }
        join.forward(&gate, up)
    }
}

impl Gate {
    /// What the kernels call it, where they have it.
    fn fused(&self) -> Option<kernels::Activation> {
        match self {
            Self::Plain(activation) => activation.fused(),
            Self::Clamped { .. } => None,
        }
    }

    /// [`Gate::forward`] of numbers in slices.
    fn rows(&self, gate: &[f32], up: &[f32], to: &mut [f32]) -> Option<()> {
        let Self::Clamped { alpha, limit } = self else {
            return kernels::activate_times_row(gate, up, self.fused()?, to);
        };
        let (alpha, limit) = (*alpha as f32, *limit as f32);
        for ((to, gate), up) in to.iter_mut().zip(gate).zip(up) {
            let (gate, up) = (gate.min(limit), up.clamp(-limit, limit));
            *to = gate * ((-(gate * alpha)).exp() + 1.0).recip() * (up + 1.0);
        }
        Some(())
    }

    fn forward(&self, gate: &Tensor, up: Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Plain(activation) => (activation.forward(gate)? * up)?,
            Self::Clamped { alpha, limit } => {
                let gate = gate.minimum(*limit)?;
                let up = up.clamp(-limit, *limit)?;
                (gate.mul(&sigmoid(&(&gate * *alpha)?)?)? * (up + 1.0)?)?
            }
        })
    }
}
