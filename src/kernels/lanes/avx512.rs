//! Lanes of AVX-512 with VNNI: one register each; with AVX512-BF16, products of bf16 in one step.

use std::arch::x86_64::*;

use super::{Lanes, dot_bf16, store_bf16};

/// Sixteen lanes in one register; `BF16` says whether AVX512-BF16 is there.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool = false>;

/// The bits as bf16.
#[inline(always)]
fn halves(a: __m512i) -> __m512bh {
    // SAFETY: both types are 64 bytes, of which any are valid.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(a) }
}

/// Which of 32 halves goes where, so that i and 16 + i stand side by side.
static SIDE_BY_SIDE: [u16; 32] = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 16 {
        (order[2 * i], order[2 * i + 1]) = (i as u16, 16 + i as u16);
        i += 1;
    }
    order
};

/// The lower pairs of numbers of each quarter of `a` and `b`.
#[inline(always)]
fn low_pairs(a: __m512, b: __m512) -> __m512 {
    // SAFETY: only reached where the processor has AVX-512, as all of `Lanes` here.
    unsafe { _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))) }
}

/// The upper ones.
#[inline(always)]
fn high_pairs(a: __m512, b: __m512) -> __m512 {
    // SAFETY: as above.
    unsafe { _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))) }
}

/// Quarters 0 and 2 of `a` and of `b`.
#[inline(always)]
fn even_quarters(a: __m512, b: __m512) -> __m512 {
    // SAFETY: as above.
    unsafe { _mm512_shuffle_f32x4::<0x88>(a, b) }
}

/// Quarters 1 and 3.
#[inline(always)]
fn odd_quarters(a: __m512, b: __m512) -> __m512 {
    // SAFETY: as above.
    unsafe { _mm512_shuffle_f32x4::<0xdd>(a, b) }
}

#[allow(unsafe_op_in_unsafe_fn, reason = "see lanes.rs: each method is unsafe as a whole")]
impl<const BF16: bool> Lanes for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    const WIDE: bool = true;
    const BF16: bool = BF16;
    const STREAMS: usize = if BF16 { 2 } else { 4 };
    const AHEAD: [usize; 3] = if BF16 { [1024, 4096, 4096] } else { [2048, 2048, 1024] };

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        _mm512_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, a: __m512) {
        _mm512_storeu_ps(to, a);
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize, rest: f32) -> __m512 {
        _mm512_mask_loadu_ps(_mm512_set1_ps(rest), (1 << count) - 1, from)
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, a: __m512) {
        _mm512_mask_storeu_ps(to, (1 << count) - 1, a);
    }
    #[inline(always)]
    unsafe fn splat(a: f32) -> __m512 {
        _mm512_set1_ps(a)
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        _mm512_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        _mm512_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        _mm512_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        _mm512_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn greatest(a: __m512) -> f32 {
        _mm512_reduce_max_ps(a)
    }
    #[inline(always)]
    unsafe fn total(a: __m512) -> f32 {
        _mm512_reduce_add_ps(a)
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> __m512 {
        let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
    }
    #[inline(always)]
    unsafe fn transpose(rows: [__m512; 16]) -> [__m512; 16] {
        // Within 128 bits first: then vector 4k + c holds, in its quarter q, the numbers of
        // column 4q + c in rows 4k to 4k + 3.
        let mut fours = rows;
        for four in fours.chunks_exact_mut(4) {
            let (a, b) =
                (_mm512_unpacklo_ps(four[0], four[1]), _mm512_unpackhi_ps(four[0], four[1]));
            let (c, d) =
                (_mm512_unpacklo_ps(four[2], four[3]), _mm512_unpackhi_ps(four[2], four[3]));
            (four[0], four[1]) = (low_pairs(a, c), high_pairs(a, c));
            (four[2], four[3]) = (low_pairs(b, d), high_pairs(b, d));
        }
        let mut out = rows;
        for c in 0..4 {
            let [a, b, e, f] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
            let (even, odd) = (even_quarters(a, b), odd_quarters(a, b));
            let (even2, odd2) = (even_quarters(e, f), odd_quarters(e, f));
            out[c] = even_quarters(even, even2);
            out[8 + c] = odd_quarters(even, even2);
            out[4 + c] = even_quarters(odd, odd2);
            out[12 + c] = odd_quarters(odd, odd2);
        }
        out
    }
    #[inline(always)]
    unsafe fn sums(rows: [__m512; 16]) -> __m512 {
        let mut fours = [rows[0]; 4];
        for (sum, four) in fours.iter_mut().zip(rows.chunks_exact(4)) {
            let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (a, b) = (pair(four[0], four[1]), pair(four[2], four[3]));
            *sum = _mm512_add_ps(low_pairs(a, b), high_pairs(a, b));
        }
        let join = |a, b| _mm512_add_ps(even_quarters(a, b), odd_quarters(a, b));
        join(join(fours[0], fours[1]), join(fours[2], fours[3]))
    }
    #[inline(always)]
    unsafe fn load_i(from: *const u8) -> __m512i {
        _mm512_loadu_si512(from.cast())
    }
    #[inline(always)]
    unsafe fn store_i(to: *mut u8, a: __m512i) {
        _mm512_storeu_si512(to.cast(), a);
    }
    #[inline(always)]
    unsafe fn splat_i(a: i32) -> __m512i {
        _mm512_set1_epi32(a)
    }
    #[inline(always)]
    unsafe fn add_i(a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        _mm512_and_si512(a, b)
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        _mm512_or_si512(a, b)
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: __m512i) -> __m512i {
        _mm512_slli_epi32::<N>(a)
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: __m512i) -> __m512i {
        _mm512_srli_epi32::<N>(a)
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> __m512i {
        _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> __m512i {
        _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))
    }
    #[inline(always)]
    unsafe fn number(a: __m512i) -> __m512 {
        _mm512_cvtepi32_ps(a)
    }
    #[inline(always)]
    unsafe fn nearest(a: __m512) -> __m512i {
        _mm512_cvtps_epi32(a)
    }
    #[inline(always)]
    unsafe fn float(a: __m512i) -> __m512 {
        _mm512_castsi512_ps(a)
    }
    #[inline(always)]
    unsafe fn bits(a: __m512) -> __m512i {
        _mm512_castps_si512(a)
    }
    #[inline(always)]
    unsafe fn dot7(acc: __m512i, w: __m512i, x: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(acc, w, x)
    }
    #[inline(always)]
    unsafe fn dot8(acc: __m512i, w: __m512i, x: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(acc, w, x)
    }
    #[inline(always)]
    unsafe fn dot_bf16(acc: __m512, w: __m512i, x: __m512i) -> __m512 {
        if BF16 {
            return _mm512_dpbf16_ps(acc, halves(w), halves(x));
        }
        dot_bf16::<Self>(acc, w, x)
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u8, a: __m512, b: __m512) {
        if BF16 {
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a));
            _mm512_storeu_si512(to.cast(), both);
            return;
        }
        store_bf16::<Self>(to, a, b);
    }
    #[inline(always)]
    unsafe fn pairs(a: __m512, b: __m512) -> __m512i {
        let mut halves = [0u8; 64];
        Self::store_bf16(halves.as_mut_ptr(), a, b);
        let halves = _mm512_loadu_si512(halves.as_ptr().cast());
        _mm512_permutexvar_epi16(_mm512_loadu_si512(SIDE_BY_SIDE.as_ptr().cast()), halves)
    }
    /// Where `BF16`, into the second cache: see [`Isa::Avx512Bf16`](super::super::isa::Isa).
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        match BF16 {
            true => _mm_prefetch::<_MM_HINT_T1>(at.cast()),
            false => _mm_prefetch::<_MM_HINT_T0>(at.cast()),
        }
    }
}
