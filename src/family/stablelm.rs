//! StableLM (Bellagente et al. 2024, 2402.17834): Llama with layer norms and a quarter of every
//! head turned; the 12B model norms each head with weights of its own and reads one norm in both
//! branches.

use super::common::{GatedDefaults, gated, layer_norm, normed};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{QkNorm, Spec, Wiring};
use crate::weights::{Names, Param, plain};

/// `StableLmConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        n_kv_heads: Some(32),
        max_seq_len: 4096,
        eps: 1e-5,
        eps_key: Some("layer_norm_eps"),
        rope: RopeDefaults { partial: 0.25, ..RopeDefaults::default() },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    normed(&mut spec, |norm| layer_norm(norm, true, true));
    let bias = config.flag_or("use_qkv_bias", false)?;
    let heads_normed = config.flag_or("qk_layernorm", false)?;
    let parallel = config.flag_or("use_parallel_residual", false)?;
    for layer in &mut spec.layers {
        layer.attention.qkv_bias = bias;
        if heads_normed {
            let norm = layer_norm(layer.norm, true, false);
            layer.attention.qk_norm = Some(QkNorm::OwnPerHead(norm));
        }
        if parallel {
            layer.wiring = Wiring::Parallel { shared_norm: true };
        }
    }
    Ok(spec)
}

/// Where `StableLmForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::AttentionNorm, "layers.{}.input_layernorm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::QueryNorm, "layers.{}.self_attn.q_layernorm.norms.{h}"),
        plain(Param::KeyNorm, "layers.{}.self_attn.k_layernorm.norms.{h}"),
        plain(Param::MlpNorm, "layers.{}.post_attention_layernorm"),
        plain(Param::Gate, "layers.{}.mlp.gate_proj"),
        plain(Param::Up, "layers.{}.mlp.up_proj"),
        plain(Param::Down, "layers.{}.mlp.down_proj"),
        plain(Param::FinalNorm, "norm"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
