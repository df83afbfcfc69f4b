//! AMX: tiles of 16 × 32 bf16, whose products are summed in f32. Here are the tiles; what is
//! multiplied is said in `amx/` and in `attention/amx.rs`.
//!
//! An f32 is the sum of three bf16. With activations split so, a product with bf16 weights is f32's,
//! up to the order of sums; with weights split as well, that with f32 weights (Henry, Tang & Heinecke
//! 2019, 1904.06376). Three or six tile products are still faster than one by vectors.
//!
//! The assembler is Intel's, for Rust has no stable intrinsics. Tiles are configured per thread, and
//! candle, too, configures them, once, and relies on it: every region here restores what it found.

mod left;
mod many;
mod outputs;
mod right;

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

pub(super) use left::{Tiles, rounded, split, widened};
pub(super) use many::{gated, many};
use right::Ahead;
pub(super) use right::{Unpacked, interleaved};

/// Bytes of a tile.
pub(super) const TILE: usize = 1024;
/// Parts of an f32 that is not rounded.
pub(super) const EXACT: usize = 3;

/// Whether processor and system have AMX with bf16; asks the system for it.
pub(super) fn usable() -> bool {
    let edx = __cpuid_count(7, 0).edx;
    let amx = edx & (1 << 22) != 0 && edx & (1 << 24) != 0;
    amx && is_x86_feature_detected!("avx512bf16") && permitted()
}

/// Linux grants the tiles' state to those who ask: `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    let result: i64;
    // SAFETY: the call changes only what this process may use.
    unsafe {
        asm!("syscall", inlateout("rax") 158i64 => result, in("rdi") 0x1023, in("rsi") 18,
            out("rcx") _, out("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The configuration of a thread's tiles, as the processor reads and writes it.
#[repr(C, align(64))]
struct Config([u8; 64]);

/// Eight tiles of sixteen rows of 64 bytes, until dropped; then what was before.
pub(super) struct Region(Config);

impl Region {
    /// # Safety
    /// [`usable`] must have answered yes.
    pub(super) unsafe fn enter() -> Self {
        let mut ours = Config([0; 64]);
        ours.0[0] = 1; // palette
        for tile in 0..8 {
            ours.0[16 + 2 * tile] = 64; // bytes of a row
            ours.0[48 + tile] = 16; // rows
        }
        let mut before = Config([0; 64]);
        // SAFETY: both are 64 bytes; the processor has the instructions.
        unsafe {
            asm!("sttilecfg [{}]", in(reg) &raw mut before, options(nostack));
            asm!("ldtilecfg [{}]", in(reg) &raw const ours, options(nostack, readonly));
        }
        Self(before)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: as in `enter`. Palette 0 means that there was none, and releases the tiles.
        unsafe {
            match self.0.0[0] {
                0 => asm!("tilerelease", options(nostack, nomem)),
                _ => asm!("ldtilecfg [{}]", in(reg) &raw const self.0, options(nostack, readonly)),
            }
        }
    }
}

// The steps of a block of 32 × 32 sums. Its upper half is in tiles 0 and 1, its lower in 2 and 3.
// Each must be called within a region, with pointers good for whole tiles. The compiler knows of no
// tiles, so nothing that it puts between the steps touches them.

/// All sums are 0.
#[inline(always)]
unsafe fn clear() {
    // SAFETY: within a region.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem)
        );
    }
}

/// The sums are what lies at `from`; where `S`, the upper ones only.
#[inline(always)]
unsafe fn resume<const S: bool>(from: *const f32, stride: usize) {
    // SAFETY: the caller's.
    unsafe {
        asm!("tileloadd tmm0, [{at} + {pitch}]", "tileloadd tmm1, [{at} + {pitch} + 64]",
            at = in(reg) from, pitch = in(reg) stride * 4, options(nostack, readonly));
        if !S {
            asm!("tileloadd tmm2, [{at} + {pitch}]", "tileloadd tmm3, [{at} + {pitch} + 64]",
                at = in(reg) from.add(16 * stride), pitch = in(reg) stride * 4,
                options(nostack, readonly));
        }
    }
}

/// The right tiles that follow are multiplied by.
#[inline(always)]
unsafe fn right(b: [*const u8; 2]) {
    // SAFETY: the caller's.
    unsafe {
        asm!("tileloadd tmm6, [{b} + {line}]", "tileloadd tmm7, [{c} + {line}]",
            b = in(reg) b[0], c = in(reg) b[1], line = in(reg) 64usize,
            options(nostack, readonly));
    }
}

/// Adds the products of the left tiles with the right ones; where `S`, of the first only.
#[inline(always)]
unsafe fn left<const S: bool>(a: [*const u8; 2]) {
    // SAFETY: the caller's.
    unsafe {
        asm!("tileloadd tmm4, [{a} + {line}]", "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7", a = in(reg) a[0], line = in(reg) 64usize,
            options(nostack, readonly));
        if !S {
            asm!("tileloadd tmm5, [{a} + {line}]", "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7", a = in(reg) a[1], line = in(reg) 64usize,
                options(nostack, readonly));
        }
    }
}

/// Writes the sums; where `S`, the upper ones only.
#[inline(always)]
unsafe fn keep<const S: bool>(to: *mut f32, stride: usize) {
    // SAFETY: the caller's.
    unsafe {
        asm!("tilestored [{at} + {pitch}], tmm0", "tilestored [{at} + {pitch} + 64], tmm1",
            at = in(reg) to, pitch = in(reg) stride * 4, options(nostack));
        if !S {
            asm!("tilestored [{at} + {pitch}], tmm2", "tilestored [{at} + {pitch} + 64], tmm3",
                at = in(reg) to.add(16 * stride), pitch = in(reg) stride * 4, options(nostack));
        }
    }
}

/// Adds the products along `groups` groups, the left in `A` parts, the right in `B`: of those of
/// both, the ones that an f32 has digits for.
#[inline(always)]
unsafe fn meet<const A: usize, const B: usize, const S: bool, const N: usize>(
    a: [*const u8; 2],
    b: [*const u8; 2],
    groups: usize,
    ahead: &mut [Ahead; N],
) {
    for group in 0..groups {
        for ahead in ahead.iter_mut() {
            // SAFETY: a prefetch may ask for what is not there.
            unsafe { ahead.ask() };
        }
        for j in 0..B {
            let part = (group * B + j) * TILE;
            // SAFETY: the caller's.
            unsafe { right(b.map(|b| b.add(part))) };
            for i in 0..if B == 1 { A } else { A - j } {
                let part = (group * A + i) * TILE;
                // SAFETY: the caller's.
                unsafe { left::<S>(a.map(|a| a.add(part))) };
            }
        }
    }
}

/// Numbers of a block of sums, the first and how far apart its rows are.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) at: *mut f32,
    pub(super) stride: usize,
}

/// A block of sums, of what lies at `from` (or of nothing) and the products along `groups` groups.
#[inline(always)]
pub(super) unsafe fn sum<const A: usize, const B: usize, const S: bool>(
    a: [*const u8; 2],
    b: [*const u8; 2],
    groups: usize,
    from: Option<Sums>,
    to: Sums,
) {
    // SAFETY: the caller's.
    unsafe { sum_ahead::<A, B, S, 0>([a, b], groups, from, to, &mut []) }
}

/// The same; with each group some of what comes next is asked for.
#[inline(always)]
unsafe fn sum_ahead<const A: usize, const B: usize, const S: bool, const N: usize>(
    [a, b]: [[*const u8; 2]; 2],
    groups: usize,
    from: Option<Sums>,
    to: Sums,
    ahead: &mut [Ahead; N],
) {
    // SAFETY: the caller's.
    unsafe {
        match from {
            Some(Sums { at, stride }) => resume::<S>(at, stride),
            None => clear(),
        }
        meet::<A, B, S, N>(a, b, groups, ahead);
        keep::<S>(to.at, to.stride);
    }
}
