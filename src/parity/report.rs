//! The whole comparison of a model with a reference: what is the same, where they part, why, and
//! what that amounts to. It prints nothing.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use serde::Serialize;

use super::compare::{Difference, compare, in_order};
use super::explain::{Cause, alone, explain};
use super::greedy::{Continued, Parting};
use super::identity::{Identity, identify};
use super::judge::{Drift, Judge, Verdict, Yardstick};
use super::logits::{LogitReport, compare_logits};
use super::trace::Trace;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::nn::{At, Recorder, Run, Site};

/// How a comparison is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// As [`super::TOLERANCE`], where that is not wanted.
    pub tolerance: Option<f32>,
    /// The prompt that the reference must have been made for.
    pub prompt: Option<String>,
    /// Compare with a reference of another checkpoint.
    pub force: bool,
    /// Do not look for reasons.
    pub no_reasons: bool,
}

/// A site, and what its difference amounts to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// What it amounts to.
    pub verdict: Verdict,
    /// PyTorch's own drift there, where it was judged by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What was judged instead, where more has piled up on the way than PyTorch's drift: the
    /// largest difference of the site computed from the reference's own numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<f32>,
}

/// A model compared with a reference.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model.
    pub model: String,
    /// Its dtype.
    pub dtype: String,
    /// What the reference says about itself, but for long lists.
    pub reference: BTreeMap<String, String>,
    /// Tokens compared.
    pub tokens: usize,
    /// What it amounts to.
    pub verdict: Verdict,
    /// The tolerance.
    pub tolerance: f32,
    /// The first site past it, and past rounding.
    pub first: Option<At>,
    /// Every site, in order of computation.
    pub sites: Vec<Row>,
    /// Sites of the reference that this model never has.
    pub missing: Vec<At>,
    /// Sites of this model that the reference lacks.
    pub not_in_reference: Vec<At>,
    /// The logits, where both have them in one shape.
    pub logits: Option<LogitReport>,
    /// Our greedy continuation, where the reference has one.
    pub greedy: Option<Continued>,
    /// Where it parts from the reference's.
    pub parting: Option<Parting>,
    /// Known faults that explain the first difference.
    pub causes: Vec<Cause>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// Compares a model with a reference: runs the reference's ids, and judges every site.
///
/// # Errors
/// A reference of another model, prompt or tokenizer, one that is damaged, and whatever stops a
/// forward pass.
pub fn judge_against(model: &Model, theirs: &Trace, options: &Options) -> Result<Report> {
    let identity = identify(model, theirs, options.prompt.as_deref(), options.force)?;
    if theirs.sites.is_empty() {
        return Err(Error::request("the reference", "holds no site to compare"));
    }
    let judge = Judge {
        tolerance: options.tolerance.unwrap_or(super::TOLERANCE),
        yardstick: yardstick(model, theirs)?,
    };
    let (ours, announced) = run(model, theirs)?;
    let (differences, missing) = compare(&ours, theirs)?;
    let not_in_reference =
        in_order(announced.into_iter().filter(|at| !theirs.sites.contains_key(at)));
    let mut sites: Vec<Row> = differences.into_iter().map(|d| row(&judge, d)).collect();
    if judge.yardstick.is_some() {
        judge_alone(model, theirs, &judge, &mut sites)?;
    }
    let first = sites.iter().find(|row| row.verdict == Verdict::Different);
    let causes = match first {
        Some(row) if !options.no_reasons => explain(model, &ours, theirs, &row.difference, &judge)?,
        _ => Vec::new(),
    };
    let logits = logits(&ours, theirs)?;
    let (greedy, parting) = greedy(model, theirs, &sites)?;
    let mut report = Report {
        model: model.name.clone(),
        dtype: model.decoder.dtype().as_str().into(),
        reference: about(theirs),
        tokens: theirs.ids.iter().map(Vec::len).sum(),
        verdict: Verdict::Equal,
        tolerance: judge.tolerance,
        first: first.map(|row| row.difference.at),
        sites,
        missing,
        not_in_reference,
        logits,
        greedy,
        parting,
        causes,
        notes: Vec::new(),
    };
    report.conclude(identity, &judge, model);
    Ok(report)
}

impl Report {
    fn conclude(&mut self, identity: Identity, judge: &Judge, model: &Model) {
        let worst = self.sites.iter().map(|row| row.verdict).max().unwrap_or(Verdict::Equal);
        let parted = self.parting.as_ref().is_some_and(|parting| !parting.near_tie);
        let different = parted || !self.missing.is_empty() || identity.bos.is_some();
        self.verdict = if different { Verdict::Different } else { worst };
        self.notes = identity.notes;
        if let Some(says) = identity.bos {
            let (trap, key) = ("doubled BOS".into(), "add_bos_token".into());
            let (was, max) = (f32::NAN, f32::NAN);
            self.causes.insert(0, Cause { trap, key, says, was, max, then: None });
        }
        if narrow(model).is_some() && judge.yardstick.is_none() {
            self.notes.push(format!(
                "this is a {} run, and the reference has no yardstick for it: make one with \
                 scripts/reference.py --yardstick {}",
                self.dtype, self.dtype
            ));
        }
        let piled = self.sites.iter().filter(|row| row.alone.is_some()).count();
        if piled > 0 {
            self.notes.push(format!(
                "{piled} sites are off by more than 1.5 times PyTorch's own drift, but not where \
                 they are computed from the reference's own numbers: rounding that has piled up"
            ));
        }
        if model.checkpoint().stored_dtype().is_none() && model.decoder.dtype() == DType::F32 {
            self.notes.push(
                "the weights are quantised: products with them round activations, which \
                 --dtype f32 does not"
                    .into(),
            );
        }
    }
}

fn row(judge: &Judge, difference: Difference) -> Row {
    let verdict = judge.judge(&difference);
    let drift = judge.yardstick.as_ref().and_then(|y| y.sites.get(&difference.at)).copied();
    Row { difference, verdict, drift, alone: None }
}

/// Two runs in 16 bits may drift apart further than one of them from f32, by a large activation
/// that is rounded one way here and the other way there. What a site makes of the reference's own
/// numbers tells that from a fault.
fn judge_alone(model: &Model, theirs: &Trace, judge: &Judge, sites: &mut [Row]) -> Result<()> {
    for row in sites.iter_mut().filter(|row| row.verdict == Verdict::Different) {
        let d = &row.difference;
        if d.shapes.is_some() || d.not_finite.is_some() {
            return Ok(());
        }
        match alone(model, theirs, d.at)? {
            Some(d) if judge.judge(&d) < Verdict::Different => {
                (row.verdict, row.alone) = (Verdict::Rounding, Some(d.max));
            }
            // The first that is at fault is what is looked for.
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// A pass over the reference's ids, the reference's sites kept; and every site there was.
fn run(model: &Model, theirs: &Trace) -> Result<(Trace, Vec<At>)> {
    let decoder = &model.decoder;
    let mut recorder = Recorder::new(|at| theirs.sites.contains_key(&at));
    let input = Tensor::new(theirs.ids.clone(), decoder.device())?;
    let run = Run { cache: None, probe: Some(&mut recorder), last_only: false };
    decoder.run(&input, run)?;
    let announced = recorder.announced().into_iter().collect();
    let sites = recorder.sites;
    Ok((Trace { ids: theirs.ids.clone(), sites, metadata: Default::default() }, announced))
}

/// The dtype of a 16-bit run.
fn narrow(model: &Model) -> Option<&'static str> {
    match model.decoder.dtype() {
        DType::BF16 => Some("bf16"),
        DType::F16 => Some("f16"),
        _ => None,
    }
}

/// PyTorch's drift in the dtype that either of the two runs in. Two runs in f32 have no such
/// excuse.
fn yardstick(model: &Model, theirs: &Trace) -> Result<Option<Yardstick>> {
    let stored = theirs.metadata.get("dtype").map(String::as_str);
    let dtype = narrow(model).or(stored.filter(|dtype| *dtype != "f32"));
    let (Some(dtype), Some(text)) = (dtype, theirs.metadata.get("drift")) else { return Ok(None) };
    let drifts: BTreeMap<String, BTreeMap<String, Drift>> =
        serde_json::from_str(text).map_err(|error| damaged("drift", error))?;
    let Some(sites) = drifts.get(dtype) else { return Ok(None) };
    let sites = sites.iter().filter_map(|(name, drift)| Some((At::parse(name)?, *drift)));
    Ok(Some(Yardstick { dtype: dtype.into(), sites: sites.collect() }))
}

fn damaged(key: &str, error: impl std::fmt::Display) -> Error {
    Error::request("the reference", format!("has a `{key}` that cannot be read: {error}"))
}

fn logits(ours: &Trace, theirs: &Trace) -> Result<Option<LogitReport>> {
    let at = At { layer: None, site: Site::Logits };
    match (ours.sites.get(&at), theirs.sites.get(&at)) {
        (Some(a), Some(b)) if a.dims() == b.dims() => Ok(Some(compare_logits(a, b)?)),
        _ => Ok(None),
    }
}

fn greedy(
    model: &Model,
    theirs: &Trace,
    sites: &[Row],
) -> Result<(Option<Continued>, Option<Parting>)> {
    let (Some(text), [ids]) = (theirs.metadata.get("greedy"), theirs.ids.as_slice()) else {
        return Ok((None, None));
    };
    let said: Continued = serde_json::from_str(text).map_err(|error| damaged("greedy", error))?;
    let ours = Continued::of(&model.decoder, ids, said.ids.len())?;
    let logits = sites.iter().find(|row| row.difference.at.site == Site::Logits);
    // What the logits are off by anyway, and no less than what would still count as equal.
    let apart = logits.map_or(super::TOLERANCE, |row| {
        let within = row.difference.scale.max(1.0) * super::TOLERANCE;
        if row.verdict == Verdict::Different { within } else { row.difference.max.max(within) }
    });
    let parting = ours.parting(&said, apart);
    Ok((Some(ours), parting))
}

/// The reference's metadata, without long lists.
fn about(theirs: &Trace) -> BTreeMap<String, String> {
    let short = theirs.metadata.iter().filter(|(key, _)| *key != "drift" && *key != "greedy");
    short.map(|(key, value)| (key.clone(), value.clone())).collect()
}
