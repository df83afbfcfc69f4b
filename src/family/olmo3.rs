//! OLMo 3 (OLMo Team 2025): OLMo 2 with a window on three layers of four; only the fourth has its
//! rotary positions stretched.

use super::common::{GatedDefaults, gated_unplaced, windows};
use super::config::Config;
use super::olmo2::rewire;
use super::rope::{self, RopeDefaults};
use crate::error::Result;
use crate::spec::{Position, Rope, RopeScaling, Spec};

const BASE: RopeDefaults = RopeDefaults { theta: 500_000.0, partial: 1.0 };

/// `Olmo3Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = gated_unplaced(config, GatedDefaults { eps: 1e-5, ..GatedDefaults::default() })?;
    rewire(config, &mut spec)?;
    let window = config.size_or("sliding_window", 4096)?;
    windows(config, &mut spec, Some(window), |layer| (layer + 1) % 4 != 0)?;
    let head_dim = spec.layers.first().map_or(0, |layer| layer.attention.head_dim);
    let of = |kind| rope::of_layer_type(config, kind, head_dim, spec.max_seq_len, BASE);
    let (full, max_seq_len) = match of("full_attention")? {
        Some(typed) => typed,
        None => rope::read(config, head_dim, spec.max_seq_len, BASE)?,
    };
    let sliding = match of("sliding_attention")? {
        Some((rope, _)) => rope,
        // transformers gives `rope_theta` to the full layers and leaves these their default.
        None => Rope { theta: BASE.theta, scaling: RopeScaling::None, ..full.clone() },
    };
    spec.max_seq_len = max_seq_len;
    for layer in &mut spec.layers {
        let rope = if layer.attention.window.is_some() { &sliding } else { &full };
        layer.attention.position = Position::Rope(rope.clone());
    }
    Ok(spec)
}
