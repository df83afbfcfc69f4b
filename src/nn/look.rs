//! Some rows of a layer's attention once more, from queries and keys that a probe kept, and logits
//! from any residual stream: exactly what the forward pass computes. It runs no layer.

use candle_core::Tensor;

use super::attention::Attention;
use super::decoder::Decoder;
use crate::error::{Error, Result};

/// The attention of some queries, without a matrix of all of them.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The first query's position.
    pub first: usize,
    /// The first key's position; a lone query's window leaves out the keys before.
    pub first_key: usize,
    /// What the softmax reads, (batch, heads, queries, keys), f32.
    pub scores: Tensor,
    /// Attention weights, (batch, heads, queries, keys), f32.
    pub pattern: Tensor,
}

impl Decoder {
    /// The attention of the queries at positions from `first` on, over the keys up to the last of
    /// them. Sites `q_pos` and `k_pos` of that layer are what it is computed from, of a batch
    /// without padding.
    ///
    /// # Shapes
    /// q (batch, heads, queries, head_dim), k (batch, kv_heads, first + queries or more, head_dim)
    ///
    /// # Errors
    /// No such layer; shapes that do not fit.
    pub fn look(&self, layer: usize, q: &Tensor, k: &Tensor, first: usize) -> Result<Rows> {
        self.attention(layer)?.look(q, k, first)
    }

    /// What a layer's output projection makes of heads' weighted sums (site `z`), its bias included.
    ///
    /// # Shapes
    /// (batch, heads, seq, head_dim) → (batch, seq, dim)
    ///
    /// # Errors
    /// No such layer; shapes that do not fit.
    pub fn merge(&self, layer: usize, z: &Tensor) -> Result<Tensor> {
        self.attention(layer)?.merge(z)
    }

    /// Logits of a residual stream, as if the last block had left it: the final norm, then the
    /// head.
    ///
    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, vocab)
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn read_out(&self, x: &Tensor) -> Result<Tensor> {
        self.unembed(&self.normed(x)?)
    }

    fn attention(&self, layer: usize) -> Result<&Attention> {
        let layers = self.spec().layers.len();
        self.attention_of(layer).ok_or_else(|| {
            Error::request("layer", format!("{layer} is none of 0 to {}", layers.saturating_sub(1)))
        })
    }
}
