//! Mixtral (Jiang et al. 2024, 2401.04088): Mistral with two of eight experts a token.

use super::common::{GatedDefaults, gated};
use super::config::Config;
use super::llama::names_with;
use super::moe::{ExpertDefaults, everywhere, experts, window_everywhere};
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{Routing, Spec};
use crate::weights::{Layout, Names, Param, Stack, bare, plain};

/// What Mixtral and the families like it assume.
pub(crate) fn defaults() -> GatedDefaults {
    GatedDefaults {
        n_kv_heads: Some(8),
        max_seq_len: 131_072,
        eps: 1e-5,
        rope: RopeDefaults { theta: 1e6, ..RopeDefaults::default() },
        ..GatedDefaults::default()
    }
}

/// `MixtralConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    config.irrelevant(&["router_jitter_noise"]); // of training
    let mut spec = gated(config, defaults())?;
    let defaults = ExpertDefaults { n_experts: 8, per_token: 2 };
    // Computed as a renormalised softmax over all, which is the same.
    let experts = experts(config, &spec, Routing::TopThenSoftmax, defaults)?;
    everywhere(&mut spec, &experts);
    window_everywhere(config, &mut spec)?;
    Ok(spec)
}

/// Where `MixtralForCausalLM` keeps its parameters: a module an expert, or (as version 5 of
/// transformers has them in memory) a stack.
pub(crate) const NAMES: Names = names_with![
    plain(Param::Router, "layers.{}.block_sparse_moe.gate"),
    plain(Param::Router, "layers.{}.mlp.gate"),
    plain(Param::Router, "layers.{}.mlp.router"),
    plain(Param::ExpertGate, "layers.{}.block_sparse_moe.experts.{e}.w1"),
    plain(Param::ExpertUp, "layers.{}.block_sparse_moe.experts.{e}.w3"),
    plain(Param::ExpertDown, "layers.{}.block_sparse_moe.experts.{e}.w2"),
    bare(Param::ExpertGate, "layers.{}.mlp.experts.gate_up_proj", Layout::Stacked(Stack::GateUp)),
    bare(Param::ExpertUp, "layers.{}.mlp.experts.gate_up_proj", Layout::Stacked(Stack::GateUp)),
    bare(Param::ExpertDown, "layers.{}.mlp.experts.down_proj", Layout::Stacked(Stack::Plain)),
];
