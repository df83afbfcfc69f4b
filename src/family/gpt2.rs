//! GPT-2 (Radford et al. 2019).

use serde_json::json;

use super::common::{activation, head_dim, heads, layers};
use super::config::Config;
use crate::error::Result;
use crate::spec::{
    AbsolutePosition, Attention, Embedding, FeedForward, Head, Layer, Norm, Position, Spec, Wiring,
};
use crate::weights::{Layout, Names, Param, plain, stored};

/// `GPT2Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&[
        "n_ctx",
        "summary_type",
        "summary_use_proj",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_first_dropout",
        // Another order of the same operations; scores are f32 here in any case.
        "reorder_and_upcast_attn",
    ]);
    config.only("add_cross_attention", &json!(false))?;
    let dim = config.size("n_embd")?;
    let n_heads = heads(config, "n_head")?;
    let head_dim = head_dim(config, dim, n_heads)?;
    let eps = config.number_or("layer_norm_epsilon", 1e-5)?;
    let norm = Norm::Layer { eps, weight: true, bias: true, offset: 0.0 };
    let scaled = config.flag_or("scale_attn_weights", true)?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    let scale = if scaled { (head_dim as f64).powf(-0.5) } else { 1.0 };
    let hidden_dim = match config.maybe_size("n_inner")? {
        Some(given) => given,
        None => 4 * dim,
    };
    let act = activation(config, "activation_function", "gelu_new")?;
    let layer = |index: usize| Layer {
        wiring: Wiring::Pre,
        norm,
        attention: Attention {
            n_heads,
            n_kv_heads: n_heads,
            head_dim,
            position: Position::None,
            qk_norm: None,
            qkv_bias: true,
            out_bias: true,
            window: None,
            scale: if by_layer { scale / (index + 1) as f64 } else { scale },
            softcap: None,
            sinks: false,
        },
        feed_forward: FeedForward::Plain { hidden_dim, activation: act, bias: true },
        residual_scale: 1.0,
    };
    Ok(Spec {
        vocab_size: config.size("vocab_size")?,
        dim,
        max_seq_len: config.size("n_positions")?,
        embedding: Embedding { scale: 1.0, position: AbsolutePosition::Learned { offset: 0 } },
        layers: (0..layers(config, "n_layer")?).map(layer).collect(),
        final_norm: norm,
        head: Head {
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: false,
            scale: 1.0,
            softcap: None,
        },
    })
}

/// Where `GPT2LMHeadModel` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "wte"),
        plain(Param::PositionEmbedding, "wpe"),
        plain(Param::AttentionNorm, "h.{}.ln_1"),
        stored(Param::Query, "h.{}.attn.c_attn", Layout::FusedQkvTransposed),
        stored(Param::Key, "h.{}.attn.c_attn", Layout::FusedQkvTransposed),
        stored(Param::Value, "h.{}.attn.c_attn", Layout::FusedQkvTransposed),
        stored(Param::AttentionOut, "h.{}.attn.c_proj", Layout::Transposed),
        plain(Param::MlpNorm, "h.{}.ln_2"),
        stored(Param::Up, "h.{}.mlp.c_fc", Layout::Transposed),
        stored(Param::Down, "h.{}.mlp.c_proj", Layout::Transposed),
        plain(Param::FinalNorm, "ln_f"),
        plain(Param::Head, "lm_head"),
    ],
    // The causal mask, kept as a buffer by old versions.
    ignored: &["attn.bias", "attn.masked_bias"],
};
