//! Faults of rotary positions.

use super::{Edit, each, layers};
use crate::parity::evidence::Evidence;
use crate::spec::{Position, Rope, RopeScaling, Spec};

fn ropes(spec: &Spec, change: impl Fn(&mut Rope)) -> Option<Spec> {
    layers(spec, |layer| {
        if let Position::Rope(rope) = &mut layer.attention.position {
            change(rope);
        }
    })
}

fn rope<'a>(evidence: &'a Evidence<'_>) -> Option<&'a Rope> {
    match &evidence.layer()?.attention.position {
        Position::Rope(rope) => Some(rope),
        _ => None,
    }
}

pub(super) fn rope_base(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some(ours) = rope(evidence) else { return Vec::new() };
    let measured = evidence.frequencies(ours).and_then(|f| f.theta(ours));
    let usual = [10_000.0, 500_000.0, 1_000_000.0, 10_000_000.0, 100_000.0];
    each(measured.into_iter().filter(|theta| *theta > 1.0).chain(usual), |theta| {
        let spec = ropes(evidence.spec, |rope| rope.theta = theta)?;
        let says = format!("turns with a RoPE base of {theta}, not {}", ours.theta);
        Some(Edit::new(says, spec))
    })
}

pub(super) fn rope_pairs(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some(ours) = rope(evidence) else { return Vec::new() };
    let words = ["half-split, (0, d/2), (1, d/2+1), …", "interleaved, (0, 1), (2, 3), …"];
    let theirs = words[usize::from(!ours.interleaved)];
    let spec = ropes(evidence.spec, |rope| rope.interleaved = !rope.interleaved);
    spec.map(|spec| Edit::new(format!("turns pairs {theirs}"), spec)).into_iter().collect()
}

pub(super) fn rope_dimensions(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some((ours, layer)) = rope(evidence).zip(evidence.layer()) else { return Vec::new() };
    let head_dim = layer.attention.head_dim;
    let step = (head_dim / 32).max(1) * 2;
    let choices = (1..=head_dim / step).map(|n| n * step).rev();
    each(choices.filter(|dim| *dim != ours.rotary_dim), |dim| {
        let spec = ropes(evidence.spec, |rope| rope.rotary_dim = dim)?;
        let (was, share) = (ours.rotary_dim, dim as f64 / head_dim as f64);
        let says = format!("turns {dim} of {head_dim} dimensions ({share:.2}), not {was}");
        Some(Edit::new(says, spec))
    })
}

pub(super) fn rope_scaling(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some(ours) = rope(evidence) else { return Vec::new() };
    let none = ropes(evidence.spec, |rope| rope.scaling = RopeScaling::None);
    let mut edits: Vec<Edit> = none
        .map(|spec| Edit::new("does not scale its RoPE frequencies".into(), spec))
        .into_iter()
        .collect();
    let frequencies = evidence.frequencies(ours).filter(|f| !f.are_a_base(ours));
    if let Some((scaling, divisors)) = frequencies.map(|f| f.scaling(ours))
        && let Some(spec) = ropes(evidence.spec, |rope| rope.scaling = scaling.clone())
    {
        let says = match &scaling {
            RopeScaling::Linear { factor } => format!("scales RoPE linearly by {factor}"),
            _ => {
                let list: Vec<String> = divisors.iter().map(|d| format!("{d:.4}")).collect();
                format!("scales RoPE: its frequencies are the base's over {}", list.join(", "))
            }
        };
        edits.push(Edit::new(says, spec));
    }
    edits
}
