//! Why a site differs: its stage is run again on the reference's own input, under each known
//! fault, and those are named that make it match. It changes nothing for good.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::compare::{Difference, difference, in_order, place};
use super::evidence::Evidence;
use super::judge::{Judge, Verdict};
use super::trace::Trace;
use super::traps::{Edit, TRAPS, Trap};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::nn::{At, Probe, Run, Site};
use crate::spec::Spec;

/// A known fault that explains a difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// The fault's name.
    pub trap: String,
    /// Where to look for it.
    pub key: String,
    /// What the reference does, as a sentence.
    pub says: String,
    /// The site's largest difference before.
    pub was: f32,
    /// The same under the fault.
    pub max: f32,
    /// The first later site of the layer that still differs: there is another fault, or this is
    /// not the right one.
    pub then: Option<At>,
}

/// The known faults under which the first site that differs is what the reference says.
///
/// # Errors
/// A stage that cannot be built or run for another reason than the fault that is tried.
pub fn explain(
    model: &Model,
    ours: &Trace,
    theirs: &Trace,
    first: &Difference,
    judge: &Judge,
) -> Result<Vec<Cause>> {
    let layer = layer_of(model, first.at);
    let evidence = Evidence { spec: model.spec(), layer, ours, theirs };
    let stage = Stage { model, theirs, first: first.at, layer };
    let mut causes = Vec::new();
    for trap in TRAPS.iter().filter(|trap| stage.may_be(trap)) {
        for edit in (trap.edits)(&evidence) {
            // A description that contradicts itself or the weights is not how it was made.
            let Ok(differences) = stage.run(&edit) else { continue };
            let judged = |d: &Difference| judge.judge(d) < Verdict::Different;
            let Some(site) = differences.iter().find(|d| d.at == first.at) else { continue };
            if judged(site) && (site.max < first.max || first.max.is_nan()) {
                let then = differences.iter().find(|d| !judged(d)).map(|d| d.at);
                causes.push(cause(trap, edit.says, first.max, site.max, then));
            }
        }
    }
    // Those that put the whole layer right come first, then by what is left.
    causes.sort_by(|a, b| a.then.is_some().cmp(&b.then.is_some()).then(a.max.total_cmp(&b.max)));
    Ok(causes)
}

/// How a site differs where its stage is given the reference's own numbers up to it: what came
/// before cannot be why.
///
/// # Errors
/// As [`explain`].
pub(super) fn alone(model: &Model, theirs: &Trace, at: At) -> Result<Option<Difference>> {
    let stage = Stage { model, theirs, first: at, layer: layer_of(model, at) };
    let differences = stage.run(&Edit::none(model.spec()))?;
    Ok(differences.into_iter().find(|d| d.at == at))
}

/// The layer whose stage computes a site.
fn layer_of(model: &Model, at: At) -> usize {
    match (at.layer, at.site) {
        (Some(layer), _) => layer,
        (None, Site::Embed) => 0,
        (None, _) => model.spec().layers.len() - 1,
    }
}

fn cause(trap: &Trap, says: String, was: f32, max: f32, then: Option<At>) -> Cause {
    let (trap, key) = (trap.name.into(), trap.key.into());
    Cause { trap, key, says: format!("the reference {says}"), was, max, then }
}

/// What is run again: the layers from the last one whose input the reference has.
struct Stage<'a> {
    model: &'a Model,
    theirs: &'a Trace,
    first: At,
    layer: usize,
}

impl Stage<'_> {
    /// Could a fault that shows at these sites be why? Not where the sites before it are equal.
    fn may_be(&self, trap: &Trap) -> bool {
        let before = in_order(self.theirs.sites.keys().copied())
            .into_iter()
            .take_while(|at| *at != self.first)
            .last();
        trap.shows_at.iter().any(|site| {
            let layer = match site {
                Site::Embed | Site::FinalNorm | Site::Logits => None,
                _ => Some(self.layer),
            };
            let at = place(At { layer, site: *site });
            at <= place(self.first) && before.is_none_or(|before| at > place(before))
        })
    }

    /// The first layer needed.
    fn from(&self) -> usize {
        let has =
            |layer: usize, site| self.theirs.sites.contains_key(&At { layer: Some(layer), site });
        let fed = |layer: &usize| {
            has(*layer, Site::ResidPre) || (*layer > 0 && has(layer - 1, Site::ResidPost))
        };
        // A site of the layer's own that comes before is input enough.
        (0..=self.layer).rev().find(fed).unwrap_or(0)
    }

    /// How the sites of the stage differ under an edit.
    fn run(&self, edit: &Edit) -> Result<Vec<Difference>> {
        let from = self.from();
        let layers = edit.spec.layers[from..=self.layer].to_vec();
        let spec = Spec { layers, ..edit.spec.clone() };
        let decoder = self.model.stage(&spec, from, edit.relaid)?;
        let mut feeder =
            Feeder { stage: self, edit, spec: &spec, from, seen: BTreeMap::new(), done: false };
        let ids = Tensor::new(self.theirs.ids.clone(), decoder.device())?;
        let run = Run { cache: None, probe: Some(&mut feeder), last_only: false };
        let ran = decoder.run(&ids, run);
        let (seen, done) = (feeder.seen, feeder.done);
        if !done {
            ran?;
        }
        let sites = in_order(seen.keys().copied());
        sites.into_iter().map(|at| difference(at, &seen[&at], &self.theirs.sites[&at])).collect()
    }
}

/// Gives a stage the reference's numbers up to the site that differs, and takes its own from there
/// to the end of the layer.
struct Feeder<'a> {
    stage: &'a Stage<'a>,
    edit: &'a Edit,
    spec: &'a Spec,
    from: usize,
    seen: BTreeMap<At, Tensor>,
    done: bool,
}

impl Feeder<'_> {
    /// Where that is in the whole decoder.
    fn real(&self, at: At) -> At {
        At { layer: at.layer.map(|layer| layer + self.from), site: at.site }
    }

    /// The reference's numbers, before the site that differs.
    fn fed(&self, at: At, x: &Tensor) -> Result<Option<Tensor>> {
        let theirs = &self.stage.theirs.sites;
        let before = |layer: usize| At { layer: Some(layer - 1), site: Site::ResidPost };
        let given = theirs.get(&at).or_else(|| match (at.site, at.layer) {
            (Site::ResidPre, Some(layer)) if layer > 0 => theirs.get(&before(layer)),
            _ => None,
        });
        let Some(given) = given.filter(|given| given.dims() == x.dims()) else { return Ok(None) };
        Ok(Some(given.to_device(x.device())?.to_dtype(x.dtype())?))
    }
}

impl Probe for Feeder<'_> {
    fn wants(&self, _: At) -> bool {
        true
    }

    fn visit(&mut self, at: At, x: &Tensor) -> Result<Option<Tensor>> {
        let at = self.real(at);
        let first = self.stage.first;
        if place(at) < place(first) {
            return self.fed(at, x);
        }
        if at.layer != first.layer {
            // The stage is over: what follows would be computed for nothing.
            self.done = true;
            return Err(Error::request("stage", "is over"));
        }
        let changed = match self.edit.changed {
            Some(change) => change(self.spec, at.site, x)?,
            None => None,
        };
        if self.stage.theirs.sites.contains_key(&at) {
            let x = changed.as_ref().unwrap_or(x);
            let kept = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
            self.seen.insert(at, kept);
        }
        Ok(changed)
    }
}
