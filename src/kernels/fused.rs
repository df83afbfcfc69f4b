//! candle's own fused operations, offered where they serve: on the CPU, in f32, and where no
//! gradient is wanted (they have none). No product is here.

use candle_core::{DType, Tensor};

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
    if !fits(x) || weight.track_op() {
        return Ok(None);
    }
    Ok(Some(candle_nn::ops::rms_norm(x, weight, eps as f32)?))
}

/// LayerNorm over the last axis with factor `weight` and summand `bias`.
///
/// # Errors
/// The operation's own.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    if !fits(x) || weight.track_op() || bias.track_op() {
        return Ok(None);
    }
    Ok(Some(candle_nn::ops::layer_norm(x, weight, bias, eps as f32)?))
}

/// Rotates all of the last axis of `x` (batch, heads, seq, head_dim) by tables `cos` and `sin`,
/// (seq, head_dim / 2) or (batch, seq, head_dim / 2).
///
/// # Errors
/// The operation's own.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Option<Tensor>> {
    if !fits(x) {
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
