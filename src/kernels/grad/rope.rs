//! Rotations of pairs; backwards by the opposite angles. Numbers beyond the rotated ones pass
//! through. Angles and their factors are whatever the tables say.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::super::isa::Isa;
use super::super::lanes::{Lanes, per_isa};
use super::fits;
use super::numbers::{like, load, numbers, store, stored, written};
use crate::error::Result;

/// Rotates the first numbers of the last axis of `x` (batch, heads, seq, head_dim), twice as many
/// as `cos` and `sin`, (seq, pairs) or (batch, seq, pairs), are wide.
///
/// # Errors
/// The operation's own.
pub(crate) fn rotate(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    interleaved: bool,
) -> Result<Option<Tensor>> {
    let (batch, _, seq, head_dim) = x.dims4()?;
    let pairs = cos.dims().last().copied().unwrap_or(0);
    let tables = [cos, sin].iter().all(|table| {
        fits(table)
            && !table.track_op()
            && (table.dims() == [seq, pairs] || table.dims() == [batch, seq, pairs])
    });
    if !fits(x) || !tables || cos.rank() != sin.rank() || 2 * pairs > head_dim {
        return Ok(None);
    }
    // Rows of the last axis are read where they lie.
    let x = if x.stride()[3] == 1 { x.clone() } else { x.contiguous()? };
    let (cos, sin) = (cos.contiguous()?, sin.contiguous()?);
    Ok(Some(x.apply_op1(Rotation { cos, sin, interleaved })?))
}

struct Rotation {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

/// One call: (batch, heads, seq, head_dim) with `steps` from one to the next along the first three.
pub(super) struct Task<'a> {
    dims: [usize; 4],
    steps: [usize; 3],
    cos: &'a [f32],
    sin: &'a [f32],
    /// Rows of the tables for each row of the batch; 0 where all share them.
    own: usize,
    interleaved: bool,
    /// 1, or −1 for the way back.
    sense: f32,
}

impl Rotation {
    fn run(
        &self,
        x: *const f32,
        dims: (usize, usize, usize, usize),
        steps: [usize; 3],
        sense: f32,
    ) -> candle_core::Result<Vec<f32>> {
        let (cos, sin) = (numbers(&self.cos)?, numbers(&self.sin)?);
        let (batch, heads, seq, head_dim) = dims;
        let own = if self.cos.rank() == 3 { seq } else { 0 };
        let task = Task {
            dims: [batch, heads, seq, head_dim],
            steps,
            cos: &cos,
            sin: &sin,
            own,
            interleaved: self.interleaved,
            sense,
        };
        // SAFETY: the rows are where the layout says, and all are written.
        Ok(unsafe {
            written(batch * heads * seq * head_dim, |to| turn(Isa::current(), &task, x, to))
        })
    }
}

impl CustomOp1 for Rotation {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = &storage.as_slice::<f32>()?[layout.start_offset()..];
        let steps = layout.stride();
        let steps = [steps[0], steps[1], steps[2]];
        let y = self.run(x.as_ptr(), layout.shape().dims4()?, steps, 1.0)?;
        Ok(stored(y, layout.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dims = x.dims4()?;
        let (_, heads, seq, head_dim) = dims;
        let grad = grad.contiguous()?;
        let steps = [heads * seq * head_dim, seq * head_dim, head_dim];
        like(x, self.run(numbers(&grad)?.as_ptr(), dims, steps, -1.0)?)
    }
}

per_isa! {
    /// All rows, turned.
    fn turn(task: &Task<'_>, x: *const f32, to: *mut f32) = turn_with
}

#[inline(always)]
unsafe fn turn_with<L: Lanes>(task: &Task<'_>, x: *const f32, to: *mut f32) {
    let [batch, heads, seq, head_dim] = task.dims;
    let pairs = task.cos.len() / (seq * if task.own > 0 { batch } else { 1 });
    for row in 0..batch * heads * seq {
        let (b, h, s) = (row / (heads * seq), row / seq % heads, row % seq);
        // SAFETY: the caller's: the rows are there.
        unsafe {
            let from = x.add(b * task.steps[0] + h * task.steps[1] + s * task.steps[2]);
            let to = to.add(row * head_dim);
            let table = (b * task.own + s) * pairs;
            let (cos, sin) = (task.cos.as_ptr().add(table), task.sin.as_ptr().add(table));
            match task.interleaved {
                true => neighbours(from, cos, sin, pairs, task.sense, to),
                false => halves::<L>(from, cos, sin, pairs, task.sense, to),
            }
            let rest = head_dim - 2 * pairs;
            to.add(2 * pairs).copy_from_nonoverlapping(from.add(2 * pairs), rest);
        }
    }
}

/// Pairs (i, i + pairs).
#[inline(always)]
unsafe fn halves<L: Lanes>(
    x: *const f32,
    cos: *const f32,
    sin: *const f32,
    pairs: usize,
    sense: f32,
    to: *mut f32,
) {
    for i in (0..pairs).step_by(16) {
        let count = pairs - i;
        // SAFETY: the caller's.
        unsafe {
            let of = |from: *const f32| load::<L>(from.add(i), count, 0.0);
            let (a, b) = (of(x), of(x.add(pairs)));
            let (cos, sin) = (of(cos), L::mul(of(sin), L::splat(sense)));
            store::<L>(to.add(i), count, L::sub(L::mul(a, cos), L::mul(b, sin)));
            store::<L>(to.add(pairs + i), count, L::fma(a, sin, L::mul(b, cos)));
        }
    }
}

/// Pairs (2i, 2i + 1).
#[inline(always)]
unsafe fn neighbours(
    x: *const f32,
    cos: *const f32,
    sin: *const f32,
    pairs: usize,
    sense: f32,
    to: *mut f32,
) {
    for i in 0..pairs {
        // SAFETY: the caller's.
        unsafe {
            let (a, b) = (*x.add(2 * i), *x.add(2 * i + 1));
            let (cos, sin) = (*cos.add(i), *sin.add(i) * sense);
            *to.add(2 * i) = a * cos - b * sin;
            *to.add(2 * i + 1) = a * sin + b * cos;
        }
    }
}
