//! Are the numbers PyTorch's? Traces of activations, and where two of them part. Nothing is
//! computed here but differences.

mod compare;
mod trace;

pub use compare::{Difference, compare};
pub use trace::{Recorder, Trace, record};
