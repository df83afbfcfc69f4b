//! Phi-3.5-MoE (Abdin et al. 2024, 2404.14219): layer norms, LongRoPE with a magnitude of its own
//! on either side of the original length, and SparseMixer's choice of two experts.

use serde_json::json;

use super::common::{attention_biases, gated, layer_norm, normed};
use super::config::Config;
use super::mixtral;
use super::moe::{ExpertDefaults, everywhere, experts, window_everywhere};
use crate::error::Result;
use crate::spec::{Position, RopeScaling, Routing, Spec};

/// `PhimoeConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["input_jitter_noise"]); // of training
    let mut spec = gated(config, mixtral::defaults())?;
    normed(&mut spec, |norm| layer_norm(norm, true, true));
    attention_biases(config, &mut spec, false, true)?;
    spec.head.bias = config.flag_or("lm_head_bias", false)?;
    // SparseMixer takes two, whatever the number.
    config.only("num_experts_per_tok", &json!(2))?;
    // Named for a noise in training, it also says which experts compete at inference.
    let routing = Routing::SparseMixer { jitter: config.number_or("router_jitter_noise", 0.01)? };
    let defaults = ExpertDefaults { n_experts: 16, per_token: 2 };
    let experts = experts(config, &spec, routing, defaults)?;
    everywhere(&mut spec, &experts);
    window_everywhere(config, &mut spec)?;
    magnitudes(config, &mut spec)?;
    Ok(spec)
}

/// `short_mscale` and `long_mscale` take the place of LongRoPE's own factor.
///
/// Beyond the original length transformers 5 goes on with the short divisors, since its module
/// does not hand on the length; version 4 took the long ones. Here the numbers are version 5's.
fn magnitudes(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    let params = match config.maybe_object("rope_scaling")? {
        Some(params) => Some(params),
        None => config.maybe_object("rope_parameters")?,
    };
    for layer in &mut spec.layers {
        let Position::Rope(rope) = &mut layer.attention.position else { continue };
        let (RopeScaling::LongRope { short, long, attention_factors, .. }, Some(params)) =
            (&mut rope.scaling, &params)
        else {
            if rope.scaling != RopeScaling::None {
                return Err(config.error("rope_scaling", "is not LongRoPE"));
            }
            continue;
        };
        for (key, factor) in ["short_mscale", "long_mscale"].into_iter().zip(attention_factors) {
            *factor = params.maybe_number(key)?.ok_or_else(|| params.error(key, "is missing"))?;
        }
        long.clone_from(short);
    }
    Ok(())
}
