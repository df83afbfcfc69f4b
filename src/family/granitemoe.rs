//! Granite 3 MoE (Granite Team 2024): Granite with experts.

use super::common::{GatedDefaults, attention_biases, gated};
use super::config::Config;
use super::granite::multiply;
use super::llama::names_with;
use super::moe::{ExpertDefaults, everywhere, experts};
use crate::error::Result;
use crate::spec::{Routing, Spec};
use crate::weights::{Layout, Names, Param, Stack, bare, plain, stored};

/// `GraniteMoeConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let mut spec = gated(config, GatedDefaults::default())?;
    attention_biases(config, &mut spec, false, true)?;
    let defaults = ExpertDefaults { n_experts: 8, per_token: 2 };
    let experts = experts(config, &spec, Routing::TopThenSoftmax, defaults)?;
    everywhere(&mut spec, &experts);
    multiply(config, &mut spec)?;
    Ok(spec)
}

/// Where `GraniteMoeForCausalLM` keeps its parameters: stacks as they were published, and as
/// version 5 of transformers has them in memory.
pub(crate) const NAMES: Names = names_with![
    plain(Param::Router, "layers.{}.block_sparse_moe.router.layer"),
    plain(Param::Router, "layers.{}.block_sparse_moe.router"),
    stored(Param::ExpertGate, "layers.{}.block_sparse_moe.input_linear", GATE_UP),
    stored(Param::ExpertUp, "layers.{}.block_sparse_moe.input_linear", GATE_UP),
    stored(Param::ExpertDown, "layers.{}.block_sparse_moe.output_linear", DOWN),
    bare(Param::ExpertGate, "layers.{}.block_sparse_moe.experts.gate_up_proj", GATE_UP),
    bare(Param::ExpertUp, "layers.{}.block_sparse_moe.experts.gate_up_proj", GATE_UP),
    bare(Param::ExpertDown, "layers.{}.block_sparse_moe.experts.down_proj", DOWN),
];

const GATE_UP: Layout = Layout::Stacked(Stack::GateUp);
const DOWN: Layout = Layout::Stacked(Stack::Plain);
