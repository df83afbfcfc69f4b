//! What a decoder *is*: plain data, resolved, and checked by [`Spec::validate`]. It knows no
//! family, no file format and no tensor.
//!
//! The axes are closed enums; each is matched on in exactly one file (`Wiring` in
//! `nn/block.rs`, `Norm` in `nn/norm.rs`, positions in `nn/position.rs`, …). A new variant needs
//! a supported family that cannot be written without it.

mod experts;
mod validate;

pub use experts::{Experts, Gating, Routing};

/// A whole decoder. The weights' dtype is not part of it: the same spec runs in any.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream (`hidden_size`, `n_embd`).
    pub dim: usize,
    /// Positions the model was made for (`max_position_embeddings`, `n_positions`).
    pub max_seq_len: usize,
    /// From token ids to the residual stream.
    pub embedding: Embedding,
    /// One entry a layer, first to last; alternating kinds are ordinary data.
    pub layers: Vec<Layer>,
    /// The norm before the head, where there is one.
    pub final_norm: Option<Norm>,
    /// From the residual stream to logits.
    pub head: Head,
}

/// From token ids to the residual stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Columns of the token table. Where they are not `dim`, a matrix leads from them to `dim` and,
    /// before the head, another one back (OPT 350M, after Lan et al. 2019, 1909.11942).
    pub width: usize,
    /// Factor on the token's row, rounded to the activations' dtype (Gemma: √dim); 1 = none.
    pub scale: f64,
    /// Positions added to the token's row.
    pub position: AbsolutePosition,
    /// A norm on all that (BLOOM).
    pub norm: Option<Norm>,
}

/// Positions that are added to the embedding, once, before the first layer.
///
/// DESIGN's one position enum is two here, [`AbsolutePosition`] and [`Position`]: a learned table
/// acts on the residual stream, a rotation on queries and keys, and one enum would allow either in
/// the other's place. Both are matched on in `nn/position.rs`.
#[derive(Debug, Clone, PartialEq)]
pub enum AbsolutePosition {
    /// Nothing is added.
    None,
    /// A trained table of `max_seq_len + offset` rows; position p takes row p + offset
    /// (Radford et al. 2019; OPT's offset is 2).
    Learned {
        /// Rows before that of position 0.
        offset: usize,
    },
    /// Sines and cosines of wavelengths 2π to `theta`·2π (Vaswani et al. 2017, 1706.03762, section
    /// 3.5): `PE(p, 2i) = sin(p / theta^(2i/dim))`, `PE(p, 2i+1) = cos(…)`.
    Sinusoidal {
        /// 10 000 in the paper.
        theta: f64,
        /// Added to every position (XGLM: 2).
        offset: usize,
        /// tensor2tensor's order instead of the paper's (XGLM): all sines, then all cosines, the
        /// i-th of either of frequency `theta^(−i/(dim/2−1))`.
        halves: bool,
    },
}

/// One decoder block.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Where the norms stand and how the two branches meet the residual stream.
    pub wiring: Wiring,
    /// The kind of norm, the same at every place of the layer.
    pub norm: Norm,
    /// The attention branch.
    pub attention: Attention,
    /// The feed-forward branch.
    pub feed_forward: FeedForward,
    /// Factor on each branch's output before it is added (Granite, MiniCPM); 1 = none.
    pub residual_scale: f64,
}

/// Where a block's norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// `x += attention(norm(x)); x += mlp(norm(x))` (GPT-2, Llama).
    Pre,
    /// `x += norm(attention(x)); x += norm(mlp(x))` (OLMo 2).
    Post,
    /// `x += norm(attention(norm(x))); x += norm(mlp(norm(x)))` (Gemma 2).
    Sandwich,
    /// `x = norm(x + attention(x)); x = norm(x + mlp(x))`: the original Transformer's (Vaswani et
    /// al. 2017), OPT 350M's.
    PostSum,
    /// `y = norm(x); x = y + attention(y); y = norm(x); x = y + mlp(y)`: the residual stream itself
    /// is normed (BLOOM with `apply_residual_connection_post_layernorm`).
    Normed,
    /// `x += attention(norm(x)) + mlp(norm(x))` (GPT-J, GPT-NeoX).
    Parallel {
        /// Both branches read one norm; otherwise each has its own.
        shared_norm: bool,
    },
}

/// A normalisation over the last axis; its statistics are computed in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// Mean and variance (Ba et al. 2016, 1607.06450).
    Layer {
        /// Added to the variance.
        eps: f64,
        /// Has a trained factor.
        weight: bool,
        /// Has a trained summand.
        bias: bool,
        /// Added to the stored factor (Nemotron: 1).
        offset: f64,
    },
    /// Root mean square (Zhang & Sennrich 2019, 1910.07467).
    Rms {
        /// Added to the mean square.
        eps: f64,
        /// Has a trained factor.
        weight: bool,
        /// Added to the stored factor (Gemma: 1).
        offset: f64,
    },
}

/// Multi-head attention (Vaswani et al. 2017, 1706.03762), grouped-query (Ainslie et al. 2023,
/// 2305.13245) or multi-query (Shazeer 2019, 1911.02150) by `n_kv_heads`.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; `n_heads * head_dim` need not equal `dim`.
    pub head_dim: usize,
    /// What tells queries and keys where they are.
    pub position: Position,
    /// A norm on queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// The query, key and value projections have biases.
    pub qkv_bias: bool,
    /// The output projection has a bias.
    pub out_bias: bool,
    /// Queries, keys and values are cut to ±this as they are projected (OLMo, MPT).
    pub clip: Option<f64>,
    /// A query sees this many keys, itself among them; `None` = all before it.
    pub window: Option<usize>,
    /// Factor on q·kᵀ, usually 1/√head_dim.
    pub scale: f64,
    /// Queries grow with their position.
    pub query_growth: Option<QueryGrowth>,
    /// Scores become `cap · tanh(scores / cap)`, before the mask (Gemma 2).
    pub softcap: Option<f64>,
    /// One more score a head in every softmax, trained, to which no value belongs: a head can look
    /// at nothing (gpt-oss; Xiao et al. 2023, 2309.17453, have it as a token).
    pub sinks: bool,
}

impl Attention {
    /// Attention without anything that it can be without: no positions, biases, norms or limits,
    /// scores scaled by 1/√head_dim.
    pub fn new(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Self {
        Self {
            n_heads,
            n_kv_heads,
            head_dim,
            position: Position::None,
            qk_norm: None,
            qkv_bias: false,
            out_bias: false,
            clip: None,
            window: None,
            scale: (head_dim as f64).powf(-0.5),
            query_growth: None,
            softcap: None,
            sinks: false,
        }
    }
}

/// Positioned queries are multiplied by `1 + beta · ln(1 + ⌊position / every⌋)`, so that attention
/// stays sharp over many keys (Llama 4's, in Ministral 3; after Nakanishi 2025, 2501.19399).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryGrowth {
    /// How much.
    pub beta: f64,
    /// Positions of a step.
    pub every: usize,
}

/// What tells queries and keys where they are.
#[derive(Debug, Clone, PartialEq)]
pub enum Position {
    /// Nothing.
    None,
    /// Rotation (Su et al. 2021, 2104.09864).
    Rope(Rope),
    /// A bias on the scores, linear in the distance (Press et al. 2021, 2108.12409).
    Alibi(Alibi),
}

/// Rotary positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the wavelengths.
    pub theta: f64,
    /// How many of a head's dimensions turn; even, at most `head_dim`.
    pub rotary_dim: usize,
    /// Pairs turn the other way round (nanochat).
    pub reversed: bool,
    /// Pairs are (0,1), (2,3), … (GPT-J); otherwise (0, d/2), (1, d/2+1), … (NeoX, Llama).
    pub interleaved: bool,
    /// How the wavelengths are stretched beyond the length trained on.
    pub scaling: RopeScaling,
}

/// How rotary wavelengths are stretched. The names are those of `rope_type` in Hugging Face
/// configurations, and so are the formulas.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Every frequency divided by `factor` (Chen et al. 2023, 2306.15595).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The base grows with the length in use, beyond `original_max_seq_len` ("dynamic NTK").
    Dynamic {
        /// Growth per length.
        factor: f64,
        /// Length up to which nothing changes.
        original_max_seq_len: usize,
    },
    /// Llama 3.1's: long wavelengths divided, short ones kept, a ramp between.
    Llama3 {
        /// The divisor of long wavelengths.
        factor: f64,
        /// Wavelengths above `original_max_seq_len / low_freq_factor` are long.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_seq_len / high_freq_factor` are short.
        high_freq_factor: f64,
        /// Length trained on.
        original_max_seq_len: usize,
    },
    /// YaRN (Peng et al. 2023, 2309.00071).
    Yarn {
        /// The divisor of long wavelengths.
        factor: f64,
        /// Rotations over the original length above which a dimension keeps its frequency.
        beta_fast: f64,
        /// Rotations below which it is divided.
        beta_slow: f64,
        /// Factor on cosines and sines, resolved.
        attention_factor: f64,
        /// Length trained on.
        original_max_seq_len: usize,
        /// The ramp's ends are rounded to whole dimensions.
        truncate: bool,
    },
    /// LongRoPE (Ding et al. 2024, 2402.13753): a divisor for every frequency, one set up to
    /// `original_max_seq_len` positions in use and another beyond.
    LongRope {
        /// Divisors up to the original length, `rotary_dim / 2` of them.
        short: Vec<f64>,
        /// Divisors beyond it.
        long: Vec<f64>,
        /// Factors on cosines and sines, resolved: up to the original length, and beyond it.
        attention_factors: [f64; 2],
        /// Length trained on.
        original_max_seq_len: usize,
    },
}

/// A bias on the scores: `slope(head) · (key − query)`, which to the softmax is the same as
/// `slope(head) · key`.
#[derive(Debug, Clone, PartialEq)]
pub struct Alibi {
    /// One slope a query head.
    pub slopes: Vec<f64>,
    /// Factor on the bias (Falcon: that of the scores).
    pub scale: f64,
    /// `slope` and `slope · position` are rounded to bf16, whatever is computed in (Falcon): the
    /// bias is then a staircase, coarse at far positions.
    pub rounded: bool,
}

/// A norm on queries and keys, before positions are applied where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QkNorm {
    /// Over each head's `head_dim`, one weight shared by the heads (Qwen 3).
    PerHead(Norm),
    /// The same after positions are applied (Hunyuan).
    PerHeadPlaced(Norm),
    /// Over each head's `head_dim`, every head with a weight of its own (StableLM 2 12B, Cohere).
    OwnPerHead(Norm),
    /// Over the whole width of all heads (OLMo 2).
    Full(Norm),
}

/// The feed-forward branch.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedForward {
    /// `down(act(up(x)))`.
    Plain {
        /// Width between.
        hidden_dim: usize,
        /// The nonlinearity.
        activation: Activation,
        /// Both projections have biases.
        bias: bool,
    },
    /// `down(act(gate(x)) * up(x))` (Shazeer 2020, 2002.05202).
    Gated {
        /// Width between.
        hidden_dim: usize,
        /// The nonlinearity.
        activation: Activation,
        /// All three projections have biases.
        bias: bool,
    },
    /// Several gated ones, of which every token takes a few.
    Experts(Experts),
}

/// A nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x·Φ(x)` by the error function (Hendrycks & Gimpel 2016, 1606.08415).
    GeluErf,
    /// The tanh form of it: `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`.
    GeluTanh,
    /// `x·σ(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²` (So et al. 2021, 2109.08668).
    ReluSquared,
    /// xIELU, with two trained numbers a layer (Huang & Schlag 2024, 2411.13010; Apertus).
    Xielu,
}

/// From the residual stream to logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// The embedding's matrix serves as the head's.
    pub tied: bool,
    /// Has a bias.
    pub bias: bool,
    /// Factor on the logits; 1 = none.
    pub scale: f64,
    /// Logits become `cap · tanh(logits / cap)`.
    pub softcap: Option<f64>,
}

impl Spec {
    /// Does a token's rotation depend on how many positions are in use at all? If so, rows of
    /// different lengths in one batch are not what each would be alone.
    pub fn depends_on_length(&self) -> bool {
        self.layers.iter().any(|layer| match &layer.attention.position {
            Position::Rope(rope) => rope.scaling.depends_on_length(),
            Position::None | Position::Alibi(_) => false,
        })
    }
}

impl RopeScaling {
    /// Do the frequencies depend on how many positions are in use?
    pub fn depends_on_length(&self) -> bool {
        matches!(self, Self::Dynamic { .. } | Self::LongRope { .. })
    }

    /// The length trained on, where the scaling has one.
    pub fn original_max_seq_len(&self) -> Option<usize> {
        match self {
            Self::None | Self::Linear { .. } => None,
            Self::Dynamic { original_max_seq_len, .. }
            | Self::Llama3 { original_max_seq_len, .. }
            | Self::Yarn { original_max_seq_len, .. }
            | Self::LongRope { original_max_seq_len, .. } => Some(*original_max_seq_len),
        }
    }
}
