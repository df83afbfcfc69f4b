//! Persimmon (Adept 2023): layer norms on every query and key head, half of it turned, squared ReLU.

use super::classic::{Act, USUAL, Words, classic, rotary};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{QkNorm, Spec};
use crate::weights::{Layout, Names, Param, plain, stored};

const WORDS: Words =
    Words { activation: Act::Named("hidden_act", "relu2"), default_max_seq_len: 16_384, ..USUAL };

/// `PersimmonConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = classic(config, &WORDS)?;
    rotary(config, &mut spec, RopeDefaults { partial: 0.5, ..RopeDefaults::default() })?;
    if config.flag_or("qk_layernorm", true)? {
        for layer in &mut spec.layers {
            layer.attention.qk_norm = Some(QkNorm::PerHead(layer.norm));
        }
    }
    Ok(spec)
}

/// Where `PersimmonForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        stored(Param::Query, "layers.{}.self_attn.query_key_value", Layout::GroupedQkv),
        stored(Param::Key, "layers.{}.self_attn.query_key_value", Layout::GroupedQkv),
        stored(Param::Value, "layers.{}.self_attn.query_key_value", Layout::GroupedQkv),
        plain(Param::AttentionOut, "layers.{}.self_attn.dense"),
        plain(Param::QueryNorm, "layers.{}.self_attn.q_layernorm"),
        plain(Param::KeyNorm, "layers.{}.self_attn.k_layernorm"),
        plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
        plain(Param::Up, "layers.{}.mlp.dense_h_to_4h"),
        plain(Param::Down, "layers.{}.mlp.dense_4h_to_h"),
        plain(Param::FinalNorm, "final_layernorm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
