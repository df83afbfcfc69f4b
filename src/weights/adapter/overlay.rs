//! Differences of low rank that are added to stored tensors while these are read, a window of rows
//! at a time: nothing whole is made of them. Where they come from is not known here.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::Tensor;

use super::super::checkpoint::Checkpoint;
use super::super::dtype::{StoredDtype, decode};
use super::super::file::Stored;
use super::super::window::WINDOW;
use crate::error::Result;

/// `left`·`right`, added to a stored matrix.
#[derive(Debug)]
pub(in super::super) struct LowRank {
    /// (rows, rank), in f32, with the scale in it.
    left: Tensor,
    /// (rank, columns), in f32.
    right: Tensor,
}

impl LowRank {
    pub(super) fn new(left: Tensor, right: Tensor) -> Result<Self> {
        Ok(Self { left: left.contiguous()?, right: right.contiguous()? })
    }

    /// The difference in these rows, row after row.
    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        let left = self.left.narrow(0, rows.start, rows.len())?;
        Ok(left.matmul(&self.right)?.flatten_all()?.to_vec1::<f32>()?)
    }
}

/// A tensor that is read otherwise than it is stored.
#[derive(Debug)]
pub(in super::super) struct Adapted {
    /// What the checkpoint itself stored it as.
    dtype: StoredDtype,
    /// The numbers that the differences are added to.
    base: Stored,
    terms: Vec<LowRank>,
}

/// By the tensor's place in the checkpoint.
pub(in super::super) type Overlay = HashMap<usize, Adapted>;

impl Checkpoint {
    /// Adds a difference to tensor `index`, which is read as f32 from here on.
    pub(super) fn add_term(&mut self, index: usize, term: LowRank) {
        let stored = &mut self.tensors[index];
        let adapted = self.overlay.entry(index).or_insert_with(|| Adapted {
            dtype: stored.info.dtype,
            base: stored.clone(),
            terms: Vec::new(),
        });
        adapted.terms.push(term);
        stored.info.dtype = StoredDtype::F32;
        stored.info.bytes = (stored.rows() * stored.row_len()) as u64 * 4;
    }

    /// Tensor `index` lies elsewhere from here on. Before any difference is added.
    pub(super) fn redirect(&mut self, index: usize, to: Stored) {
        let stored = std::mem::replace(&mut self.tensors[index], to.clone());
        let (dtype, terms) = (stored.info.dtype, Vec::new());
        self.overlay.insert(index, Adapted { dtype, base: to, terms });
    }

    /// What the checkpoint itself stores tensor `index` as.
    pub(in super::super) fn dtype_of(&self, index: usize) -> StoredDtype {
        self.overlay.get(&index).map_or(self.tensors[index].info.dtype, |adapted| adapted.dtype)
    }

    /// The tensor's own numbers and what is added to them, where something is.
    pub(in super::super) fn adapted(&self, stored: &Stored) -> Option<&Adapted> {
        if self.overlay.is_empty() {
            return None;
        }
        let adapted = self.overlay.get(&self.position(&stored.info.name)?)?;
        Some(adapted).filter(|adapted| !adapted.terms.is_empty())
    }

    /// Hands the bytes of the rows, differences added, to `each`, in order and in f32.
    pub(in super::super) fn for_each_adapted(
        &self,
        adapted: &Adapted,
        rows: &[Range<usize>],
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let base = &adapted.base;
        let window = (WINDOW / base.row_len().max(1)).max(1);
        for range in rows {
            for start in range.clone().step_by(window) {
                let rows = start..range.end.min(start + window);
                let mut numbers: Vec<f32> = Vec::with_capacity(rows.len() * base.row_len());
                self.for_each_stored(
                    base,
                    std::slice::from_ref(&rows),
                    &mut |bytes| match decode(base.info.dtype, bytes, &mut numbers) {
                        true => Ok(()),
                        false => Err(self.not_a_float(base)),
                    },
                )?;
                for term in &adapted.terms {
                    let difference = term.rows(rows.clone())?;
                    numbers.iter_mut().zip(difference).for_each(|(number, more)| *number += more);
                }
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                each(&bytes)?;
            }
        }
        Ok(())
    }
}
