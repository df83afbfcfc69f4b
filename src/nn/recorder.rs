//! A probe that keeps activations. What one does with them is for others to say.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor};

use super::probe::{At, Probe};
use crate::error::Result;

/// A probe that keeps what it is asked to.
///
/// It knows what it was not asked to keep, too.
pub struct Recorder<W> {
    wants: W,
    announced: RefCell<BTreeSet<At>>,
    /// What was seen, f32 on the CPU.
    pub sites: BTreeMap<At, Tensor>,
}

impl<W: Fn(At) -> bool> Recorder<W> {
    /// Keeps the sites that `wants` answers yes for.
    pub fn new(wants: W) -> Self {
        Self { wants, announced: RefCell::default(), sites: BTreeMap::new() }
    }

    /// Every site that there was.
    pub fn announced(&self) -> BTreeSet<At> {
        self.announced.borrow().clone()
    }
}

impl<W: Fn(At) -> bool> Probe for Recorder<W> {
    fn wants(&self, at: At) -> bool {
        self.announced.borrow_mut().insert(at);
        (self.wants)(at)
    }

    fn visit(&mut self, at: At, x: &Tensor) -> Result<Option<Tensor>> {
        let kept = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
        self.sites.insert(at, kept);
        Ok(None)
    }
}
