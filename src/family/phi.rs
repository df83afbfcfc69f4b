//! Phi 1, 1.5 and 2 (Gunasekar et al. 2023, 2306.11644): GPT-J's wiring, NeoX's pairs.

use super::classic::{Act, USUAL, Words, classic, rotary};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{QkNorm, Spec, Wiring};
use crate::weights::{Names, Param, plain};

const WORDS: Words = Words { activation: Act::Named("hidden_act", "gelu_new"), ..USUAL };

/// `PhiConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = classic(config, &WORDS)?;
    spec.head.bias = true;
    rotary(config, &mut spec, RopeDefaults { partial: 0.5, ..RopeDefaults::default() })?;
    let n_kv_heads = config.maybe_size("num_key_value_heads")?;
    let normed = config.flag_or("qk_layernorm", false)?;
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Parallel { shared_norm: true };
        layer.attention.n_kv_heads = n_kv_heads.unwrap_or(layer.attention.n_heads);
        layer.attention.qk_norm = normed.then_some(QkNorm::PerHead(layer.norm));
    }
    Ok(spec)
}

/// Where `PhiForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.dense"),
        plain(Param::QueryNorm, "layers.{}.self_attn.q_layernorm"),
        plain(Param::KeyNorm, "layers.{}.self_attn.k_layernorm"),
        plain(Param::Up, "layers.{}.mlp.fc1"),
        plain(Param::Down, "layers.{}.mlp.fc2"),
        plain(Param::FinalNorm, "final_layernorm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
