//! What one forward pass needs besides tensors: where its tokens stand, who may see whom, the
//! cache, and who listens. It computes no activation.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::cache::Cache;
use super::mask::Masks;
use super::probe::{Listener, Probe};
use crate::error::Result;

/// Travels through every layer of one forward pass.
pub(crate) struct Step<'a> {
    pub(crate) positions: Positions,
    pub(crate) masks: Masks,
    pub(crate) cache: Option<&'a mut Cache>,
    pub(crate) listener: Listener<'a>,
}

impl<'a> Step<'a> {
    /// `seq` new tokens after what the cache holds, of `length` positions in use when the whole
    /// call is done.
    pub(crate) fn new(
        seq: usize,
        length: usize,
        cache: Option<&'a mut Cache>,
        probe: Option<&'a mut dyn Probe>,
        device: &Device,
    ) -> Result<Self> {
        let start = cache.as_ref().map_or(0, |cache| cache.len());
        let padding: &[usize] = cache.as_ref().map_or(&[], |cache| cache.padding());
        let positions = Positions::new(start, seq, length, padding, device)?;
        let hidden = match cache.as_ref() {
            Some(cache) if seq == 1 => cache.padding_mask(start + 1, device)?,
            _ => None,
        };
        let masks = Masks::new(start, seq, padding, hidden, device.clone());
        Ok(Self { positions, masks, cache, listener: Listener::new(probe) })
    }
}

impl Step<'static> {
    /// `seq` tokens after `start` others, which nobody holds or listens to.
    pub(crate) fn without_cache(start: usize, seq: usize, device: &Device) -> Result<Self> {
        Ok(Self {
            positions: Positions::new(start, seq, start + seq, &[], device)?,
            masks: Masks::new(start, seq, &[], None, device.clone()),
            cache: None,
            listener: Listener::new(None),
        })
    }
}

/// The positions in these slots, row after row.
fn rows(padding: &[usize], slots: Range<usize>, device: &Device) -> Result<Tensor> {
    let of_row = |pad: &usize| {
        let pad = *pad;
        slots.clone().map(move |slot| slot.saturating_sub(pad) as u32)
    };
    Ok(Tensor::new(padding.iter().flat_map(of_row).collect::<Vec<u32>>(), device)?)
}

/// Where the tokens of one forward pass stand.
#[derive(Debug)]
pub(crate) struct Positions {
    start: usize,
    seq: usize,
    length: usize,
    rows: Option<Tensor>, // (batch · seq), u32; only where rows differ
    padding: Vec<usize>,
}

impl Positions {
    fn new(
        start: usize,
        seq: usize,
        length: usize,
        padding: &[usize],
        device: &Device,
    ) -> Result<Self> {
        let rows = match padding.iter().any(|pad| *pad > 0) {
            true => Some(rows(padding, start..start + seq, device)?),
            false => None,
        };
        let padding = padding.to_vec();
        Ok(Self { start, seq, length: length.max(start + seq), rows, padding })
    }

    /// Positions in use when the call is done.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The positions' rows of `table` (positions + offset, width): (seq, width), the same for
    /// every row of the batch, or (batch, seq, width).
    pub(crate) fn pick(&self, table: &Tensor, offset: usize) -> Result<Tensor> {
        let Some(rows) = &self.rows else {
            return Ok(table.narrow(0, self.start + offset, self.seq)?);
        };
        let rows = (rows + offset as f64)?;
        Ok(table.index_select(&rows, 0)?.reshape((self.padding.len(), self.seq, ()))?)
    }

    /// The rows of `table` (positions, width) for the newest `count` tokens, cached ones among
    /// them: (1 | batch, count, width).
    pub(crate) fn pick_last(&self, table: &Tensor, count: usize) -> Result<Tensor> {
        let end = self.start + self.seq;
        if self.rows.is_none() {
            return Ok(table.narrow(0, end - count, count)?.unsqueeze(0)?);
        }
        let rows = rows(&self.padding, end - count..end, table.device())?;
        Ok(table.index_select(&rows, 0)?.reshape((self.padding.len(), count, ()))?)
    }
}
