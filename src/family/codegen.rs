//! CodeGen (Nijkamp et al. 2022, 2203.13474): GPT-J with queries, values and keys in one matrix.

use crate::weights::{Layout, Names, Param, plain, stored};

pub(crate) use super::gptj::spec;

/// Where `CodeGenForCausalLM` keeps its parameters.
pub(crate) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "wte"),
        plain(Param::AttentionNorm, "h.{}.ln_1"),
        stored(Param::Query, "h.{}.attn.qkv_proj", Layout::FourfoldQvk),
        stored(Param::Key, "h.{}.attn.qkv_proj", Layout::FourfoldQvk),
        stored(Param::Value, "h.{}.attn.qkv_proj", Layout::FourfoldQvk),
        plain(Param::AttentionOut, "h.{}.attn.out_proj"),
        plain(Param::Up, "h.{}.mlp.fc_in"),
        plain(Param::Down, "h.{}.mlp.fc_out"),
        plain(Param::FinalNorm, "ln_f"),
        plain(Param::Head, "lm_head"),
    ],
    // The causal mask and the table of sines, kept as buffers by old versions.
    ignored: &["attn.causal_mask", "attn.embed_positions"],
};
