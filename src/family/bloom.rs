//! BLOOM (BigScience 2022, 2211.05100): linear biases for positions, and a norm on the embeddings.

use super::alibi::slopes;
use super::classic::{Act, GPT2, Words, classic, either};
use super::config::Config;
use crate::error::Result;
use crate::spec::{Activation, Alibi, Position, Spec, Wiring};
use crate::weights::{Layout, Names, Param, plain, stored};

/// `BloomConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&[
        // Other orders of the same operations.
        "pretraining_tp",
        "slow_but_exact",
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "masked_softmax_fusion",
        "skip_bias_add",
        "skip_bias_add_qkv",
        // The width between is four times the stream's, whatever this says.
        "n_inner",
        "offset_alibi",
        "unk_token_id",
    ]);
    let words = Words {
        dim: either(config, &["n_embed", "hidden_size"])?,
        n_layers: either(config, &["n_layer", "num_hidden_layers"])?,
        n_heads: either(config, &["n_head", "num_attention_heads"])?,
        max_seq_len: "seq_length",
        hidden_dim: None,
        activation: Act::Fixed(Activation::GeluTanh),
        default_max_seq_len: 2048,
        ..GPT2
    };
    let mut spec = classic(config, &words)?;
    spec.embedding.norm = spec.final_norm;
    let normed = config.flag_or("apply_residual_connection_post_layernorm", false)?;
    for layer in &mut spec.layers {
        let slopes = slopes(layer.attention.n_heads);
        layer.attention.position = Position::Alibi(Alibi { slopes, scale: 1.0, rounded: false });
        if normed {
            layer.wiring = Wiring::Normed;
        }
    }
    Ok(spec)
}

/// Where `BloomForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "word_embeddings"),
        plain(Param::EmbeddingNorm, "word_embeddings_layernorm"),
        plain(Param::AttentionNorm, "h.{}.input_layernorm"),
        stored(Param::Query, "h.{}.self_attention.query_key_value", Layout::GroupedQkv),
        stored(Param::Key, "h.{}.self_attention.query_key_value", Layout::GroupedQkv),
        stored(Param::Value, "h.{}.self_attention.query_key_value", Layout::GroupedQkv),
        plain(Param::AttentionOut, "h.{}.self_attention.dense"),
        plain(Param::MlpNorm, "h.{}.post_attention_layernorm"),
        plain(Param::Up, "h.{}.mlp.dense_h_to_4h"),
        plain(Param::Down, "h.{}.mlp.dense_4h_to_h"),
        plain(Param::FinalNorm, "ln_f"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &[],
};
