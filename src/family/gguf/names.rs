//! Where llama.cpp keeps a decoder's parameters: the same names for every architecture, and a few
//! ways in which they lie there.

use crate::weights::{Layout, Names, Param, Stack, bare, plain, stored};

const STACK: Layout = Layout::Stacked(Stack::Plain);

/// llama.cpp's names, the same for every architecture.
macro_rules! names {
    (heads: $heads:expr, norms: $norms:expr, own: $($own:expr),*) => {
        Names {
            prefixes: &[""],
            entries: &[
                $($own,)*
                plain(Param::TokenEmbedding, "token_embd"),
                plain(Param::EmbeddingNorm, "token_embd_norm"),
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

pub(super) const PLAIN: Names = names!(heads: Layout::Plain, norms: Layout::Plain, own:);
pub(super) const PERMUTED: Names = names!(heads: Layout::PermutedHeads, norms: Layout::Plain, own:);
/// Norms of 1 + weight, the 1 added.
pub(super) const PLUS_ONE: Names = names!(heads: Layout::Plain, norms: Layout::PlusOne, own:);
/// Gate and up as one matrix.
pub(super) const FUSED: Names = names!(
    heads: Layout::Plain, norms: Layout::Plain, own:
    stored(Param::Gate, "blk.{}.ffn_up", Layout::FusedGateUp),
    stored(Param::Up, "blk.{}.ffn_up", Layout::FusedGateUp)
);
/// What the nonlinearity was trained with is in keys, a number a layer.
pub(super) const APERTUS: Names = names!(
    heads: Layout::Plain, norms: Layout::Plain, own:
    bare(Param::XieluPositive, "xielu.alpha_p", Layout::Key),
    bare(Param::XieluNegative, "xielu.alpha_n", Layout::Key),
    bare(Param::XieluBeta, "xielu.beta", Layout::Key),
    bare(Param::XieluEps, "xielu.eps", Layout::Key)
);
/// Where there are two norms, the second is the attention's.
pub(super) const FALCON: Names = names!(
    heads: Layout::Plain, norms: Layout::Plain, own:
    plain(Param::AttentionNorm, "blk.{}.attn_norm_2"),
    plain(Param::MlpNorm, "blk.{}.attn_norm")
);
