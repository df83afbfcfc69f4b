//! The faults that decoders are known for, each as an edit of the spec: under it, what differed is
//! the same. It runs nothing.

mod branches;
mod rope;
mod scores;

use candle_core::Tensor;

use self::branches::{
    activation, branch_scale, embedding_scale, final_softcap, logit_scale, norm_eps, norm_offset,
    qkv_split,
};
use self::rope::{rope_base, rope_dimensions, rope_pairs, rope_scaling};
use self::scores::{score_scale, softcap, softcap_after_mask, window};
use super::evidence::Evidence;
use crate::error::Result;
use crate::nn::Site;
use crate::spec::{Layer, Spec};
use crate::weights::Layout;

/// A known fault.
pub struct Trap {
    /// What it is called.
    pub name: &'static str,
    /// Where in a configuration to look.
    pub key: &'static str,
    /// The sites that it shows at.
    pub(super) shows_at: &'static [Site],
    /// What the reference may have done instead.
    pub(super) edits: fn(&Evidence<'_>) -> Vec<Edit>,
}

/// Changes a site's numbers as they are computed, or leaves them.
type Change = fn(&Spec, Site, &Tensor) -> Result<Option<Tensor>>;

/// Takes a tensor to lie otherwise than the names say.
type Relay = fn(Layout) -> Layout;

/// One way in which the reference may have been made.
pub(super) struct Edit {
    /// As the end of "the reference …".
    pub(super) says: String,
    pub(super) spec: Spec,
    pub(super) relaid: Option<Relay>,
    /// What no spec can say: a change of a site's numbers as they are computed.
    pub(super) changed: Option<Change>,
}

impl Edit {
    /// Nothing is otherwise.
    pub(super) fn none(spec: &Spec) -> Self {
        Self::new(String::new(), spec.clone())
    }

    fn new(says: String, spec: Spec) -> Self {
        Self { says, spec, relaid: None, changed: None }
    }
}

const fn trap(
    name: &'static str,
    key: &'static str,
    shows_at: &'static [Site],
    edits: fn(&Evidence<'_>) -> Vec<Edit>,
) -> Trap {
    Trap { name, key, shows_at, edits }
}

const PLACED: &[Site] = &[Site::QPos, Site::KPos];
const QKV: &[Site] = &[Site::Q, Site::K, Site::V];
const NORMED: &[Site] = &[
    Site::AttnIn,
    Site::Q,
    Site::K,
    Site::QPos,
    Site::KPos,
    Site::AttnOut,
    Site::MlpIn,
    Site::MlpOut,
    Site::FinalNorm,
];

/// Every known fault but the doubled BOS, which shows in the ids.
pub const TRAPS: &[Trap] = &[
    trap("rope base", "rope_theta", PLACED, rope_base),
    trap("rope pairs", "interleaved or half-split", PLACED, rope_pairs),
    trap("rope dimensions", "partial_rotary_factor", PLACED, rope_dimensions),
    trap("rope scaling", "rope_scaling", PLACED, rope_scaling),
    trap("window", "sliding_window", &[Site::Scores], window),
    trap("activation", "hidden_act", &[Site::MlpOut], activation),
    trap("norm offset", "1 + weight or weight", NORMED, norm_offset),
    trap("norm eps", "rms_norm_eps", NORMED, norm_eps),
    trap(
        "embedding scale",
        "embeddings times √dim or as they are",
        &[Site::Embed],
        embedding_scale,
    ),
    trap("softcap", "attn_logit_softcapping", &[Site::Scores], softcap),
    trap("softcap after mask", "the order of the two", &[Site::Scores], softcap_after_mask),
    trap("score scale", "query_pre_attn_scalar, head_dim", &[Site::Scores], score_scale),
    trap("final softcap", "final_logit_softcapping", &[Site::Logits], final_softcap),
    trap("logit scale", "logit_scale", &[Site::Logits], logit_scale),
    trap("branch scale", "residual_multiplier", &[Site::AttnOut, Site::MlpOut], branch_scale),
    trap("qkv split", "the order of rows in the fused matrix", QKV, qkv_split),
];

/// The spec with every layer changed; `None` where that changes nothing.
fn layers(spec: &Spec, change: impl Fn(&mut Layer)) -> Option<Spec> {
    let mut changed = spec.clone();
    changed.layers.iter_mut().for_each(change);
    (changed != *spec).then_some(changed)
}

/// Edits that set something to one of several values, without the same twice.
fn each<T: PartialEq + Copy>(
    values: impl IntoIterator<Item = T>,
    edit: impl Fn(T) -> Option<Edit>,
) -> Vec<Edit> {
    let mut tried: Vec<T> = Vec::new();
    let mut edits = Vec::new();
    for value in values {
        if !tried.contains(&value) {
            tried.push(value);
            edits.extend(edit(value));
        }
    }
    edits
}
