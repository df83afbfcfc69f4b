//! Attention's definition: softmax(q·kᵀ·scale + mask)·v, plainly. Every kernel is tested against
//! it. It projects nothing and caches nothing.

use candle_core::{D, DType, Tensor};

use super::probe::{Listener, Site};
use crate::error::Result;
use crate::kernels;

/// What turns products of queries and keys into scores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scoring {
    /// Factor on q·kᵀ.
    pub(crate) scale: f64,
    /// `cap · tanh(scores / cap)`.
    pub(crate) softcap: Option<f64>,
    /// Added after the cap, (1 | batch, heads, seq, keys).
    pub(crate) bias: Option<Tensor>,
    /// 0 or −∞, (batch | 1, 1, seq, keys).
    pub(crate) mask: Option<Tensor>,
    /// One more score in every head's softmax, to which no value belongs, (1, heads, 1, 1) in f32.
    pub(crate) sinks: Option<Tensor>,
}

/// Scaled dot-product attention (Vaswani et al. 2017, 1706.03762, section 3.2.1). Each group of
/// `heads / kv_heads` query heads shares a key head, without a copy of it.
///
/// # Shapes
/// q (batch, heads, seq, head_dim), k and v (batch, kv_heads, keys, head_dim) →
/// (batch, heads, seq, head_dim)
pub(crate) fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scoring: &Scoring,
    listener: &mut Listener<'_>,
) -> Result<Tensor> {
    let (batch, heads, seq, head_dim) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    let scores = listener.see(Site::Scores, scores(q, k, scoring)?)?;
    let pattern = listener.see(Site::Pattern, pattern(&scores, scoring)?)?;
    let rows = heads / kv_heads * seq;
    let pattern = pattern.to_dtype(v.dtype())?.reshape((batch, kv_heads, rows, keys))?;
    Ok(pattern.matmul(v)?.reshape((batch, heads, seq, head_dim))?)
}

/// Products of queries and keys, scaled, capped, biased and masked, (batch, heads, seq, keys) in
/// f32; the arguments are [`attend`]'s.
pub(crate) fn scores(q: &Tensor, k: &Tensor, scoring: &Scoring) -> Result<Tensor> {
    let (batch, heads, seq, head_dim) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    // The heads of a group lie side by side, so a group's queries are rows of one matrix.
    let rows = heads / kv_heads * seq;
    let q = q.reshape((batch, kv_heads, rows, head_dim))?;
    // GPT-Neo wants its products in f32, which a CPU has no reason to deny any family.
    let wide =
        |x: &Tensor| if x.device().is_cpu() { x.to_dtype(DType::F32) } else { Ok(x.clone()) };
    let products = wide(&q)?.matmul(&wide(k)?.t()?)?; // (batch, kv_heads, rows, keys)
    scored(products.reshape((batch, heads, seq, keys))?.to_dtype(DType::F32)?, scoring)
}

/// Weights from scores, (batch, heads, seq, keys) both; rows add up to less than 1 beside sinks.
pub(crate) fn pattern(scores: &Tensor, scoring: &Scoring) -> Result<Tensor> {
    match &scoring.sinks {
        Some(sinks) => softmax_beside(scores, sinks),
        None => softmax(scores),
    }
}

fn scored(products: Tensor, scoring: &Scoring) -> Result<Tensor> {
    let mut scores = (products * scoring.scale)?;
    if let Some(cap) = scoring.softcap {
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    if let Some(bias) = &scoring.bias {
        scores = scores.broadcast_add(bias)?;
    }
    if let Some(mask) = &scoring.mask {
        scores = scores.broadcast_add(mask)?;
    }
    Ok(scores)
}

/// exp(x − max) / Σ exp(x − max) over the last axis, in f32.
pub(super) fn softmax(scores: &Tensor) -> Result<Tensor> {
    if let Some(pattern) = kernels::softmax(scores)? {
        return Ok(pattern);
    }
    let exp = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?)
}

/// The softmax of `scores` with one more column, which is then left out: rows add up to less
/// than 1.
fn softmax_beside(scores: &Tensor, sinks: &Tensor) -> Result<Tensor> {
    let (batch, heads, seq, keys) = scores.dims4()?;
    let sinks = sinks.broadcast_as((batch, heads, seq, 1))?.contiguous()?;
    let pattern = softmax(&Tensor::cat(&[scores, &sinks], D::Minus1)?)?;
    Ok(pattern.narrow(D::Minus1, 0, keys)?.contiguous()?)
}
