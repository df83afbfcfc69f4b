//! GPT-J (Wang & Komatsuzaki 2021): both branches read one norm, and neighbouring dimensions turn.

use serde_json::json;

use super::classic::{GPT2, Words, biases, classic};
use super::config::Config;
use super::gpt2::summary;
use crate::error::Result;
use crate::spec::{Position, Rope, RopeScaling, Spec, Wiring};
use crate::weights::{Names, Param, plain};

const WORDS: Words = Words { default_max_seq_len: 2048, tied: false, ..GPT2 };

/// `GPTJConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    summary(config);
    // Scores are always scaled; the window of a context has no meaning of its own.
    config.irrelevant(&["n_ctx", "scale_attn_weights"]);
    config.only("rotary", &json!(true))?;
    let mut spec = classic(config, &WORDS)?;
    biases(&mut spec, false, true);
    spec.head.bias = true;
    let rope = Rope {
        theta: 10_000.0,
        rotary_dim: config.size_or("rotary_dim", 64)?,
        reversed: false,
        interleaved: true,
        scaling: RopeScaling::None,
    };
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Parallel { shared_norm: true };
        layer.attention.position = Position::Rope(rope.clone());
    }
    Ok(spec)
}

/// Where `GPTJForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "wte"),
        plain(Param::AttentionNorm, "h.{}.ln_1"),
        plain(Param::Query, "h.{}.attn.q_proj"),
        plain(Param::Key, "h.{}.attn.k_proj"),
        plain(Param::Value, "h.{}.attn.v_proj"),
        plain(Param::AttentionOut, "h.{}.attn.out_proj"),
        plain(Param::Up, "h.{}.mlp.fc_in"),
        plain(Param::Down, "h.{}.mlp.fc_out"),
        plain(Param::FinalNorm, "ln_f"),
        plain(Param::Head, "lm_head"),
    ],
    // The causal mask and the table of sines, kept as buffers by old versions.
    ignored: &["attn.bias", "attn.masked_bias", "attn.embed_positions"],
};
