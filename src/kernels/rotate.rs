//! Pairs of numbers turned by angles: rotary positions, read where queries and keys were projected.
//! Which angle stands where is not known here.

use std::ops::Range;

use candle_core::{CpuStorage, Storage, Tensor};

use super::grad;
use super::isa::Isa;
use super::lanes::{Lanes, per_isa};
use super::memory::{Shared, filled, plain, with_slice};
use super::pool::share_rows;
use crate::error::Result;

/// Turns the first `2 · width` numbers of each row of `x` (batch, heads, seq, head_dim) by tables
/// `cos` and `sin`, (seq, width) or (batch, seq, width); the others stay.
///
/// # Errors
/// The tensor's own.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Option<Tensor>> {
    let (batch, heads, seq, head_dim) = x.dims4()?;
    let width = cos.dims().last().copied().unwrap_or(0);
    let shared = cos.dims() == [seq, width];
    let tables = shared || cos.dims() == [batch, seq, width];
    let fits = tables && cos.dims() == sin.dims() && 0 < width && 2 * width <= head_dim;
    if !fits || !plain(cos) || !plain(sin) || x.elem_count() == 0 {
        return Ok(None);
    }
    if x.track_op() {
        return grad::rotate(x, cos, sin, interleaved);
    }
    if !plain(x) {
        return Ok(None);
    }
    let (storage, layout) = x.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(data)), &[b, h, s, 1]) = (&*storage, layout.stride()) else {
        return Ok(None);
    };
    let x_at = data[layout.start_offset()..].as_ptr();
    let run = |cos: &[f32], sin: &[f32]| {
        let isa = Isa::current();
        let turn = Turn {
            x: x_at,
            steps: [b, h, s],
            shape: [heads, seq, head_dim],
            cos: cos.as_ptr(),
            sin: sin.as_ptr(),
            width,
            shared,
            interleaved,
        };
        // SAFETY: each row is written whole, into its own place; strides and tables are as said.
        unsafe {
            filled(x.dims(), |to| {
                let to = Shared(to);
                let some = |rows: Range<usize>| turn_rows(isa, &turn, rows, to.get());
                share_rows(batch * heads * seq, head_dim, some);
            })
        }
    };
    with_slice(cos, |cos| with_slice(sin, |sin| run(cos, sin))).flatten().transpose()
}

/// The heads of one row, (heads, head_dim), turned by row `position` of the tables; nothing is taken
/// from the allocator.
pub fn rotate_row(
    x: &[f32],
    head_dim: usize,
    (cos, sin): (&Tensor, &Tensor),
    position: usize,
    interleaved: bool,
    to: &mut [f32],
) -> Option<()> {
    let (rows, width) = cos.dims2().ok()?;
    let heads = x.len().checked_div(head_dim)?;
    let fits = heads * head_dim == x.len() && to.len() == x.len() && position < rows;
    let fits = fits && cos.dims() == sin.dims() && 0 < width && 2 * width <= head_dim;
    if !fits || !plain(cos) || !plain(sin) {
        return None;
    }
    let mut run = |cos: &[f32], sin: &[f32]| {
        let turn = Turn {
            x: x.as_ptr(),
            steps: [0, head_dim, 0],
            shape: [heads, 1, head_dim],
            cos: cos[position * width..].as_ptr(),
            sin: sin[position * width..].as_ptr(),
            width,
            shared: true,
            interleaved,
        };
        // SAFETY: there are so many heads, a row of angles, and as much room.
        unsafe { turn_rows(Isa::current(), &turn, 0..heads, to.as_mut_ptr()) };
    };
    with_slice(cos, |cos| with_slice(sin, |sin| run(cos, sin))).flatten()
}

/// Rows to be turned.
pub(super) struct Turn {
    pub(super) x: *const f32,
    /// Numbers to the next along the first three axes.
    pub(super) steps: [usize; 3],
    /// heads, seq, head_dim
    pub(super) shape: [usize; 3],
    pub(super) cos: *const f32,
    pub(super) sin: *const f32,
    pub(super) width: usize,
    /// Do all rows of the batch have the same angles?
    pub(super) shared: bool,
    pub(super) interleaved: bool,
}

// SAFETY: what the pointers lead to is only read.
unsafe impl Sync for Turn {}

per_isa! {
    /// Rows of (batch · heads · seq, head_dim).
    fn turn_rows(turn: &Turn, rows: Range<usize>, to: *mut f32) = turn_of
}

#[inline(always)]
unsafe fn turn_of<L: Lanes>(turn: &Turn, rows: Range<usize>, to: *mut f32) {
    let &Turn { shape: [heads, seq, head_dim], width, .. } = turn;
    for row in rows {
        let (batch, head, token) = (row / seq / heads, row / seq % heads, row % seq);
        let [b, h, s] = turn.steps;
        let angle = (if turn.shared { token } else { batch * seq + token }) * width;
        // SAFETY: the caller's: there is such a row, and there are such angles.
        unsafe {
            let x = turn.x.add(batch * b + head * h + token * s);
            let (cos, sin) = (turn.cos.add(angle), turn.sin.add(angle));
            let to = to.add(row * head_dim);
            let mut done = 0;
            if !turn.interleaved {
                while done + 16 <= width {
                    let (a, b) = (L::load(x.add(done)), L::load(x.add(width + done)));
                    let (cos, sin) = (L::load(cos.add(done)), L::load(sin.add(done)));
                    L::store(to.add(done), L::sub(L::mul(a, cos), L::mul(b, sin)));
                    L::store(to.add(width + done), L::add(L::mul(a, sin), L::mul(b, cos)));
                    done += 16;
                }
            }
            for i in done..width {
                let (first, second) =
                    if turn.interleaved { (2 * i, 2 * i + 1) } else { (i, width + i) };
                let (a, b) = (*x.add(first), *x.add(second));
                to.add(first).write(a * *cos.add(i) - b * *sin.add(i));
                to.add(second).write(a * *sin.add(i) + b * *cos.add(i));
            }
            let rest = head_dim - 2 * width;
            to.add(2 * width).copy_from_nonoverlapping(x.add(2 * width), rest);
        }
    }
}
