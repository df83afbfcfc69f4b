//! Falcon (Almazrouei et al. 2023, 2311.16867): the 7B with one key head, the 40B, 180B and 11B with
//! several and a norm for either branch, and the RefinedWeb models with linear biases.

use serde_json::json;

use super::alibi::slopes;
use super::classic::{Act, GPT2, Words, biases, classic, either, rotary};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Alibi, Position, Spec, Wiring};
use crate::weights::{Layout, Names, Param, plain, stored};

/// `FalconConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["ff_factor"]); // `ffn_hidden_size` counts
    config.only("apply_residual_connection_post_layernorm", &json!(false))?;
    let words = Words {
        dim: either(config, &["hidden_size", "n_embed"])?,
        n_layers: either(config, &["num_hidden_layers", "n_layer"])?,
        n_heads: either(config, &["num_attention_heads", "n_head"])?,
        max_seq_len: "max_position_embeddings",
        hidden_dim: Some("ffn_hidden_size"),
        activation: Act::Named("activation", "gelu"),
        default_max_seq_len: 2048,
        ..GPT2
    };
    let mut spec = classic(config, &words)?;
    let bias = config.flag_or("bias", false)?;
    biases(&mut spec, bias, bias);
    let several = config.flag_or("new_decoder_architecture", false)?;
    let wiring = wiring(config, several)?;
    let single = config.flag_or("multi_query", true)? && !several;
    let kv = either(config, &["num_kv_heads", "n_head_kv"])?;
    let given = config.maybe_size(kv)?.filter(|_| several);
    for layer in &mut spec.layers {
        layer.wiring = wiring;
        let n_heads = layer.attention.n_heads;
        layer.attention.n_kv_heads = if single { 1 } else { given.unwrap_or(n_heads) };
    }
    match config.flag_or("alibi", false)? {
        false => rotary(config, &mut spec, RopeDefaults::default())?,
        true => {
            config.irrelevant(&["rope_parameters", "rope_theta", "rope_scaling"]);
            for layer in &mut spec.layers {
                let (slopes, scale) = (slopes(layer.attention.n_heads), layer.attention.scale);
                layer.attention.position = Position::Alibi(Alibi { slopes, scale, rounded: true });
            }
        }
    }
    Ok(spec)
}

fn wiring(config: &Config<'_>, several: bool) -> Result<Wiring> {
    let parallel = config.flag_or("parallel_attn", true)?;
    let norms = config.maybe_size("num_ln_in_parallel_attn")?;
    match (parallel, several, norms) {
        (true, true, None | Some(2)) => Ok(Wiring::Parallel { shared_norm: false }),
        (true, true, Some(1)) | (true, false, None | Some(1)) => {
            Ok(Wiring::Parallel { shared_norm: true })
        }
        (false, false, _) => Ok(Wiring::Pre),
        _ => {
            let key = "num_ln_in_parallel_attn";
            Err(config.error(key, "does not fit `parallel_attn` and `new_decoder_architecture`"))
        }
    }
}

/// Where `FalconForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "word_embeddings"),
        plain(Param::AttentionNorm, "h.{}.ln_attn"),
        plain(Param::AttentionNorm, "h.{}.input_layernorm"),
        stored(Param::Query, "h.{}.self_attention.query_key_value", Layout::GroupedQkv),
        stored(Param::Key, "h.{}.self_attention.query_key_value", Layout::GroupedQkv),
        stored(Param::Value, "h.{}.self_attention.query_key_value", Layout::GroupedQkv),
        plain(Param::AttentionOut, "h.{}.self_attention.dense"),
        plain(Param::MlpNorm, "h.{}.ln_mlp"),
        plain(Param::MlpNorm, "h.{}.post_attention_layernorm"),
        plain(Param::Up, "h.{}.mlp.dense_h_to_4h"),
        plain(Param::Down, "h.{}.mlp.dense_4h_to_h"),
        plain(Param::FinalNorm, "ln_f"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
