//! A quantised tile, group by group, in registers: eight vectors of codes, each with four columns
//! of sixteen rows, and their scales. What is done with them is the caller's affair.
#![allow(clippy::needless_range_loop, reason = "indices are registers")]

use super::format::ROWS;
use super::lanes::Lanes;

/// [`Scales`](super::format::Scales), as what a kernel can be compiled for.
pub(super) const OFFSET: u8 = 0;
pub(super) const MINIMUM: u8 = 1;
pub(super) const BLOCKS: u8 = 2;
pub(super) const HALVES: u8 = 3;

/// Groups whose scales have a common factor.
pub(super) const fn groups_per_block(scales: u8) -> usize {
    if scales == BLOCKS || scales == HALVES { 8 } else { 1 }
}

/// A group in registers.
pub(super) struct Group<L: Lanes> {
    /// Four columns of sixteen rows each.
    pub(super) quads: [L::I; 8],
    /// Of all columns, or of the first half.
    pub(super) factor: L::F,
    /// The summand (`MINIMUM`, `BLOCKS`), or the second half's factor (`HALVES`).
    pub(super) second: L::F,
}

/// The beginning of a block's scales.
#[derive(Clone, Copy)]
pub(super) struct Head<L: Lanes> {
    d: L::F,
    second: L::F,
    /// Those of its groups.
    rest: *const u8,
}

/// A quantised tile of `groups` groups.
#[derive(Clone, Copy)]
pub(super) struct Tile<const BITS: u32, const SCALES: u8> {
    at: *const u8,
    groups: usize,
}

impl<const BITS: u32, const SCALES: u8> Tile<BITS, SCALES> {
    /// Taken off each code.
    pub(super) const OFFSET: i32 =
        if SCALES == OFFSET || SCALES == HALVES { 1 << (BITS - 1) } else { 0 };
    const PER_BLOCK: usize = groups_per_block(SCALES);
    /// Bytes of a group's codes.
    const CODES: usize = ROWS * BITS as usize * 4;
    /// Bytes of what a block's scales begin with.
    const HEAD: usize = if SCALES == BLOCKS || SCALES == MINIMUM { 64 } else { 32 };
    /// Bytes of a block's scales.
    const BLOCK: usize = Self::HEAD + if Self::PER_BLOCK > 1 { 16 * ROWS } else { 0 };

    pub(super) fn new(at: *const u8, groups: usize) -> Self {
        Self { at, groups }
    }

    fn blocks(&self) -> usize {
        self.groups / Self::PER_BLOCK
    }

    /// Bytes before the scales.
    fn codes(&self) -> usize {
        self.groups * Self::CODES
    }

    /// The beginning of the block's scales; asks for those of the next.
    ///
    /// # Safety
    /// As for [`Lanes`]; the tile must have such a block.
    #[inline(always)]
    pub(super) unsafe fn head<L: Lanes>(&self, block: usize) -> Head<L> {
        // SAFETY: the caller's: behind the codes of all groups lie the scales of all blocks.
        unsafe {
            self.ask::<L>(
                self.codes(),
                Self::BLOCK,
                block + 1.max(L::AHEAD[1] / Self::CODES / Self::PER_BLOCK),
                self.blocks(),
            );
            let at = self.at.add(self.codes() + block * Self::BLOCK);
            let second = match SCALES {
                MINIMUM => L::load_f16(at.add(32)),
                BLOCKS => L::sub(L::splat(0.0), L::load_f16(at.add(32))),
                _ => L::splat(0.0),
            };
            Head { d: L::load_f16(at), second, rest: at.add(Self::HEAD) }
        }
    }

    /// A group of the block whose head is given; asks for the codes of one further on.
    ///
    /// # Safety
    /// As for [`Lanes`]; the tile must have such a group.
    #[inline(always)]
    pub(super) unsafe fn group<L: Lanes>(&self, head: &Head<L>, g: usize) -> Group<L> {
        // SAFETY: the caller's.
        unsafe {
            self.ask::<L>(0, Self::CODES, g + L::AHEAD[1] / Self::CODES, self.groups);
            let scales = head.rest.add(g % Self::PER_BLOCK * 2 * ROWS);
            let (factor, second) = match SCALES {
                BLOCKS => {
                    let (s, m) = (L::load_u8(scales), L::load_u8(scales.add(ROWS)));
                    (L::mul(head.d, L::number(s)), L::mul(head.second, L::number(m)))
                }
                HALVES => {
                    let (s, t) = (L::load_i8(scales), L::load_i8(scales.add(ROWS)));
                    (L::mul(head.d, L::number(s)), L::mul(head.d, L::number(t)))
                }
                _ => (head.d, head.second),
            };
            Group { quads: unpack::<L, BITS>(self.at.add(g * Self::CODES)), factor, second }
        }
    }

    /// Asks for the item `i` of `count` of so many bytes that begin at `first`; behind the last come
    /// those of the next tile. The processor foresees neither scales nor the jump over them.
    #[inline(always)]
    unsafe fn ask<L: Lanes>(&self, first: usize, bytes: usize, i: usize, count: usize) {
        let tile = (self.codes() + self.blocks() * Self::BLOCK).next_multiple_of(64);
        let next = if i < count { 0 } else { tile - count * bytes };
        let at = self.at.wrapping_add(first + i * bytes + next);
        for line in (0..bytes).step_by(64) {
            // SAFETY: a prefetch may ask for what is not there.
            unsafe { L::prefetch(at.wrapping_add(line)) };
        }
    }
}

/// A group's codes as unsigned bytes.
#[inline(always)]
unsafe fn unpack<L: Lanes, const BITS: u32>(codes: *const u8) -> [L::I; 8] {
    // SAFETY: a group has 64 · `BITS` bytes of codes.
    unsafe {
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
