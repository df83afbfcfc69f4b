//! Normalisation over the last axis. Where norms stand in a block is `block.rs`'s affair.

use candle_core::{D, DType, Device, Tensor};

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
    whole: Whole,
}

/// What the kernels take: 1 and 0 stand where nothing is trained.
#[derive(Debug, Clone)]
struct Whole {
    weight: Tensor,       // (width) or (heads, width)
    bias: Option<Tensor>, // the same; `None` where no mean is taken off
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
        Self::new(spec, weight, bias, weights.device(), &[width])
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
        Self::new(spec, weight, None, weights.device(), &[heads, width])
    }

    fn new(
        spec: spec::Norm,
        weight: Option<Tensor>,
        bias: Option<Tensor>,
        device: &Device,
        shape: &[usize],
    ) -> Result<Self> {
        let or = |trained: &Option<Tensor>, value: f32| match trained {
            Some(trained) => Ok(trained.clone()),
            None => Tensor::full(value, shape, device),
        };
        let bias_or = match spec {
            spec::Norm::Layer { .. } => Some(or(&bias, 0.0)?),
            spec::Norm::Rms { .. } => None,
        };
        let whole = Whole { weight: or(&weight, 1.0)?, bias: bias_or };
        Ok(Self { spec, weight, bias, whole })
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
        let x = match self.spec {
            spec::Norm::Layer { .. } => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
            spec::Norm::Rms { .. } => x,
        };
        let spread = (x.sqr()?.mean_keepdim(D::Minus1)? + self.eps())?.sqrt()?; // (…, 1)
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
    pub(super) fn rows(&self, x: &[f32], to: &mut [f32]) -> Option<()> {
        let Whole { weight, bias } = &self.whole;
        kernels::norm_rows(x, weight, bias.as_ref(), self.eps(), to)
    }

    fn offered(&self, x: &Tensor) -> Result<Option<Tensor>> {
        let Whole { weight, bias } = &self.whole;
        match bias {
            None => kernels::rms_norm(x, weight, self.eps()),
            Some(bias) => kernels::layer_norm(x, weight, bias, self.eps()),
        }
    }

    fn eps(&self) -> f64 {
        match self.spec {
            spec::Norm::Layer { eps, .. } | spec::Norm::Rms { eps, .. } => eps,
        }
    }
}
