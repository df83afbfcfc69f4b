//! A probe that keeps activations. What one does with them is for others to say.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::probe::{At, Probe};
use crate::error::Result;

/// A probe that keeps what it is asked to.
pub struct Recorder<W> {
    wants: W,
    /// What was seen, f32 on the CPU.
    pub sites: BTreeMap<At, Tensor>,
}

impl<W: Fn(At) -> bool> Recorder<W> {
    /// Keeps the sites that `wants` answers yes for.
    pub fn new(wants: W) -> Self {
        Self { wants, sites: BTreeMap::new() }
    }
}

impl<W: Fn(At) -> bool> Probe for Recorder<W> {
    fn wants(&self, at: At) -> bool {
        (self.wants)(at)
    }

    fn visit(&mut self, at: At, x: &Tensor) -> Result<Option<Tensor>> {
        let kept = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
        self.sites.insert(at, kept);
        Ok(None)
    }
}
