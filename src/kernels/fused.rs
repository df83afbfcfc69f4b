//! candle's own fused softmax, offered where it serves: on the CPU, in f32, and where no gradient is
//! wanted (it has none). No product is here.

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

fn fits(x: &Tensor) -> bool {
    super::offering()
        && x.device().is_cpu()
        && x.dtype() == DType::F32
        && x.is_contiguous()
        && !x.track_op()
}
