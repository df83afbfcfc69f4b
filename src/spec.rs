//! What a decoder *is*: plain data, resolved, and checked by [`Spec::validate`]. It knows no
//! family, no file format and no tensor.
//!
//! The axes are closed enums; each is matched on in exactly one file (`Wiring` in
//! `nn/block.rs`, `Norm` in `nn/norm.rs`, positions in `nn/position.rs`, …). A new variant needs
//! a supported family that cannot be written without it.

use crate::error::{Error, Result};

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
    /// The norm before the head.
    pub final_norm: Norm,
    /// From the residual stream to logits.
    pub head: Head,
}

/// From token ids to the residual stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Factor on the token's row, rounded to the activations' dtype (Gemma: √dim); 1 = none.
    pub scale: f64,
    /// Positions added to the token's row.
    pub position: AbsolutePosition,
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
    /// A query sees this many keys, itself among them; `None` = all before it.
    pub window: Option<usize>,
    /// Factor on q·kᵀ, usually 1/√head_dim.
    pub scale: f64,
    /// Scores become `cap · tanh(scores / cap)`, before the mask (Gemma 2).
    pub softcap: Option<f64>,
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
        /// Factor on cosines and sines, resolved.
        attention_factor: f64,
        /// Length trained on.
        original_max_seq_len: usize,
    },
}

/// A bias on the scores: `slope(head) · (key − query)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Alibi {
    /// One slope a query head.
    pub slopes: Vec<f64>,
}

/// A norm on queries and keys, before positions are applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QkNorm {
    /// Over each head's `head_dim`, one weight shared by the heads (Qwen 3).
    PerHead(Norm),
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
    /// Checks what no single field can tell: that the numbers fit together.
    ///
    /// # Errors
    /// [`Error::Spec`], saying which layer and which numbers.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("dim", self.dim),
            ("max_seq_len", self.max_seq_len),
            ("the number of layers", self.layers.len()),
        ];
        for (name, size) in sizes {
            check(size > 0, || format!("{name} is 0"))?;
            // Products of two sizes must not overflow, whatever a file claims.
            check(size <= MAX_SIZE, || format!("{name} is {size}, above {MAX_SIZE}"))?;
        }
        finite("the embedding's scale", self.embedding.scale)?;
        finite("the head's scale", self.head.scale)?;
        positive("the head's softcap", self.head.softcap)?;
        self.final_norm.validate("the final norm")?;
        for (index, layer) in self.layers.iter().enumerate() {
            layer.validate(&format!("layer {index}"))?;
        }
        Ok(())
    }
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

/// A size that no decoder has.
const MAX_SIZE: usize = 1 << 31;

impl Layer {
    fn validate(&self, at: &str) -> Result<()> {
        self.norm.validate(at)?;
        finite(&format!("{at}: residual_scale"), self.residual_scale)?;
        let hidden = match self.feed_forward {
            FeedForward::Plain { hidden_dim, .. } | FeedForward::Gated { hidden_dim, .. } => {
                hidden_dim
            }
        };
        check((1..=MAX_SIZE).contains(&hidden), || format!("{at}: hidden_dim is {hidden}"))?;
        self.attention.validate(at)
    }
}

impl Attention {
    fn validate(&self, at: &str) -> Result<()> {
        let Self { n_heads, n_kv_heads, head_dim, .. } = *self;
        for (name, size) in
            [("n_heads", n_heads), ("n_kv_heads", n_kv_heads), ("head_dim", head_dim)]
        {
            check((1..=1 << 20).contains(&size), || format!("{at}: {name} is {size}"))?;
        }
        check(n_heads.is_multiple_of(n_kv_heads), || {
            format!("{at}: {n_heads} query heads cannot share {n_kv_heads} key heads evenly")
        })?;
        check(self.window != Some(0), || format!("{at}: a window of 0 keys"))?;
        finite(&format!("{at}: scale"), self.scale)?;
        positive(&format!("{at}: softcap"), self.softcap)?;
        if let Some(QkNorm::PerHead(norm) | QkNorm::Full(norm)) = self.qk_norm {
            norm.validate(at)?;
        }
        match &self.position {
            Position::None => Ok(()),
            Position::Alibi(alibi) => check(alibi.slopes.len() == n_heads, || {
                format!("{at}: {} slopes for {n_heads} heads", alibi.slopes.len())
            }),
            Position::Rope(rope) => rope.validate(at, head_dim),
        }
    }
}

impl Rope {
    fn validate(&self, at: &str, head_dim: usize) -> Result<()> {
        let turned = self.rotary_dim;
        check(turned > 0 && turned.is_multiple_of(2) && turned <= head_dim, || {
            format!("{at}: {turned} rotary dimensions in a head of {head_dim}")
        })?;
        check(self.theta.is_finite() && self.theta > 1.0, || {
            format!("{at}: a RoPE base of {}", self.theta)
        })?;
        let factor = match &self.scaling {
            RopeScaling::None => return Ok(()),
            RopeScaling::Linear { factor } => *factor,
            RopeScaling::Dynamic { factor, .. } => {
                check(turned > 2, || format!("{at}: dynamic RoPE needs more than one pair"))?;
                *factor
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => {
                check(low_freq_factor < high_freq_factor && *low_freq_factor > 0.0, || {
                    format!("{at}: llama3 RoPE from {low_freq_factor} to {high_freq_factor}")
                })?;
                *factor
            }
            RopeScaling::Yarn { factor, attention_factor, .. } => {
                finite(&format!("{at}: attention_factor"), *attention_factor)?;
                *factor
            }
            RopeScaling::LongRope { short, long, attention_factor, .. } => {
                for (name, divisors) in [("short", short), ("long", long)] {
                    check(divisors.len() == turned / 2, || {
                        format!("{at}: {} {name} divisors for {} pairs", divisors.len(), turned / 2)
                    })?;
                    check(divisors.iter().all(|d| d.is_finite() && *d > 0.0), || {
                        format!("{at}: a {name} divisor that is not above 0")
                    })?;
                }
                *attention_factor
            }
        };
        check(factor.is_finite() && factor > 0.0, || format!("{at}: a RoPE factor of {factor}"))?;
        let original = self.scaling.original_max_seq_len().unwrap_or(1);
        check(original > 0, || format!("{at}: a RoPE original length of 0"))
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

impl Norm {
    fn validate(&self, at: &str) -> Result<()> {
        let (Self::Layer { eps, offset, .. } | Self::Rms { eps, offset, .. }) = *self;
        check(eps.is_finite() && eps >= 0.0, || format!("{at}: a norm's eps of {eps}"))?;
        finite(&format!("{at}: a norm's offset"), offset)
    }
}

fn check(holds: bool, problem: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Spec(problem())) }
}

fn finite(what: &str, value: f64) -> Result<()> {
    check(value.is_finite(), || format!("{what} is {value}"))
}

fn positive(what: &str, value: Option<f64>) -> Result<()> {
    check(value.is_none_or(|value| value.is_finite() && value > 0.0), || {
        format!("{what} is {}, not above 0", value.unwrap_or_default())
    })
}
