//! Sixteen numbers at a time: what every kernel is written in, once, and each instruction set says
//! how. A tile of a packed matrix is sixteen outputs wide, so a lane is an output.
//!
//! All methods are `unsafe` for the same two reasons: the processor must have the instructions
//! (`isa.rs` found them before a kernel was entered), and pointers must be good for sixteen
//! numbers, 64 bytes, or as many as are said. They are inlined always: only inside a function
//! compiled for the instructions do they become them.
#![allow(clippy::missing_safety_doc, reason = "the two reasons above hold for every method")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use scalar::Scalar;

/// Sixteen lanes of some instruction set.
pub(super) trait Lanes: Copy {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen 32-bit integers, or 64 bytes, four a lane.
    type I: Copy;
    /// Are there registers for blocks of 12 × 2 sums? Otherwise for 6 × 1.
    const WIDE: bool;
    /// Are products of bf16 one step?
    const BF16: bool = false;
    /// Places that the products of one row read from at once. A thread that reads from several keeps
    /// more of memory busy.
    const STREAMS: usize = 1;
    /// How far ahead in each place dense numbers are asked for, codes, and keys and values.
    const AHEAD: [usize; 3] = [2048, 2048, 1024];

    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, a: Self::F);
    /// The first `count` of sixteen, fewer than all; the others are `rest`.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize, rest: f32) -> Self::F {
        let mut numbers = [rest; 16];
        // SAFETY: the caller's; so many numbers are there.
        unsafe {
            numbers.as_mut_ptr().copy_from_nonoverlapping(from, count);
            Self::load(numbers.as_ptr())
        }
    }
    /// Writes the first `count` of sixteen, fewer than all.
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, a: Self::F) {
        let mut numbers = [0f32; 16];
        // SAFETY: the caller's; there is room for so many.
        unsafe {
            Self::store(numbers.as_mut_ptr(), a);
            to.copy_from_nonoverlapping(numbers.as_ptr(), count);
        }
    }
    unsafe fn splat(a: f32) -> Self::F;
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The greatest lane.
    unsafe fn greatest(a: Self::F) -> f32;
    /// The sum of all lanes.
    unsafe fn total(a: Self::F) -> f32;
    /// Sixteen f16, widened.
    unsafe fn load_f16(from: *const u8) -> Self::F;
    /// Sixteen bf16, widened.
    unsafe fn load_bf16(from: *const u8) -> Self::F;
    /// Rows become columns.
    #[inline(always)]
    unsafe fn transpose(rows: [Self::F; 16]) -> [Self::F; 16] {
        let (mut from, mut to) = ([[0f32; 16]; 16], [[0f32; 16]; 16]);
        for (to, row) in from.iter_mut().zip(rows) {
            // SAFETY: sixteen numbers each; the caller has the instructions.
            unsafe { Self::store(to.as_mut_ptr(), row) };
        }
        for (i, row) in from.iter().enumerate() {
            for (j, number) in row.iter().enumerate() {
                to[j][i] = *number;
            }
        }
        // SAFETY: as above.
        to.map(|row| unsafe { Self::load(row.as_ptr()) })
    }
    /// Each row's sum, in the row's lane.
    #[inline(always)]
    unsafe fn sums(rows: [Self::F; 16]) -> Self::F {
        // SAFETY: arithmetic only; the caller has the instructions.
        unsafe {
            let [first, rest @ ..] = Self::transpose(rows);
            let mut sum = first;
            for column in rest {
                sum = Self::add(sum, column);
            }
            sum
        }
    }

    unsafe fn load_i(from: *const u8) -> Self::I;
    unsafe fn store_i(to: *mut u8, a: Self::I);
    unsafe fn splat_i(a: i32) -> Self::I;
    unsafe fn add_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn and(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn or(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn shl<const N: u32>(a: Self::I) -> Self::I;
    /// Shifts zeros in.
    unsafe fn shr<const N: u32>(a: Self::I) -> Self::I;
    /// Sixteen u8, widened.
    unsafe fn load_u8(from: *const u8) -> Self::I;
    /// Sixteen i8, widened.
    unsafe fn load_i8(from: *const u8) -> Self::I;
    /// The integers as numbers.
    unsafe fn number(a: Self::I) -> Self::F;
    /// The nearest integers, ties to even.
    unsafe fn nearest(a: Self::F) -> Self::I;
    /// The bits as numbers.
    unsafe fn float(a: Self::I) -> Self::F;
    /// The numbers' bits.
    unsafe fn bits(a: Self::F) -> Self::I;
    /// Per lane, `acc` + four products of bytes: `w` unsigned and below 128, `x` signed.
    unsafe fn dot7(acc: Self::I, w: Self::I, x: Self::I) -> Self::I;
    /// The same with any unsigned `w`.
    unsafe fn dot8(acc: Self::I, w: Self::I, x: Self::I) -> Self::I;
    /// Per lane, `acc` + two products of bf16.
    #[inline(always)]
    unsafe fn dot_bf16(acc: Self::F, w: Self::I, x: Self::I) -> Self::F {
        // SAFETY: the caller's.
        unsafe { dot_bf16::<Self>(acc, w, x) }
    }
    /// Writes 32 numbers as the nearest bf16, those of `a` first.
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u8, a: Self::F, b: Self::F) {
        // SAFETY: the caller's.
        unsafe { store_bf16::<Self>(to, a, b) }
    }
    /// Lanes of `a` and `b` side by side, as the nearest bf16, those of `a` in the lower halves.
    #[inline(always)]
    unsafe fn pairs(a: Self::F, b: Self::F) -> Self::I {
        let mut halves = [half::bf16::ZERO; 32];
        let mut pairs = halves;
        // SAFETY: the caller's; both are 64 bytes.
        unsafe {
            Self::store_bf16(halves.as_mut_ptr().cast(), a, b);
            for i in 0..16 {
                (pairs[2 * i], pairs[2 * i + 1]) = (halves[i], halves[16 + i]);
            }
            Self::load_i(pairs.as_ptr().cast())
        }
    }
    /// Asks for the line at `at`, which need not exist.
    unsafe fn prefetch(at: *const u8);
}

/// eˣ, within 2 units in the last place; 0 below −87.3, as for −∞.
#[inline(always)]
pub(super) unsafe fn exp<L: Lanes>(x: L::F) -> L::F {
    // SAFETY: the caller's.
    unsafe {
        // In this order a NaN stays one.
        let x = L::max(L::splat(-88.0), L::min(L::splat(88.0), x));
        let n = L::nearest(L::mul(x, L::splat(std::f32::consts::LOG2_E)));
        let n_float = L::number(n);
        // ln 2 in two parts, so that the remainder keeps its digits (Cody & Waite).
        let r = L::fma(n_float, L::splat(-0.693_359_4), x);
        let r = L::fma(n_float, L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = L::fma(p, r, L::splat(c));
        }
        let p = L::fma(p, L::mul(r, r), L::add(r, L::splat(1.0)));
        // 2ⁿ through the exponent's bits; at the lower end it is cut to 0.
        let power = L::float(L::shl::<23>(L::add_i(n, L::splat_i(127))));
        L::mul(p, power)
    }
}

#[inline(always)]
unsafe fn dot_bf16<L: Lanes>(acc: L::F, w: L::I, x: L::I) -> L::F {
    // SAFETY: arithmetic only; the caller has the instructions.
    unsafe {
        let high = L::splat_i(0xffff_0000_u32 as i32);
        let (a, b) = (L::float(L::shl::<16>(w)), L::float(L::shl::<16>(x)));
        let (c, d) = (L::float(L::and(w, high)), L::float(L::and(x, high)));
        L::fma(c, d, L::fma(a, b, acc))
    }
}

#[inline(always)]
unsafe fn store_bf16<L: Lanes>(to: *mut u8, a: L::F, b: L::F) {
    let mut numbers = [0f32; 32];
    // SAFETY: the caller's; there is room for so many.
    unsafe {
        L::store(numbers.as_mut_ptr(), a);
        L::store(numbers.as_mut_ptr().add(16), b);
        to.cast::<[half::bf16; 32]>().write_unaligned(numbers.map(half::bf16::from_f32));
    }
}

/// Makes `$name(isa, …)`, which runs the generic `$kernel::<L>(…)` compiled for each level. One
/// that streams memory says `, lines`, one that multiplies bytes besides `, bytes`: they are compiled
/// for the levels that differ in these as well.
macro_rules! per_isa {
    (
        $(#[$meta:meta])*
        fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $kernel:ident $(, $more:ident)?
    ) => {
        $(#[$meta])*
        ///
        /// # Safety
        /// The kernel's own; `isa` must be one that the processor has.
        #[allow(clippy::too_many_arguments)]
        pub(super) unsafe fn $name(isa: $crate::kernels::isa::Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
            unsafe fn avx512($($arg: $type),*) {
                // SAFETY: the caller's.
                unsafe { $kernel::<$crate::kernels::lanes::Avx512<false>>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2($($arg: $type),*) {
                // SAFETY: the caller's.
                unsafe { $kernel::<$crate::kernels::lanes::Avx2<false>>($($arg),*) }
            }
            $crate::kernels::lanes::more_levels!([$($more)?] $kernel($($arg: $type),*));
            use $crate::kernels::isa::Isa;
            // SAFETY: the caller's; a level is only ever chosen where the processor has it.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 | Isa::Amx => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512Bf16 => avx512_bf16($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::AvxVnni => avx_vnni($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2($($arg),*),
                    _ => $kernel::<$crate::kernels::lanes::Scalar>($($arg),*),
                }
            }
        }
    };
}
pub(super) use per_isa;

/// Makes `avx_vnni(…)` and `avx512_bf16(…)`; where nothing is said, these are the levels below.
macro_rules! more_levels {
    ([] $kernel:ident($($arg:ident: $type:ty),*)) => {
        #[cfg(target_arch = "x86_64")]
        use {avx2 as avx_vnni, avx512 as avx512_bf16};
    };
    ([lines] $kernel:ident($($arg:ident: $type:ty),*)) => {
        #[cfg(target_arch = "x86_64")]
        use avx2 as avx_vnni;
        $crate::kernels::lanes::more_levels!([wide] $kernel($($arg: $type),*));
    };
    ([wide] $kernel:ident($($arg:ident: $type:ty),*)) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c"
        )]
        unsafe fn avx512_bf16($($arg: $type),*) {
            // SAFETY: the caller's.
            unsafe { $kernel::<$crate::kernels::lanes::Avx512<true>>($($arg),*) }
        }
    };
    ([bytes] $kernel:ident($($arg:ident: $type:ty),*)) => {
        $crate::kernels::lanes::more_levels!([wide] $kernel($($arg: $type),*));
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        unsafe fn avx_vnni($($arg: $type),*) {
            // SAFETY: the caller's.
            unsafe { $kernel::<$crate::kernels::lanes::Avx2<true>>($($arg),*) }
        }
    };
}
pub(super) use more_levels;
