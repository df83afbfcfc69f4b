//! gpt-oss (OpenAI 2025, 2508.10925): a sink in every head's softmax, a window on every other
//! layer, and experts of a clamped SwiGLU, published in 4-bit floats.

use serde_json::json;

use super::common::{GatedDefaults, attention_biases, gated, window_or, windows};
use super::config::Config;
use super::llama::names_with;
use super::moe::{ExpertDefaults, everywhere, experts};
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Gating, Position, RopeScaling, Routing, Spec};
use crate::weights::{Layout, Names, Param, Stack, bare, packed, plain};

/// `GptOssConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    // Other words for keys that are there as well.
    config.irrelevant(&["experts_per_token", "initial_context_length"]);
    if let Some(packing) = config.maybe_object("quantization_config")? {
        packing.only("quant_method", &json!("mxfp4"))?;
        packing.irrelevant(&["modules_to_not_convert"]); // seen by the tensors' names
    }
    let defaults = GatedDefaults {
        head_dim: Some(64),
        n_kv_heads: Some(8),
        max_seq_len: 131_072,
        eps: 1e-5,
        rope: RopeDefaults { theta: 150_000.0, ..RopeDefaults::default() },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    stretched(config, &mut spec)?;
    attention_biases(config, &mut spec, true, true)?;
    let window = window_or(config, 128)?;
    windows(config, &mut spec, window, |layer| layer.is_multiple_of(2))?;
    let defaults = ExpertDefaults { n_experts: 128, per_token: 4 };
    let mut experts = experts(config, &spec, Routing::TopThenSoftmax, defaults)?;
    (experts.bias, experts.router_bias) = (true, true);
    // `hidden_act` is not read: the nonlinearity is this one.
    experts.gating = Gating::Clamped {
        alpha: config.number_or("swiglu_alpha", 1.702)?,
        limit: config.number_or("swiglu_limit", 7.0)?,
    };
    everywhere(&mut spec, &experts);
    for layer in &mut spec.layers {
        layer.attention.sinks = true;
    }
    Ok(spec)
}

/// Where nothing is said of rotary positions, they are YaRN's.
fn stretched(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    let said = |key| Ok::<_, crate::Error>(config.maybe_object(key)?.is_some());
    if said("rope_scaling")? || said("rope_parameters")? {
        return Ok(());
    }
    for layer in &mut spec.layers {
        if let Position::Rope(rope) = &mut layer.attention.position {
            rope.scaling = RopeScaling::Yarn {
                factor: 32.0,
                beta_fast: 32.0,
                beta_slow: 1.0,
                attention_factor: 0.1 * 32f64.ln() + 1.0,
                original_max_seq_len: 4096,
                truncate: false,
            };
        }
    }
    Ok(())
}

/// Where `GptOssForCausalLM` keeps its parameters: stacks, in 16 bits or packed.
pub(crate) const NAMES: Names = names_with![
    bare(Param::Sinks, "layers.{}.self_attn.sinks", Layout::Plain),
    plain(Param::Router, "layers.{}.mlp.router"),
    bare(Param::ExpertGate, "layers.{}.mlp.experts.gate_up_proj", GATE_UP),
    bare(Param::ExpertUp, "layers.{}.mlp.experts.gate_up_proj", GATE_UP),
    bare(Param::ExpertDown, "layers.{}.mlp.experts.down_proj", Layout::Stacked(Stack::Transposed)),
    packed(Param::ExpertGate, "layers.{}.mlp.experts.gate_up_proj", Stack::AlternatingMxfp4),
    packed(Param::ExpertUp, "layers.{}.mlp.experts.gate_up_proj", Stack::AlternatingMxfp4),
    packed(Param::ExpertDown, "layers.{}.mlp.experts.down_proj", Stack::Mxfp4),
];

const GATE_UP: Layout = Layout::Stacked(Stack::AlternatingTransposed);
