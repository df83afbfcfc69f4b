//! Gemma 3 (Gemma Team 2025, 2503.19786), its language model: Gemma 2 with normed query and key
//! heads in place of capped scores, and a base of its own for the layers that slide.

use serde_json::json;

use super::common::{GatedDefaults, attention_biases, gated_unplaced, normed, windows};
use super::config::Config;
use super::gemma2::unit_offset;
use super::rope::{self, RopeDefaults};
use crate::error::Result;
use crate::spec::{Position, QkNorm, Rope, RopeScaling, Spec, Wiring};
use crate::weights::{Names, Param, plain};

/// `Gemma3TextConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(256),
        n_kv_heads: Some(4),
        max_seq_len: 131_072,
        tied: true,
        activation: ("hidden_activation", "gelu_pytorch_tanh"),
        ..GatedDefaults::default()
    };
    config.irrelevant(&["hidden_act", "cache_implementation"]);
    config.only("use_bidirectional_attention", &json!(false))?;
    let mut spec = gated_unplaced(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    spec.embedding.scale = (spec.dim as f64).sqrt();
    spec.head.softcap = config.maybe_number("final_logit_softcapping")?;
    normed(&mut spec, unit_offset);
    let softcap = config.maybe_number("attn_logit_softcapping")?;
    let scale = config.number_or("query_pre_attn_scalar", 256.0)?.powf(-0.5);
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Sandwich;
        layer.attention.qk_norm = Some(QkNorm::PerHead(layer.norm));
        layer.attention.scale = scale;
        layer.attention.softcap = softcap;
    }
    let pattern = config.size_or("sliding_window_pattern", 6)?.max(1);
    let window = config.size_or("sliding_window", 4096)?;
    windows(config, &mut spec, Some(window), |layer| !(layer + 1).is_multiple_of(pattern))?;
    positions(config, &mut spec)?;
    Ok(spec)
}

/// One base for the layers that slide, another, and what scaling there is, for those that do not.
fn positions(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    let head_dim = spec.layers.first().map_or(0, |layer| layer.attention.head_dim);
    let base = |theta| RopeDefaults { theta, partial: 1.0 };
    let of = |kind: &str, theta: f64| {
        rope::of_layer_type(config, kind, head_dim, spec.max_seq_len, base(theta))
    };
    let (full, max_seq_len) = match of("full_attention", 1e6)? {
        Some(typed) => typed,
        None => rope::read(config, head_dim, spec.max_seq_len, base(1e6))?,
    };
    let sliding = match of("sliding_attention", 1e4)? {
        Some((rope, _)) => rope,
        None => Rope {
            theta: config.number_or("rope_local_base_freq", 1e4)?,
            scaling: RopeScaling::None,
            ..full.clone()
        },
    };
    spec.max_seq_len = max_seq_len;
    for layer in &mut spec.layers {
        let rope = if layer.attention.window.is_some() { &sliding } else { &full };
        layer.attention.position = Position::Rope(rope.clone());
    }
    Ok(())
}

/// Where `Gemma3ForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::QueryNorm, "layers.{}.self_attn.q_norm"),
        plain(Param::KeyNorm, "layers.{}.self_attn.k_norm"),
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
