//! The parameters of a decoder, and where a checkpoint keeps them: a table from [`Param`] to
//! tensor names and storage layouts. It reads nothing itself.

use std::fmt;

/// A parameter of the decoder, in this crate's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Param {
    /// Token table, (vocab, dim).
    TokenEmbedding,
    /// Learned positions, (max_seq_len + offset, dim).
    PositionEmbedding,
    /// The norm that the attention branch reads through (or the block's only one).
    AttentionNorm,
    /// The norm on the attention branch's output (post, sandwich).
    AttentionOutNorm,
    /// The norm that the feed-forward branch reads through.
    MlpNorm,
    /// The norm on the feed-forward branch's output (post, sandwich).
    MlpOutNorm,
    /// Query projection, (n_heads · head_dim, dim).
    Query,
    /// Key projection, (n_kv_heads · head_dim, dim).
    Key,
    /// Value projection, (n_kv_heads · head_dim, dim).
    Value,
    /// Output projection, (dim, n_heads · head_dim).
    AttentionOut,
    /// Norm on queries.
    QueryNorm,
    /// Norm on keys.
    KeyNorm,
    /// Gate projection of a gated feed-forward, (hidden, dim).
    Gate,
    /// Up projection, (hidden, dim).
    Up,
    /// Down projection, (dim, hidden).
    Down,
    /// The norm before the head.
    FinalNorm,
    /// The head, (vocab, dim).
    Head,
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a tensor is laid out on disk. All of it ends at the door: what `weights` hands out is one
/// matrix (out, in) per parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As it is used: (out, in), or a vector.
    Plain,
    /// (in, out): GPT-2's `Conv1D`.
    Transposed,
    /// Query, key and value rows one after another, each whole: `[q | k | v]`.
    FusedQkv,
    /// `[q | k | v]`, (in, out): GPT-2's `c_attn`.
    FusedQkvTransposed,
    /// Per kv head its query rows, then its key rows, then its value rows (NeoX with one query
    /// head a group; InternLM 2, Falcon 40B with several).
    GroupedQkv,
    /// Gate and up one after another: `[gate | up]`.
    FusedGateUp,
    /// Rows of each head permuted for pairwise rotation: llama.cpp's q and k of the Llama family.
    PermutedHeads,
    /// The factor is stored with 1 already added: Gemma's norms in GGUF.
    PlusOne,
}

/// One line of a name table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What is stored here. Several lines for one parameter are alternatives, tried in order;
    /// several parameters with one name are parts of a fused tensor.
    pub param: Param,
    /// The name without its prefix and without `.weight` or `.bias`; `{}` is the layer.
    pub name: &'static str,
    /// How it lies there.
    pub layout: Layout,
}

/// Where a family's checkpoints keep its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Prefixes that may stand before every name, the empty one among them where that occurs:
    /// `["model.", ""]`.
    pub prefixes: &'static [&'static str],
    /// The table.
    pub entries: &'static [Entry],
    /// Suffixes of tensors that are known not to be parameters (`rotary_emb.inv_freq`,
    /// `attn.bias` masks); their presence is no error.
    pub ignored: &'static [&'static str],
}

/// A plainly stored parameter.
pub const fn plain(param: Param, name: &'static str) -> Entry {
    Entry { param, name, layout: Layout::Plain }
}

/// A parameter stored in another layout.
pub const fn stored(param: Param, name: &'static str, layout: Layout) -> Entry {
    Entry { param, name, layout }
}
