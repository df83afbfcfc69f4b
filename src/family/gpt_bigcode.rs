//! GPT-BigCode: SantaCoder and StarCoder (Li et al. 2023, 2305.06161), GPT-2 with one key head.

use serde_json::json;

use super::classic::{Act, GPT2, Words, classic};
use super::config::Config;
use super::gpt2::summary;
use crate::error::Result;
use crate::spec::{AbsolutePosition, Spec};
use crate::weights::{Layout, Names, Param, plain, stored};

const WORDS: Words =
    Words { activation: Act::Named("activation_function", "gelu_pytorch_tanh"), ..GPT2 };

/// `GPTBigCodeConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    summary(config);
    config.irrelevant(&[
        "n_ctx",
        "num_key_value_heads", // what `multi_query` says
        // Scores are f32 here in any case.
        "attention_softmax_in_fp32",
        "scale_attention_softmax_in_fp32",
        // Of an inference engine that is gone.
        "inference_runner",
        "max_batch_size",
        "max_sequence_length",
        "pad_key_length",
        "pre_allocate_kv_cache",
        "validate_runner_input",
    ]);
    config.only("add_cross_attention", &json!(false))?;
    let mut spec = classic(config, &WORDS)?;
    spec.embedding.position = AbsolutePosition::Learned { offset: 0 };
    let single = config.flag_or("multi_query", true)?;
    let scaled = config.flag_or("scale_attn_weights", true)?;
    for layer in &mut spec.layers {
        if single {
            layer.attention.n_kv_heads = 1;
        }
        if !scaled {
            layer.attention.scale = 1.0;
        }
    }
    Ok(spec)
}

/// Where `GPTBigCodeForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "wte"),
        plain(Param::PositionEmbedding, "wpe"),
        plain(Param::AttentionNorm, "h.{}.ln_1"),
        stored(Param::Query, "h.{}.attn.c_attn", Layout::GroupedQkv),
        stored(Param::Key, "h.{}.attn.c_attn", Layout::GroupedQkv),
        stored(Param::Value, "h.{}.attn.c_attn", Layout::GroupedQkv),
        plain(Param::AttentionOut, "h.{}.attn.c_proj"),
        plain(Param::MlpNorm, "h.{}.ln_2"),
        plain(Param::Up, "h.{}.mlp.c_fc"),
        plain(Param::Down, "h.{}.mlp.c_proj"),
        plain(Param::FinalNorm, "ln_f"),
        plain(Param::Head, "lm_head"),
    ],
    // The causal mask, kept as a buffer by old versions.
    ignored: &["attn.bias", "attn.masked_bias"],
};
