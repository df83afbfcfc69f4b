//! Qwen 3 MoE (Yang et al. 2025, 2505.09388): Qwen 3 with eight of 128 experts a token.

use super::common::{GatedDefaults, attention_biases, gated};
use super::config::Config;
use super::moe::{ExpertDefaults, experts, softmax_routing, sparsely, window_everywhere};
use crate::error::Result;
use crate::spec::{QkNorm, Spec};

/// `Qwen3MoeConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults =
        GatedDefaults { n_kv_heads: Some(4), max_seq_len: 32_768, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = Some(QkNorm::PerHead(layer.norm));
    }
    let defaults = ExpertDefaults { n_experts: 128, per_token: 8 };
    let mut experts = experts(config, &spec, softmax_routing(config)?, defaults)?;
    experts.hidden_dim = config.size_or("moe_intermediate_size", 768)?;
    sparsely(config, &mut spec, &experts)?;
    // All layers slide, or none: what Qwen 3 does with this number, its MoE does not.
    config.irrelevant(&["max_window_layers"]);
    match config.flag_or("use_sliding_window", false)? {
        true => window_everywhere(config, &mut spec)?,
        false => config.irrelevant(&["sliding_window"]),
    }
    Ok(spec)
}
