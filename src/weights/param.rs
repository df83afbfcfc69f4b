//! The parameters of a decoder, and where a checkpoint keeps them: a table from [`Param`] to
//! tensor names and storage layouts. It reads nothing itself.

use std::fmt;

/// A parameter of the decoder, in this crate's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Param {
    /// Token table, (vocab, width).
    TokenEmbedding,
    /// Learned positions, (max_seq_len + offset, dim).
    PositionEmbedding,
    /// From the token table's width to the residual stream's, (dim, width).
    EmbeddingIn,
    /// The norm on embeddings.
    EmbeddingNorm,
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
    /// xIELU's number for positive arguments, before its softplus.
    XieluPositive,
    /// xIELU's number for negative arguments, before its softplus.
    XieluNegative,
    /// xIELU's slope at zero.
    XieluBeta,
    /// The largest argument that xIELU's exponential sees.
    XieluEps,
    /// The norm before the head.
    FinalNorm,
    /// From the residual stream's width to the token table's, (width, dim).
    EmbeddingOut,
    /// The head, (vocab, width).
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
    /// Four blocks of heads, in each its query rows, then its value rows, then its key rows:
    /// CodeGen's, made for four cores.
    FourfoldQvk,
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
    /// The name without its prefix and without `.weight` or `.bias`; `{}` is the layer, and
    /// `{head}` a head where every head has a tensor of its own.
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

/// What is looked for in a checkpoint: a parameter's `.weight` or `.bias`, or itself where the
/// suffix is empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) param: Param,
    pub(super) layer: Option<usize>,
    pub(super) head: Option<usize>,
    pub(super) suffix: &'static str,
}

impl Names {
    /// The names under which it may be stored, most usual first.
    pub(super) fn candidates(&self, wanted: Wanted) -> impl Iterator<Item = (String, Layout)> {
        let Wanted { param, layer, head, suffix } = wanted;
        let number = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        let (layer, head) = (number(layer), number(head));
        let entries = self.entries.iter().filter(move |entry| entry.param == param);
        entries.flat_map(move |entry| {
            let name = entry.name.replace("{}", &layer).replace("{head}", &head);
            let named = move |prefix: &&str| (format!("{prefix}{name}{suffix}"), entry.layout);
            self.prefixes.iter().map(named).collect::<Vec<_>>()
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.suffix == ".bias" { "the bias of " } else { "" };
        write!(f, "{what}{}", self.param)?;
        self.layer.map_or(Ok(()), |layer| write!(f, " of layer {layer}"))
    }
}

/// A plainly stored parameter.
pub const fn plain(param: Param, name: &'static str) -> Entry {
    Entry { param, name, layout: Layout::Plain }
}

/// A parameter stored in another layout.
pub const fn stored(param: Param, name: &'static str, layout: Layout) -> Entry {
    Entry { param, name, layout }
}
