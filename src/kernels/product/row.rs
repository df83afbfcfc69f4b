//! Products of few rows: how the work is cut, and the entries for one row that lies in a slice, which
//! take nothing from the allocator. What a thread does with its tiles is `few.rs`'s affair.

use std::ops::Range;

use super::super::activations::{Places, Quantised, Rows};
use super::super::few::{self, Input, Part};
use super::super::isa::Isa;
use super::super::packed::Packed;
use super::super::pool::sweep;
use super::super::stream;
use super::super::unary::Activation;
use super::{each_part, part};

/// `x·Wᵀ` for each of several matrices, where `x` is one row.
///
/// # Shapes
/// x (in) → (out) each
pub fn products_row<const N: usize>(
    x: &[f32],
    weights: [&Packed; N],
    outs: [&mut [f32]; N],
) -> Option<()> {
    let k = alike(x, &weights)?;
    let fits = weights.iter().zip(&outs).all(|(weight, out)| weight.n == out.len());
    fits.then(|| few_products(x, k, &weights, &outs.map(<[f32]>::as_mut_ptr)))
}

/// `activation(x·Gᵀ) · (x·Uᵀ)`, elementwise, where `x` is one row.
///
/// # Shapes
/// x (in) → (out)
pub fn gated_row(
    x: &[f32],
    [gate, up]: [&Packed; 2],
    activation: Activation,
    out: &mut [f32],
) -> Option<()> {
    let k = alike(x, &[gate, up])?;
    let fits = gate.n == out.len() && up.n == out.len();
    fits.then(|| few_gated(x, k, [gate, up], activation, out.as_mut_ptr()))
}

/// The width of `x`, where all matrices have it.
fn alike(x: &[f32], weights: &[&Packed]) -> Option<usize> {
    let first = weights.first()?;
    let alike = weights.iter().all(|w| w.k == x.len() && w.groups == first.groups);
    (alike && !x.is_empty() && super::super::offering()).then_some(x.len())
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
const MOST: usize = 4;

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
        let codes = quantised.then(|| Quantised::cluster(isa, rows.as_slice(), count));
        let places = codes.as_ref().map_or(Places::default(), |codes| codes.places);
        let input = Input::new(count, rows.as_slice().as_ptr(), &places);
        let of = |at: usize| {
            let at = at.min(weights.len() - 1);
            // SAFETY: each matrix's outputs have room for all rows.
            part(weights[at], unsafe { outs[at].add(i * few::MOST * weights[at].n) })
        };
        let parts: [Part; MOST] = std::array::from_fn(of);
        let work = |tiles: Range<usize>| work(isa, &parts[..weights.len()], &input, tiles);
        // What takes a few microseconds is not worth a second thread.
        match bytes / SERIAL_BYTES {
            0 => work(0..tiles),
            _ => sweep(tiles, work),
        }
    }
}
