//! Products of many rows: blocks of 32 × 32 sums, so many rows at a time that their activations stay
//! in a core's cache while all weights pass by. How tiles come about is said in `left.rs`, `right.rs`.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::few::Part;
use super::super::format::{Format, ROWS};
use super::super::lanes::Avx512;
use super::super::unary::{Activation, activate};
use super::left::{Room, Tiles};
use super::right::Right;
use super::{EXACT, Region, TILE, sum};

/// Bytes of activations that stay in a core's second cache.
const BLOCK_BYTES: usize = 5 << 18;
/// Sums of a block.
const SIDE: usize = 2 * ROWS;

/// Runs `$kernel` for the parts that left and right have.
macro_rules! in_parts {
    ($left:expr, $format:expr, $kernel:ident($($arg:expr),*)) => {
        match ($left.parts, $format) {
            (EXACT, Format::F32) => $kernel::<EXACT, EXACT>($($arg),*),
            (EXACT, _) => $kernel::<EXACT, 1>($($arg),*),
            _ => $kernel::<1, 1>($($arg),*),
        }
    };
}

/// The outputs of `pairs` of tiles for all rows of `left`.
///
/// # Safety
/// `usable` must have answered yes; the sizes must be those of the matrices.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
pub(in crate::kernels) unsafe fn many(part: &Part, left: &Tiles, pairs: Range<usize>) {
    // SAFETY: the caller's.
    unsafe { in_parts!(left, part.format, many_of(part, left, pairs)) }
}

#[inline(always)]
unsafe fn many_of<const A: usize, const B: usize>(part: &Part, left: &Tiles, pairs: Range<usize>) {
    let depth = depth::<A>(part.format, left.groups);
    let mut right = Right::<B>::new(part, depth);
    let (blocks, at_once) = (left.rows.div_ceil(ROWS), at_once::<A>(left, depth));
    let mut edge = Edge([0.0; SIDE * SIDE]);
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        for start in (0..left.groups).step_by(depth) {
            let groups = start..left.groups.min(start + depth);
            for first in (0..blocks).step_by(at_once) {
                let end = blocks.min(first + at_once);
                for pair in pairs.clone() {
                    let weights = right.pair(pair, &groups);
                    let mut ahead = right.ahead(pair, &groups, (end - first).div_ceil(2));
                    for block in (first..end).step_by(2) {
                        ahead.ask();
                        let target = Target::new(part, left.rows, block, pair, start > 0);
                        let (a, groups) = (tiles(left, block, start), groups.len());
                        match block + 1 < blocks {
                            true => target.fill::<A, B, false>(a, weights, groups, &mut edge),
                            false => target.fill::<A, B, true>(a, weights, groups, &mut edge),
                        }
                    }
                }
            }
        }
    }
}

/// `activation(gate) · up` of `pairs` of tiles, for all rows of `left`, as tiles to be multiplied
/// next; zeros fill the groups that neither matrix reaches.
///
/// # Safety
/// As [`many`]; the room must be as wide as both matrices are high.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
pub(in crate::kernels) unsafe fn gated(
    gate: &Part,
    up: &Part,
    activation: Activation,
    left: &Tiles,
    pairs: Range<usize>,
    to: Room,
) {
    // SAFETY: the caller's.
    unsafe {
        let format = if up.format == Format::F32 { up.format } else { gate.format };
        in_parts!(left, format, gated_of(gate, up, activation, left, pairs, to))
    }
}

#[inline(always)]
unsafe fn gated_of<const A: usize, const B: usize>(
    gate: &Part,
    up: &Part,
    activation: Activation,
    left: &Tiles,
    pairs: Range<usize>,
    to: Room,
) {
    let groups = 0..left.groups;
    let [mut gates, mut ups] = [gate, up].map(|part| Right::<B>::new(part, left.groups));
    let (blocks, at_once) = (left.rows.div_ceil(ROWS), at_once::<A>(left, left.groups));
    let mut sums = [Edge([0.0; SIDE * SIDE]), Edge([0.0; SIDE * SIDE])];
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        for first in (0..blocks).step_by(at_once) {
            let end = blocks.min(first + at_once);
            for pair in pairs.clone() {
                if pair * SIDE >= gate.n {
                    nothing(first * ROWS..left.rows.min(end * ROWS), pair, to);
                    continue;
                }
                let weights = [gates.pair(pair, &groups), ups.pair(pair, &groups)];
                let steps = (end - first).div_ceil(2);
                let mut ahead = [&gates, &ups].map(|right| right.ahead(pair, &groups, steps));
                for block in (first..end).step_by(2) {
                    for ahead in &mut ahead {
                        ahead.ask();
                    }
                    both::<A, B>(left, block, weights, &mut sums);
                    let rows = block * ROWS..left.rows.min((block + 2) * ROWS);
                    join(&sums, activation, rows, gate.n, pair, to);
                }
            }
        }
    }
}

/// Blocks of sums of two matrices.
#[inline(always)]
unsafe fn both<const A: usize, const B: usize>(
    left: &Tiles,
    block: usize,
    weights: [[*const u8; 2]; 2],
    sums: &mut [Edge; 2],
) {
    for (sums, b) in sums.iter_mut().zip(weights) {
        let to = sums.0.as_mut_ptr();
        // SAFETY: the caller's.
        unsafe {
            let a = tiles(left, block, 0);
            match block + 1 < left.rows.div_ceil(ROWS) {
                true => sum::<A, B, false>(a, b, left.groups, to, SIDE, false),
                false => sum::<A, B, true>(a, b, left.groups, to, SIDE, false),
            }
        }
    }
}

/// Zeros for a group that no matrix reaches.
#[inline(always)]
unsafe fn nothing(rows: Range<usize>, group: usize, to: Room) {
    for row in rows {
        // SAFETY: the caller's: there are such rows and such a group.
        unsafe { to.put(row, group, [_mm512_setzero_ps(); 2]) };
    }
}

/// Gate and up, joined, become activations.
#[inline(always)]
unsafe fn join(
    [gates, ups]: &[Edge; 2],
    activation: Activation,
    rows: Range<usize>,
    n: usize,
    pair: usize,
    to: Room,
) {
    let (gates, ups) = (gates.0.as_ptr(), ups.0.as_ptr());
    // What lies behind the last column is nothing.
    let columns = 1u64
        .checked_shl((n - (n.min(pair * SIDE))) as u32)
        .map_or(u32::MAX, |bit| (bit - 1) as u32);
    for (i, row) in rows.enumerate() {
        // SAFETY: the caller's: the sums are of 32 × 32, and the room has such a row and group.
        unsafe {
            let mut numbers = [_mm512_setzero_ps(); 2];
            for (half, number) in numbers.iter_mut().enumerate() {
                let at = i * SIDE + half * ROWS;
                let gate = activate::<Avx512>(activation, _mm512_loadu_ps(gates.add(at)));
                let mask = (columns >> (half * ROWS)) as u16;
                *number = _mm512_maskz_mul_ps(mask, gate, _mm512_loadu_ps(ups.add(at)));
            }
            to.put(row, pair, numbers);
        }
    }
}

/// Groups that are worked through at a time: weights that have to be unpacked should be so once.
fn depth<const A: usize>(format: Format, groups: usize) -> usize {
    let most = match format {
        Format::Bf16 => 64 / A,
        _ => 40 / A,
    };
    groups.div_ceil(groups.div_ceil(most)).next_multiple_of(format.groups_per_block())
}

/// Sixteens of rows that stay in the cache meanwhile, an even number.
fn at_once<const A: usize>(left: &Tiles, depth: usize) -> usize {
    let most = (BLOCK_BYTES / (depth * A * TILE)).max(2);
    let blocks = left.rows.div_ceil(ROWS);
    blocks.div_ceil(blocks.div_ceil(most)).next_multiple_of(2)
}

/// The left tiles of two sixteens of rows; the last may stand alone, and twice.
#[inline(always)]
unsafe fn tiles(left: &Tiles, block: usize, group: usize) -> [*const u8; 2] {
    let last = left.rows.div_ceil(ROWS) - 1;
    // SAFETY: the caller's.
    unsafe { [left.at(block, group), left.at((block + 1).min(last), group)] }
}

#[repr(C, align(64))]
struct Edge([f32; SIDE * SIDE]);

/// Where up to 32 × 32 outputs go.
struct Target {
    out: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    /// Onto what is there.
    add: bool,
}

impl Target {
    #[inline(always)]
    unsafe fn new(part: &Part, rows: usize, block: usize, pair: usize, add: bool) -> Self {
        Self {
            // SAFETY: the caller's: there is such an output.
            out: unsafe { part.out.add(block * ROWS * part.n + pair * SIDE) },
            stride: part.n,
            rows: (rows - block * ROWS).min(SIDE),
            columns: (part.n - pair * SIDE).min(SIDE),
            add,
        }
    }

    #[inline(always)]
    unsafe fn fill<const A: usize, const B: usize, const S: bool>(
        &self,
        a: [*const u8; 2],
        b: [*const u8; 2],
        groups: usize,
        edge: &mut Edge,
    ) {
        let whole = self.columns == SIDE && self.rows.is_multiple_of(ROWS);
        // SAFETY: `rows` · `columns` outputs lie at `out`.
        unsafe {
            if whole {
                // They will be here when the sums are ready.
                for row in 0..if self.add { 0 } else { self.rows } {
                    let line: *const i8 = self.out.add(row * self.stride).cast();
                    _mm_prefetch::<_MM_HINT_ET0>(line);
                    _mm_prefetch::<_MM_HINT_ET0>(line.add(64));
                }
                return sum::<A, B, S>(a, b, groups, self.out, self.stride, self.add);
            }
            let edge = edge.0.as_mut_ptr();
            for row in 0..if self.add { self.rows } else { 0 } {
                let from = self.out.add(row * self.stride);
                edge.add(row * SIDE).copy_from_nonoverlapping(from, self.columns);
            }
            sum::<A, B, S>(a, b, groups, edge, SIDE, self.add);
            for row in 0..self.rows {
                let to = self.out.add(row * self.stride);
                to.copy_from_nonoverlapping(edge.add(row * SIDE), self.columns);
            }
        }
    }
}
