//! Llama 1 to 3.x (Touvron et al. 2023, 2302.13971; Grattafiori et al. 2024, 2407.21783) and the
//! many checkpoints that call themselves so: SmolLM2, TinyLlama, Yi.

use serde_json::json;

use super::common::{GatedDefaults, attention_biases, gated, mlp_biases};
use super::config::Config;
use crate::error::Result;
use crate::spec::Spec;
use crate::weights::{Names, Param, plain};

/// `LlamaConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["pretraining_tp", "is_llama_config"]);
    config.only("rope_interleaved", &json!(false))?;
    let mut spec = gated(config, GatedDefaults::default())?;
    biases(config, &mut spec)?;
    Ok(spec)
}

/// `attention_bias` gives all four projections one, `mlp_bias` all three.
pub(crate) fn biases(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    attention_biases(config, spec, false, true)?;
    mlp_biases(config, spec, false)
}

/// Llama's names, and some more.
macro_rules! names_with {
    ($($more:expr),* $(,)?) => {
        Names {
            prefixes: &["model.", ""],
            entries: &[
                plain(Param::TokenEmbedding, "embed_tokens"),
                plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
                plain(Param::Query, "layers.{}.self_attn.q_proj"),
                plain(Param::Key, "layers.{}.self_attn.k_proj"),
                plain(Param::Value, "layers.{}.self_attn.v_proj"),
                plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
                plain(Param::QueryNorm, "layers.{}.self_attn.q_norm"),
                plain(Param::KeyNorm, "layers.{}.self_attn.k_norm"),
                plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
                plain(Param::Gate, "layers.{}.mlp.gate_proj"),
                plain(Param::Up, "layers.{}.mlp.up_proj"),
                plain(Param::Down, "layers.{}.mlp.down_proj"),
                plain(Param::FinalNorm, "norm"),
                plain(Param::Head, "lm_head"),
                $($more),*
            ],
            ignored: &["rotary_emb.inv_freq"],
        }
    };
}
pub(crate) use names_with;

/// Where `LlamaForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = names_with!();
