//! Lanes of AVX2, FMA and F16C: two registers each; with AVX-VNNI, products of bytes in one step.

use std::arch::x86_64::*;

use super::Lanes;

/// Sixteen lanes in two registers; `VNNI` says whether AVX-VNNI is there.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

type F = (__m256, __m256);
type I = (__m256i, __m256i);

/// Applies an intrinsic to both halves.
macro_rules! both {
    ($f:ident, $a:expr) => {
        ($f($a.0), $f($a.1))
    };
    ($f:ident, $a:expr, $b:expr) => {
        ($f($a.0, $b.0), $f($a.1, $b.1))
    };
    ($f:ident, $a:expr, $b:expr, $c:expr) => {
        ($f($a.0, $b.0, $c.0), $f($a.1, $b.1, $c.1))
    };
}

/// Products of unsigned bytes below 128 and signed ones, four summed: no pair overflows 16 bits.
#[inline(always)]
unsafe fn dot7(acc: __m256i, w: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the caller's, as for every method here.
    unsafe {
        let pairs = _mm256_maddubs_epi16(w, x);
        _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

/// The same with any unsigned bytes: even and odd ones apart, widened.
#[inline(always)]
unsafe fn dot8(acc: __m256i, w: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let even = _mm256_madd_epi16(
            _mm256_and_si256(w, _mm256_set1_epi16(255)),
            _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x)),
        );
        let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(w), _mm256_srai_epi16::<8>(x));
        _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
    }
}

#[allow(unsafe_op_in_unsafe_fn, reason = "see lanes.rs: each method is unsafe as a whole")]
impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    type F = F;
    type I = I;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> F {
        (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)))
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, a: F) {
        _mm256_storeu_ps(to, a.0);
        _mm256_storeu_ps(to.add(8), a.1);
    }
    #[inline(always)]
    unsafe fn splat(a: f32) -> F {
        (_mm256_set1_ps(a), _mm256_set1_ps(a))
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: F, b: F) -> F {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    unsafe fn div(a: F, b: F) -> F {
        both!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        both!(_mm256_max_ps, a, b)
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        both!(_mm256_min_ps, a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        both!(_mm256_fmadd_ps, a, b, c)
    }
    #[inline(always)]
    unsafe fn greatest(a: F) -> f32 {
        let a = _mm256_max_ps(a.0, a.1);
        let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
    }
    #[inline(always)]
    unsafe fn total(a: F) -> f32 {
        let a = _mm256_add_ps(a.0, a.1);
        let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> F {
        let (a, b) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()));
        (_mm256_cvtph_ps(a), _mm256_cvtph_ps(b))
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> F {
        let (a, b) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()));
        let wide = |a| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(a)));
        (wide(a), wide(b))
    }
    #[inline(always)]
    unsafe fn load_i(from: *const u8) -> I {
        (_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast()))
    }
    #[inline(always)]
    unsafe fn store_i(to: *mut u8, a: I) {
        _mm256_storeu_si256(to.cast(), a.0);
        _mm256_storeu_si256(to.add(32).cast(), a.1);
    }
    #[inline(always)]
    unsafe fn splat_i(a: i32) -> I {
        (_mm256_set1_epi32(a), _mm256_set1_epi32(a))
    }
    #[inline(always)]
    unsafe fn add_i(a: I, b: I) -> I {
        both!(_mm256_add_epi32, a, b)
    }
    #[inline(always)]
    unsafe fn and(a: I, b: I) -> I {
        both!(_mm256_and_si256, a, b)
    }
    #[inline(always)]
    unsafe fn or(a: I, b: I) -> I {
        both!(_mm256_or_si256, a, b)
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: I) -> I {
        let n = _mm_cvtsi32_si128(N as i32);
        (_mm256_sll_epi32(a.0, n), _mm256_sll_epi32(a.1, n))
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: I) -> I {
        let n = _mm_cvtsi32_si128(N as i32);
        (_mm256_srl_epi32(a.0, n), _mm256_srl_epi32(a.1, n))
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> I {
        let (a, b) = (_mm_loadl_epi64(from.cast()), _mm_loadl_epi64(from.add(8).cast()));
        (_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(b))
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> I {
        let (a, b) = (_mm_loadl_epi64(from.cast()), _mm_loadl_epi64(from.add(8).cast()));
        (_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(b))
    }
    #[inline(always)]
    unsafe fn number(a: I) -> F {
        both!(_mm256_cvtepi32_ps, a)
    }
    #[inline(always)]
    unsafe fn nearest(a: F) -> I {
        both!(_mm256_cvtps_epi32, a)
    }
    #[inline(always)]
    unsafe fn float(a: I) -> F {
        both!(_mm256_castsi256_ps, a)
    }
    #[inline(always)]
    unsafe fn bits(a: F) -> I {
        both!(_mm256_castps_si256, a)
    }
    #[inline(always)]
    unsafe fn dot7(acc: I, w: I, x: I) -> I {
        if VNNI {
            return both!(_mm256_dpbusd_avx_epi32, acc, w, x);
        }
        both!(dot7, acc, w, x)
    }
    #[inline(always)]
    unsafe fn dot8(acc: I, w: I, x: I) -> I {
        if VNNI {
            return both!(_mm256_dpbusd_avx_epi32, acc, w, x);
        }
        both!(dot8, acc, w, x)
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}
