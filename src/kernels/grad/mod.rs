//! Fast paths where a gradient is wanted: operations of candle's autograd with a backward pass of
//! their own, offered on the CPU in f32. They start no threads: who trains has a thread a core.

mod attention;
mod gate;
mod linear;
mod loss;
mod norm;
mod numbers;
mod product;
mod rope;
mod rounded;
#[cfg(target_arch = "x86_64")]
mod tiles;

use candle_core::{DType, Tensor};

pub(super) use attention::attend;
pub(super) use gate::{activate, activate_times};
pub use linear::linear;
pub use loss::{IGNORED, cross_entropy};
pub(super) use norm::{layer_norm, rms_norm};
pub(super) use rope::rotate;
pub use rounded::rounded;

/// Whether these fast paths serve for a tensor.
fn fits(x: &Tensor) -> bool {
    super::offering() && x.device().is_cpu() && x.dtype() == DType::F32 && x.elem_count() > 0
}
