//! The decoder, in plain candle operations. No family's name occurs here.

mod probe;

pub use probe::{At, Probe, Site};
