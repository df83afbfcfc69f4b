//! One block: where its norms stand, and how its two branches meet the residual stream.

use candle_core::Tensor;

use super::attention::{Attention, Place};
use super::feed_forward::FeedForward;
use super::norm::Norm;
use super::probe::Site;
use super::step::Step;
use super::token::{Scratch, Token};
use crate::error::Result;
use crate::kernels;
use crate::spec::{Layer, Wiring};
use crate::weights::{Param, Weights};

/// One decoder block.
///
/// ```text
/// Pre:       x ──┬─ norm ─ attention ──── + ──┬─ norm ─ mlp ──── + ─
///                └────────────────────────┘   └──────────────────┘
/// Post:      x ──┬──────── attention ─ norm ─ + ──┬─────── mlp ─ norm ─ + ─
/// Sandwich:  x ──┬─ norm ─ attention ─ norm ─ + ──┬ norm ─ mlp ─ norm ─ + ─
/// PostSum:   x ──┬──────── attention ──── + ─ norm ──┬──── mlp ──── + ─ norm ─
/// Normed:    x ─ norm ──┬─ attention ──── + ─ norm ──┬──── mlp ──── + ─
/// Parallel:  x ──┬─ norm ─ attention ─┬─ + ─
///                ├─ norm ─ mlp ───────┘  │      (one norm for both if shared)
///                └───────────────────────┘
/// ```
#[derive(Debug)]
pub struct Block {
    attention: Attention,
    mlp: FeedForward,
    norms: Norms,
    layer: usize,
    residual_scale: f64,
}

/// The norms that the wiring has.
#[derive(Debug)]
enum Norms {
    /// Around the branches.
    Sequential {
        attention: Around,
        mlp: Around,
    },
    /// On the residual stream itself, before a branch leaves it or after it joins.
    Stream {
        attention: Around,
        mlp: Around,
    },
    Parallel {
        attention: Norm,
        mlp: Option<Norm>,
    },
}

/// The norms before and after one branch.
#[derive(Debug)]
struct Around {
    before: Option<Norm>,
    after: Option<Norm>,
}

impl Block {
    pub(crate) fn load(
        spec: &Layer,
        dim: usize,
        layer: usize,
        place: Place,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        Ok(Self {
            attention: Attention::load(&spec.attention, dim, layer, place, weights)?,
            mlp: FeedForward::load(&spec.feed_forward, dim, layer, weights)?,
            norms: Norms::load(spec, dim, layer, weights)?,
            layer,
            residual_scale: spec.residual_scale,
        })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: Tensor, step: &mut Step<'_>) -> Result<Tensor> {
        let x = step.listener.see(Site::ResidPre, x)?;
        let x = match &self.norms {
            Norms::Sequential { attention, mlp } => {
                let branch = self.attend(&attention.enter(&x)?, step)?;
                let x = join(x, self.attended(attention.leave(branch)?, step)?)?;
                let x = step.listener.see(Site::ResidMid, x)?;
                let branch = self.feed(&mlp.enter(&x)?, step)?;
                let branch = self.fed(mlp.leave(branch)?, step)?;
                join(x, branch)?
            }
            Norms::Stream { attention, mlp } => {
                let x = attention.enter(&x)?;
                let branch = self.attend(&x, step)?;
                let x = attention.leave(join(x, self.attended(branch, step)?)?)?;
                let x = mlp.enter(&step.listener.see(Site::ResidMid, x)?)?;
                let branch = self.feed(&x, step)?;
                mlp.leave(join(x, self.fed(branch, step)?)?)?
            }
            Norms::Parallel { attention, mlp } => {
                let shared = attention.forward(&x)?;
                let own = match mlp {
                    Some(norm) => norm.forward(&x)?,
                    None => shared.clone(),
                };
                let branch = self.attend(&shared, step)?;
                let attended = self.attended(branch, step)?;
                let branch = self.feed(&own, step)?;
                let fed = self.fed(branch, step)?;
                join(join(x, attended)?, fed)?
            }
        };
        step.listener.see(Site::ResidPost, x)
    }

    /// [`Block::forward`] of one token of each row, whose numbers `scratch` holds, where the kernels have
    /// every step.
    pub(super) fn token(
        &self,
        layer: usize,
        token: &mut Token<'_>,
        scratch: &mut Scratch,
    ) -> Option<()> {
        let Scratch { x, input, branch: [branch, other], heads, fed, .. } = scratch;
        match &self.norms {
            Norms::Sequential { attention, mlp } => {
                let read = attention.enter_token(x, input)?;
                self.attention.token(read, layer, token, heads, branch)?;
                attention.leave_token(branch, other)?;
                self.join_token(x, branch);
                self.mlp.token(mlp.enter_token(x, input)?, fed, branch)?;
                mlp.leave_token(branch, other)?;
                self.join_token(x, branch);
            }
            Norms::Stream { attention, mlp } => {
                norm_token(&attention.before, x, other)?;
                self.attention.token(x, layer, token, heads, branch)?;
                self.join_token(x, branch);
                attention.leave_token(x, other)?;
                norm_token(&mlp.before, x, other)?;
                self.mlp.token(x, fed, branch)?;
                self.join_token(x, branch);
                mlp.leave_token(x, other)?;
            }
            Norms::Parallel { attention, mlp } => {
                attention.rows(x, input)?;
                self.attention.token(input, layer, token, heads, branch)?;
                if let Some(norm) = mlp {
                    norm.rows(x, input)?;
                }
                self.mlp.token(input, fed, other)?;
                self.join_token(x, branch);
                self.join_token(x, other);
            }
        }
        Some(())
    }

    /// The residual stream with the tokens' branch added, and its factor where there is one.
    fn join_token(&self, x: &mut [f32], branch: &[f32]) {
        let scale = self.residual_scale as f32;
        x.iter_mut().zip(branch).for_each(|(x, branch)| *x += branch * scale);
    }

    pub(super) fn attention(&self) -> &Attention {
        &self.attention
    }

    fn attend(&self, x: &Tensor, step: &mut Step<'_>) -> Result<Tensor> {
        let x = step.listener.see(Site::AttnIn, x.clone())?;
        self.attention.forward(&x, self.layer, step)
    }

    fn attended(&self, branch: Tensor, step: &mut Step<'_>) -> Result<Tensor> {
        step.listener.see(Site::AttnOut, self.scaled(branch)?)
    }

    fn feed(&self, x: &Tensor, step: &mut Step<'_>) -> Result<Tensor> {
        let x = step.listener.see(Site::MlpIn, x.clone())?;
        self.mlp.forward(&x)
    }

    fn fed(&self, branch: Tensor, step: &mut Step<'_>) -> Result<Tensor> {
        step.listener.see(Site::MlpOut, self.scaled(branch)?)
    }

    fn scaled(&self, branch: Tensor) -> Result<Tensor> {
        match self.residual_scale {
            1.0 => Ok(branch),
            scale => Ok((branch * scale)?),
        }
    }
}

/// The residual stream with a branch added.
fn join(x: Tensor, branch: Tensor) -> Result<Tensor> {
    match kernels::add(&x, &branch)? {
        Some(sum) => Ok(sum),
        None => Ok((x + branch)?),
    }
}

/// `x` becomes its norm, where there is one; what `other` holds then is of no use.
fn norm_token(norm: &Option<Norm>, x: &mut Vec<f32>, other: &mut Vec<f32>) -> Option<()> {
    if let Some(norm) = norm {
        norm.rows(x, other)?;
        std::mem::swap(x, other);
    }
    Some(())
}

impl Norms {
    fn load(spec: &Layer, dim: usize, layer: usize, weights: &Weights<'_>) -> Result<Self> {
        let norm = |param| Norm::load(weights, param, Some(layer), spec.norm, dim);
        let (before, after) = match spec.wiring {
            Wiring::Parallel { shared_norm } => {
                let mlp = if shared_norm { None } else { Some(norm(Param::MlpNorm)?) };
                return Ok(Self::Parallel { attention: norm(Param::AttentionNorm)?, mlp });
            }
            Wiring::Pre | Wiring::Normed => (true, false),
            Wiring::Post | Wiring::PostSum => (false, true),
            Wiring::Sandwich => (true, true),
        };
        let around = |first: Param, last: Param| -> Result<Around> {
            Ok(Around {
                before: before.then_some(first).map(norm).transpose()?,
                after: after.then_some(last).map(norm).transpose()?,
            })
        };
        let attention = around(Param::AttentionNorm, Param::AttentionOutNorm)?;
        let mlp = around(Param::MlpNorm, Param::MlpOutNorm)?;
        Ok(match spec.wiring {
            Wiring::PostSum | Wiring::Normed => Self::Stream { attention, mlp },
            _ => Self::Sequential { attention, mlp },
        })
    }
}

impl Around {
    fn enter(&self, x: &Tensor) -> Result<Tensor> {
        self.before.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
    }

    /// [`Around::enter`] of one token a row, through `to` where there is a norm.
    fn enter_token<'a>(&self, x: &'a [f32], to: &'a mut [f32]) -> Option<&'a [f32]> {
        let Some(norm) = &self.before else { return Some(x) };
        norm.rows(x, to)?;
        Some(to)
    }

    /// [`Around::leave`] of one token a row, in place.
    fn leave_token(&self, x: &mut Vec<f32>, other: &mut Vec<f32>) -> Option<()> {
        norm_token(&self.after, x, other)
    }

    fn leave(&self, x: Tensor) -> Result<Tensor> {
        match &self.after {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }
}
