//! Which tensors a checkpoint of a decoder would hold: found by loading one from nothing. What
//! their numbers are at first is not decided here.

use std::cell::RefCell;

use candle_core::{Device, Tensor};

use super::checkpoint::{Checkpoint, Format};
use super::layout::place;
use super::load::{Kind, Weights};
use super::param::{Entry, Layout, Names, Owner, Param};
use crate::error::Result;
use crate::spec::Spec;

/// A tensor that a decoder needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name in a checkpoint.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// What it is; of several parameters in one tensor the first asked for.
    pub param: Param,
    /// The layer that it belongs to.
    pub layer: Option<usize>,
    /// Whether it is a bias.
    pub bias: bool,
    /// Whether it is the factor of a norm, or another vector in the place of a matrix.
    pub factor: bool,
}

/// What has been asked for so far.
pub(super) type Plan = RefCell<Vec<Planned>>;

impl Checkpoint {
    /// Nothing at all: what [`Weights::planning`] plans for.
    pub fn blank() -> Self {
        Self::empty("a new model".into(), ".".into(), Format::Memory)
    }
}

impl<'a> Weights<'a> {
    /// Loads from nothing: whatever is asked for is noted down, and comes as zeros.
    pub fn planning(blank: &'a Checkpoint, names: &'a Names, spec: &'a Spec) -> Self {
        let dtype = candle_core::DType::F32;
        let mut weights = Self::new(blank, names, spec, Device::Cpu, dtype, false);
        weights.plan = Some(Plan::default());
        weights
    }

    /// The tensors that were asked for, in their order.
    pub fn planned(self) -> Vec<Planned> {
        self.plan.map(RefCell::into_inner).unwrap_or_default()
    }

    /// Notes a parameter down and answers zeros of `shape`; `None` where tensors are read.
    pub(super) fn plan(
        &self,
        param: Param,
        owner: Owner,
        kind: Kind,
        shape: (usize, usize),
    ) -> Result<Option<Tensor>> {
        let Some(plan) = &self.plan else { return Ok(None) };
        let zeros = Tensor::zeros(shape, self.dtype(), self.device())?;
        let bias = kind == Kind::Bias;
        let found = self.usual(param, owner, bias);
        let (name, layout) = found.ok_or_else(|| self.missing(param, owner, bias))?;
        let mut plan = plan.borrow_mut();
        if plan.iter().all(|known| known.name != name) {
            let layer = owner.layer.and_then(|layer| self.layer(layer));
            let vector = kind != Kind::Matrix && shape.1 == 1;
            let shape = place(layout, param, layer, owner.expert, shape, vector)?.shape;
            let (layer, factor) = (owner.layer, kind == Kind::Factor);
            plan.push(Planned { name, shape, param, layer, bias, factor });
        }
        Ok(Some(zeros))
    }

    /// Whether the heads of a parameter would lie in one tensor.
    pub(super) fn plans_whole(&self, param: Param) -> bool {
        let first = self.names.entries.iter().find(|entry| entry.param == param);
        self.plan.is_some() && first.is_some_and(|entry| !entry.name.contains("{h}"))
    }

    /// The name under which transformers would store a parameter: the first that the table has,
    /// but the head, which belongs to no inner model, without a prefix where that occurs.
    fn usual(&self, param: Param, owner: Owner, bias: bool) -> Option<(String, Layout)> {
        let bare = |entry: &Entry| self.candidates_of(entry, owner, bias);
        let mut entries = self.names.entries.iter().filter(|entry| entry.param == param);
        let mut candidates = bare(entries.next()?);
        match param {
            Param::Head => candidates.into_iter().min_by_key(|(name, _)| name.len()),
            _ => Some(candidates.swap_remove(0)),
        }
    }
}
