//! MPT (MosaicML 2023): linear biases for positions, and no other biases at all.

use serde_json::{Value, json};

use super::alibi::slopes;
use super::classic::{Act, GPT2, Words, biases, classic};
use super::common::{layer_norm, normed};
use super::config::Config;
use crate::error::Result;
use crate::spec::{Activation, Alibi, Position, Spec};
use crate::weights::{Layout, Names, Param, plain, stored};

const WORDS: Words = Words {
    dim: "d_model",
    n_layers: "n_layers",
    n_heads: "n_heads",
    max_seq_len: "max_seq_len",
    hidden_dim: None,
    activation: Act::Fixed(Activation::GeluErf),
    default_max_seq_len: 2048,
    ..GPT2
};

/// `MptConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&[
        "init_config",
        "init_device",
        "emb_pdrop",
        "embedding_fraction", // of gradients
        "verbose",
        "tokenizer_name",
        "learned_pos_emb", // there are none beside linear biases
    ]);
    config.only("expansion_ratio", &json!(4))?;
    config.only("no_bias", &json!(true))?;
    config.only("logit_scale", &Value::Null)?;
    let mut spec = classic(config, &WORDS)?;
    biases(&mut spec, false, false);
    normed(&mut spec, |norm| layer_norm(norm, true, false));
    let (mut clip, mut scale) = (None, None);
    if let Some(attention) = config.maybe_object("attn_config")? {
        attention.irrelevant(super::irrelevant::IRRELEVANT);
        attention.irrelevant(&["attn_impl"]);
        attention.only("attn_type", &json!("multihead_attention"))?;
        attention.only("alibi", &json!(true))?;
        attention.only("alibi_bias_max", &json!(8))?; // transformers takes 8 in any case
        for key in ["prefix_lm", "qk_ln", "attn_uses_sequence_id", "is_encoder_decoder"] {
            attention.only(key, &json!(false))?;
        }
        clip = attention.maybe_number("clip_qkv")?.filter(|clip| *clip != 0.0);
        scale = attention.maybe_number("softmax_scale")?;
    }
    for layer in &mut spec.layers {
        let slopes = slopes(layer.attention.n_heads);
        layer.attention.position = Position::Alibi(Alibi { slopes, scale: 1.0, rounded: false });
        layer.attention.clip = clip;
        layer.attention.scale = scale.unwrap_or(layer.attention.scale);
    }
    Ok(spec)
}

/// Where `MptForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "wte"),
        plain(Param::AttentionNorm, "blocks.{}.norm_1"),
        stored(Param::Query, "blocks.{}.attn.Wqkv", Layout::FusedQkv),
        stored(Param::Key, "blocks.{}.attn.Wqkv", Layout::FusedQkv),
        stored(Param::Value, "blocks.{}.attn.Wqkv", Layout::FusedQkv),
        plain(Param::AttentionOut, "blocks.{}.attn.out_proj"),
        plain(Param::MlpNorm, "blocks.{}.norm_2"),
        plain(Param::Up, "blocks.{}.ffn.up_proj"),
        plain(Param::Down, "blocks.{}.ffn.down_proj"),
        plain(Param::FinalNorm, "norm_f"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &[],
};
