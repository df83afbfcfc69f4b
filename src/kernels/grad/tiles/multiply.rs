//! The innermost loop of products on AMX: four tiles of sums meet tiles of both sides. The assembler
//! is Intel's, for Rust has no stable intrinsics. Nothing is packed here.

use std::arch::asm;

use super::OUTER;

/// Four products of tiles, onto the sums.
macro_rules! four {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\n\
         tdpbf16ps tmm1, tmm4, tmm7\n\
         tdpbf16ps tmm2, tmm5, tmm6\n\
         tdpbf16ps tmm3, tmm5, tmm7\n"
    };
}

/// Along the depth, `bytes` a tile, with these products.
macro_rules! along {
    ($bytes:literal, [$($line:expr),*], $at:ident, $n:ident, $out:ident, $stride:ident) => {{
        let [a0, a1, b0, b1] = $at;
        asm!(
            "2:",
            $($line,)*
            concat!("add {a0}, ", $bytes),
            concat!("add {a1}, ", $bytes),
            concat!("add {b0}, ", $bytes),
            concat!("add {b1}, ", $bytes),
            "dec {n}",
            "jnz 2b",
            "tilestored [{c0} + {pitch}], tmm0",
            "tilestored [{c0} + {pitch} + 64], tmm1",
            "tilestored [{c1} + {pitch}], tmm2",
            "tilestored [{c1} + {pitch} + 64], tmm3",
            a0 = inout(reg) a0 => _, a1 = inout(reg) a1 => _,
            b0 = inout(reg) b0 => _, b1 = inout(reg) b1 => _,
            n = inout(reg) $n => _,
            c0 = in(reg) $out, c1 = in(reg) $out.add(OUTER * $stride),
            pitch = in(reg) $stride * 4, line = in(reg) 64usize,
            options(nostack)
        );
    }};
}

/// Both tiles of a side, one part of them.
macro_rules! load {
    (left, $part:literal) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line} + ",
            $part,
            " * 1024]\n",
            "tileloadd tmm5, [{a1} + {line} + ",
            $part,
            " * 1024]\n"
        )
    };
    (right, $part:literal) => {
        concat!(
            "tileloadd tmm6, [{b0} + {line} + ",
            $part,
            " * 1024]\n",
            "tileloadd tmm7, [{b1} + {line} + ",
            $part,
            " * 1024]\n"
        )
    };
}

/// `[a0; a1] · [b0 b1]` over `n` tiles along the depth, 32 × 32 sums, onto what is there where `add`.
///
/// # Safety
/// Within a region of tiles; the pointers must be good for all that is read and written.
#[inline(always)]
pub(super) unsafe fn multiply<const PARTS: usize>(
    at: [*const u8; 4],
    n: usize,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    // SAFETY: the caller's. The tiles are the region's alone.
    unsafe {
        begin(out, stride, add);
        match PARTS {
            1 => along!(1024, [load!(left, 0), load!(right, 0), four!()], at, n, out, stride),
            // Every product of two parts that f32 would not lose.
            _ => along!(
                3072,
                [
                    load!(left, 0),
                    load!(right, 2),
                    four!(),
                    load!(right, 1),
                    four!(),
                    load!(right, 0),
                    four!(),
                    load!(left, 1),
                    four!(),
                    load!(right, 1),
                    four!(),
                    load!(left, 2),
                    load!(right, 0),
                    four!()
                ],
                at,
                n,
                out,
                stride
            ),
        }
    }
}

/// The sums begin as what is at `out`, where `add`, or as 0.
#[inline(always)]
unsafe fn begin(out: *mut f32, stride: usize, add: bool) {
    // SAFETY: the caller's.
    unsafe {
        match add {
            true => asm!(
                "tileloadd tmm0, [{c0} + {pitch}]",
                "tileloadd tmm1, [{c0} + {pitch} + 64]",
                "tileloadd tmm2, [{c1} + {pitch}]",
                "tileloadd tmm3, [{c1} + {pitch} + 64]",
                c0 = in(reg) out, c1 = in(reg) out.add(OUTER * stride),
                pitch = in(reg) stride * 4,
                options(nostack, readonly)
            ),
            false => asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem)
            ),
        }
    }
}
