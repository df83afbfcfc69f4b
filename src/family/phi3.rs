//! Phi 3, 3.5 and 4 (Abdin et al. 2024, 2404.14219): Llama with fused projections and LongRoPE.

use serde_json::json;

use super::common::{GatedDefaults, gated};
use super::config::Config;
use crate::error::Result;
use crate::spec::{Position, RopeScaling, Spec};
use crate::weights::{Layout, Names, Param, plain, stored};

/// `Phi3Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults { max_seq_len: 4096, eps: 1e-5, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    config.irrelevant(&[
        "original_max_position_embeddings", // read where the scaling needs it
        "interpolate_factor",
        "full_attn_mod",
    ]);
    for key in ["attention_bias", "mlp_bias", "lm_head_bias"] {
        config.only(key, &json!(false))?;
    }
    let window = config.maybe_size("sliding_window")?;
    for layer in &mut spec.layers {
        layer.attention.window = window;
        if let Position::Rope(rope) = &layer.attention.position
            && !matches!(rope.scaling, RopeScaling::None | RopeScaling::LongRope { .. })
        {
            return Err(config.error("rope_scaling", "is of a type that this family has not"));
        }
    }
    Ok(spec)
}

/// Where `Phi3ForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        stored(Param::Query, "layers.{}.self_attn.qkv_proj", Layout::FusedQkv),
        stored(Param::Key, "layers.{}.self_attn.qkv_proj", Layout::FusedQkv),
        stored(Param::Value, "layers.{}.self_attn.qkv_proj", Layout::FusedQkv),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
        stored(Param::Gate, "layers.{}.mlp.gate_up_proj", Layout::FusedGateUp),
        stored(Param::Up, "layers.{}.mlp.gate_up_proj", Layout::FusedGateUp),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
