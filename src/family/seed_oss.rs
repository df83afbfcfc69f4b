//! Seed-OSS (ByteDance 2025): Llama with biases on queries, keys and values.

use super::common::{GatedDefaults, attention_biases, gated, mlp_biases};
use super::config::Config;
use crate::error::Result;
use crate::spec::Spec;

/// `SeedOssConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["pretraining_tp", "residual_dropout"]);
    let defaults = GatedDefaults {
        head_dim: Some(128),
        n_kv_heads: Some(8),
        max_seq_len: 524_288,
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, true, false)?;
    mlp_biases(config, &mut spec, false)?;
    let out_bias = config.flag_or("attention_out_bias", false)?;
    for layer in &mut spec.layers {
        layer.attention.out_bias = out_bias;
    }
    Ok(spec)
}
