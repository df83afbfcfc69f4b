//! The only `unsafe`, SIMD, `CustomOp` and `cfg(feature)` in the crate. Each entry point is
//! *offered*: it answers `None` where it has no fast path for this device, dtype and shape, and
//! the caller computes plainly. No model code is here.

mod fused;
pub mod map;
mod plainly;

pub use fused::{layer_norm, rms_norm, rotate, softmax};
pub(crate) use plainly::offering;
pub use plainly::plainly;
