//! Cohere's Command R (Cohere 2024): both branches read one layer norm without bias, neighbouring
//! dimensions turn.

use super::common::{GatedDefaults, attention_biases, gated, interleave, layer_norm, normed};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{QkNorm, Spec, Wiring};

/// `CohereConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = command(config, 500_000.0)?;
    if config.flag_or("use_qk_norm", false)? {
        for layer in &mut spec.layers {
            layer.attention.qk_norm = Some(QkNorm::OwnPerHead(layer.norm));
        }
    }
    Ok(spec)
}

/// What both generations have.
pub(crate) fn command(config: &Config<'_>, theta: f64) -> Result<Spec> {
    config.irrelevant(&["model_max_length", "pretraining_tp"]);
    let defaults = GatedDefaults {
        max_seq_len: 8192,
        tied: true,
        eps: 1e-5,
        eps_key: Some("layer_norm_eps"),
        rope: RopeDefaults { theta, partial: 1.0 },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    normed(&mut spec, |norm| layer_norm(norm, true, false));
    interleave(&mut spec);
    spec.head.scale = config.number_or("logit_scale", 0.0625)?;
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Parallel { shared_norm: true };
    }
    Ok(spec)
}
