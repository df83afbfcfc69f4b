//! `x·Wᵀ` with packed matrices: which kernel, and how the work is shared. Matrices with a common
//! input (q, k and v; gate and up) are multiplied side by side, as one piece of work.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::activations::Rows;
#[cfg(target_arch = "x86_64")]
use super::amx;
use super::few::{self, Part};
use super::format::Format;
use super::isa::Isa;
#[cfg(target_arch = "x86_64")]
use super::many;
use super::memory::{filled, plain, with_slice};
use super::packed::Packed;
use super::panel::{self, Left};
use super::pool::{share, sweep};
use super::stream;
use super::unary::Activation;
use crate::error::Result;

mod row;
use row::{MOST, few_gated, few_products, parts};
pub use row::{gated_down_rows, gated_rows, products_rows};

/// `x·Wᵀ` for each of several matrices with the same number of columns.
///
/// # Shapes
/// x (…, in) → (…, out) each
///
/// # Errors
/// The tensor's own.
pub fn products(x: &Tensor, weights: &[&Packed]) -> Result<Option<Vec<Tensor>>> {
    let Some((x, k)) = input(x, weights)? else { return Ok(None) };
    let rows = x.elem_count() / k.max(1);
    let mut outs: Vec<Vec<f32>> = weights.iter().map(|w| Vec::with_capacity(rows * w.n)).collect();
    let to: Vec<*mut f32> = outs.iter_mut().map(|out| out.as_mut_ptr()).collect();
    if with_slice(&x, |x| run(x, k, weights, &to)).is_none() {
        return Ok(None);
    }
    let mut tensors = Vec::with_capacity(weights.len());
    for (mut out, weight) in outs.into_iter().zip(weights) {
        // SAFETY: `run` has written all rows of every matrix's outputs.
        unsafe { out.set_len(rows * weight.n) };
        tensors.push(Tensor::from_vec(out, shaped(&x, weight.n), &Device::Cpu)?);
    }
    Ok(Some(tensors))
}

/// `activation(x·Gᵀ) · (x·Uᵀ)`, elementwise.
///
/// # Shapes
/// x (…, in) → (…, out)
///
/// # Errors
/// The tensor's own.
pub fn gated(
    x: &Tensor,
    gate: &Packed,
    up: &Packed,
    activation: Activation,
) -> Result<Option<Tensor>> {
    let weights = [gate, up];
    let Some((x, k)) = input(x, &weights)? else { return Ok(None) };
    let rows = x.elem_count() / k.max(1);
    if gate.n != up.n || rows > few_rows(&weights) {
        return Ok(None);
    }
    let mut out: Vec<f32> = Vec::with_capacity(rows * gate.n);
    let to = out.as_mut_ptr();
    let ran = with_slice(&x, |x| {
        few_gated(x, k, [gate, up], activation, to);
    });
    if ran.is_none() {
        return Ok(None);
    }
    // SAFETY: all rows were written.
    unsafe { out.set_len(rows * gate.n) };
    Ok(Some(Tensor::from_vec(out, shaped(&x, gate.n), &Device::Cpu)?))
}

/// `x`, contiguous, and its width; `None` where the kernels do not serve.
fn input(x: &Tensor, weights: &[&Packed]) -> Result<Option<(Tensor, usize)>> {
    let k = x.dims().last().copied().unwrap_or(0);
    let alike = weights.iter().all(|w| w.k == k && w.groups == weights[0].groups);
    if !plain(x) || !alike || weights.is_empty() || k == 0 || x.elem_count() == 0 {
        return Ok(None);
    }
    Ok(Some((x.contiguous()?, k)))
}

fn shaped(x: &Tensor, n: usize) -> Vec<usize> {
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = n;
    }
    shape
}

/// Up to so many rows, streaming the packed matrix is all that counts.
fn few_rows(weights: &[&Packed]) -> usize {
    match Isa::current() {
        Isa::Amx if !weights.iter().any(|w| w.format == Format::F32) => 5,
        #[cfg(target_arch = "x86_64")]
        isa if weights.iter().all(|w| many::serves(isa, w)) => few::MOST,
        _ => 8,
    }
}

fn run(x: &[f32], k: usize, weights: &[&Packed], outs: &[*mut f32]) {
    if x.len() / k <= few_rows(weights) {
        return few_products(x, k, weights, outs);
    }
    for (weights, outs) in weights.chunks(MOST).zip(outs.chunks(MOST)) {
        many_products(x, k, weights, outs);
    }
}

fn many_products(x: &[f32], k: usize, weights: &[&Packed], outs: &[*mut f32]) {
    let isa = Isa::current();
    stream::count(weights.iter().map(|w| w.bytes()).sum());
    let parts = &parts(weights, |at| outs[at])[..weights.len()];
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx {
        // SAFETY: the processor has AMX.
        let left = unsafe { amx::Tiles::of(x, k, weights[0].groups, exact(weights)) };
        on_tiles(parts, &left);
        return;
    }
    let rows = Rows::new(x, k, weights[0].groups);
    let (count, width) = (x.len() / k, rows.width);
    let left = Left { x: rows.as_slice().as_ptr(), rows: count, width, pitch: width };
    #[cfg(target_arch = "x86_64")]
    let clusters = many::Clusters::new(isa, &rows, weights);
    share(parts.iter().map(Part::tiles).sum(), 4, |tiles| {
        each_part(parts, tiles, Part::tiles, |part, tiles| {
            #[cfg(target_arch = "x86_64")]
            if clusters.serves(part) {
                // SAFETY: as above.
                return unsafe { many::many(isa, part, &clusters, tiles) };
            }
            // SAFETY: as above.
            unsafe { panel::many(isa, part, &left, tiles) }
        });
    });
}

/// Must activations be kept as they are for one of these?
#[cfg(target_arch = "x86_64")]
fn exact(weights: &[&Packed]) -> bool {
    !weights.iter().all(|w| w.rounds())
}

/// Many rows on AMX.
#[cfg(target_arch = "x86_64")]
fn on_tiles(parts: &[Part], left: &amx::Tiles) {
    let work = |range: Range<usize>| {
        each_part(parts, range, pairs, |part, range| {
            // SAFETY: there are tiles, so there is AMX; the sizes are the matrices'.
            unsafe { amx::many(part, left, range) }
        });
    };
    cut(parts.iter().map(pairs).sum(), left.rows, work);
}

/// Up to so many rows, memory is the limit.
#[cfg(target_arch = "x86_64")]
const STREAMED_ROWS: usize = 32;

/// Shares the pairs of tiles that some rows meet.
#[cfg(target_arch = "x86_64")]
fn cut(pairs: usize, rows: usize, work: impl Fn(Range<usize>) + Sync) {
    if rows <= STREAMED_ROWS { sweep(pairs, work) } else { share(pairs, 4, work) }
}

/// Pairs of sixteens of outputs.
#[cfg(target_arch = "x86_64")]
fn pairs(part: &Part) -> usize {
    part.tiles().div_ceil(2)
}

/// `(activation(x·Gᵀ) · (x·Uᵀ))·Dᵀ`: gated, and down again, for many rows where that is faster in one
/// piece.
///
/// # Shapes
/// x (…, in) → (…, in)
///
/// # Errors
/// The tensor's own.
#[allow(clippy::needless_return, reason = "other processors have more behind it")]
pub fn gated_down(
    x: &Tensor,
    [gate, up, down]: [&Packed; 3],
    activation: Activation,
) -> Result<Option<Tensor>> {
    let Some((x, k)) = input(x, &[gate, up])? else { return Ok(None) };
    let rows = x.elem_count() / k;
    if !through(rows, [gate, up, down]) {
        return Ok(None);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let shape = shaped(&x, down.n);
        // SAFETY: every output of every row is written.
        let run = |numbers: &[f32]| unsafe {
            filled(shape, |out| through_tiles(numbers, k, [gate, up, down], activation, out))
        };
        return with_slice(&x, run).transpose();
    }
    #[cfg(not(target_arch = "x86_64"))]
    Ok(None)
}

/// Whether so many rows go up and down in one piece.
fn through(rows: usize, [gate, up, down]: [&Packed; 3]) -> bool {
    let many = Isa::current() == Isa::Amx && rows > few_rows(&[gate, up]);
    gate.n == up.n && down.k == up.n && many
}

/// Gate and up become the tiles that down takes, without a tensor between.
#[cfg(target_arch = "x86_64")]
fn through_tiles(
    x: &[f32],
    k: usize,
    [gate, up, down]: [&Packed; 3],
    activation: Activation,
    out: *mut f32,
) {
    stream::count([gate, up, down].iter().map(|w| w.bytes()).sum());
    let rows = x.len() / k;
    // SAFETY: the processor has AMX.
    let left = unsafe { amx::Tiles::of(x, k, gate.groups, exact(&[gate, up])) };
    let mut hidden = amx::Tiles::new(rows, down.groups, exact(&[down]));
    let room = hidden.shared();
    let parts = [gate, up].map(|weight| part(weight, std::ptr::null_mut()));
    cut(down.groups, rows, |pairs| {
        // SAFETY: as above; the room is as wide as both are high.
        unsafe { amx::gated(&parts[0], &parts[1], activation, &left, pairs, room) }
    });
    on_tiles(&[part(down, out)], &hidden);
}

fn part(weight: &Packed, out: *mut f32) -> Part {
    Part {
        format: weight.format,
        tiles: weight.data.as_ptr(),
        tile_bytes: weight.tile_bytes,
        groups: weight.groups,
        n: weight.n,
        out,
    }
}

/// Cuts a range of what all parts count, one behind the other, into ranges of each.
fn each_part(
    parts: &[Part],
    range: Range<usize>,
    count: impl Fn(&Part) -> usize,
    mut work: impl FnMut(&Part, Range<usize>),
) {
    let mut first = 0;
    for part in parts {
        let count = count(part);
        let (start, end) = (range.start.max(first), range.end.min(first + count));
        if start < end {
            work(part, start - first..end - first);
        }
        first += count;
    }
}
