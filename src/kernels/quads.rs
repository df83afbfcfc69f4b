//! A quantised tile, group by group, in registers: eight vectors of codes, each with four columns
//! of sixteen rows, and their scales. What is done with them is the caller's affair.
#![allow(clippy::needless_range_loop, reason = "indices are registers")]

use std::ops::Range;

use super::format::ROWS;
use super::lanes::Lanes;

/// [`Scales`](super::format::Scales), as what a kernel can be compiled for.
pub(super) const OFFSET: u8 = 0;
pub(super) const MINIMUM: u8 = 1;
pub(super) const BLOCKS: u8 = 2;
pub(super) const HALVES: u8 = 3;

/// A group's scales, a lane a row.
pub(super) struct GroupScales<L: Lanes> {
    /// Of all columns, or of the first half.
    pub(super) factor: L::F,
    /// The summand (`MINIMUM`, `BLOCKS`), or the second half's factor (`HALVES`).
    pub(super) second: L::F,
    /// Taken off each code.
    pub(super) offset: i32,
}

/// What is done with a group. (No closure: only a method is inlined always. A closure that is not has
/// none of the instructions, and calls each of them.)
pub(super) trait Each<L: Lanes> {
    /// Takes the number, codes and scales of a group.
    ///
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn group(&mut self, g: usize, quads: [L::I; 8], scales: GroupScales<L>);
}

/// Calls `each` with the number, codes and scales of every group in `range`, of `groups` in the
/// tile. Where there are blocks, the range is of whole ones.
#[inline(always)]
pub(super) unsafe fn quads<L: Lanes, const BITS: u32, const SCALES: u8>(
    tile: *const u8,
    groups: usize,
    range: Range<usize>,
    mut each: impl Each<L>,
) {
    // SAFETY: a tile has the codes of `groups` groups, and behind them the scales of their blocks;
    // blocks are whole.
    unsafe {
        let code_bytes = ROWS * BITS as usize * 4;
        let mut codes = tile.add(range.start * code_bytes);
        let mut scales = tile.add(groups * code_bytes);
        let offset = if SCALES == OFFSET || SCALES == HALVES { 1 << (BITS - 1) } else { 0 };
        let none = L::splat(0.0);
        if SCALES == OFFSET || SCALES == MINIMUM {
            scales = scales.add(range.start * if SCALES == MINIMUM { 64 } else { 32 });
            for g in range {
                let second = if SCALES == MINIMUM { L::load_f16(scales.add(32)) } else { none };
                let group = GroupScales { factor: L::load_f16(scales), second, offset };
                each.group(g, unpack::<L, BITS>(codes), group);
                codes = codes.add(code_bytes);
                scales = scales.add(if SCALES == MINIMUM { 64 } else { 32 });
            }
            return;
        }
        let block_bytes = 16 * ROWS + if SCALES == BLOCKS { 64 } else { 32 };
        scales = scales.add(range.start / 8 * block_bytes);
        for block in range.start / 8..range.end / 8 {
            let d = L::load_f16(scales);
            let least =
                if SCALES == BLOCKS { L::sub(none, L::load_f16(scales.add(32))) } else { none };
            scales = scales.add(if SCALES == BLOCKS { 64 } else { 32 });
            for g in 0..8 {
                let (factor, second) = if SCALES == BLOCKS {
                    let (s, m) = (L::load_u8(scales), L::load_u8(scales.add(ROWS)));
                    (L::mul(d, L::number(s)), L::mul(least, L::number(m)))
                } else {
                    let (s, t) = (L::load_i8(scales), L::load_i8(scales.add(ROWS)));
                    (L::mul(d, L::number(s)), L::mul(d, L::number(t)))
                };
                each.group(
                    block * 8 + g,
                    unpack::<L, BITS>(codes),
                    GroupScales { factor, second, offset },
                );
                codes = codes.add(code_bytes);
                scales = scales.add(2 * ROWS);
            }
        }
    }
}

/// A group's codes as unsigned bytes.
#[inline(always)]
unsafe fn unpack<L: Lanes, const BITS: u32>(codes: *const u8) -> [L::I; 8] {
    // SAFETY: a group has 64 · `BITS` bytes of codes.
    unsafe {
        for line in 0..BITS as usize {
            L::prefetch(codes.wrapping_add(2048 + line * 64));
        }
        macro_rules! vector {
            ($i:expr) => {
                L::load_i(codes.add($i * 64))
            };
        }
        if BITS == 8 {
            let mut quads = [L::splat_i(0); 8];
            for i in 0..8 {
                quads[i] = vector!(i);
            }
            return quads;
        }
        let nibble = L::splat_i(0x0f0f_0f0f);
        let mut quads = [L::splat_i(0); 8];
        for i in 0..4 {
            let both = vector!(i);
            quads[2 * i] = L::and(both, nibble);
            quads[2 * i + 1] = L::and(L::shr::<4>(both), nibble);
        }
        if BITS == 5 {
            let (bits, fifth) = (vector!(4), L::splat_i(0x1010_1010));
            let shifted = [
                L::shl::<4>(bits),
                L::shl::<3>(bits),
                L::shl::<2>(bits),
                L::shl::<1>(bits),
                bits,
                L::shr::<1>(bits),
                L::shr::<2>(bits),
                L::shr::<3>(bits),
            ];
            for (quad, bits) in quads.iter_mut().zip(shifted) {
                *quad = L::or(*quad, L::and(bits, fifth));
            }
        }
        if BITS == 6 {
            let upper = L::splat_i(0x3030_3030);
            for half in 0..2 {
                let bits = vector!(4 + half);
                let shifted = [L::shl::<4>(bits), L::shl::<2>(bits), bits, L::shr::<2>(bits)];
                for (quad, bits) in quads[4 * half..].iter_mut().zip(shifted) {
                    *quad = L::or(*quad, L::and(bits, upper));
                }
            }
        }
        quads
    }
}
