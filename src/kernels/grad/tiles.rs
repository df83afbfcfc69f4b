//! Products of two f32 matrices on AMX. Each number is two bf16 that together have 16 of its 24
//! bits, and a product is three of the four products of these: off by some 2⁻¹⁷ of the numbers, as
//! gradients in f32 themselves are after a few layers. The tiles' state is `amx.rs`'s affair.

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;

use super::super::amx::Region;
use super::super::lanes::{Avx512, Lanes};
use super::super::memory::Buffer;
use super::linear::Side;
use super::numbers::load;

/// Numbers along the depth of a tile.
const DEPTH: usize = 32;
/// Rows (or columns) of a tile.
const OUTER: usize = 16;
/// Bytes of both parts of a tile.
const TILE: usize = 2048;
/// Depth that is worked through at a time.
const DEEP: usize = 512;
/// Bytes of the left matrix that stay in a core's second cache meanwhile.
const LEFT_BYTES: usize = 256 << 10;

thread_local! {
    /// What the matrices are packed into, kept for the next product.
    static ROOM: RefCell<[Buffer; 2]> = RefCell::new([Buffer::zeroed(0), Buffer::zeroed(0)]);
}

/// Writes every row of the left times every row of the right, (left, right).
///
/// # Safety
/// The processor must have AMX; the sides must be as large as they say, and `to` as their product.
pub(super) unsafe fn product(left: Side<'_>, right: Side<'_>, to: *mut f32) {
    let steps = left.depth.min(DEEP).div_ceil(DEPTH);
    let rows = (LEFT_BYTES / (steps * TILE) * OUTER).max(2 * OUTER) / (2 * OUTER) * (2 * OUTER);
    let bytes = |outer: usize| outer.next_multiple_of(2 * OUTER) / OUTER * steps * TILE;
    ROOM.with_borrow_mut(|[left_room, right_room]| {
        for (room, bytes) in
            [(&mut *left_room, bytes(rows.min(left.outer))), (&mut *right_room, bytes(right.outer))]
        {
            if room.bytes() < bytes {
                *room = Buffer::zeroed(bytes);
            }
        }
        // SAFETY: the caller's; the rooms are large enough.
        unsafe { blocks(left, right, rows, [left_room, right_room].map(|r| r.as_mut_ptr()), to) };
    });
}

/// Block after block, the left's `rows` rows at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn blocks(left: Side<'_>, right: Side<'_>, rows: usize, room: [*mut u8; 2], to: *mut f32) {
    let [left_room, right_room] = room;
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        for deep in (0..left.depth).step_by(DEEP) {
            let depth = DEEP.min(left.depth - deep);
            pack::<true>(&right, [0, right.outer], [deep, depth], right_room);
            for first in (0..left.outer).step_by(rows) {
                let count = rows.min(left.outer - first);
                pack::<false>(&left, [first, count], [deep, depth], left_room);
                let line = depth.div_ceil(DEPTH) * TILE; // to the next sixteen rows
                for column in (0..right.outer).step_by(2 * OUTER) {
                    let b = right_room.add(column / OUTER * line);
                    for row in (0..count).step_by(2 * OUTER) {
                        let a = left_room.add(row / OUTER * line);
                        let target = Target {
                            out: to.add((first + row) * right.outer + column),
                            stride: right.outer,
                            rows: (count - row).min(2 * OUTER),
                            columns: (right.outer - column).min(2 * OUTER),
                        };
                        target.meet([a, a.add(line), b, b.add(line)], line / TILE, deep > 0);
                    }
                }
            }
        }
    }
}

/// Sixteen vectors of pairs of bf16: the numbers, and what they leave over.
type Parts = [[__m512i; 16]; 2];

/// Packs `outer` = [first, count] rows of `depth` = [first, count] numbers, in pairs of sixteens,
/// as tiles of a right matrix or of a left one; what is missing is 0.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn pack<const RIGHT: bool>(
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
                    true => rows(from, side.outer_step, left),
                    false => pairs(from, side.depth_step, left),
                };
                if along == RIGHT {
                    parts = parts.map(|part| turn(part));
                }
                let to = to.add((outer / OUTER * steps + at / DEPTH) * TILE);
                for (i, vector) in parts.iter().flatten().enumerate() {
                    _mm512_store_si512(to.add(i * 64).cast(), *vector);
                }
            }
        }
    }
}

/// Sixteen rows of thirty-two numbers, as many of them as there are.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn rows(from: *const f32, step: usize, [outer, depth]: [usize; 2]) -> Parts {
    let mut parts = [[_mm512_setzero_si512(); 16]; 2];
    for i in 0..OUTER.min(outer) {
        // SAFETY: the caller's: so many numbers are there.
        unsafe {
            let row = from.add(i * step);
            let a = load::<Avx512>(row, depth, 0.0);
            let b = match depth {
                17.. => load::<Avx512>(row.add(16), depth - 16, 0.0),
                _ => _mm512_setzero_ps(),
            };
            [parts[0][i], parts[1][i]] = split(a, b);
        }
    }
    parts
}

/// Thirty-two rows of sixteen numbers, two and two of them together.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn pairs(from: *const f32, step: usize, [outer, depth]: [usize; 2]) -> Parts {
    let mut parts = [[_mm512_setzero_si512(); 16]; 2];
    if outer == 0 {
        return parts;
    }
    let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
    // SAFETY: the caller's: so many numbers are there.
    unsafe {
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        for i in 0..OUTER.min(depth.div_ceil(2)) {
            let a = load::<Avx512>(from.add(2 * i * step), outer, 0.0);
            let b = match 2 * i + 1 < depth {
                true => load::<Avx512>(from.add((2 * i + 1) * step), outer, 0.0),
                false => _mm512_setzero_ps(),
            };
            let both = split(a, b).map(|part| _mm512_permutexvar_epi16(order, part));
            [parts[0][i], parts[1][i]] = both;
        }
    }
    parts
}

/// Two vectors as one of bf16, and what that leaves over.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn split(a: __m512, b: __m512) -> [__m512i; 2] {
    let round = |a, b| {
        let rounded = _mm512_cvtne2ps_pbh(b, a);
        // SAFETY: both are 64 bytes of any pattern.
        unsafe { std::mem::transmute::<__m512bh, __m512i>(rounded) }
    };
    let wide = |half| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)));
    let high = round(a, b);
    let a = _mm512_sub_ps(a, wide(_mm512_castsi512_si256(high)));
    let b = _mm512_sub_ps(b, wide(_mm512_extracti64x4_epi64::<1>(high)));
    [high, round(a, b)]
}

/// Rows of pairs become columns of them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn turn(square: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: the caller has the instructions.
    unsafe {
        let turned = Avx512::transpose(square.map(|row| _mm512_castsi512_ps(row)));
        turned.map(|row| _mm512_castps_si512(row))
    }
}

/// Where up to 32 × 32 sums go.
struct Target {
    out: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
}

impl Target {
    /// The sums of `n` tiles along the depth, onto what is there where `add`.
    #[inline(always)]
    unsafe fn meet(&self, at: [*const u8; 4], n: usize, add: bool) {
        // SAFETY: the caller's.
        unsafe {
            if self.rows == 2 * OUTER && self.columns == 2 * OUTER {
                return multiply(at, n, self.out, self.stride, add);
            }
            let mut edge = [0f32; 4 * OUTER * OUTER];
            multiply(at, n, edge.as_mut_ptr(), 2 * OUTER, false);
            for (row, edge) in edge.chunks(2 * OUTER).take(self.rows).enumerate() {
                for (column, sum) in edge.iter().take(self.columns).enumerate() {
                    let to = self.out.add(row * self.stride + column);
                    *to = if add { *to + sum } else { *sum };
                }
            }
        }
    }
}

/// `[a0; a1] · [b0 b1]` over `n` tiles along the depth, 32 × 32 sums.
///
/// # Safety
/// Within a [`Region`]; the pointers must be good for all that is read and written.
#[inline(always)]
unsafe fn multiply(at: [*const u8; 4], n: usize, out: *mut f32, stride: usize, add: bool) {
    let [a0, a1, b0, b1] = at;
    // SAFETY: the caller's. The tiles are the region's alone.
    unsafe {
        let low = out.add(OUTER * stride);
        match add {
            true => asm!(
                "tileloadd tmm0, [{c0} + {pitch}]",
                "tileloadd tmm1, [{c0} + {pitch} + 64]",
                "tileloadd tmm2, [{c1} + {pitch}]",
                "tileloadd tmm3, [{c1} + {pitch} + 64]",
                c0 = in(reg) out, c1 = in(reg) low, pitch = in(reg) stride * 4,
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
        asm!(
            "2:",
            "tileloadd tmm4, [{a0} + {line}]",
            "tileloadd tmm5, [{a1} + {line}]",
            "tileloadd tmm6, [{b0} + {line} + 1024]",
            "tileloadd tmm7, [{b1} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{b0} + {line}]",
            "tileloadd tmm7, [{b1} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{a0} + {line} + 1024]",
            "tileloadd tmm5, [{a1} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 2048",
            "add {a1}, 2048",
            "add {b0}, 2048",
            "add {b1}, 2048",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c0} + {pitch}], tmm0",
            "tilestored [{c0} + {pitch} + 64], tmm1",
            "tilestored [{c1} + {pitch}], tmm2",
            "tilestored [{c1} + {pitch} + 64], tmm3",
            a0 = inout(reg) a0 => _, a1 = inout(reg) a1 => _,
            b0 = inout(reg) b0 => _, b1 = inout(reg) b1 => _,
            n = inout(reg) n => _,
            c0 = in(reg) out, c1 = in(reg) low,
            pitch = in(reg) stride * 4, line = in(reg) 64usize,
            options(nostack)
        );
    }
}
