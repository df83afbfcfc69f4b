//! OPT (Zhang et al. 2022, 2205.01068). The 350M model alone norms the sum of stream and branch,
//! and keeps its tokens in a narrower table.

use super::classic::{Act, USUAL, Words, biases, classic};
use super::common::{layer_norm, normed};
use super::config::Config;
use crate::error::Result;
use crate::spec::{AbsolutePosition, Spec, Wiring};
use crate::weights::{Names, Param, plain};

const WORDS: Words = Words {
    hidden_dim: Some("ffn_dim"),
    eps: None,
    activation: Act::Named("activation_function", "relu"),
    tied: true,
    ..USUAL
};

/// `OPTConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["dropout", "activation_dropout", "layerdrop", "init_std"]);
    let mut spec = classic(config, &WORDS)?;
    spec.embedding.width = config.size_or("word_embed_proj_dim", spec.dim)?;
    // Its first two rows belonged to padding.
    spec.embedding.position = AbsolutePosition::Learned { offset: 2 };
    let bias = config.flag_or("enable_bias", true)?;
    biases(&mut spec, bias, bias);
    let affine = config.flag_or("layer_norm_elementwise_affine", true)?;
    normed(&mut spec, |norm| layer_norm(norm, affine, affine));
    let before = config.flag_or("do_layer_norm_before", true)?;
    if !before {
        for layer in &mut spec.layers {
            layer.wiring = Wiring::PostSum;
        }
    }
    if config.flag_or("_remove_final_layer_norm", false)? || !before {
        spec.final_norm = None;
    }
    Ok(spec)
}

/// Where `OPTForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.decoder.", "decoder.", "model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::PositionEmbedding, "embed_positions"),
        plain(Param::EmbeddingIn, "project_in"),
        // One name, wherever the norm stands.
        plain(Param::AttentionNorm, "layers.{}.self_attn_layer_norm"),
        plain(Param::AttentionOutNorm, "layers.{}.self_attn_layer_norm"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.out_proj"),
        plain(Param::MlpNorm, "layers.{}.final_layer_norm"),
        plain(Param::MlpOutNorm, "layers.{}.final_layer_norm"),
        plain(Param::Up, "layers.{}.fc1"),
        plain(Param::Down, "layers.{}.fc2"),
        plain(Param::FinalNorm, "final_layer_norm"),
        plain(Param::EmbeddingOut, "project_out"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &[],
};
