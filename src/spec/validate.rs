//! Whether a [`Spec`]'s numbers fit together. What they mean is said where they are declared.

use super::*;
use crate::error::{Error, Result};

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
        let width = self.embedding.width;
        check((1..=MAX_SIZE).contains(&width), || format!("the embedding's width is {width}"))?;
        for (name, norm) in [("embedding's", self.embedding.norm), ("final", self.final_norm)] {
            norm.map_or(Ok(()), |norm| norm.validate(&format!("the {name} norm")))?;
        }
        if let AbsolutePosition::Sinusoidal { theta, halves, .. } = self.embedding.position {
            check(theta.is_finite() && theta > 1.0, || format!("sinusoids of base {theta}"))?;
            check(!halves || (self.dim > 2 && self.dim.is_multiple_of(2)), || {
                format!("{} dimensions do not halve into sines and cosines", self.dim)
            })?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            layer.validate(&format!("layer {index}"))?;
        }
        Ok(())
    }
}

/// A size that no decoder has.
pub(super) const MAX_SIZE: usize = 1 << 31;

impl Layer {
    fn validate(&self, at: &str) -> Result<()> {
        self.norm.validate(at)?;
        finite(&format!("{at}: residual_scale"), self.residual_scale)?;
        match &self.feed_forward {
            FeedForward::Plain { hidden_dim, .. } | FeedForward::Gated { hidden_dim, .. } => {
                check((1..=MAX_SIZE).contains(hidden_dim), || {
                    format!("{at}: hidden_dim is {hidden_dim}")
                })?;
            }
            FeedForward::Experts(experts) => experts.validate(at)?,
        }
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
        positive(&format!("{at}: clip"), self.clip)?;
        if let Some(growth) = self.query_growth {
            finite(&format!("{at}: the queries' growth"), growth.beta)?;
            check(growth.every > 0, || format!("{at}: queries that grow every 0 positions"))?;
        }
        self.qk_norm.map_or(Ok(()), |norm| norm.validate(at))?;
        match &self.position {
            Position::None => Ok(()),
            Position::Alibi(alibi) => alibi.validate(at, n_heads),
            Position::Rope(rope) => rope.validate(at, head_dim),
        }
    }
}

impl QkNorm {
    fn validate(&self, at: &str) -> Result<()> {
        match self {
            Self::PerHead(norm) | Self::PerHeadPlaced(norm) | Self::Full(norm) => norm.validate(at),
            Self::OwnPerHead(norm) => {
                check(!matches!(norm, Norm::Layer { bias: true, .. }), || {
                    format!("{at}: a bias of its own for every head's norm")
                })?;
                norm.validate(at)
            }
        }
    }
}

impl Alibi {
    fn validate(&self, at: &str, n_heads: usize) -> Result<()> {
        check(self.slopes.len() == n_heads, || {
            format!("{at}: {} slopes for {n_heads} heads", self.slopes.len())
        })?;
        check(self.slopes.iter().all(|slope| slope.is_finite()), || {
            format!("{at}: a slope that is no number")
        })?;
        finite(&format!("{at}: the slopes' scale"), self.scale)
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
            RopeScaling::LongRope { short, long, attention_factors: [factor, beyond], .. } => {
                for (name, divisors) in [("short", short), ("long", long)] {
                    check(divisors.len() == turned / 2, || {
                        format!("{at}: {} {name} divisors for {} pairs", divisors.len(), turned / 2)
                    })?;
                    check(divisors.iter().all(|d| d.is_finite() && *d > 0.0), || {
                        format!("{at}: a {name} divisor that is not above 0")
                    })?;
                }
                finite(&format!("{at}: attention_factors"), *beyond)?;
                *factor
            }
        };
        check(factor.is_finite() && factor > 0.0, || format!("{at}: a RoPE factor of {factor}"))?;
        let original = self.scaling.original_max_seq_len().unwrap_or(1);
        check(original > 0, || format!("{at}: a RoPE original length of 0"))
    }
}

impl Norm {
    fn validate(&self, at: &str) -> Result<()> {
        let (Self::Layer { eps, offset, .. } | Self::Rms { eps, offset, .. }) = *self;
        check(eps.is_finite() && eps >= 0.0, || format!("{at}: a norm's eps of {eps}"))?;
        finite(&format!("{at}: a norm's offset"), offset)
    }
}

pub(super) fn check(holds: bool, problem: impl FnOnce() -> String) -> Result<()> {
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
