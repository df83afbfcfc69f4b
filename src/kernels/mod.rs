//! The only `unsafe`, SIMD, `CustomOp` and `cfg(feature)` in the crate. Each entry point is
//! *offered*: it answers `None` where it has no fast path for this device, dtype and shape, and
//! the caller computes plainly. No model code is here.
#![allow(unsafe_code)]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(unused, reason = "what only AVX and AMX reach is not reached elsewhere")
)]

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod blocks;
mod dots;
mod elementwise;
mod few;
mod fill;
mod format;
mod fused;
mod grad;
mod isa;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod many;
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
mod turn;
mod unary;

pub use attention::{Attending, attend};
pub use attention::{CODE_GROUP, CODE_MAX, CODE_NONE, CODE_ONE, CODE_SCALES, CODE_STEPS};
pub use attention::{Slots, attend_rows, coded_width, encode};
pub use elementwise::{activate, activate_row, activate_times, activate_times_row};
pub use elementwise::{add, add_row, copy_row, softcap, softcap_row};
pub use fill::Packer;
pub use format::Format;
pub use fused::softmax;
pub use grad::{IGNORED, cross_entropy, linear, rounded};
pub use isa::Isa;
pub use memory::{keep_memory, keep_memory_together, zeros};
pub use norm::{layer_norm, norm_rows, rms_norm};
pub use packed::Packed;
pub(crate) use plainly::offering;
pub use plainly::plainly;
pub(crate) use pool::each;
pub use pool::{set_threads, threads};
pub use product::{gated, gated_down, gated_down_rows, gated_rows, products, products_rows};
pub use rotate::{rotate, rotate_row};
pub use stream::{Bandwidth, bandwidth, streamed};
pub use unary::Activation;
