//! Probes: how anyone looks at, or replaces, an activation while a forward pass runs. It computes
//! nothing, and where nobody listens nothing is announced, copied or slowed.

use std::fmt;

use candle_core::Tensor;
use serde::{Serialize, Serializer};

use crate::error::Result;

/// A named activation. The names are TransformerLens' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// Embeddings with their positions, (batch, seq, dim).
    Embed,
    /// The residual stream before a block, (batch, seq, dim).
    ResidPre,
    /// What the attention branch's projections read, (batch, seq, dim).
    AttnIn,
    /// Queries before positions, (batch, heads, seq, head_dim).
    Q,
    /// Keys before positions, (batch, kv_heads, seq, head_dim).
    K,
    /// Values, (batch, kv_heads, seq, head_dim).
    V,
    /// Queries with positions, (batch, heads, seq, head_dim).
    QPos,
    /// Keys with positions, (batch, kv_heads, seq, head_dim).
    KPos,
    /// Scaled, capped and masked scores before the softmax, (batch, heads, seq, keys).
    Scores,
    /// Attention weights, (batch, heads, seq, keys).
    Pattern,
    /// Weighted sums of values, (batch, heads, seq, head_dim).
    Z,
    /// The attention branch's output, as it is added, (batch, seq, dim).
    AttnOut,
    /// The residual stream between the branches, (batch, seq, dim); none in parallel blocks.
    ResidMid,
    /// What the feed-forward branch's projections read, (batch, seq, dim).
    MlpIn,
    /// The feed-forward branch's output, as it is added, (batch, seq, dim).
    MlpOut,
    /// The residual stream after a block, (batch, seq, dim).
    ResidPost,
    /// The final norm's output, (batch, seq, dim).
    FinalNorm,
    /// Logits, (batch, seq, vocab).
    Logits,
}

impl Site {
    /// Every site, in order of computation.
    pub const ALL: [Site; 18] = [
        Site::Embed,
        Site::ResidPre,
        Site::AttnIn,
        Site::Q,
        Site::K,
        Site::V,
        Site::QPos,
        Site::KPos,
        Site::Scores,
        Site::Pattern,
        Site::Z,
        Site::AttnOut,
        Site::ResidMid,
        Site::MlpIn,
        Site::MlpOut,
        Site::ResidPost,
        Site::FinalNorm,
        Site::Logits,
    ];

    /// The name used on the command line and in trace files.
    pub const fn name(self) -> &'static str {
        match self {
            Site::Embed => "embed",
            Site::ResidPre => "resid_pre",
            Site::AttnIn => "attn_in",
            Site::Q => "q",
            Site::K => "k",
            Site::V => "v",
            Site::QPos => "q_pos",
            Site::KPos => "k_pos",
            Site::Scores => "scores",
            Site::Pattern => "pattern",
            Site::Z => "z",
            Site::AttnOut => "attn_out",
            Site::ResidMid => "resid_mid",
            Site::MlpIn => "mlp_in",
            Site::MlpOut => "mlp_out",
            Site::ResidPost => "resid_post",
            Site::FinalNorm => "final_norm",
            Site::Logits => "logits",
        }
    }

    /// The site of this name.
    pub fn from_name(name: &str) -> Option<Site> {
        Site::ALL.into_iter().find(|site| site.name() == name)
    }
}

/// A site in a place: a layer's, or the whole decoder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// The layer, from 0; `None` for `embed`, `final_norm` and `logits`.
    pub layer: Option<usize>,
    /// Which activation.
    pub site: Site,
}

impl At {
    /// The place that a trace file's key names.
    pub fn parse(key: &str) -> Option<At> {
        let (layer, site) = match key.split_once('.') {
            Some((layer, site)) => (Some(layer.parse().ok()?), site),
            None => (None, key),
        };
        Site::from_name(site).map(|site| At { layer, site })
    }
}

impl fmt::Display for At {
    /// The key in a trace file: `logits`, `3.pattern`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "{layer}.{}", self.site.name()),
            None => f.write_str(self.site.name()),
        }
    }
}

impl Serialize for At {
    /// As it is displayed.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Listens to activations, and may replace them.
pub trait Probe {
    /// Is [`Probe::visit`] to be called here? Only layers with a wanted site leave fast paths.
    fn wants(&self, at: At) -> bool;

    /// Sees an activation; `Some` replaces it (same shape, dtype and device).
    ///
    /// # Errors
    /// Any error ends the forward pass.
    fn visit(&mut self, at: At, x: &Tensor) -> Result<Option<Tensor>>;
}

/// Where a forward pass announces its activations; cheap to hand on.
pub(crate) struct Listener<'a> {
    probe: Option<&'a mut dyn Probe>,
    layer: Option<usize>,
}

impl<'a> Listener<'a> {
    pub(crate) fn new(probe: Option<&'a mut dyn Probe>) -> Self {
        Self { probe, layer: None }
    }

    /// From here on, sites are this layer's.
    pub(crate) fn enter(&mut self, layer: Option<usize>) {
        self.layer = layer;
    }

    /// Will anyone look at `site` here?
    pub(crate) fn hears(&self, site: Site) -> bool {
        let at = At { layer: self.layer, site };
        self.probe.as_ref().is_some_and(|probe| probe.wants(at))
    }

    /// Announces `x`, and gives it back as the probe leaves it.
    #[inline]
    pub(crate) fn see(&mut self, site: Site, x: Tensor) -> Result<Tensor> {
        match &mut self.probe {
            Some(probe) => announce(*probe, At { layer: self.layer, site }, x),
            None => Ok(x),
        }
    }
}

/// Apart from where it is called from: there, most of the time, nobody listens.
#[cold]
fn announce(probe: &mut dyn Probe, at: At, x: Tensor) -> Result<Tensor> {
    match probe.wants(at) {
        true => Ok(probe.visit(at, &x)?.unwrap_or(x)),
        false => Ok(x),
    }
}
