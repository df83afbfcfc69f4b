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
    /// One more score a head in the softmax, (n_heads).
    Sinks,
    /// Gate projection of a gated feed-forward, (hidden, dim).
    Gate,
    /// Up projection, (hidden, dim).
    Up,
    /// Down projection, (dim, hidden).
    Down,
    /// Scores of the experts, (n_experts, dim).
    Router,
    /// Gate projection of one expert, (hidden, dim).
    ExpertGate,
    /// Up projection of one expert, (hidden, dim).
    ExpertUp,
    /// Down projection of one expert, (dim, hidden).
    ExpertDown,
    /// Gate projection of the expert that every token takes, (hidden, dim).
    SharedGate,
    /// Up projection of the expert that every token takes, (hidden, dim).
    SharedUp,
    /// Down projection of the expert that every token takes, (dim, hidden).
    SharedDown,
    /// How much of the shared expert a token takes, (1, dim).
    SharedRouter,
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

/// Whose a parameter is: the whole decoder's, a layer's, or one expert's or head's in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Owner {
    /// The layer, from 0.
    pub layer: Option<usize>,
    /// The expert, from 0.
    pub expert: Option<usize>,
    /// The head, from 0, where heads have tensors of their own.
    pub head: Option<usize>,
}

impl Owner {
    /// An expert in a layer.
    pub fn expert(layer: usize, expert: usize) -> Self {
        Self { layer: Some(layer), expert: Some(expert), head: None }
    }
}

impl From<Option<usize>> for Owner {
    fn from(layer: Option<usize>) -> Self {
        Self { layer, expert: None, head: None }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(expert) = self.expert {
            write!(f, " of expert {expert}")?;
        }
        if let Some(head) = self.head {
            write!(f, " of head {head}")?;
        }
        match self.layer {
            Some(layer) => write!(f, " of layer {layer}"),
            None => Ok(()),
        }
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
    /// No tensor at all but a key of a GGUF's metadata, a number a layer.
    Key,
    /// The matrices of all experts, one after another; biases (experts, out).
    Stacked(Stack),
}

/// How the experts of a stack lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// (experts, out, in).
    Plain,
    /// (experts, in, out).
    Transposed,
    /// (experts, 2 · hidden, in), each `[gate | up]`.
    GateUp,
    /// (experts, in, 2 · hidden), the columns gate, up, gate, up, …: gpt-oss.
    AlternatingTransposed,
    /// (experts, out, in / 32, 16) bytes of 4-bit numbers, and their scales: see `mxfp4.rs`.
    Mxfp4,
    /// The same, the rows gate, up, gate, up, …: gpt-oss as it was published.
    AlternatingMxfp4,
}

/// One line of a name table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What is stored here. Several lines for one parameter are alternatives, tried in order;
    /// several parameters with one name are parts of a fused tensor.
    pub param: Param,
    /// The name without its prefix and suffix; `{}` is the layer, `{e}` the expert, `{h}` the head.
    pub name: &'static str,
    /// How it lies there.
    pub layout: Layout,
    /// What stands behind the name of the matrix (or factor).
    pub weight: &'static str,
    /// What stands behind the name of the bias.
    pub bias: &'static str,
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

/// A plainly stored parameter: `name.weight`, `name.bias`.
pub const fn plain(param: Param, name: &'static str) -> Entry {
    stored(param, name, Layout::Plain)
}

/// A parameter stored in another layout.
pub const fn stored(param: Param, name: &'static str, layout: Layout) -> Entry {
    Entry { param, name, layout, weight: ".weight", bias: ".bias" }
}

/// A parameter that is no module of PyTorch's: `name`, `name_bias`.
pub const fn bare(param: Param, name: &'static str, layout: Layout) -> Entry {
    Entry { param, name, layout, weight: "", bias: "_bias" }
}

/// The packed experts of gpt-oss: `name_blocks` with `name_scales`, `name_bias`.
pub const fn packed(param: Param, name: &'static str, stack: Stack) -> Entry {
    let layout = Layout::Stacked(stack);
    Entry { param, name, layout, weight: MXFP4_BLOCKS, bias: "_bias" }
}

/// What stands behind the name of a tensor of packed 4-bit numbers.
pub(super) const MXFP4_BLOCKS: &str = "_blocks";
/// And behind that of their scales.
pub(super) const MXFP4_SCALES: &str = "_scales";
