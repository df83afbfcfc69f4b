//! Hunyuan's dense models (Tencent 2025): Llama with a norm on every query and key head, behind
//! the rotation.

use serde_json::json;

use super::common::{GatedDefaults, attention_biases, gated};
use super::config::Config;
use crate::error::Result;
use crate::spec::{Position, QkNorm, Rope, RopeScaling, Spec};
use crate::weights::{Names, Param, plain};

/// `HunYuanDenseV1Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    unread(config)?;
    let defaults = GatedDefaults { eps: 1e-5, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    let alpha = alpha(config)?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = Some(QkNorm::PerHeadPlaced(layer.norm));
        if let (Position::Rope(rope), Some(alpha)) = (&mut layer.attention.position, alpha) {
            stretch(rope, alpha);
        }
    }
    Ok(spec)
}

/// "Dynamic" scaling with an `alpha` stretches the base once and for all.
fn stretch(rope: &mut Rope, alpha: f64) {
    let dim = rope.rotary_dim as f64;
    if let RopeScaling::Dynamic { .. } = rope.scaling {
        rope.theta *= alpha.powf(dim / (dim - 2.0));
        rope.scaling = RopeScaling::None;
    }
}

fn alpha(config: &Config<'_>) -> Result<Option<f64>> {
    for key in ["rope_scaling", "rope_parameters"] {
        if let Some(scaling) = config.maybe_object(key)? {
            let alpha = scaling.maybe_number("alpha")?.filter(|alpha| *alpha != 0.0);
            if alpha.is_some() {
                scaling.irrelevant(&["beta_fast", "beta_slow", "mscale", "mscale_all_dim"]);
            }
            return Ok(alpha);
        }
    }
    Ok(None)
}

/// What the published files say for the benefit of their kin with experts and with eyes.
fn unread(config: &Config<'_>) -> Result<()> {
    config.irrelevant(&[
        "pretraining_tp",
        "eod_token_id",
        "im_start_id",
        "im_end_id",
        "im_newline_id",
        "image_token_id",
        "text_start_id",
        "text_end_id",
        "mask_init_id",
        "org_vocab_size",
        "add_classification_head",
        "class_num",
        "pool_type",
        "cla_share_factor",
        "attention_head_dim",
        "norm_type",
        "dense_list",
        "num_experts",
        "num_shared_expert",
        "moe_topk",
    ]);
    config.only("use_qk_norm", &json!(true))?;
    config.only("use_rotary_pos_emb", &json!(true))?;
    for key in ["use_cla", "mlp_bias", "position_embedding_xdrope"] {
        config.only(key, &json!(false))?;
    }
    Ok(())
}

/// Where `HunYuanDenseV1ForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::QueryNorm, "layers.{}.self_attn.query_layernorm"),
        plain(Param::KeyNorm, "layers.{}.self_attn.key_layernorm"),
        plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
        plain(Param::Gate, "layers.{}.mlp.gate_proj"),
        plain(Param::Up, "layers.{}.mlp.up_proj"),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
