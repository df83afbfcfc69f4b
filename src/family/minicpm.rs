//! MiniCPM (Hu et al. 2024, 2404.06395): Llama with multipliers that keep its width and depth
//! comparable to a smaller model's.

use super::common::{GatedDefaults, gated};
use super::config::Config;
use super::llama::biases;
use crate::error::Result;
use crate::spec::Spec;

/// `MiniCPMConfig` to a [`Spec`]. transformers has no class of it: these are its paper's formulas.
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["pretraining_tp"]);
    let mut spec = gated(config, GatedDefaults { tied: true, ..GatedDefaults::default() })?;
    biases(config, &mut spec)?;
    spec.embedding.scale = config.number_or("scale_emb", 1.0)?;
    let base = config.number_or("dim_model_base", spec.dim as f64)?;
    spec.head.scale = base / spec.dim as f64;
    let depth = (spec.layers.len() as f64).sqrt();
    let residual_scale = config.number_or("scale_depth", 1.0)? / depth;
    for layer in &mut spec.layers {
        layer.residual_scale = residual_scale;
    }
    Ok(spec)
}
