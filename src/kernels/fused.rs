//! candle's own fused operations, offered where they serve: on the CPU, in f32, and where no
//! gradient is wanted (they have none); where one is, ours. No product is here.

use candle_core::{DType, Tensor};

use super::grad;
use crate::error::Result;

/// Softmax over the last axis.
///
/// # Errors
/// The operation's own.
pub fn softmax(x: &Tensor) -> Result<Option<Tensor>> {
    if !fits(x) {
        return Ok(None);
    }
    Ok(Some(candle_nn::ops::softmax_last_dim(x)?))
}

/// RMSNorm over the last axis with factor `weight`.
///
/// # Errors
/// The operation's own.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    if x.track_op() || weight.track_op() {
        return grad::rms_norm(x, weight, eps);
    }
    if !fits(x) {
        return Ok(None);
    }
    Ok(Some(candle_nn::ops::rms_norm(x, weight, eps as f32)?))
}

/// LayerNorm over the last axis with factor `weight` and summand `bias`.
///
/// # Errors
/// The operation's own.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    if [x, weight, bias].iter().any(|x| x.track_op()) {
        return grad::layer_norm(x, weight, bias, eps);
    }
    if !fits(x) {
        return Ok(None);
    }
    Ok(Some(candle_nn::ops::layer_norm(x, weight, bias, eps as f32)?))
}

/// Rotates the last axis of `x` (batch, heads, seq, head_dim) by tables `cos` and `sin`,
/// (seq, head_dim / 2) or (batch, seq, head_dim / 2); where a gradient is wanted, they may be
/// narrower, and what is beyond them is kept.
///
/// # Errors
/// The operation's own.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Option<Tensor>> {
    if x.track_op() {
        return grad::rotate(x, cos, sin, interleaved);
    }
    if !fits(x) || cos.dims().last().is_none_or(|pairs| 2 * pairs != x.dims()[x.rank() - 1]) {
        return Ok(None);
    }
    Ok(Some(match interleaved {
        true => candle_nn::rotary_emb::rope_i(x, cos, sin)?,
        false => candle_nn::rotary_emb::rope(x, cos, sin)?,
    }))
}

fn fits(x: &Tensor) -> bool {
    super::offering()
        && x.device().is_cpu()
        && x.dtype() == DType::F32
        && x.is_contiguous()
        && !x.track_op()
}
