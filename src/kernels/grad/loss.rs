//! Cross-entropy: −ln softmax(logits) at its label, a row at a time; backwards softmax(logits) less 1 at
//! the label. What the labels are, and whose losses are averaged, is the trainer's affair.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::super::isa::Isa;
use super::super::lanes::{Lanes, exp, per_isa};
use super::fits;
use super::numbers::{like, load, numbers, slice, store, stored, written};
use crate::error::{Error, Result};

/// The label of a row that has no loss.
pub const IGNORED: u32 = u32::MAX;

/// Every row's −ln softmax(logits) at its label, and 0 where the label is [`IGNORED`].
///
/// # Shapes
/// logits (rows, vocab), one label a row → (rows)
///
/// # Errors
/// A label beyond the vocabulary; another number of labels than of rows.
pub fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Option<Tensor>> {
    let (rows, vocab) = logits.dims2()?;
    if labels.len() != rows {
        let problem = format!("{} labels for {rows} rows of logits", labels.len());
        return Err(Error::request("labels", problem));
    }
    if let Some(id) = labels.iter().find(|id| **id != IGNORED && **id as usize >= vocab) {
        return Err(Error::TokenId { id: *id, vocab_size: vocab });
    }
    if !fits(logits) {
        return Ok(None);
    }
    let op = CrossEntropy { labels: labels.to_vec(), offsets: Mutex::default() };
    Ok(Some(logits.contiguous()?.apply_op1(op)?))
}

struct CrossEntropy {
    labels: Vec<u32>,
    /// ln Σ exp(logit) of every row, once they are known.
    offsets: Mutex<Vec<f32>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let logits = slice(storage, layout)?;
        let (rows, vocab) = layout.shape().dims2()?;
        let mut offsets = vec![0f32; rows];
        // SAFETY: as many rows and numbers as the shape says.
        unsafe { offsets_of(Isa::current(), logits.as_ptr(), vocab, &mut offsets) };
        let loss = |(row, (label, offset)): (usize, (&u32, &f32))| match *label {
            IGNORED => 0.0,
            label => offset - logits[row * vocab + label as usize],
        };
        let losses = self.labels.iter().zip(&offsets).enumerate().map(loss).collect();
        *self.offsets.lock().unwrap_or_else(|lock| lock.into_inner()) = offsets;
        Ok(stored(losses, rows))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        _losses: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let vocab = logits.dim(1)?;
        let grad = grad.contiguous()?;
        let (x, grad) = (numbers(logits)?, numbers(&grad)?);
        let offsets = self.offsets.lock().unwrap_or_else(|lock| lock.into_inner());
        // SAFETY: as many rows and numbers as the shape says; all are written.
        let data = unsafe {
            written(x.len(), |to| {
                backward(Isa::current(), x.as_ptr(), vocab, &self.labels, &offsets, &grad, to);
            })
        };
        like(logits, data)
    }
}

per_isa! {
    /// ln Σ exp(x) of every row of `width` numbers.
    fn offsets_of(x: *const f32, width: usize, to: &mut [f32]) = offsets_with
}

#[inline(always)]
unsafe fn offsets_with<L: Lanes>(x: *const f32, width: usize, to: &mut [f32]) {
    for (row, to) in to.iter_mut().enumerate() {
        // SAFETY: the caller's: there are so many rows.
        unsafe {
            let x = x.add(row * width);
            let part = |i: usize| load::<L>(x.add(i), width - i, f32::NEG_INFINITY);
            let mut greatest = L::splat(f32::NEG_INFINITY);
            for i in (0..width).step_by(16) {
                greatest = L::max(greatest, part(i));
            }
            let greatest = L::greatest(greatest);
            let less = L::splat(greatest);
            let mut total = L::splat(0.0);
            for i in (0..width).step_by(16) {
                total = L::add(total, exp::<L>(L::sub(part(i), less)));
            }
            *to = greatest + L::total(total).ln();
        }
    }
}

per_isa! {
    /// `(softmax(x) − [label]) · grad`, row by row.
    fn backward(
        x: *const f32,
        width: usize,
        labels: &[u32],
        offsets: &[f32],
        grad: &[f32],
        to: *mut f32,
    ) = backward_with
}

#[inline(always)]
unsafe fn backward_with<L: Lanes>(
    x: *const f32,
    width: usize,
    labels: &[u32],
    offsets: &[f32],
    grad: &[f32],
    to: *mut f32,
) {
    for (row, label) in labels.iter().enumerate() {
        // SAFETY: the caller's: there are so many rows, and labels lie within them.
        unsafe {
            let (x, to) = (x.add(row * width), to.add(row * width));
            if *label == IGNORED {
                to.write_bytes(0, width);
                continue;
            }
            let (offset, factor) = (L::splat(offsets[row]), L::splat(grad[row]));
            for i in (0..width).step_by(16) {
                let count = width - i;
                let share = exp::<L>(L::sub(load::<L>(x.add(i), count, 0.0), offset));
                store::<L>(to.add(i), count, L::mul(share, factor));
            }
            *to.add(*label as usize) -= grad[row];
        }
    }
}
