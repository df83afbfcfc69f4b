//! Normalisation over the last axis. Where norms stand in a block is `block.rs`'s affair.

use candle_core::{D, DType, Tensor};

use crate::error::Result;
use crate::kernels;
use crate::spec;
use crate::weights::{Param, Weights};

/// LayerNorm (Ba et al. 2016, 1607.06450) or RMSNorm (Zhang & Sennrich 2019, 1910.07467).
///
/// Statistics, factor and summand are f32 whatever the activations' dtype: a sum of squares over a
/// wide axis does not fit into 16 bits.
#[derive(Debug, Clone)]
pub struct Norm {
    spec: spec::Norm,
    weight: Option<Tensor>, // (width) or (heads, width), f32, the offset added
    bias: Option<Tensor>,   // (width), f32
}

impl Norm {
    /// Loads the norm `param` of `layer` over `width` numbers.
    ///
    /// # Errors
    /// A missing or mis-shaped tensor.
    pub fn load(
        weights: &Weights<'_>,
        param: Param,
        layer: Option<usize>,
        spec: spec::Norm,
        width: usize,
    ) -> Result<Self> {
        let (has_weight, has_bias, offset) = match spec {
            spec::Norm::Layer { weight, bias, offset, .. } => (weight, bias, offset),
            spec::Norm::Rms { weight, offset, .. } => (weight, false, offset),
        };
        let weight = match has_weight {
            true => Some((weights.vector(param, layer, width)? + offset)?),
            false => None,
        };
        let bias = match has_bias {
            true => Some(weights.bias(param, layer, width)?.to_dtype(DType::F32)?),
            false => None,
        };
        Ok(Self { spec, weight, bias })
    }

    /// Loads the norm `param` of `layer` over a head's `width` numbers, with a weight of its own
    /// for each of the `heads`: for x (…, heads, width).
    ///
    /// # Errors
    /// A missing or mis-shaped tensor.
    pub(crate) fn load_per_head(
        weights: &Weights<'_>,
        param: Param,
        layer: usize,
        spec: spec::Norm,
        (heads, width): (usize, usize),
    ) -> Result<Self> {
        let (has_weight, offset) = match spec {
            spec::Norm::Layer { weight, offset, .. } => (weight, offset),
            spec::Norm::Rms { weight, offset, .. } => (weight, offset),
        };
        let weight = match has_weight {
            true => Some((weights.head_vectors(param, Some(layer), (heads, width))? + offset)?),
            false => None,
        };
        Ok(Self { spec, weight, bias: None })
    }

    /// # Shapes
    /// (…, width) → (…, width)
    ///
    /// # Errors
    /// Another width than the one loaded.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(y) = self.offered(x)? {
            return Ok(y);
        }
        let dtype = x.dtype();
        let x = x.to_dtype(DType::F32)?;
        let (x, eps) = match self.spec {
            spec::Norm::Layer { eps, .. } => (x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?, eps),
            spec::Norm::Rms { eps, .. } => (x, eps),
        };
        let spread = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?; // (…, 1)
        let mut y = x.broadcast_div(&spread)?;
        if let Some(weight) = &self.weight {
            y = y.broadcast_mul(weight)?;
        }
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(bias)?;
        }
        Ok(y.to_dtype(dtype)?)
    }

    /// The same for rows in a slice, where the kernels have this norm.
    ///
    /// # Shapes
    /// (rows · width) → (rows · width)
    pub(super) fn token(&self, x: &[f32], to: &mut [f32]) -> Option<()> {
        match (self.spec, &self.weight, &self.bias) {
            (spec::Norm::Rms { eps, .. }, Some(weight), None) => {
                kernels::norm_row(x, weight, None, eps, to)
            }
            (spec::Norm::Layer { eps, .. }, Some(weight), Some(bias)) => {
                kernels::norm_row(x, weight, Some(bias), eps, to)
            }
            _ => None,
        }
    }

    fn offered(&self, x: &Tensor) -> Result<Option<Tensor>> {
        if self.weight.as_ref().is_some_and(|weight| weight.rank() > 1) {
            return Ok(None);
        }
        match (self.spec, &self.weight, &self.bias) {
            (spec::Norm::Rms { eps, .. }, Some(weight), None) => kernels::rms_norm(x, weight, eps),
            (spec::Norm::Layer { eps, .. }, Some(weight), Some(bias)) => {
                kernels::layer_norm(x, weight, bias, eps)
            }
            _ => Ok(None),
        }
    }
}
