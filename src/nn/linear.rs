//! A linear map, `y = x·Wᵀ + b`. One type holds dense and quantised weights, so that nothing else
//! has a quantised twin. It does not know how the weights lay on disk.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Module, Tensor};

use crate::error::Result;
use crate::weights::{Matrix, Owner, Param, Weights};

/// `y = x·Wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>, // (out)
}

#[derive(Debug, Clone)]
enum Weight {
    Dense(Tensor), // (out, in)
    Quantised(QMatMul),
}

impl Linear {
    /// Loads `param` of `owner`, (out, in), with a bias where the spec has one.
    ///
    /// # Errors
    /// A missing or mis-shaped tensor.
    pub fn load(
        weights: &Weights<'_>,
        param: Param,
        owner: impl Into<Owner>,
        (out, input): (usize, usize),
        bias: bool,
    ) -> Result<Self> {
        let owner = owner.into();
        let weight = weights.matrix(param, owner, (out, input))?;
        let bias = if bias { Some(weights.bias(param, owner, out)?) } else { None };
        Self::new(weight, bias)
    }

    /// From a matrix (out, in) and a bias (out).
    ///
    /// # Errors
    /// A quantised type that this device cannot multiply with.
    pub fn new(weight: Matrix, bias: Option<Tensor>) -> Result<Self> {
        let weight = match weight {
            Matrix::Dense(weight) => Weight::Dense(weight),
            Matrix::Quantised(weight) => Weight::Quantised(matmul(weight)?),
        };
        Ok(Self { weight, bias })
    }

    /// # Shapes
    /// (batch, seq, in) → (batch, seq, out)
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Dense(weight) => {
                let (batch, seq, input) = x.dims3()?;
                let rows = x.reshape((batch * seq, input))?;
                rows.matmul(&weight.t()?)?.reshape((batch, seq, ()))?
            }
            // Quantised products take f32 activations, whatever the run's dtype is.
            Weight::Quantised(weight) => {
                weight.forward(&x.to_dtype(DType::F32)?.contiguous()?)?.to_dtype(x.dtype())?
            }
        };
        match &self.bias {
            Some(bias) => Ok(y.broadcast_add(bias)?),
            None => Ok(y),
        }
    }
}

fn matmul(weight: Arc<QTensor>) -> Result<QMatMul> {
    Ok(QMatMul::from_arc(weight)?)
}
