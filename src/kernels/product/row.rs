//! Products of few rows: how the work is cut, and the entries for rows that lie in a slice, which take
//! nothing from the allocator. What a thread does with its tiles is `few.rs`'s affair.

use std::ops::Range;

use super::super::activations::{Quantised, Rows};
use super::super::few::{self, Input, Part};
use super::super::isa::Isa;
use super::super::packed::Packed;
use super::super::pool::sweep;
use super::super::stream;
use super::super::unary::Activation;
#[cfg(target_arch = "x86_64")]
use super::through_tiles;
use super::{each_part, few_rows, part, run, through};

/// [`super::products`] of rows in a slice.
///
/// # Shapes
/// x (rows · in) → (rows · out) each
pub fn products_rows<const N: usize>(
    x: &[f32],
    weights: [&Packed; N],
    outs: [&mut [f32]; N],
) -> Option<()> {
    let (k, rows) = alike(x, &weights)?;
    let fits = weights.iter().zip(&outs).all(|(weight, out)| rows * weight.n == out.len());
    fits.then(|| run(x, k, &weights, &outs.map(<[f32]>::as_mut_ptr)))
}

/// [`super::gated`] of rows in a slice.
///
/// # Shapes
/// x (rows · in) → (rows · out)
pub fn gated_rows(
    x: &[f32],
    [gate, up]: [&Packed; 2],
    activation: Activation,
    out: &mut [f32],
) -> Option<()> {
    let (k, rows) = alike(x, &[gate, up])?;
    let fits = rows * gate.n == out.len() && gate.n == up.n && rows <= few_rows(&[gate, up]);
    fits.then(|| few_gated(x, k, [gate, up], activation, out.as_mut_ptr()))
}

/// [`super::gated_down`] of rows in a slice.
///
/// # Shapes
/// x (rows · in) → (rows · in)
pub fn gated_down_rows(
    x: &[f32],
    [gate, up, down]: [&Packed; 3],
    activation: Activation,
    out: &mut [f32],
) -> Option<()> {
    let (k, rows) = alike(x, &[gate, up])?;
    let fits = rows * down.n == out.len() && through(rows, [gate, up, down]);
    #[cfg(target_arch = "x86_64")]
    if fits {
        through_tiles(x, k, [gate, up, down], activation, out.as_mut_ptr());
        return Some(());
    }
    None
}

/// The width of the rows of `x`, where all matrices have it, and how many there are.
fn alike(x: &[f32], weights: &[&Packed]) -> Option<(usize, usize)> {
    let first = weights.first()?;
    let alike = weights.iter().all(|w| w.k == first.k && w.groups == first.groups);
    let whole = first.k > 0 && !x.is_empty() && x.len().is_multiple_of(first.k);
    (alike && whole && super::super::offering()).then(|| (first.k, x.len() / first.k))
}

/// The products of few rows; `outs` have room for all of them.
pub(super) fn few_products(x: &[f32], k: usize, weights: &[&Packed], outs: &[*mut f32]) {
    for (weights, outs) in weights.chunks(MOST).zip(outs.chunks(MOST)) {
        let tiles = weights.iter().map(|w| w.tiles()).sum();
        few(x, k, weights, outs, tiles, |isa, parts, input, tiles| {
            each_part(parts, tiles, Part::tiles, |part, tiles| {
                // SAFETY: `isa` is the processor's; parts, inputs and outputs have the sizes they say.
                unsafe { few::products(isa, part, input, tiles) }
            })
        });
    }
}

/// Gate and up of few rows, joined; `out` has room for all of them.
pub(super) fn few_gated(
    x: &[f32],
    k: usize,
    weights: [&Packed; 2],
    activation: Activation,
    out: *mut f32,
) {
    few(x, k, &weights, &[out, out], weights[0].tiles(), |isa, parts, input, tiles| {
        // SAFETY: as above.
        unsafe { few::gated(isa, &parts[0], &parts[1], activation, input, tiles) }
    });
}

/// Matrices that are met side by side.
pub(super) const MOST: usize = 4;

/// Bytes of weights that a thread streams in a few microseconds.
const SERIAL_BYTES: usize = 64 << 10;

/// Runs `work` over `tiles`, for up to four rows at a time.
fn few(
    x: &[f32],
    k: usize,
    weights: &[&Packed],
    outs: &[*mut f32],
    tiles: usize,
    work: impl Fn(Isa, &[Part], &Input, Range<usize>) + Sync,
) {
    let (isa, groups) = (Isa::current(), weights[0].groups);
    let quantised = weights.iter().any(|w| w.format.is_quantised());
    let bytes: usize = weights.iter().map(|w| w.bytes()).sum();
    for (i, x) in x.chunks(few::MOST * k).enumerate() {
        stream::count(bytes);
        let (rows, count) = (Rows::new(x, k, groups), x.len() / k);
        let codes = match quantised {
            true => Quantised::cluster(isa, rows.as_slice(), count),
            false => Quantised::default(),
        };
        let input = Input::new(count, rows.as_slice().as_ptr(), &codes.places);
        let parts = parts(weights, |at| {
            // SAFETY: each matrix's outputs have room for all rows.
            unsafe { outs[at].add(i * few::MOST * weights[at].n) }
        });
        let work = |tiles: Range<usize>| work(isa, &parts[..weights.len()], &input, tiles);
        // What takes a few microseconds is not worth a second thread.
        match bytes / SERIAL_BYTES {
            0 => work(0..tiles),
            _ => sweep(tiles, work),
        }
    }
}

/// The parts of up to [`MOST`] matrices, with outputs where `out` says; what fills the array is of no use.
pub(super) fn parts(weights: &[&Packed], out: impl Fn(usize) -> *mut f32) -> [Part; MOST] {
    std::array::from_fn(|at| {
        let at = at.min(weights.len() - 1);
        part(weights[at], out(at))
    })
}
