//! GPT-Neo (Black et al. 2021): GPT-2 with scores that are not scaled and a window on every other
//! layer.

use serde_json::Value;

use super::classic::{GPT2, Words, classic};
use super::config::Config;
use super::gpt2::summary;
use crate::error::Result;
use crate::spec::{AbsolutePosition, Spec};
use crate::weights::{Names, Param, plain};

const WORDS: Words = Words {
    dim: "hidden_size",
    n_layers: "num_layers",
    n_heads: "num_heads",
    max_seq_len: "max_position_embeddings",
    hidden_dim: Some("intermediate_size"),
    default_max_seq_len: 2048,
    ..GPT2
};

/// `GPTNeoConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    summary(config);
    // `attention_layers` is what `attention_types` says, written out.
    config.irrelevant(&["attention_layers", "resid_dropout", "embed_dropout"]);
    let mut spec = classic(config, &WORDS)?;
    spec.embedding.position = AbsolutePosition::Learned { offset: 0 };
    let window = config.size_or("window_size", 256)?;
    let local = local_layers(config, spec.layers.len())?;
    for (layer, local) in spec.layers.iter_mut().zip(local) {
        layer.attention.qkv_bias = false;
        layer.attention.scale = 1.0;
        layer.attention.window = local.then_some(window);
    }
    Ok(spec)
}

/// `attention_types` lists `[kinds, times]`: `[[["global", "local"], 12]]`.
fn local_layers(config: &Config<'_>, n_layers: usize) -> Result<Vec<bool>> {
    let Some(types) = config.value("attention_types") else {
        return Ok((0..n_layers).map(|layer| layer % 2 == 1).collect());
    };
    let wrong = || config.error("attention_types", "is no list of [[kinds], times]");
    let mut local = Vec::new();
    for run in types.as_array().ok_or_else(wrong)? {
        let kinds = run.get(0).and_then(Value::as_array).ok_or_else(wrong)?;
        let times = run.get(1).and_then(Value::as_u64).ok_or_else(wrong)?;
        for _ in 0..times.min(n_layers as u64 + 1) {
            for kind in kinds {
                local.push(match kind.as_str() {
                    Some("global") => false,
                    Some("local") => true,
                    _ => return Err(config.error("attention_types", format!("has `{kind}`"))),
                });
            }
        }
    }
    if local.len() != n_layers {
        let problem = format!("describes {} layers of {n_layers}", local.len());
        return Err(config.error("attention_types", problem));
    }
    Ok(local)
}

/// Where `GPTNeoForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "wte"),
        plain(Param::PositionEmbedding, "wpe"),
        plain(Param::AttentionNorm, "h.{}.ln_1"),
        plain(Param::Query, "h.{}.attn.attention.q_proj"),
        plain(Param::Key, "h.{}.attn.attention.k_proj"),
        plain(Param::Value, "h.{}.attn.attention.v_proj"),
        plain(Param::AttentionOut, "h.{}.attn.attention.out_proj"),
        plain(Param::MlpNorm, "h.{}.ln_2"),
        plain(Param::Up, "h.{}.mlp.c_fc"),
        plain(Param::Down, "h.{}.mlp.c_proj"),
        plain(Param::FinalNorm, "ln_f"),
        plain(Param::Head, "lm_head"),
    ],
    // The causal mask, kept as a buffer by old versions.
    ignored: &["attention.bias", "attention.masked_bias"],
};
