//! The only `unsafe`, SIMD, `CustomOp` and `cfg(feature)` in the crate. No model code.

pub mod map;
