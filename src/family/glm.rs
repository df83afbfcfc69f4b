//! GLM-4 and its kin (GLM Team 2024, 2406.12793): half of every head turned, in neighbouring
//! dimensions.

use super::common::{GatedDefaults, attention_biases, gated, interleave};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::Spec;
use crate::weights::{Layout, Names, Param, plain, stored};

/// `GlmConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(128),
        n_kv_heads: Some(2),
        max_seq_len: 131_072,
        eps: 1.562_5e-7,
        rope: RopeDefaults { partial: 0.5, ..RopeDefaults::default() },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, true, false)?;
    interleave(&mut spec);
    Ok(spec)
}

/// Where `GlmForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::AttentionOutNorm, "layers.{}.post_self_attn_layernorm"),
        plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
        stored(Param::Gate, "layers.{}.mlp.gate_up_proj", Layout::FusedGateUp),
        stored(Param::Up, "layers.{}.mlp.gate_up_proj", Layout::FusedGateUp),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        plain(Param::MlpOutNorm, "layers.{}.post_mlp_layernorm"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
