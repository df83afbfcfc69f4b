//! What is done number by number. Products are elsewhere.

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

/// The same of numbers in a slice.
pub fn activate_row(x: &[f32], activation: Activation, to: &mut [f32]) -> Option<()> {
    let fits = x.len() == to.len() && super::offering();
    // SAFETY: as many numbers are written.
    fits.then(|| unsafe { activated(Isa::current(), x, activation, to.as_mut_ptr()) })
}

/// [`activate_times`] of numbers in slices.
pub fn activate_times_row(
    a: &[f32],
    b: &[f32],
    activation: Activation,
    to: &mut [f32],
) -> Option<()> {
    let fits = a.len() == b.len() && a.len() == to.len() && super::offering();
    // SAFETY: as many numbers are written.
    fits.then(|| unsafe { times(Isa::current(), a, b, activation, to.as_mut_ptr()) })
}

/// Adds row `row` of `table`, (rows, n) or (n), to numbers in a slice, (n).
pub fn add_row(x: &mut [f32], table: &Tensor, row: usize) -> Option<()> {
    let n = x.len();
    if !plain(table) || table.dims().last() != Some(&n) {
        return None;
    }
    with_slice(table, |table| {
        for (x, y) in x.iter_mut().zip(table.get(row * n..(row + 1) * n)?) {
            *x += y;
        }
        Some(())
    })
    .flatten()
}

/// Copies the numbers of `x` into a slice as long.
pub fn copy_row(x: &Tensor, to: &mut [f32]) -> Option<()> {
    let fits = plain(x) && x.elem_count() == to.len();
    if fits { with_slice(x, |x| to.copy_from_slice(x)) } else { None }
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
                share(n.div_ceil(SERIAL), 2, |pieces| {
                    let piece = pieces.start * SERIAL..(pieces.end * SERIAL).min(n);
                    let to = to.get().add(piece.start);
                    write(&a_slice[piece.clone()], &b_slice[piece], to);
                });
            })
        }
    };
    with_slice(a, |a| with_slice(b, |b| run(a, b))).flatten().transpose()
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
