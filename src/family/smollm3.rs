//! SmolLM 3 (Bakouch et al. 2025): Llama without positions on every fourth layer.

use super::common::{GatedDefaults, gated, windows};
use super::config::Config;
use super::llama::biases;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Position, Spec};

/// `SmolLM3Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["pretraining_tp", "max_window_layers"]);
    let defaults = GatedDefaults {
        n_kv_heads: Some(4),
        max_seq_len: 32_768,
        tied: true,
        rope: RopeDefaults { theta: 2e6, partial: 1.0 },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    biases(config, &mut spec)?;
    let placed = placed_layers(config, spec.layers.len())?;
    for (layer, placed) in spec.layers.iter_mut().zip(&placed) {
        if !placed {
            layer.attention.position = Position::None;
        }
    }
    let slides = config.flag_or("use_sliding_window", false)?;
    let window = config.maybe_size("sliding_window")?;
    windows(config, &mut spec, window, |layer| slides && window.is_some() && !placed[layer])?;
    Ok(spec)
}

/// `no_rope_layers` has a 1 for layers with positions, its name notwithstanding.
fn placed_layers(config: &Config<'_>, n_layers: usize) -> Result<Vec<bool>> {
    let Some(list) = config.maybe_numbers("no_rope_layers")? else {
        let every = config.size_or("no_rope_layer_interval", 4)?.max(1);
        return Ok((1..=n_layers).map(|layer| !layer.is_multiple_of(every)).collect());
    };
    config.irrelevant(&["no_rope_layer_interval"]);
    match list.len() == n_layers {
        true => Ok(list.iter().map(|placed| *placed != 0.0).collect()),
        false => {
            let problem = format!("has {} entries for {n_layers} layers", list.len());
            Err(config.error("no_rope_layers", problem))
        }
    }
}
