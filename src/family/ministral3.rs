//! Ministral 3 (Mistral AI 2025): Mistral with YaRN and queries that grow with their position.

use super::common::{GatedDefaults, gated};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Position, QueryGrowth, RopeScaling, Spec};

/// `Ministral3Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(128),
        n_kv_heads: Some(8),
        max_seq_len: 262_144,
        eps: 1e-5,
        rope: RopeDefaults { theta: 1e6, partial: 1.0 },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    let window = config.maybe_size("sliding_window")?;
    let query_growth = growth(config)?;
    for layer in &mut spec.layers {
        layer.attention.window = window;
        let Position::Rope(rope) = &mut layer.attention.position else { continue };
        if config.value("rope_parameters").is_none() {
            rope.scaling = DEFAULT;
        }
        layer.attention.query_growth = query_growth;
    }
    Ok(spec)
}

/// Its numbers stand among those of the rotation.
fn growth(config: &Config<'_>) -> Result<Option<QueryGrowth>> {
    let Some(parameters) = config.maybe_object("rope_parameters")? else {
        return Ok(Some(QueryGrowth { beta: 0.1, every: 16_384 }));
    };
    parameters.irrelevant(&["max_position_embeddings"]);
    let Some(beta) = parameters.maybe_number("llama_4_scaling_beta")? else { return Ok(None) };
    let every = parameters.size("original_max_position_embeddings")?;
    Ok(Some(QueryGrowth { beta, every }))
}

/// What transformers takes where nothing is said.
const DEFAULT: RopeScaling = RopeScaling::Yarn {
    factor: 16.0,
    beta_fast: 32.0,
    beta_slow: 1.0,
    attention_factor: 1.0,
    original_max_seq_len: 16_384,
    truncate: true,
};
