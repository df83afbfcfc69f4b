//! Qwen 1.5 and 2 MoE (Yang et al. 2024, 2407.10671): Qwen 2 with many small experts, and one that
//! every token takes in a measure of its own.

use super::common::{GatedDefaults, gated, window_or, windows};
use super::config::Config;
use super::llama::names_with;
use super::moe::{ExpertDefaults, experts, softmax_routing, sparsely};
use crate::error::Result;
use crate::spec::Spec;
use crate::weights::{Layout, Names, Param, Stack, bare, plain};

/// `Qwen2MoeConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults =
        GatedDefaults { n_kv_heads: Some(16), max_seq_len: 32_768, ..GatedDefaults::default() };
    let mut spec = gated(config, defaults)?;
    let bias = config.flag_or("qkv_bias", true)?;
    for layer in &mut spec.layers {
        layer.attention.qkv_bias = bias;
    }
    let defaults = ExpertDefaults { n_experts: 60, per_token: 4 };
    let mut experts = experts(config, &spec, softmax_routing(config)?, defaults)?;
    experts.hidden_dim = config.size_or("moe_intermediate_size", 1408)?;
    experts.shared = Some(config.size_or("shared_expert_intermediate_size", 5632)?);
    sparsely(config, &mut spec, &experts)?;
    lower_windows(config, &mut spec)?;
    Ok(spec)
}

/// A window counts only with `use_sliding_window`, and then on every other layer below
/// `max_window_layers` (Qwen 2: on every layer from there on).
fn lower_windows(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    let window = match config.flag_or("use_sliding_window", false)? {
        true => window_or(config, 4096)?,
        false => {
            config.irrelevant(&["sliding_window"]);
            None
        }
    };
    let end = config.size_or("max_window_layers", 28)?;
    windows(config, spec, window, |layer| {
        window.is_some() && layer.is_multiple_of(2) && layer < end
    })
}

/// Where `Qwen2MoeForCausalLM` keeps its parameters: a module an expert, or (as version 5 of
/// transformers has them in memory) a stack.
pub(crate) const NAMES: Names = names_with![
    plain(Param::Router, "layers.{}.mlp.gate"),
    plain(Param::ExpertGate, "layers.{}.mlp.experts.{e}.gate_proj"),
    plain(Param::ExpertUp, "layers.{}.mlp.experts.{e}.up_proj"),
    plain(Param::ExpertDown, "layers.{}.mlp.experts.{e}.down_proj"),
    bare(Param::ExpertGate, "layers.{}.mlp.experts.gate_up_proj", Layout::Stacked(Stack::GateUp)),
    bare(Param::ExpertUp, "layers.{}.mlp.experts.gate_up_proj", Layout::Stacked(Stack::GateUp)),
    bare(Param::ExpertDown, "layers.{}.mlp.experts.down_proj", Layout::Stacked(Stack::Plain)),
    plain(Param::SharedGate, "layers.{}.mlp.shared_expert.gate_proj"),
    plain(Param::SharedUp, "layers.{}.mlp.shared_expert.up_proj"),
    plain(Param::SharedDown, "layers.{}.mlp.shared_expert.down_proj"),
    plain(Param::SharedRouter, "layers.{}.mlp.shared_expert_gate"),
];
