//! What a model is, and what happens inside it. Nothing is changed by looking.

mod summary;

pub use summary::{LayerGroup, Summary};
