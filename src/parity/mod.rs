//! Are the numbers PyTorch's? Traces of activations, and where two of them part. Nothing is
//! computed here but differences.

mod compare;
mod trace;

pub use crate::nn::Recorder;
pub use compare::{Difference, compare};
pub use trace::{Trace, record};
