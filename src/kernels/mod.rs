//! The only `unsafe`, SIMD, `CustomOp` and `cfg(feature)` in the crate. Each entry point is
//! *offered*: it answers `None` where it has no fast path for this device, dtype and shape, and
//! the caller computes plainly. No model code is here.
#![allow(unsafe_code)]

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod blocks;
mod elementwise;
mod few;
mod fill;
mod format;
mod fused;
mod isa;
mod lanes;
pub mod map;
mod memory;
mod norm;
mod packed;
mod panel;
mod plainly;
mod pool;
mod product;
mod quads;
mod rotate;
mod stream;
mod unary;

pub use attention::{Attending, attend};
pub use elementwise::{activate_times, add};
pub use fill::Packer;
pub use format::Format;
pub use fused::softmax;
pub use isa::Isa;
pub use norm::{layer_norm, rms_norm};
pub use packed::Packed;
pub(crate) use plainly::offering;
pub use plainly::plainly;
pub use pool::{set_threads, threads};
pub use product::{gated, gated_down, products};
pub use rotate::rotate;
pub use stream::{Bandwidth, bandwidth, streamed};
pub use unary::Activation;
