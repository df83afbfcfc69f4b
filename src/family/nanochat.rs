//! nanochat (Karpathy 2025): norms without weights, one on the embeddings and one on every query
//! and key head behind a rotation the other way round; squared ReLU, capped logits.

use super::common::{GatedDefaults, attention_biases, gated, normed, ungated};
use super::config::Config;
use super::gemma2::capped;
use crate::error::Result;
use crate::spec::{Norm, Position, QkNorm, Spec};
use crate::weights::{Names, Param, plain};

/// `NanoChatConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults =
        GatedDefaults { activation: ("hidden_act", "relu2"), ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    ungated(&mut spec);
    attention_biases(config, &mut spec, false, true)?;
    normed(&mut spec, |norm| match norm {
        Norm::Rms { eps, .. } => Norm::Rms { eps, weight: false, offset: 0.0 },
        other => other,
    });
    spec.embedding.norm = spec.final_norm;
    spec.head.softcap = capped(config, "final_logit_softcapping", 15.0)?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = Some(QkNorm::PerHeadPlaced(layer.norm));
        if let Position::Rope(rope) = &mut layer.attention.position {
            rope.reversed = true;
        }
    }
    Ok(spec)
}

/// Where `NanoChatForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::Query, "layers.{}.self_attn.q_proj"),
        plain(Param::Key, "layers.{}.self_attn.k_proj"),
        plain(Param::Value, "layers.{}.self_attn.v_proj"),
        plain(Param::AttentionOut, "layers.{}.self_attn.o_proj"),
        plain(Param::Up, "layers.{}.mlp.fc1"),
        plain(Param::Down, "layers.{}.mlp.fc2"),
        plain(Param::Head, "lm_head"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};
