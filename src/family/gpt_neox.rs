//! GPT-NeoX and Pythia (Black et al. 2022, 2204.06745; Biderman et al. 2023, 2304.01373).

use super::common::{activation, head_dim, heads, layers};
use super::config::Config;
use super::rope::{self, RopeDefaults};
use crate::error::Result;
use crate::spec::{
    AbsolutePosition, Attention, Embedding, FeedForward, Head, Layer, Norm, Position, Spec, Wiring,
};
use crate::weights::{Layout, Names, Param, plain, stored};

/// `GPTNeoXConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let dim = config.size("hidden_size")?;
    let n_heads = heads(config, "num_attention_heads")?;
    let head_dim = head_dim(config, dim, n_heads)?;
    let eps = config.number_or("layer_norm_eps", 1e-5)?;
    let norm = Norm::Layer { eps, weight: true, bias: true, offset: 0.0 };
    let max_seq_len = config.size_or("max_position_embeddings", 2048)?;
    let defaults = RopeDefaults { partial: 0.25, ..RopeDefaults::default() };
    let (rope, max_seq_len) = rope::read(config, head_dim, max_seq_len, defaults)?;
    let attention_bias = config.flag_or("attention_bias", true)?;
    let layer = Layer {
        wiring: match config.flag_or("use_parallel_residual", true)? {
            true => Wiring::Parallel { shared_norm: false },
            false => Wiring::Pre,
        },
        norm,
        attention: Attention {
            n_heads,
            n_kv_heads: n_heads,
            head_dim,
            position: Position::Rope(rope),
            qk_norm: None,
            qkv_bias: attention_bias,
            out_bias: attention_bias,
            window: None,
            scale: (head_dim as f64).powf(-0.5),
            softcap: None,
            sinks: false,
        },
        feed_forward: FeedForward::Plain {
            hidden_dim: config.size("intermediate_size")?,
            activation: activation(config, "hidden_act", "gelu")?,
            bias: true,
        },
        residual_scale: 1.0,
    };
    Ok(Spec {
        vocab_size: config.size("vocab_size")?,
        dim,
        max_seq_len,
        embedding: Embedding { scale: 1.0, position: AbsolutePosition::None },
        layers: vec![layer; layers(config, "num_hidden_layers")?],
        final_norm: norm,
        head: Head {
            tied: config.flag_or("tie_word_embeddings", false)?,
            bias: false,
            scale: 1.0,
            softcap: None,
        },
    })
}

/// Where `GPTNeoXForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["gpt_neox.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_in"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        stored(Param::Query, "layers.{}.attention.query_key_value", Layout::GroupedQkv),
        stored(Param::Key, "layers.{}.attention.query_key_value", Layout::GroupedQkv),
        stored(Param::Value, "layers.{}.attention.query_key_value", Layout::GroupedQkv),
        plain(Param::AttentionOut, "layers.{}.attention.dense"),
        plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
        plain(Param::Up, "layers.{}.mlp.dense_h_to_4h"),
        plain(Param::Down, "layers.{}.mlp.dense_4h_to_h"),
        plain(Param::FinalNorm, "final_layer_norm"),
        plain(Param::Head, "embed_out"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"],
};
