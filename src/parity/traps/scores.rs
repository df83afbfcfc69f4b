//! Faults on the way from products of queries and keys to scores.

use candle_core::Tensor;

use super::{Edit, each, layers};
use crate::error::Result;
use crate::nn::Site;
use crate::parity::evidence::{Evidence, cap, fit, plain, root_of};
use crate::spec::Spec;

pub(super) fn window(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some(ours) = evidence.layer().map(|layer| layer.attention.window) else {
        return Vec::new();
    };
    let near = ours.map(|w| [Some(w - 1).filter(|w| *w > 0), Some(w + 1)]);
    let near = near.into_iter().flatten().flatten().map(Some);
    let choices = near.chain([None]).chain(evidence.window());
    each(choices.filter(|window| *window != ours), |window| {
        // Layers of the same kind as this one.
        let spec = layers(evidence.spec, |layer| {
            if layer.attention.window == ours {
                layer.attention.window = window;
            }
        })?;
        let word = |w: Option<usize>| w.map_or("no window".into(), |w| format!("a window of {w}"));
        Some(Edit::new(format!("has {}, not {}", word(window), word(ours)), spec))
    })
}

pub(super) fn softcap(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some(attention) = evidence.layer().map(|layer| &layer.attention) else {
        return Vec::new();
    };
    let measured = evidence.scored().and_then(|(products, scores)| {
        let products: Vec<f64> = products.iter().map(|p| p * attention.scale).collect();
        cap(&products, &scores).map(plain)
    });
    let usual = [None, Some(50.0), Some(30.0), Some(20.0)];
    each(usual.into_iter().chain([measured]), |theirs| {
        let spec = layers(evidence.spec, |layer| layer.attention.softcap = theirs)?;
        let word = |cap: Option<f64>| cap.map_or("no softcap".into(), |c| format!("softcap {c}"));
        let (theirs, ours) = (word(theirs), word(attention.softcap));
        Some(Edit::new(format!("has {theirs} on its scores, not {ours}"), spec))
    })
}

pub(super) fn softcap_after_mask(evidence: &Evidence<'_>) -> Vec<Edit> {
    // What was masked comes out of the cap as -cap, and is attended to a little.
    fn capped(spec: &Spec, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        let cap = spec.layers.first().and_then(|layer| layer.attention.softcap);
        match (site, cap) {
            (Site::Scores, Some(cap)) => Ok(Some(x.maximum(-cap)?)),
            _ => Ok(None),
        }
    }
    let ours = evidence.layer().and_then(|layer| layer.attention.softcap);
    let says = "caps its scores after masking them, so that nothing is hidden".to_string();
    let edit = Edit { changed: Some(capped), ..Edit::new(says, evidence.spec.clone()) };
    ours.map(|_| edit).into_iter().collect()
}

pub(super) fn score_scale(evidence: &Evidence<'_>) -> Vec<Edit> {
    let Some(attention) = evidence.layer().map(|layer| &layer.attention) else {
        return Vec::new();
    };
    let root = |n: usize| (n.max(1) as f64).powf(-0.5);
    let (dim, heads) = (evidence.spec.dim, attention.n_heads);
    let usual = [root(attention.head_dim), 1.0, root(dim / heads), root(dim)];
    let uncapped = |score: &f64| match attention.softcap {
        Some(cap) => cap * (score / cap).clamp(-1.0, 1.0).atanh(),
        None => *score,
    };
    let measured = evidence.scored().and_then(|(products, scores)| {
        // Near the cap, a score says nothing about what it was.
        let kept = |score: f64| attention.softcap.is_none_or(|cap| score.abs() < 0.9 * cap);
        let pairs = products.iter().zip(&scores).filter(|(_, score)| kept(**score));
        let (products, scores): (Vec<f64>, Vec<f64>) =
            pairs.map(|(product, score)| (*product, uncapped(score))).unzip();
        fit(&products, &scores)
    });
    let measured = measured.map(|scale| [1.0 / root_of(1.0 / scale), scale]);
    each(usual.into_iter().chain(measured.into_iter().flatten()), |scale| {
        let spec = layers(evidence.spec, |layer| layer.attention.scale = scale)?;
        let says = format!("multiplies q·k with {scale:.6}, not {:.6}", attention.scale);
        Some(Edit::new(says, spec))
    })
}
