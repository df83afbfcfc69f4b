//! Helium (Kyutai 2025): Llama with neighbouring dimensions turned.

use super::common::{GatedDefaults, attention_biases, gated, interleave, mlp_biases};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::Spec;

/// `HeliumConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(128),
        n_kv_heads: Some(20),
        max_seq_len: 4096,
        eps: 1e-8,
        rope: RopeDefaults { theta: 100_000.0, partial: 1.0 },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, false)?;
    mlp_biases(config, &mut spec, false)?;
    interleave(&mut spec);
    Ok(spec)
}
