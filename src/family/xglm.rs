//! XGLM (Lin et al. 2021, 2112.10668): fixed sinusoidal positions.

use serde_json::json;

use super::classic::{Act, USUAL, Words, classic};
use super::config::Config;
use crate::error::Result;
use crate::spec::{AbsolutePosition, Spec};
use crate::weights::{Names, Param, plain};

const WORDS: Words = Words {
    dim: "d_model",
    n_layers: "num_layers",
    n_heads: "attention_heads",
    hidden_dim: Some("ffn_dim"),
    eps: None,
    activation: Act::Named("activation_function", "gelu"),
    tied: true,
    ..USUAL
};

/// `XGLMConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["dropout", "activation_dropout", "layerdrop", "init_std"]);
    config.only("add_cross_attention", &json!(false))?;
    let mut spec = classic(config, &WORDS)?;
    spec.embedding.position =
        AbsolutePosition::Sinusoidal { theta: 10_000.0, offset: 2, halves: true };
    if config.flag_or("scale_embedding", true)? {
        spec.embedding.scale = (spec.dim as f64).sqrt();
    }
    Ok(spec)
}

/// Where `XGLMForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.self_attn_layer_norm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.out_proj"),
        plain(Param::MlpNorm, "layers.{}.final_layer_norm"),
        plain(Param::Up, "layers.{}.fc1"),
        plain(Param::Down, "layers.{}.fc2"),
        plain(Param::FinalNorm, "layer_norm"),
        plain(Param::Head, "lm_head"),
    ],
    // The table of sines, kept as a buffer by old versions.
    ignored: &["embed_positions.weights"],
};
