//! The decoder, in plain candle operations: they are the reference, and the path on every device.
//! No family's name occurs here.

mod activation;
mod alibi;
mod attend;
mod attention;
mod block;
mod cache;
mod codes;
mod decoder;
mod edit;
mod embedding;
mod feed_forward;
mod grown;
mod linear;
mod look;
mod mask;
mod mlp;
mod moe;
mod norm;
mod position;
mod probe;
mod recorder;
mod rope;
mod route;
mod step;
mod token;

pub use attention::Attention;
pub use block::Block;
pub use cache::Cache;
pub use decoder::{Decoder, Run};
pub use edit::{HeadEdits, HeadScale};
pub use embedding::{Embedding, Head};
pub use feed_forward::FeedForward;
pub use linear::Linear;
pub use look::Rows;
pub use mlp::Mlp;
pub use moe::Experts;
pub use norm::Norm;
pub use probe::{At, Probe, Site};
pub use recorder::Recorder;
