//! A linear map, `y = x·Wᵀ + b`. One type holds dense and quantised weights, so that nothing else
//! has a quantised twin. It does not know how the weights lay on disk.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Module, Tensor};

use crate::error::Result;
use crate::kernels::{self, Packed};
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
    Packed(Arc<Packed>),
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
            Matrix::Packed(weight) => Weight::Packed(weight),
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
            Weight::Dense(weight) => dense(x, weight)?,
            Weight::Packed(weight) => packed(x, weight)?,
            // Quantised products take f32 activations, whatever the run's dtype is.
            Weight::Quantised(weight) => {
                weight.forward(&x.to_dtype(DType::F32)?.contiguous()?)?.to_dtype(x.dtype())?
            }
        };
        self.biased(y)
    }

    /// What each of `linears` makes of the same `x`, computed side by side where all are packed.
    ///
    /// # Shapes
    /// (batch, seq, in) → (batch, seq, out) each
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_all<const N: usize>(linears: [&Self; N], x: &Tensor) -> Result<[Tensor; N]> {
        let packed: Vec<&Packed> = linears.iter().filter_map(|linear| linear.as_packed()).collect();
        let mut outs = Vec::with_capacity(N);
        if packed.len() == N
            && let Some(products) = kernels::products(x, &packed)?
        {
            for (linear, y) in linears.iter().zip(products) {
                outs.push(linear.biased(y)?);
            }
        } else {
            for linear in linears {
                outs.push(linear.forward(x)?);
            }
        }
        outs.try_into().map_err(|_| candle_core::Error::Msg("as many outputs".into()).into())
    }

    /// [`Linear::forward`] of rows in a slice, where the weights are packed.
    ///
    /// # Shapes
    /// (rows · in) → (rows · out)
    pub(super) fn rows(&self, x: &[f32], y: &mut [f32]) -> Option<()> {
        Self::rows_all([self], x, [y])
    }

    /// [`Linear::forward_all`] of rows in a slice, where all weights are packed.
    ///
    /// # Shapes
    /// (rows · in) → (rows · out) each
    pub(super) fn rows_all<const N: usize>(
        linears: [&Self; N],
        x: &[f32],
        mut ys: [&mut [f32]; N],
    ) -> Option<()> {
        let first = linears.first()?.as_packed()?;
        if !linears.iter().all(|linear| linear.as_packed().is_some()) {
            return None;
        }
        let weights = linears.map(|linear| linear.as_packed().unwrap_or(first));
        kernels::products_rows(x, weights, ys.each_mut().map(|y| &mut **y))?;
        for (linear, y) in linears.into_iter().zip(ys) {
            if let Some(bias) = &linear.bias {
                y.chunks_exact_mut(bias.elem_count())
                    .try_for_each(|y| kernels::add_row(y, bias, 0))?;
            }
        }
        Some(())
    }

    /// (out, in), where the weights are packed.
    pub(super) fn shape(&self) -> Option<(usize, usize)> {
        Some(self.as_packed()?.shape())
    }

    /// The packed matrix, where it is one and the outputs have no bias.
    pub(crate) fn as_bare_packed(&self) -> Option<&Packed> {
        self.as_packed().filter(|_| self.bias.is_none())
    }

    /// Whether this run rounds activations to bf16 by request, and not only where weights are coarse.
    pub(crate) fn rounds(&self) -> bool {
        self.as_packed().is_some_and(Packed::is_rounded)
    }

    fn as_packed(&self) -> Option<&Packed> {
        match &self.weight {
            Weight::Packed(weight) => Some(weight),
            Weight::Dense(_) | Weight::Quantised(_) => None,
        }
    }

    fn biased(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => Ok(y.broadcast_add(bias)?),
            None => Ok(y),
        }
    }
}

fn dense(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if let Some(y) = kernels::linear(x, weight)? {
        return Ok(y);
    }
    let (batch, seq, input) = x.dims3()?;
    let rows = x.reshape((batch * seq, input))?;
    Ok(rows.matmul(&weight.t()?)?.reshape((batch, seq, ()))?)
}

fn packed(x: &Tensor, weight: &Packed) -> Result<Tensor> {
    match kernels::products(x, &[weight])?.and_then(|mut products| products.pop()) {
        Some(y) => Ok(y),
        None => dense(x, &weight.dense()?.to_dtype(x.dtype())?),
    }
}

fn matmul(weight: Arc<QTensor>) -> Result<QMatMul> {
    Ok(QMatMul::from_arc(weight)?)
}
