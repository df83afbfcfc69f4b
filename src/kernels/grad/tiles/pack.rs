//! Numbers as tiles of bf16, in one part or three: rows of sixteen for a left matrix, pairs of rows
//! for a right one. Either may lie along its depth or across it. Nothing is multiplied here.

use std::arch::x86_64::*;

use super::super::super::amx::{TILE, interleaved, rounded, widened};
use super::super::super::lanes::{Avx512, Lanes};
use super::super::linear::Side;
use super::super::numbers::load;
use super::{DEPTH, OUTER};

/// Sixteen vectors of pairs of bf16: the numbers, and what they leave over.
type Parts = [[__m512i; 16]; 3];

/// Packs `outer` = [first, count] rows of `depth` = [first, count] numbers, in pairs of sixteens,
/// as tiles of a right matrix or of a left one; what is missing is 0.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
pub(super) unsafe fn pack<const PARTS: usize, const RIGHT: bool>(
    side: &Side<'_>,
    [first, count]: [usize; 2],
    [deep, depth]: [usize; 2],
    to: *mut u8,
) {
    let steps = depth.div_ceil(DEPTH);
    // SAFETY: the caller's.
    unsafe {
        for outer in (0..count.next_multiple_of(2 * OUTER)).step_by(OUTER) {
            for at in (0..depth).step_by(DEPTH) {
                let start = (first + outer) * side.outer_step + (deep + at) * side.depth_step;
                let from = side.numbers.as_ptr().wrapping_add(start);
                let left = [count.saturating_sub(outer), depth - at];
                let along = side.depth_step == 1;
                let mut parts = match along {
                    true => rows::<PARTS>(from, side.outer_step, left),
                    false => pairs::<PARTS>(from, side.depth_step, left),
                };
                if along == RIGHT {
                    for part in parts.iter_mut().take(PARTS) {
                        *part = turn(*part);
                    }
                }
                let to = to.add((outer / OUTER * steps + at / DEPTH) * PARTS * TILE);
                for (i, vector) in parts.iter().take(PARTS).flatten().enumerate() {
                    _mm512_store_si512(to.add(i * 64).cast(), *vector);
                }
            }
        }
    }
}

/// Sixteen rows of thirty-two numbers, as many of them as there are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn rows<const PARTS: usize>(
    from: *const f32,
    step: usize,
    [outer, depth]: [usize; 2],
) -> Parts {
    let mut parts = [[_mm512_setzero_si512(); 16]; 3];
    for i in 0..OUTER.min(outer) {
        // SAFETY: the caller's: so many numbers are there.
        unsafe {
            let row = from.add(i * step);
            let a = load::<Avx512>(row, depth, 0.0);
            let b = match depth {
                17.. => load::<Avx512>(row.add(16), depth - 16, 0.0),
                _ => _mm512_setzero_ps(),
            };
            for (part, both) in parts.iter_mut().zip(split::<PARTS>(a, b)) {
                part[i] = both;
            }
        }
    }
    parts
}

/// Thirty-two rows of sixteen numbers, two and two of them together.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn pairs<const PARTS: usize>(
    from: *const f32,
    step: usize,
    [outer, depth]: [usize; 2],
) -> Parts {
    let mut parts = [[_mm512_setzero_si512(); 16]; 3];
    if outer == 0 {
        return parts;
    }
    // SAFETY: the caller's: so many numbers are there.
    unsafe {
        for i in 0..OUTER.min(depth.div_ceil(2)) {
            let a = load::<Avx512>(from.add(2 * i * step), outer, 0.0);
            let b = match 2 * i + 1 < depth {
                true => load::<Avx512>(from.add((2 * i + 1) * step), outer, 0.0),
                false => _mm512_setzero_ps(),
            };
            for (part, both) in parts.iter_mut().zip(split::<PARTS>(a, b)) {
                part[i] = interleaved(both);
            }
        }
    }
    parts
}

/// Two vectors as one of bf16, then what that leaves over, `PARTS` times.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn split<const PARTS: usize>(mut a: __m512, mut b: __m512) -> [__m512i; 3] {
    let mut parts = [_mm512_setzero_si512(); 3];
    for part in parts.iter_mut().take(PARTS) {
        // SAFETY: these instructions are this function's.
        unsafe {
            *part = rounded(a, b);
            a = _mm512_sub_ps(a, widened(_mm512_castsi512_si256(*part)));
            b = _mm512_sub_ps(b, widened(_mm512_extracti64x4_epi64::<1>(*part)));
        }
    }
    parts
}

/// Rows of pairs become columns of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn turn(square: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: the caller has the instructions; both are sixteen vectors of any pattern. (No `map`:
    // its closure would be a call.)
    unsafe {
        let square = std::mem::transmute::<[__m512i; 16], [__m512; 16]>(square);
        std::mem::transmute::<[__m512; 16], [__m512i; 16]>(<Avx512>::transpose(square))
    }
}
