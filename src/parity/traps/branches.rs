//! Faults outside of attention's middle: norms, nonlinearities, factors, the two ends, and how
//! matrices lie.

use super::{Edit, Relay, each, layers};
use crate::nn::Site;
use crate::parity::evidence::{Evidence, plain, root_of};
use crate::spec::{AbsolutePosition, Activation, FeedForward, Gating, Norm, QkNorm, Spec};
use crate::weights::Layout;

pub(super) fn activation(evidence: &Evidence<'_>) -> Vec<Edit> {
    use Activation::{GeluErf, GeluTanh, Relu, ReluSquared, Silu};
    each([GeluTanh, GeluErf, Silu, Relu, ReluSquared], |theirs| {
        let spec = layers(evidence.spec, |layer| match &mut layer.feed_forward {
            FeedForward::Plain { activation, .. } | FeedForward::Gated { activation, .. } => {
                *activation = theirs;
            }
            FeedForward::Experts(experts) => {
                if let Gating::Plain(activation) = &mut experts.gating {
                    *activation = theirs;
                }
            }
        })?;
        Some(Edit::new(format!("computes {theirs:?} between the projections"), spec))
    })
}

/// The spec with every norm changed.
fn norms(spec: &Spec, change: impl Fn(&mut Norm) + Copy) -> Option<Spec> {
    let mut changed = layers(spec, |layer| {
        change(&mut layer.norm);
        use QkNorm::{Full, OwnPerHead, PerHead, PerHeadPlaced};
        match &mut layer.attention.qk_norm {
            Some(PerHead(norm) | PerHeadPlaced(norm) | OwnPerHead(norm) | Full(norm)) => {
                change(norm);
            }
            None => {}
        }
    })?;
    if let Some(norm) = &mut changed.final_norm {
        change(norm);
    }
    Some(changed)
}

pub(super) fn norm_offset(evidence: &Evidence<'_>) -> Vec<Edit> {
    each([1.0, 0.0], |theirs| {
        let spec = norms(evidence.spec, |norm| match norm {
            Norm::Layer { offset, .. } | Norm::Rms { offset, .. } => *offset = theirs,
        })?;
        let says = match theirs {
            0.0 => "multiplies with the norm's weight as stored, not with 1 + weight",
            _ => "multiplies with 1 + the norm's weight, not with the weight as stored",
        };
        Some(Edit::new(says.into(), spec))
    })
}

pub(super) fn norm_eps(evidence: &Evidence<'_>) -> Vec<Edit> {
    each([1e-5, 1e-6, 1e-8, 1e-12, 1e-3, 1e-2, 0.0], |theirs| {
        let spec = norms(evidence.spec, |norm| match norm {
            Norm::Layer { eps, .. } | Norm::Rms { eps, .. } => *eps = theirs,
        })?;
        Some(Edit::new(format!("adds {theirs:e} under the norm's root"), spec))
    })
}

pub(super) fn embedding_scale(evidence: &Evidence<'_>) -> Vec<Edit> {
    let ours = evidence.spec.embedding.scale;
    let bare = evidence.spec.embedding.position == AbsolutePosition::None;
    let measured = evidence.ratio(Site::Embed).filter(|_| bare).map(|ratio| root_of(ratio * ours));
    let root = (evidence.spec.dim as f64).sqrt();
    each([1.0, root].into_iter().chain(measured), |scale| {
        let mut spec = evidence.spec.clone();
        spec.embedding.scale = scale;
        let says = match scale {
            1.0 => format!("takes the embedding as it is, not times {ours}"),
            _ => format!("multiplies the embedding with {scale}, not {ours}"),
        };
        (spec != *evidence.spec).then(|| Edit::new(says, spec))
    })
}

pub(super) fn final_softcap(evidence: &Evidence<'_>) -> Vec<Edit> {
    let ours = evidence.spec.head.softcap;
    each([None, Some(30.0), Some(20.0), Some(50.0), evidence.head_cap()], |theirs| {
        let mut spec = evidence.spec.clone();
        spec.head.softcap = theirs;
        let word = |cap: Option<f64>| cap.map_or("no softcap".into(), |c| format!("softcap {c}"));
        let says = format!("has {} on its logits, not {}", word(theirs), word(ours));
        (theirs != ours).then(|| Edit::new(says, spec))
    })
}

pub(super) fn logit_scale(evidence: &Evidence<'_>) -> Vec<Edit> {
    let ours = evidence.spec.head.scale;
    let measured = evidence.ratio(Site::Logits).map(|ratio| plain(ratio * ours));
    each([1.0].into_iter().chain(measured), |scale| {
        let mut spec = evidence.spec.clone();
        spec.head.scale = scale;
        let says = format!("multiplies its logits with {scale}, not {ours}");
        (scale != ours).then(|| Edit::new(says, spec))
    })
}

pub(super) fn branch_scale(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some(ours) = evidence.layer().map(|layer| layer.residual_scale) else { return Vec::new() };
    let ratios = [Site::AttnOut, Site::MlpOut].map(|site| evidence.ratio(site));
    let measured = ratios.into_iter().flatten().map(|ratio| plain(ratio * ours));
    each([1.0].into_iter().chain(measured), |scale| {
        let spec = layers(evidence.spec, |layer| layer.residual_scale = scale)?;
        Some(Edit::new(format!("multiplies each branch with {scale}, not {ours}"), spec))
    })
}

pub(super) fn qkv_split(evidence: &Evidence<'_>) -> Vec<Edit> {
    fn grouped(layout: Layout) -> Layout {
        if layout == Layout::FusedQkv { Layout::GroupedQkv } else { layout }
    }
    fn fused(layout: Layout) -> Layout {
        if layout == Layout::GroupedQkv { Layout::FusedQkv } else { layout }
    }
    fn permuted(layout: Layout) -> Layout {
        if layout == Layout::Plain { Layout::PermutedHeads } else { layout }
    }
    fn unpermuted(layout: Layout) -> Layout {
        if layout == Layout::PermutedHeads { Layout::Plain } else { layout }
    }
    let ways: [(Relay, &str); 4] = [
        (fused, "splits its fused matrix into all queries, all keys, all values"),
        (grouped, "splits its fused matrix head by head"),
        (permuted, "has the rows of q and k permuted for pairwise rotation"),
        (unpermuted, "has the rows of q and k as they are stored"),
    ];
    let edit = |(relaid, says): (Relay, &str)| Edit {
        relaid: Some(relaid),
        ..Edit::new(says.into(), evidence.spec.clone())
    };
    ways.into_iter().map(edit).collect()
}
