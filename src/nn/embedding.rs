//! The two ends of the decoder: token ids to vectors, and vectors to logits.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Tensor};

use super::linear::Linear;
use super::norm::Norm;
use super::position::Absolute;
use super::step::Positions;
use crate::error::Result;
use crate::kernels::Packed;
use crate::spec::{self, Spec};
use crate::weights::{Matrix, Param, Weights, gather_rows};

/// Token ids to vectors.
#[derive(Debug)]
pub struct Embedding {
    table: Table,
    scale: f64,
    widen: Option<Linear>, // width → dim
    position: Absolute,
    norm: Option<Norm>,
    dtype: DType,
}

#[derive(Debug)]
enum Table {
    Dense(Tensor),           // (vocab, width)
    Quantised(Arc<QTensor>), // (vocab, width), rows dequantised as they are looked up
    Packed(Arc<Packed>),     // (vocab, width), the same
}

impl Embedding {
    pub(crate) fn load(spec: &Spec, weights: &Weights<'_>) -> Result<Self> {
        let (dim, width) = (spec.dim, spec.embedding.width);
        let table = match weights.table(Param::TokenEmbedding, (spec.vocab_size, width))? {
            Matrix::Dense(table) => Table::Dense(table),
            Matrix::Quantised(table) => Table::Quantised(table),
            Matrix::Packed(table) => Table::Packed(table),
        };
        Ok(Self {
            table,
            scale: spec.embedding.scale,
            widen: between(weights, Param::EmbeddingIn, (dim, width))?,
            position: Absolute::load(spec, weights)?,
            norm: match spec.embedding.norm {
                Some(norm) => Some(Norm::load(weights, Param::EmbeddingNorm, None, norm, dim)?),
                None => None,
            },
            dtype: weights.dtype(),
        })
    }

    /// # Shapes
    /// (batch, seq) → (batch, seq, dim)
    pub(crate) fn forward(&self, ids: &Tensor, positions: &Positions) -> Result<Tensor> {
        let (batch, seq) = ids.dims2()?;
        let flat = ids.flatten_all()?;
        let rows = match &self.table {
            Table::Dense(table) => table.index_select(&flat, 0)?,
            Table::Quantised(table) => gather_rows(table, &flat)?.to_dtype(self.dtype)?,
            Table::Packed(table) => table.rows(&flat)?.to_dtype(self.dtype)?,
        };
        let mut x = rows.reshape((batch, seq, ()))?;
        if self.scale != 1.0 {
            x = (x * self.scale)?; // the factor is rounded to x's dtype
        }
        if let Some(widen) = &self.widen {
            x = widen.forward(&x)?; // (batch, seq, dim)
        }
        x = self.position.add(&x, positions)?;
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }

    fn matrix(&self) -> Matrix {
        match &self.table {
            Table::Dense(table) => Matrix::Dense(table.clone()),
            Table::Quantised(table) => Matrix::Quantised(table.clone()),
            Table::Packed(table) => Matrix::Packed(table.clone()),
        }
    }
}

/// The matrix between the table's width and the residual stream's, where they differ.
fn between(weights: &Weights<'_>, param: Param, shape: (usize, usize)) -> Result<Option<Linear>> {
    match shape.0 == shape.1 {
        true => Ok(None),
        false => Ok(Some(Linear::load(weights, param, None, shape, false)?)),
    }
}

/// Vectors to logits.
#[derive(Debug)]
pub struct Head {
    narrow: Option<Linear>, // dim → width
    linear: Linear,         // width → vocab
    spec: spec::Head,
}

impl Head {
    pub(crate) fn load(spec: &Spec, embedding: &Embedding, weights: &Weights<'_>) -> Result<Self> {
        let width = spec.embedding.width;
        let shape = (spec.vocab_size, width);
        let linear = match spec.head.tied {
            true => {
                weights.tied_duplicate(Param::Head, Param::TokenEmbedding)?;
                let bias = match spec.head.bias {
                    true => Some(weights.bias(Param::Head, None, spec.vocab_size)?),
                    false => None,
                };
                Linear::new(embedding.matrix(), bias)?
            }
            false => Linear::load(weights, Param::Head, None, shape, spec.head.bias)?,
        };
        let narrow = between(weights, Param::EmbeddingOut, (width, spec.dim))?;
        Ok(Self { narrow, linear, spec: spec.head })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, vocab)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut logits = match &self.narrow {
            Some(narrow) => self.linear.forward(&narrow.forward(x)?)?,
            None => self.linear.forward(x)?,
        };
        if self.spec.scale != 1.0 {
            logits = (logits * self.spec.scale)?;
        }
        if let Some(cap) = self.spec.softcap {
            logits = ((logits / cap)?.tanh()? * cap)?;
        }
        Ok(logits)
    }
}
