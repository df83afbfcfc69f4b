//! Nonlinearities, and what they were trained with. Where they stand is `mlp.rs`'s affair.

use candle_core::{DType, Tensor};

use crate::error::Result;
use crate::kernels;
use crate::spec::Activation;
use crate::weights::{Owner, Param, Weights};

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
        /// The same for the kernels, where nobody trains it.
        numbers: Option<kernels::Activation>,
    },
}

impl Nonlinearity {
    /// What the kernels call it, where they have it.
    pub(crate) fn fused(&self) -> Option<kernels::Activation> {
        Some(match self {
            Self::GeluErf => kernels::Activation::GeluErf,
            Self::GeluTanh => kernels::Activation::GeluTanh,
            Self::Silu => kernels::Activation::Silu,
            Self::Relu => kernels::Activation::Relu,
            Self::ReluSquared => kernels::Activation::ReluSquared,
            Self::Xielu { numbers, .. } => return *numbers,
        })
    }

    pub(crate) fn load(
        activation: Activation,
        owner: Owner,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        Ok(match activation {
            Activation::GeluErf => Self::GeluErf,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::Silu => Self::Silu,
            Activation::Relu => Self::Relu,
            Activation::ReluSquared => Self::ReluSquared,
            Activation::Xielu => {
                let scalar = |param| weights.vector(param, owner, 1);
                let all = [
                    scalar(Param::XieluPositive)?,
                    scalar(Param::XieluNegative)?,
                    scalar(Param::XieluBeta)?,
                    scalar(Param::XieluEps)?,
                ];
                let trained = all.iter().any(Tensor::track_op);
                let numbers = if trained { None } else { Some(numbers(&all)?) };
                let [positive, negative, beta, eps] = all;
                Self::Xielu { positive, negative, beta, eps, numbers }
            }
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(activation) = self.fused()
            && let Some(y) = kernels::activate(x, activation)?
        {
            return Ok(y);
        }
        Ok(match self {
            Self::GeluErf => x.gelu_erf()?,
            Self::GeluTanh => x.gelu()?,
            Self::Silu => x.silu()?,
            Self::Relu => x.relu()?,
            Self::ReluSquared => x.relu()?.sqr()?,
            Self::Xielu { positive, negative, beta, eps, .. } => {
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

/// xIELU's four numbers, (1) each, as the kernels have them.
fn numbers(all: &[Tensor; 4]) -> Result<kernels::Activation> {
    let number = |x: &Tensor| -> Result<f32> {
        Ok(x.to_dtype(DType::F32)?.reshape(())?.to_scalar::<f32>()?)
    };
    let softplus = |x: f32| (x.exp() + 1.0).ln();
    let [positive, negative, beta, eps] = all.each_ref().map(number);
    let beta = beta?;
    Ok(kernels::Activation::Xielu {
        positive: softplus(positive?),
        negative: softplus(negative?) + beta,
        beta,
        eps: eps?,
    })
}
