//! What is done number by number. Products are elsewhere.

use std::ops::Range;

use candle_core::Tensor;

use super::grad;
use super::isa::Isa;
use super::lanes::{Lanes, per_isa};
use super::memory::{Shared, filled, plain, with_slice};
use super::pool::{SERIAL, share};
use super::unary::{self, Activation};
use crate::error::Result;

/// `activation(a) · b`, elementwise.
///
/// # Errors
/// The tensor's own.
pub fn activate_times(a: &Tensor, b: &Tensor, activation: Activation) -> Result<Option<Tensor>> {
    if a.track_op() || b.track_op() {
        return grad::activate_times(a, b, activation);
    }
    if !plain(a) || !plain(b) || a.dims() != b.dims() {
        return Ok(None);
    }
    let isa = Isa::current();
    // SAFETY: a piece is written whole.
    piecewise(a, b, |a, b, to| unsafe { times(isa, a, b, activation, to) })
}

/// `activation(x)`, elementwise.
///
/// # Errors
/// The tensor's own.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Option<Tensor>> {
    if x.track_op() {
        return grad::activate(x, activation);
    }
    if !plain(x) {
        return Ok(None);
    }
    let isa = Isa::current();
    // SAFETY: a piece is written whole.
    piecewise(x, x, |x, _, to| unsafe { activated(isa, x, activation, to) })
}

/// `cap · tanh(x / cap)`, elementwise.
///
/// # Errors
/// The tensor's own.
pub fn softcap(x: &Tensor, cap: f64) -> Result<Option<Tensor>> {
    if !plain(x) {
        return Ok(None);
    }
    let (isa, cap) = (Isa::current(), cap as f32);
    // SAFETY: a piece is written whole.
    piecewise(x, x, |x, _, to| unsafe { softcapped(isa, x.as_ptr(), x.len(), cap, to) })
}

/// The same of numbers in a slice, in place.
pub fn softcap_row(x: &mut [f32], cap: f64) -> Option<()> {
    let (isa, cap, at) = (Isa::current(), cap as f32, Shared(x.as_mut_ptr()));
    let capped = |range: Range<usize>| {
        // SAFETY: pieces lie within the slice, and do not overlap.
        unsafe {
            let at = at.get().add(range.start);
            softcapped(isa, at, range.len(), cap, at);
        }
    };
    super::offering().then(|| pieces(x.len(), capped))
}

/// [`activate`] of numbers in a slice.
pub fn activate_row(x: &[f32], activation: Activation, to: &mut [f32]) -> Option<()> {
    let fits = x.len() == to.len() && super::offering();
    let (isa, to) = (Isa::current(), Shared(to.as_mut_ptr()));
    let run = |range: Range<usize>| {
        // SAFETY: pieces do not overlap, and there is room for as many numbers.
        unsafe { activated(isa, &x[range.clone()], activation, to.get().add(range.start)) };
    };
    fits.then(|| pieces(x.len(), run))
}

/// [`activate_times`] of numbers in slices.
pub fn activate_times_row(
    a: &[f32],
    b: &[f32],
    activation: Activation,
    to: &mut [f32],
) -> Option<()> {
    let fits = a.len() == b.len() && a.len() == to.len() && super::offering();
    let (isa, to) = (Isa::current(), Shared(to.as_mut_ptr()));
    let run = |range: Range<usize>| {
        let (a, b) = (&a[range.clone()], &b[range.clone()]);
        // SAFETY: as above.
        unsafe { times(isa, a, b, activation, to.get().add(range.start)) };
    };
    fits.then(|| pieces(a.len(), run))
}

/// Adds row `row` of `table`, (rows, n) or (n), to numbers in a slice, (n).
pub fn add_row(x: &mut [f32], table: &Tensor, row: usize) -> Option<()> {
    of_table(table, row, x.len(), |table| {
        for (x, y) in x.iter_mut().zip(table) {
            *x += y;
        }
    })
}

/// Copies row `row` of `table`, (rows, n) or (n), into a slice, (n).
pub fn copy_row(table: &Tensor, row: usize, to: &mut [f32]) -> Option<()> {
    of_table(table, row, to.len(), |table| to.copy_from_slice(table))
}

fn of_table(table: &Tensor, row: usize, n: usize, run: impl FnOnce(&[f32])) -> Option<()> {
    if !plain(table) || table.dims().last() != Some(&n) {
        return None;
    }
    with_slice(table, |table| {
        run(table.get(row * n..(row + 1) * n)?);
        Some(())
    })
    .flatten()
}

/// `a + b`, where there is enough of it to be shared.
///
/// # Errors
/// The tensor's own.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Option<Tensor>> {
    if !plain(a) || !plain(b) || a.dims() != b.dims() || a.elem_count() < SERIAL {
        return Ok(None);
    }
    let isa = Isa::current();
    // SAFETY: a piece is written whole.
    piecewise(a, b, |a, b, to| unsafe { sums(isa, a, b, to) })
}

/// What `write` makes of two tensors of one shape, piece by piece; it must write as many numbers as
/// it is given. `None` where one of them is not contiguous.
fn piecewise(
    a: &Tensor,
    b: &Tensor,
    write: impl Fn(&[f32], &[f32], *mut f32) + Sync,
) -> Result<Option<Tensor>> {
    let run = |a_slice: &[f32], b_slice: &[f32]| {
        let n = a_slice.len();
        // SAFETY: pieces do not overlap, and together are all of the numbers.
        unsafe {
            filled(a.dims(), |to: *mut f32| {
                let to = Shared(to);
                pieces(n, |piece| {
                    let to = to.get().add(piece.start);
                    write(&a_slice[piece.clone()], &b_slice[piece], to);
                });
            })
        }
    };
    with_slice(a, |a| with_slice(b, |b| run(a, b))).flatten().transpose()
}

/// Calls `work` with pieces of `0..n`, on several threads where there is enough.
fn pieces(n: usize, work: impl Fn(Range<usize>) + Sync) {
    match n / SERIAL {
        0 => work(0..n),
        _ => share(n.div_ceil(SERIAL), 2, |pieces| {
            work(pieces.start * SERIAL..(pieces.end * SERIAL).min(n));
        }),
    }
}

per_isa! {
    /// Writes as many numbers as `a` and `b` have.
    fn sums(a: &[f32], b: &[f32], to: *mut f32) = sums_of
}

#[inline(always)]
unsafe fn sums_of<L: Lanes>(a: &[f32], b: &[f32], to: *mut f32) {
    let whole = a.len() / 16 * 16;
    // SAFETY: whole vectors lie within the slices, and `to` has room for as many numbers.
    unsafe {
        for i in (0..whole).step_by(16) {
            L::store(to.add(i), L::add(L::load(a.as_ptr().add(i)), L::load(b.as_ptr().add(i))));
        }
        for i in whole..a.len() {
            to.add(i).write(a[i] + b[i]);
        }
    }
}

per_isa! {
    /// Writes as many numbers as `a` and `b` have.
    fn times(a: &[f32], b: &[f32], activation: Activation, to: *mut f32) = times_of
}

#[inline(always)]
unsafe fn times_of<L: Lanes>(a: &[f32], b: &[f32], activation: Activation, to: *mut f32) {
    // SAFETY: whole vectors lie within the slices; the rest goes through arrays of one vector.
    unsafe {
        let whole = a.len() / 16 * 16;
        for i in (0..whole).step_by(16) {
            vector_times::<L>(a.as_ptr().add(i), b.as_ptr().add(i), activation, to.add(i));
        }
        let rest = a.len() - whole;
        let (mut x, mut y, mut z) = ([0f32; 16], [0f32; 16], [0f32; 16]);
        x[..rest].copy_from_slice(&a[whole..]);
        y[..rest].copy_from_slice(&b[whole..]);
        vector_times::<L>(x.as_ptr(), y.as_ptr(), activation, z.as_mut_ptr());
        to.add(whole).copy_from_nonoverlapping(z.as_ptr(), rest);
    }
}

per_isa! {
    /// Writes as many numbers as `x` has.
    fn activated(x: &[f32], activation: Activation, to: *mut f32) = activated_of
}

#[inline(always)]
unsafe fn activated_of<L: Lanes>(x: &[f32], activation: Activation, to: *mut f32) {
    let whole = x.len() / 16 * 16;
    // SAFETY: whole vectors lie within the slice, and `to` has room for as many numbers.
    unsafe {
        for i in (0..whole).step_by(16) {
            L::store(to.add(i), unary::activate::<L>(activation, L::load(x.as_ptr().add(i))));
        }
        let rest = x.len() - whole;
        let last = L::load_first(x.as_ptr().add(whole), rest, 0.0);
        L::store_first(to.add(whole), rest, unary::activate::<L>(activation, last));
    }
}

per_isa! {
    /// Reads `n` numbers, and writes them where they were or where nobody reads.
    fn softcapped(x: *const f32, n: usize, cap: f32, to: *mut f32) = softcapped_of
}

#[inline(always)]
unsafe fn softcapped_of<L: Lanes>(x: *const f32, n: usize, cap: f32, to: *mut f32) {
    let whole = n / 16 * 16;
    // SAFETY: whole vectors, and then the rest, are within the `n` numbers.
    unsafe {
        for i in (0..whole).step_by(16) {
            L::store(to.add(i), unary::capped::<L>(L::load(x.add(i)), cap));
        }
        let last = L::load_first(x.add(whole), n - whole, 0.0);
        L::store_first(to.add(whole), n - whole, unary::capped::<L>(last, cap));
    }
}

#[inline(always)]
unsafe fn vector_times<L: Lanes>(
    a: *const f32,
    b: *const f32,
    activation: Activation,
    to: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let y = unary::activate::<L>(activation, L::load(a));
        L::store(to, L::mul(y, L::load(b)));
    }
}
