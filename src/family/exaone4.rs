//! EXAONE 4 (LG AI Research 2025, 2507.11407): norms on what the branches give and on every query
//! and key head; the 32B model slides on three layers of four and has no positions on the fourth.

use super::common::{GatedDefaults, gated, window_or, windows};
use super::config::Config;
use crate::error::Result;
use crate::spec::{Position, QkNorm, Spec, Wiring};

/// `Exaone4Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults { n_kv_heads: Some(32), eps: 1e-5, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Post;
        layer.attention.qk_norm = Some(QkNorm::PerHead(layer.norm));
    }
    let window = window_or(config, 4096)?;
    let pattern = pattern(config)?;
    let slides = |layer: usize| window.is_some() && pattern[layer % pattern.len()];
    windows(config, &mut spec, window, slides)?;
    if window.is_some() {
        for layer in spec.layers.iter_mut().filter(|layer| layer.attention.window.is_none()) {
            layer.attention.position = Position::None;
        }
    }
    Ok(spec)
}

/// Which of a period's layers slide: `4` or `"LLLG"`, local and global.
fn pattern(config: &Config<'_>) -> Result<Vec<bool>> {
    let key = "sliding_window_pattern";
    if config.value(key).is_some_and(|value| value.is_string()) {
        let letters = config.maybe_text(key)?.unwrap_or_default();
        if letters.is_empty() || letters.chars().any(|letter| !"LG".contains(letter)) {
            return Err(config.error(key, format!("is `{letters}`, not of the letters L and G")));
        }
        return Ok(letters.chars().map(|letter| letter == 'L').collect());
    }
    let every = config.size_or(key, 4)?.clamp(1, 65_536);
    Ok((1..=every).map(|layer| layer != every).collect())
}
