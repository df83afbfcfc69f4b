//! Where llama.cpp keeps a decoder's parameters: the same names for every architecture, and three
//! ways in which they lie there.

use crate::weights::{Layout, Names, Param, Stack, plain, stored};

const STACK: Layout = Layout::Stacked(Stack::Plain);

/// llama.cpp's names, the same for every architecture.
macro_rules! names {
    (heads: $heads:expr, norms: $norms:expr) => {
        Names {
            prefixes: &[""],
            entries: &[
                plain(Param::TokenEmbedding, "token_embd"),
                plain(Param::PositionEmbedding, "position_embd"),
                stored(Param::AttentionNorm, "blk.{}.attn_norm", $norms),
                stored(Param::Query, "blk.{}.attn_q", $heads),
                stored(Param::Key, "blk.{}.attn_k", $heads),
                plain(Param::Value, "blk.{}.attn_v"),
                stored(Param::Query, "blk.{}.attn_qkv", Layout::FusedQkv),
                stored(Param::Key, "blk.{}.attn_qkv", Layout::FusedQkv),
                stored(Param::Value, "blk.{}.attn_qkv", Layout::FusedQkv),
                plain(Param::AttentionOut, "blk.{}.attn_output"),
                stored(Param::QueryNorm, "blk.{}.attn_q_norm", $norms),
                stored(Param::KeyNorm, "blk.{}.attn_k_norm", $norms),
                stored(Param::AttentionOutNorm, "blk.{}.post_attention_norm", $norms),
                stored(Param::MlpNorm, "blk.{}.ffn_norm", $norms),
                // What it is called where it is the only one after attention (gpt-oss).
                stored(Param::MlpNorm, "blk.{}.post_attention_norm", $norms),
                plain(Param::Gate, "blk.{}.ffn_gate"),
                plain(Param::Up, "blk.{}.ffn_up"),
                plain(Param::Down, "blk.{}.ffn_down"),
                plain(Param::Sinks, "blk.{}.attn_sinks"),
                plain(Param::Router, "blk.{}.ffn_gate_inp"),
                stored(Param::ExpertGate, "blk.{}.ffn_gate_exps", STACK),
                stored(Param::ExpertUp, "blk.{}.ffn_up_exps", STACK),
                stored(Param::ExpertDown, "blk.{}.ffn_down_exps", STACK),
                // Before there were stacks.
                plain(Param::ExpertGate, "blk.{}.ffn_gate.{e}"),
                plain(Param::ExpertUp, "blk.{}.ffn_up.{e}"),
                plain(Param::ExpertDown, "blk.{}.ffn_down.{e}"),
                plain(Param::SharedGate, "blk.{}.ffn_gate_shexp"),
                plain(Param::SharedUp, "blk.{}.ffn_up_shexp"),
                plain(Param::SharedDown, "blk.{}.ffn_down_shexp"),
                plain(Param::SharedRouter, "blk.{}.ffn_gate_inp_shexp"),
                stored(Param::MlpOutNorm, "blk.{}.post_ffw_norm", $norms),
                stored(Param::FinalNorm, "output_norm", $norms),
                plain(Param::Head, "output"),
            ],
            // Read as part of the configuration.
            ignored: &[
                "rope_freqs.weight",
                "rope_factors_short.weight",
                "rope_factors_long.weight",
            ],
        }
    };
}

pub(super) const PLAIN: Names = names!(heads: Layout::Plain, norms: Layout::Plain);
pub(super) const PERMUTED: Names = names!(heads: Layout::PermutedHeads, norms: Layout::Plain);
pub(super) const GEMMA: Names = names!(heads: Layout::Plain, norms: Layout::PlusOne);
