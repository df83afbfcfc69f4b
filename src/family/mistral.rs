//! Mistral (Jiang et al. 2023, 2310.06825): Llama with a window on every layer.

use super::common::{GatedDefaults, gated, window_or, windows};
use super::config::Config;
use crate::error::Result;
use crate::spec::Spec;

/// `MistralConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults =
        GatedDefaults { n_kv_heads: Some(8), max_seq_len: 131_072, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    let window = window_or(config, 4096)?;
    windows(config, &mut spec, window, |_| window.is_some())?;
    Ok(spec)
}
