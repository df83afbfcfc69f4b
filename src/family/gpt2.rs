//! GPT-2 (Radford et al. 2019).

use serde_json::json;

use super::classic::{GPT2, classic};
use super::config::Config;
use crate::error::Result;
use crate::spec::{AbsolutePosition, Spec};
use crate::weights::{Layout, Names, Param, plain, stored};

/// `GPT2Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&[
        "n_ctx",
        // Another order of the same operations; scores are f32 here in any case.
        "reorder_and_upcast_attn",
    ]);
    summary(config);
    config.only("add_cross_attention", &json!(false))?;
    let mut spec = classic(config, &GPT2)?;
    // Our own key, for shapes in `configs/`: transformers' GPT-2 is always `learned`.
    spec.embedding.position = match config.maybe_text("position_embedding_type")? {
        None | Some("learned") => AbsolutePosition::Learned { offset: 0 },
        Some("sinusoidal") => {
            AbsolutePosition::Sinusoidal { theta: 10_000.0, offset: 0, halves: false }
        }
        Some(other) => {
            let problem = format!("is `{other}`; known: learned, sinusoidal");
            return Err(config.error("position_embedding_type", problem));
        }
    };
    let scaled = config.flag_or("scale_attn_weights", true)?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        if !scaled {
            layer.attention.scale = 1.0;
        }
        if by_layer {
            layer.attention.scale /= (index + 1) as f64;
        }
    }
    Ok(spec)
}

/// Keys of a classifying head that GPT-2's descendants still write.
pub(crate) fn summary(config: &Config<'_>) {
    config.irrelevant(&[
        "summary_type",
        "summary_use_proj",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_first_dropout",
    ]);
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
