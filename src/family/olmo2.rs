//! OLMo 2 (OLMo Team 2025, 2501.00656): norms on what the branches give instead of on what they
//! take, and one over all query heads and over all key heads.

use super::common::{GatedDefaults, attention_biases, gated};
use super::config::Config;
use crate::error::Result;
use crate::spec::{QkNorm, Spec, Wiring};
use crate::weights::{Names, Param, plain};

/// `Olmo2Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = gated(config, GatedDefaults { eps: 1e-5, ..GatedDefaults::default() })?;
    rewire(config, &mut spec)?;
    Ok(spec)
}

/// Norms behind the branches and over whole widths.
pub(crate) fn rewire(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    config.irrelevant(&["pretraining_tp"]);
    attention_biases(config, spec, false, true)?;
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Post;
        layer.attention.qk_norm = Some(QkNorm::Full(layer.norm));
    }
    Ok(())
}

/// Where `Olmo2ForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::QueryNorm, "layers.{}.self_attn.q_norm"),
        plain(Param::KeyNorm, "layers.{}.self_attn.k_norm"),
        plain(Param::AttentionOutNorm, "layers.{}.post_attention_layernorm"),
        plain(Param::Gate, "layers.{}.mlp.gate_proj"),
        plain(Param::Up, "layers.{}.mlp.up_proj"),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        plain(Param::MlpOutNorm, "layers.{}.post_feedforward_layernorm"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
