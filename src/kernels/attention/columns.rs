//! Queries, keys and values as AMX's tiles want them, whatever the cache is made of: rows as vectors
//! of f32, and keys as columns of bf16. Nothing is multiplied here.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::amx::{EXACT, TILE, split};
use super::super::lanes::{Avx512, Lanes};
use super::codes::{CODE_GROUP, CODE_SCALES};
use super::{Kind, Rows};

/// Which of the sixteen numbers from `first` on are among the first `count`.
#[inline(always)]
pub(super) fn mask(count: usize, first: usize) -> __mmask16 {
    let left = count.saturating_sub(first).min(16);
    ((1u32 << left) - 1) as __mmask16
}

impl Rows {
    /// Sixteen numbers of a row, of which the row has `width`; zeros behind.
    #[inline(always)]
    pub(super) unsafe fn vector(&self, index: usize, vector: usize, width: usize) -> __m512 {
        let mask = mask(width, vector * 16);
        // SAFETY: the caller's: there is such a row; what the mask hides is not read.
        unsafe {
            let row = self.row(index);
            match self.kind {
                Kind::F32 => {
                    _mm512_maskz_loadu_ps(mask, row.cast::<f32>().wrapping_add(vector * 16))
                }
                Kind::Codes => {
                    let codes =
                        _mm_maskz_loadu_epi8(mask, row.cast::<i8>().wrapping_add(vector * 16));
                    let numbers = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
                    // Of a group that is all behind the row there is no scale.
                    let group = vector.min(width.div_ceil(16).max(1) - 1) * 16 / CODE_GROUP;
                    let scale = CODE_SCALES[usize::from(*row.add(width + group))];
                    _mm512_maskz_mul_ps(mask, numbers, _mm512_set1_ps(scale))
                }
                Kind::Bf16 | Kind::F16 => {
                    let row = row.cast::<i16>().wrapping_add(vector * 16);
                    let half = _mm256_maskz_loadu_epi16(mask, row);
                    match self.kind {
                        Kind::F16 => _mm512_cvtph_ps(half),
                        _ => {
                            let wide = _mm512_cvtepu16_epi32(half);
                            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
                        }
                    }
                }
            }
        }
    }

    /// A group of a row.
    #[inline(always)]
    pub(super) unsafe fn pair(&self, index: usize, group: usize, width: usize) -> [__m512; 2] {
        // SAFETY: the caller's.
        unsafe { [self.vector(index, 2 * group, width), self.vector(index, 2 * group + 1, width)] }
    }
}

/// Up to sixteen rows as the columns of right-hand tiles, `[groups][B]`; columns without a row are 0.
#[inline(always)]
pub(super) unsafe fn columns<const B: usize>(
    rows: Rows,
    keys: Range<usize>,
    head_dim: usize,
    groups: usize,
    to: *mut u8,
) {
    #[repr(C, align(64))]
    struct Parts([u8; EXACT * TILE]);
    let mut parts = Parts([0; EXACT * TILE]);
    for group in 0..groups {
        // SAFETY: the caller's: the keys are there, and `to` has room.
        unsafe {
            let room = parts.0.as_mut_ptr();
            for (i, key) in keys.clone().enumerate() {
                split(rows.pair(key, group, head_dim), B, room.add(i * 64));
            }
            for part in 0..B {
                let mut square = [_mm512_setzero_ps(); 16];
                for (i, line) in square.iter_mut().enumerate().take(keys.len()) {
                    *line = _mm512_load_ps(room.add(part * TILE + i * 64).cast());
                }
                let to = to.add((group * B + part) * TILE);
                // Two numbers of bf16 move as one of 32 bits.
                for (i, line) in <Avx512>::transpose(square).into_iter().enumerate() {
                    _mm512_storeu_ps(to.add(i * 64).cast(), line);
                }
            }
        }
    }
}
