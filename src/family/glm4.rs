//! GLM-4-0414 (Z.ai 2025): GLM with norms on what the branches give, too.

use super::config::Config;
use super::glm;
use crate::error::Result;
use crate::spec::{Spec, Wiring};

/// `Glm4Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = glm::spec(config)?;
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Sandwich;
    }
    Ok(spec)
}
