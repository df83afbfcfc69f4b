//! StarCoder 2 (Lozhkov et al. 2024, 2402.19173): layer norms and biases around rotary grouped-query
//! attention with a window.

use super::classic::{Act, USUAL, Words, biases, classic, rotary};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::Spec;
use crate::weights::{Names, Param, plain};

const WORDS: Words = Words {
    eps: Some("norm_epsilon"),
    activation: Act::Named("hidden_act", "gelu_pytorch_tanh"),
    default_max_seq_len: 4096,
    tied: true,
    ..USUAL
};

/// `Starcoder2Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&[
        "residual_dropout",
        "embedding_dropout",
        // Written and not read; `hidden_act` counts, scores are scaled and f32.
        "activation_function",
        "layer_norm_epsilon", // `norm_epsilon` counts
        "mlp_type",
        "norm_type",
        "scale_attn_weights",
        "attention_softmax_in_fp32",
        "scale_attention_softmax_in_fp32",
    ]);
    let mut spec = classic(config, &WORDS)?;
    let bias = config.flag_or("use_bias", true)?;
    biases(&mut spec, bias, bias);
    rotary(config, &mut spec, RopeDefaults::default())?;
    let n_kv_heads = config.size_or("num_key_value_heads", 2)?;
    let window = config.maybe_size("sliding_window")?;
    for layer in &mut spec.layers {
        layer.attention.n_kv_heads = n_kv_heads;
        layer.attention.window = window;
    }
    Ok(spec)
}

/// Where `Starcoder2ForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
        plain(Param::Up, "layers.{}.mlp.c_fc"),
        plain(Param::Down, "layers.{}.mlp.c_proj"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
