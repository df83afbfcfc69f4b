//! Weights as AMX's right-hand tiles. Packed bf16 are such tiles already; others are unpacked, two
//! tiles and a stretch of columns at a time. Nothing is multiplied here.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::few::Part;
use super::super::format::Format;
use super::super::lanes::Avx512;
use super::super::memory::{Lent, lent};
use super::super::panel::{Sink, each_pair};
use super::TILE;
use super::left::{rounded, widened};

/// Two tiles of weights at a time, in `B` parts.
pub(super) struct Right<'a, const B: usize> {
    part: &'a Part,
    room: Lent,
    depth: usize,
}

impl<'a, const B: usize> Right<'a, B> {
    /// For up to `depth` groups at a time.
    pub(super) fn new(part: &'a Part, depth: usize) -> Self {
        let bytes = if Self::as_it_lies(part) { 0 } else { 2 * depth * B * TILE };
        Self { part, room: lent(bytes), depth }
    }

    fn as_it_lies(part: &Part) -> bool {
        B == 1 && part.format == Format::Bf16
    }

    /// Both tiles of a pair; the last may stand alone, and twice.
    #[inline(always)]
    pub(super) unsafe fn pair(&mut self, pair: usize, groups: &Range<usize>) -> [*const u8; 2] {
        let last = self.part.tiles() - 1;
        // SAFETY: the caller's: there are such tiles and groups.
        unsafe {
            let tiles = [2 * pair, (2 * pair + 1).min(last)]
                .map(|tile| self.part.tiles.add(tile * self.part.tile_bytes));
            if Self::as_it_lies(self.part) {
                return tiles.map(|tile| tile.add(groups.start * TILE));
            }
            let room = self.room.as_mut_ptr();
            let to = [room, room.add(self.depth * B * TILE)];
            for (tile, to) in tiles.into_iter().zip(to) {
                let sink = Unpacked::<B>(to);
                let all = self.part.groups;
                each_pair::<Avx512>(self.part.format, tile, all, groups.clone(), sink);
            }
            to.map(|to| to.cast_const())
        }
    }

    /// What the next pair will read, to be asked for meanwhile.
    pub(super) fn ahead(&self, pair: usize, groups: &Range<usize>, steps: usize) -> Ahead {
        let bytes = self.part.format.code_bytes();
        let at = self.part.tiles.wrapping_add((2 * pair + 2) * self.part.tile_bytes);
        let lines = (groups.len() * bytes).div_ceil(64);
        Ahead {
            at: at.wrapping_add(groups.start * bytes),
            apart: self.part.tile_bytes,
            left: lines,
            step: lines.div_ceil(steps.max(1)),
        }
    }
}

/// Lines of two tiles that will be wanted.
pub(super) struct Ahead {
    at: *const u8,
    apart: usize,
    left: usize,
    step: usize,
}

impl Ahead {
    /// Asks for some of them.
    #[inline(always)]
    pub(super) unsafe fn ask(&mut self) {
        let count = self.step.min(self.left);
        for _ in 0..count {
            // SAFETY: a prefetch may ask for what is not there.
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(self.at.cast());
                _mm_prefetch::<_MM_HINT_T1>(self.at.wrapping_add(self.apart).cast());
            }
            self.at = self.at.wrapping_add(64);
        }
        self.left -= count;
    }
}

/// Columns two by two, in AMX's order, a part a tile.
pub(in crate::kernels) struct Unpacked<const B: usize>(pub(in crate::kernels) *mut u8);

impl<const B: usize> Sink<Avx512> for Unpacked<B> {
    #[inline(always)]
    unsafe fn pair(&mut self, pair: usize, mut a: __m512, mut b: __m512) {
        let to = self.0.wrapping_add((pair / 16 * B * 16 + pair % 16) * 64);
        for part in 0..B {
            // SAFETY: the caller's: there is room for every part of every pair.
            unsafe {
                let both = rounded(a, b);
                _mm512_storeu_si512(to.add(part * TILE).cast(), interleaved(both));
                if part + 1 < B {
                    a = _mm512_sub_ps(a, widened(_mm512_castsi512_si256(both)));
                    b = _mm512_sub_ps(b, widened(_mm512_extracti64x4_epi64::<1>(both)));
                }
            }
        }
    }
}

/// The numbers of the lower half each before its like of the upper.
#[inline(always)]
pub(in crate::kernels) unsafe fn interleaved(both: __m512i) -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        order
    };
    // SAFETY: the caller has the instructions.
    unsafe { _mm512_permutexvar_epi16(_mm512_loadu_si512(ORDER.as_ptr().cast()), both) }
}
