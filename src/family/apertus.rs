//! Apertus (Swiss AI 2025, 2509.14233): no gate but xIELU between the projections, and a norm on
//! every query and key head.

use serde_json::json;

use super::common::{GatedDefaults, attention_biases, gated, ungated};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Position, QkNorm, RopeScaling, Spec};
use crate::weights::{Layout, Names, Param, bare, plain};

/// `ApertusConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        max_seq_len: 65_536,
        eps: 1e-5,
        activation: ("hidden_act", "xielu"),
        rope: RopeDefaults { theta: 12e6, partial: 1.0 },
        ..GatedDefaults::default()
    };
    config.only("qk_norm", &json!(true))?;
    for key in ["post_norm", "mlp_bias"] {
        config.only(key, &json!(false))?;
    }
    let mut spec = gated(config, defaults)?;
    ungated(&mut spec);
    attention_biases(config, &mut spec, false, true)?;
    let silent = config.value("rope_parameters").or_else(|| config.value("rope_scaling")).is_none();
    for layer in &mut spec.layers {
        layer.attention.qk_norm = Some(QkNorm::PerHead(layer.norm));
        if let Position::Rope(rope) = &mut layer.attention.position
            && silent
        {
            rope.scaling = RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_seq_len: 8192,
            };
        }
    }
    Ok(spec)
}

/// Where `ApertusForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.attention_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::QueryNorm, "layers.{}.self_attn.q_norm"),
        plain(Param::KeyNorm, "layers.{}.self_attn.k_norm"),
        plain(Param::MlpNorm, "layers.{}.feedforward_layernorm"),
        plain(Param::Up, "layers.{}.mlp.up_proj"),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        bare(Param::XieluPositive, "layers.{}.mlp.act_fn.alpha_p", Layout::Plain),
        bare(Param::XieluNegative, "layers.{}.mlp.act_fn.alpha_n", Layout::Plain),
        bare(Param::XieluBeta, "layers.{}.mlp.act_fn.beta", Layout::Plain),
        bare(Param::XieluEps, "layers.{}.mlp.act_fn.eps", Layout::Plain),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
