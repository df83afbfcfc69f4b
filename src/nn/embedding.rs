//! The two ends of the decoder: token ids to vectors, and vectors to logits.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Tensor};

use super::linear::Linear;
use super::norm::Norm;
use super::position::Absolute;
use super::step::Positions;
use super::token::{Scratch, Token};
use crate::error::Result;
use crate::kernels::{self, Packed};
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

    /// [`Embedding::forward`] of one token of each row; its numbers are in `scratch.x` afterwards.
    pub(super) fn token(
        &self,
        ids: &[u32],
        token: &Token<'_>,
        scratch: &mut Scratch,
    ) -> Option<()> {
        let Scratch { x, input, narrow, .. } = scratch;
        let rows = if self.widen.is_some() { &mut *narrow } else { &mut *x };
        let width = rows.len() / ids.len();
        for (row, id) in rows.chunks_exact_mut(width).zip(ids) {
            match &self.table {
                Table::Dense(table) => kernels::copy_row(table, *id as usize, row)?,
                Table::Packed(table) => table.row(*id, row)?,
                Table::Quantised(_) => return None,
            }
        }
        if self.scale != 1.0 {
            let scale = self.scale as f32;
            rows.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(widen) = &self.widen {
            widen.rows(narrow, x)?;
        }
        self.position.add_rows(x, token)?;
        if let Some(norm) = &self.norm {
            norm.rows(x, input)?;
            std::mem::swap(x, input);
        }
        Some(())
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
        let Some(cap) = self.spec.softcap else { return Ok(logits) };
        match kernels::softcap(&logits, cap)? {
            Some(capped) => Ok(capped),
            None => Ok(((logits / cap)?.tanh()? * cap)?),
        }
    }

    /// [`Head::forward`] of rows in a slice.
    ///
    /// # Shapes
    /// x (rows · dim), narrow (rows · width) → (rows · vocab)
    pub(super) fn rows(&self, x: &[f32], narrow: &mut [f32], logits: &mut [f32]) -> Option<()> {
        match &self.narrow {
            Some(matrix) => {
                matrix.rows(x, narrow)?;
                self.linear.rows(narrow, logits)?;
            }
            None => self.linear.rows(x, logits)?,
        }
        if self.spec.scale != 1.0 {
            let scale = self.spec.scale as f32;
            logits.iter_mut().for_each(|logit| *logit *= scale);
        }
        match self.spec.softcap {
            Some(cap) => kernels::softcap_row(logits, cap),
            None => Some(()),
        }
    }
}
