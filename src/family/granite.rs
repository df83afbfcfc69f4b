//! Granite 3 (Granite Team 2024): Llama with four multipliers.

use super::common::{GatedDefaults, gated};
use super::config::Config;
use super::llama::biases;
use crate::error::Result;
use crate::spec::Spec;

/// `GraniteConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = gated(config, GatedDefaults::default())?;
    biases(config, &mut spec)?;
    multiply(config, &mut spec)?;
    Ok(spec)
}

/// The multipliers of embeddings, scores, branches and logits.
pub(crate) fn multiply(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    spec.embedding.scale = config.number_or("embedding_multiplier", 1.0)?;
    spec.head.scale = 1.0 / config.number_or("logits_scaling", 1.0)?;
    let scale = config.number_or("attention_multiplier", 1.0)?; // in place of 1/√head_dim
    let residual_scale = config.number_or("residual_multiplier", 1.0)?;
    for layer in &mut spec.layers {
        layer.attention.scale = scale;
        layer.residual_scale = residual_scale;
    }
    Ok(())
}
