//! Lanes in plain Rust: the portable path, and the definition of every method. No intrinsics here.

use half::{bf16, f16};

use super::Lanes;

/// Sixteen lanes as an array.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

#[inline(always)]
fn map<T: Copy, U: Copy + Default>(a: [T; 16], f: impl Fn(T) -> U) -> [U; 16] {
    let mut out = [U::default(); 16];
    for (out, a) in out.iter_mut().zip(a) {
        *out = f(a);
    }
    out
}

#[inline(always)]
fn zip<T: Copy + Default>(a: [T; 16], b: [T; 16], f: impl Fn(T, T) -> T) -> [T; 16] {
    let mut out = a;
    for (out, b) in out.iter_mut().zip(b) {
        *out = f(*out, b);
    }
    out
}

#[inline(always)]
fn dot(acc: [i32; 16], w: [i32; 16], x: [i32; 16]) -> [i32; 16] {
    let mut out = acc;
    for lane in 0..16 {
        let (w, x) = (w[lane].to_le_bytes(), x[lane].to_le_bytes());
        for byte in 0..4 {
            out[lane] += i32::from(w[byte]) * i32::from(x[byte] as i8);
        }
    }
    out
}

#[allow(unsafe_op_in_unsafe_fn, reason = "see lanes.rs: each method is unsafe as a whole")]
impl Lanes for Scalar {
    type F = [f32; 16];
    type I = [i32; 16];
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        from.cast::<[f32; 16]>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, a: Self::F) {
        to.cast::<[f32; 16]>().write_unaligned(a);
    }
    #[inline(always)]
    unsafe fn splat(a: f32) -> Self::F {
        [a; 16]
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // Not `mul_add`, which is a call where the processor has no such instruction.
        zip(zip(a, b, |a, b| a * b), c, |ab, c| ab + c)
    }
    #[inline(always)]
    unsafe fn greatest(a: Self::F) -> f32 {
        a.iter().fold(f32::NEG_INFINITY, |m, a| m.max(*a))
    }
    #[inline(always)]
    unsafe fn total(a: Self::F) -> f32 {
        a.iter().sum()
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Self::F {
        map(from.cast::<[u16; 16]>().read_unaligned(), |bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self::F {
        map(from.cast::<[u16; 16]>().read_unaligned(), |bits| bf16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn load_i(from: *const u8) -> Self::I {
        from.cast::<[i32; 16]>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store_i(to: *mut u8, a: Self::I) {
        to.cast::<[i32; 16]>().write_unaligned(a);
    }
    #[inline(always)]
    unsafe fn splat_i(a: i32) -> Self::I {
        [a; 16]
    }
    #[inline(always)]
    unsafe fn add_i(a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a.wrapping_add(b))
    }
    #[inline(always)]
    unsafe fn and(a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    unsafe fn or(a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: Self::I) -> Self::I {
        map(a, |a| a << N)
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: Self::I) -> Self::I {
        map(a, |a| (a as u32 >> N) as i32)
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::I {
        map(from.cast::<[u8; 16]>().read_unaligned(), i32::from)
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> Self::I {
        map(from.cast::<[i8; 16]>().read_unaligned(), i32::from)
    }
    #[inline(always)]
    unsafe fn number(a: Self::I) -> Self::F {
        map(a, |a| a as f32)
    }
    #[inline(always)]
    unsafe fn nearest(a: Self::F) -> Self::I {
        map(a, |a| a.round_ties_even() as i32)
    }
    #[inline(always)]
    unsafe fn float(a: Self::I) -> Self::F {
        map(a, |a| f32::from_bits(a as u32))
    }
    #[inline(always)]
    unsafe fn bits(a: Self::F) -> Self::I {
        map(a, |a| a.to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn dot7(acc: Self::I, w: Self::I, x: Self::I) -> Self::I {
        dot(acc, w, x)
    }
    #[inline(always)]
    unsafe fn dot8(acc: Self::I, w: Self::I, x: Self::I) -> Self::I {
        dot(acc, w, x)
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
}
