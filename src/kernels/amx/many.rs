//! Products of many rows: blocks of 32 × 32 sums, so many rows at a time that their activations stay
//! in a core's cache while all weights pass by. How tiles come about is said in `left.rs`, `right.rs`.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::few::Part;
use super::super::format::{Format, ROWS};
use super::super::lanes::Avx512;
use super::super::memory::lent;
use super::super::unary::{Activation, activate};
use super::left::{Room, Tiles};
use super::outputs::{BLOCK, Outputs, SIDE, Turn};
use super::right::{Ahead, Right};
use super::{EXACT, Region, Sums, TILE};

/// Bytes of activations that stay in a core's second cache.
const BLOCK_BYTES: usize = 5 << 18;
/// Groups of weights that stay in a core's first cache.
const STRETCH: usize = 8;

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
    let mut kept = lent(at_once / 2 * BLOCK);
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        for start in (0..left.groups).step_by(depth) {
            let groups = start..left.groups.min(start + depth);
            for first in (0..blocks).step_by(at_once) {
                let end = blocks.min(first + at_once);
                for pair in pairs.clone() {
                    let weights = right.pair(pair, &groups);
                    let mut ahead = [right.ahead(pair, &groups, steps(first..end, &groups))];
                    let to = Outputs {
                        out: part.out.add(first * ROWS * part.n + pair * SIDE),
                        stride: part.n,
                        rows: left.rows - first * ROWS,
                        columns: (part.n - pair * SIDE).min(SIDE),
                        add: start > 0,
                    };
                    let kept = kept.as_mut_ptr().cast();
                    pass::<A, B, 1>(left, first..end, &groups, weights, &mut ahead, &to, kept);
                }
            }
        }
    }
}

/// The sums of some blocks of rows with two tiles of weights, stretch by stretch: the weights of one
/// stay in the first cache while all rows pass by. From the second, left and right tiles together
/// would take more than it gives.
#[inline(always)]
unsafe fn pass<const A: usize, const B: usize, const N: usize>(
    left: &Tiles,
    blocks: Range<usize>,
    groups: &Range<usize>,
    b: [*const u8; 2],
    ahead: &mut [Ahead; N],
    to: &Outputs,
    kept: *mut f32,
) {
    let stretch = stretch::<A>(groups.len());
    for at in (0..groups.len()).step_by(stretch) {
        let end = groups.len().min(at + stretch);
        for block in blocks.clone().step_by(2) {
            // SAFETY: the caller's: there are such tiles, and room for so many blocks of sums.
            unsafe {
                let i = (block - blocks.start) / 2;
                let kept = Sums { at: kept.add(i * SIDE * SIDE), stride: SIDE };
                let turn = Turn { first: at == 0, last: end == groups.len() };
                let a = tiles(left, block, groups.start + at);
                let ab = [a, b.map(|b| b.add(at * B * TILE))];
                match block + 1 < left.rows.div_ceil(ROWS) {
                    true => to.fill::<A, B, false, N>(i, ab, end - at, turn, kept, ahead),
                    false => to.fill::<A, B, true, N>(i, ab, end - at, turn, kept, ahead),
                }
            }
        }
    }
}

/// Groups of a stretch. With three parts on the left the weights are read less often than they are
/// multiplied, and sums that come and go would cost more.
fn stretch<const A: usize>(groups: usize) -> usize {
    if A == 1 { groups.div_ceil(groups.div_ceil(STRETCH)) } else { groups }
}

/// How often some blocks meet a group of some.
fn steps(blocks: Range<usize>, groups: &Range<usize>) -> usize {
    blocks.len().div_ceil(2) * groups.len()
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
    let mut sums = lent(at_once * BLOCK);
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        let both = [0, at_once / 2 * BLOCK].map(|at| sums.as_mut_ptr().add(at).cast::<f32>());
        for first in (0..blocks).step_by(at_once) {
            let end = blocks.min(first + at_once);
            for pair in pairs.clone() {
                if pair * SIDE >= gate.n {
                    nothing(first * ROWS..left.rows.min(end * ROWS), pair, to);
                    continue;
                }
                let weights = [gates.pair(pair, &groups), ups.pair(pair, &groups)];
                let steps = 2 * steps(first..end, &groups);
                let mut ahead = [&gates, &ups].map(|right| right.ahead(pair, &groups, steps));
                for (out, weights) in both.into_iter().zip(weights) {
                    let rows = (end - first) * ROWS;
                    let to = Outputs { out, stride: SIDE, rows, columns: SIDE, add: false };
                    pass::<A, B, 2>(left, first..end, &groups, weights, &mut ahead, &to, out);
                }
                for block in (first..end).step_by(2) {
                    let rows = block * ROWS..left.rows.min((block + 2) * ROWS);
                    let sums = both.map(|sums| sums.add((block - first) * ROWS * SIDE));
                    join(sums, activation, rows, gate.n, pair, to);
                }
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
    [gates, ups]: [*mut f32; 2],
    activation: Activation,
    rows: Range<usize>,
    n: usize,
    pair: usize,
    to: Room,
) {
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
