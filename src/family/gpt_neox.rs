//! GPT-NeoX and Pythia (Black et al. 2022, 2204.06745; Biderman et al. 2023, 2304.01373).

use super::classic::{USUAL, biases, classic, rotary};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Spec, Wiring};
use crate::weights::{Layout, Names, Param, plain, stored};

/// `GPTNeoXConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = classic(config, &USUAL)?;
    rotary(config, &mut spec, RopeDefaults { partial: 0.25, ..RopeDefaults::default() })?;
    biases(&mut spec, config.flag_or("attention_bias", true)?, true);
    if config.flag_or("use_parallel_residual", true)? {
        for layer in &mut spec.layers {
            layer.wiring = Wiring::Parallel { shared_norm: false };
        }
    }
    Ok(spec)
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
