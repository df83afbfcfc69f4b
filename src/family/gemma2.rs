//! Gemma 2 (Gemma Team 2024, 2408.00118): norms before and after each branch, capped scores and
//! logits, a window on every other layer.

use super::common::{GatedDefaults, attention_biases, gated, normed, windows};
use super::config::Config;
use crate::error::Result;
use crate::spec::{Norm, Spec, Wiring};
use crate::weights::{Names, Param, plain};

use serde_json::json;

/// `Gemma2Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(256),
        n_kv_heads: Some(4),
        max_seq_len: 8192,
        tied: true,
        activation: ("hidden_activation", "gelu_pytorch_tanh"),
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    config.only("use_bidirectional_attention", &json!(false))?;
    // These stand in older files and are not read.
    config.irrelevant(&["hidden_act", "cache_implementation"]);
    attention_biases(config, &mut spec, false, true)?;
    let scale = config.number_or("query_pre_attn_scalar", 256.0)?.powf(-0.5);
    let softcap = capped(config, "attn_logit_softcapping", 50.0)?;
    spec.embedding.scale = (spec.dim as f64).sqrt();
    normed(&mut spec, unit_offset);
    spec.head.softcap = capped(config, "final_logit_softcapping", 30.0)?;
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Sandwich;
        layer.attention.scale = scale;
        layer.attention.softcap = softcap;
    }
    let window = config.size_or("sliding_window", 4096)?;
    windows(config, &mut spec, Some(window), |layer| layer.is_multiple_of(2))?;
    Ok(spec)
}

/// Gemma stores a norm's factor less 1.
pub(crate) fn unit_offset(norm: Norm) -> Norm {
    match norm {
        Norm::Rms { eps, weight, .. } => Norm::Rms { eps, weight, offset: 1.0 },
        other => other,
    }
}

/// Absent means the default cap, null means none.
pub(crate) fn capped(config: &Config<'_>, key: &str, default: f64) -> Result<Option<f64>> {
    match config.has(key) {
        true => config.maybe_number(key),
        false => Ok(Some(config.number_or(key, default)?)),
    }
}

/// Where `Gemma2ForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::AttentionOutNorm, "layers.{}.post_attention_layernorm"),
        plain(Param::MlpNorm, "layers.{}.pre_feedforward_layernorm"),
        plain(Param::Gate, "layers.{}.mlp.gate_proj"),
        plain(Param::Up, "layers.{}.mlp.up_proj"),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        plain(Param::MlpOutNorm, "layers.{}.post_feedforward_layernorm"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
