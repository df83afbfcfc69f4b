//! OLMo (Groeneveld et al. 2024, 2402.00838): Llama with layer norms that have no weights, and
//! clipped projections.

use super::common::{GatedDefaults, attention_biases, gated, layer_norm, normed};
use super::config::Config;
use crate::error::Result;
use crate::spec::Spec;

/// `OlmoConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["pretraining_tp"]);
    let defaults = GatedDefaults { eps: 1e-5, eps_key: None, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    normed(&mut spec, |norm| layer_norm(norm, false, false));
    let clip = config.maybe_number("clip_qkv")?;
    for layer in &mut spec.layers {
        layer.attention.clip = clip;
    }
    Ok(spec)
}
