//! The two ends of the decoder: token ids to vectors, and vectors to logits.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Tensor};

use super::linear::Linear;
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
    position: Absolute,
    dtype: DType,
}

#[derive(Debug)]
enum Table {
    Dense(Tensor),           // (vocab, dim)
    Quantised(Arc<QTensor>), // (vocab, dim), rows dequantised as they are looked up
    Packed(Arc<Packed>),     // (vocab, dim), the same
}

impl Embedding {
    pub(crate) fn load(spec: &Spec, weights: &Weights<'_>) -> Result<Self> {
        let table = match weights.table(Param::TokenEmbedding, (spec.vocab_size, spec.dim))? {
            Matrix::Dense(table) => Table::Dense(table),
            Matrix::Quantised(table) => Table::Quantised(table),
            Matrix::Packed(table) => Table::Packed(table),
        };
        Ok(Self {
            table,
            scale: spec.embedding.scale,
            position: Absolute::load(spec, weights)?,
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
        self.position.add(&x, positions)
    }

    fn matrix(&self) -> Matrix {
        match &self.table {
            Table::Dense(table) => Matrix::Dense(table.clone()),
            Table::Quantised(table) => Matrix::Quantised(table.clone()),
            Table::Packed(table) => Matrix::Packed(table.clone()),
        }
    }
}

/// Vectors to logits.
#[derive(Debug)]
pub struct Head {
    linear: Linear, // dim → vocab
    spec: spec::Head,
}

impl Head {
    pub(crate) fn load(spec: &Spec, embedding: &Embedding, weights: &Weights<'_>) -> Result<Self> {
        let shape = (spec.vocab_size, spec.dim);
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
        Ok(Self { linear, spec: spec.head })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, vocab)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut logits = self.linear.forward(x)?;
        if self.spec.scale != 1.0 {
            logits = (logits * self.spec.scale)?;
        }
        if let Some(cap) = self.spec.softcap {
            logits = ((logits / cap)?.tanh()? * cap)?;
        }
        Ok(logits)
    }
}
