//! Nemotron 4 and Minitron (Parmar et al. 2024, 2402.16819): layer norms of 1 + weight, half of
//! every head turned, squared ReLU.

use super::classic::{Act, USUAL, Words, biases, classic, rotary};
use super::common::{attention_biases, mlp_biases, normed};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Attention, Norm, Spec};
use crate::weights::{Names, Param, plain};

const WORDS: Words = Words {
    eps: Some("norm_eps"),
    activation: Act::Named("hidden_act", "relu2"),
    default_max_seq_len: 4096,
    ..USUAL
};

/// `NemotronConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["rope_percent", "rope_percentage"]); // `partial_rotary_factor` counts
    let mut spec = classic(config, &WORDS)?;
    biases(&mut spec, false, false);
    normed(&mut spec, |norm| match norm {
        Norm::Layer { eps, .. } => Norm::Layer { eps, weight: true, bias: true, offset: 1.0 },
        other => other,
    });
    let n_kv_heads = config.maybe_size("num_key_value_heads")?;
    let head_dim = config.maybe_size("head_dim")?;
    for layer in &mut spec.layers {
        let n_heads = layer.attention.n_heads;
        layer.attention = Attention::new(
            n_heads,
            n_kv_heads.unwrap_or(n_heads),
            head_dim.unwrap_or(layer.attention.head_dim),
        );
    }
    attention_biases(config, &mut spec, false, true)?;
    mlp_biases(config, &mut spec, false)?;
    rotary(config, &mut spec, RopeDefaults { partial: 0.5, ..RopeDefaults::default() })?;
    Ok(spec)
}

/// Where `NemotronForCausalLM` keeps its parameters.
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
        plain(Param::Up, "layers.{}.mlp.up_proj"),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
