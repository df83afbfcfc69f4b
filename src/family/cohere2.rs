//! Cohere's Command R7B and A (Cohere 2025, 2504.00698): a window on three layers of four, and no
//! positions on the fourth.

use serde_json::json;

use super::cohere::command;
use super::common::windows;
use super::config::Config;
use crate::error::Result;
use crate::spec::{Position, Spec};

/// `Cohere2Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&[
        "cache_implementation",
        "layer_switch", // `sliding_window_pattern` and `layer_types` say the same
        "order_of_interleaved_layers",
        "position_embedding_type",
        "use_embedding_sharing",
        "use_parallel_embedding",
    ]);
    for key in ["use_gated_activation", "use_parallel_block"] {
        config.only(key, &json!(true))?;
    }
    config.only("use_qk_norm", &json!(false))?;
    let mut spec = command(config, 10_000.0)?;
    let pattern = config.size_or("sliding_window_pattern", 4)?.max(1);
    let window = config.size_or("sliding_window", 4096)?;
    windows(config, &mut spec, Some(window), |layer| !(layer + 1).is_multiple_of(pattern))?;
    for layer in spec.layers.iter_mut().filter(|layer| layer.attention.window.is_none()) {
        layer.attention.position = Position::None;
    }
    Ok(spec)
}
