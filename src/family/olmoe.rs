//! OLMoE (Muennighoff et al. 2024, 2409.02060): norms over all query and all key heads, clipped
//! queries, keys and values, eight of 64 experts a token.

use super::common::{GatedDefaults, attention_biases, gated};
use super::config::Config;
use super::moe::{ExpertDefaults, everywhere, experts, softmax_routing};
use crate::error::Result;
use crate::spec::{QkNorm, Spec};

/// `OlmoeConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults { max_seq_len: 4096, eps: 1e-5, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    let clip = config.maybe_number("clip_qkv")?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = Some(QkNorm::Full(layer.norm));
        layer.attention.clip = clip;
    }
    let defaults = ExpertDefaults { n_experts: 64, per_token: 8 };
    let experts = experts(config, &spec, softmax_routing(config)?, defaults)?;
    everywhere(&mut spec, &experts);
    Ok(spec)
}
