//! Qwen 3 (Yang et al. 2025, 2505.09388): Llama with a norm on every query and key head.

use super::common::{GatedDefaults, attention_biases, gated};
use super::config::Config;
use super::qwen2::upper_windows;
use crate::error::Result;
use crate::spec::{QkNorm, Spec};

/// `Qwen3Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(128),
        n_kv_heads: Some(32),
        max_seq_len: 32_768,
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = Some(QkNorm::PerHead(layer.norm));
    }
    upper_windows(config, &mut spec)?;
    Ok(spec)
}
