//! Activations as AMX's left-hand tiles: rounded to bf16 once, or split into the three parts that
//! together are the f32. Nothing is multiplied here.

use std::arch::x86_64::*;

use super::super::format::{GROUP, ROWS};
use super::super::memory::{Lent, Shared, lent};
use super::super::pool::share;
use super::{EXACT, TILE};

/// Activations in tiles, `[rows / 16][groups][parts][16 rows][32 columns]`.
pub(in crate::kernels) struct Tiles {
    data: Lent,
    pub(in crate::kernels) rows: usize,
    pub(super) groups: usize,
    pub(super) parts: usize,
}

impl Tiles {
    /// Room for `rows` rows. What it holds is not defined, nor are the rows that fill the last tile
    /// ever: they only become sums that nobody reads.
    pub(in crate::kernels) fn new(rows: usize, groups: usize, exact: bool) -> Self {
        let parts = if exact { EXACT } else { 1 };
        let data = lent(rows.div_ceil(ROWS) * groups * parts * TILE);
        Self { data, rows, groups, parts }
    }

    /// The rows of `x`, `k` numbers each; zeros fill the last group.
    ///
    /// # Safety
    /// `usable` must have answered yes.
    pub(in crate::kernels) unsafe fn of(x: &[f32], k: usize, groups: usize, exact: bool) -> Self {
        let mut this = Self::new(x.len() / k, groups, exact);
        let (parts, to) = (this.parts, Shared(this.data.as_mut_ptr()));
        share(this.rows, 2, |rows| {
            for row in rows {
                // SAFETY: each row has 64 bytes of each of its tiles, and a thread of its own.
                unsafe {
                    let to = to.get().add(row / ROWS * groups * parts * TILE + row % ROWS * 64);
                    split_row(x.as_ptr().add(row * k), k, groups, parts, to);
                }
            }
        });
        this
    }

    /// Bytes to the next sixteen rows.
    pub(super) fn step(&self) -> usize {
        self.groups * self.parts * TILE
    }

    /// Tiles of sixteen rows, from the group `group` on.
    pub(in crate::kernels) unsafe fn at(&self, block: usize, group: usize) -> *const u8 {
        // SAFETY: the caller's: there are such a block and group.
        unsafe { self.data.as_ptr().add(block * self.step() + group * self.parts * TILE) }
    }

    /// To be written through by those who share the rows among them.
    pub(in crate::kernels) fn shared(&mut self) -> Room {
        let step = self.step();
        Room { at: Shared(self.data.as_mut_ptr()), step, parts: self.parts }
    }
}

/// [`Tiles`] that threads write.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Room {
    at: Shared<u8>,
    step: usize,
    parts: usize,
}

impl Room {
    /// Writes 32 numbers of a row.
    #[inline(always)]
    pub(in crate::kernels) unsafe fn put(&self, row: usize, group: usize, numbers: [__m512; 2]) {
        // SAFETY: the caller's: there are such a row and group, and nobody else writes them.
        unsafe {
            let to = self.at.get().add(row / ROWS * self.step + row % ROWS * 64);
            split(numbers, self.parts, to.add(group * self.parts * TILE));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn split_row(x: *const f32, k: usize, groups: usize, parts: usize, to: *mut u8) {
    let whole = k / GROUP;
    for group in 0..groups {
        let to = to.wrapping_add(group * parts * TILE);
        // SAFETY: the caller's: `k` numbers, and room for the parts of `groups` groups.
        unsafe {
            if group < whole {
                let x = x.add(group * GROUP);
                split([_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))], parts, to);
                continue;
            }
            let left = k.saturating_sub(group * GROUP).min(GROUP);
            let mut numbers = [0f32; GROUP];
            if left > 0 {
                numbers.as_mut_ptr().copy_from_nonoverlapping(x.add(group * GROUP), left);
            }
            let numbers = numbers.as_ptr();
            split([_mm512_loadu_ps(numbers), _mm512_loadu_ps(numbers.add(16))], parts, to);
        }
    }
}

/// Rounds 32 numbers to bf16, then what that leaves over, `parts` times, a tile apart.
#[inline(always)]
pub(in crate::kernels) unsafe fn split([mut a, mut b]: [__m512; 2], parts: usize, to: *mut u8) {
    for part in 0..parts {
        // SAFETY: the caller's.
        unsafe {
            let rounded = rounded(a, b);
            _mm512_storeu_si512(to.add(part * TILE).cast(), rounded);
            if part + 1 < parts {
                a = _mm512_sub_ps(a, widened(_mm512_castsi512_si256(rounded)));
                b = _mm512_sub_ps(b, widened(_mm512_extracti64x4_epi64::<1>(rounded)));
            }
        }
    }
}

/// 32 numbers as bf16, those of `a` first.
#[inline(always)]
pub(in crate::kernels) unsafe fn rounded(a: __m512, b: __m512) -> __m512i {
    // SAFETY: the caller has the instructions; both types are 64 bytes.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(b, a)) }
}

/// Sixteen bf16 as f32.
#[inline(always)]
pub(in crate::kernels) unsafe fn widened(half: __m256i) -> __m512 {
    // SAFETY: the caller has the instructions.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half))) }
}
