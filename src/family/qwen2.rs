//! Qwen 2 and 2.5 (Yang et al. 2024, 2407.10671): Llama with biases on queries, keys and values.

use super::common::{GatedDefaults, gated, window_or, windows};
use super::config::Config;
use crate::error::Result;
use crate::spec::Spec;

/// `Qwen2Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults =
        GatedDefaults { n_kv_heads: Some(32), max_seq_len: 32_768, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    for layer in &mut spec.layers {
        layer.attention.qkv_bias = true;
    }
    upper_windows(config, &mut spec)?;
    Ok(spec)
}

/// A window counts only with `use_sliding_window`, and then from layer `max_window_layers` on.
pub(crate) fn upper_windows(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    config.irrelevant(&["use_mrope"]); // positions of images; text has none
    if !config.flag_or("use_sliding_window", false)? {
        config.irrelevant(&["sliding_window", "max_window_layers"]);
        // transformers lets a layer slide without a window, which hides nothing.
        config.irrelevant(&["layer_types"]);
        return Ok(());
    }
    let window = window_or(config, 4096)?;
    let first = config.size_or("max_window_layers", 28)?;
    windows(config, spec, window, |layer| window.is_some() && layer >= first)
}
