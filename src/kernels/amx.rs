//! Products of many rows on AMX: tiles of 16 × 32 bf16, their products summed in f32. Weights are
//! bf16, or are unpacked to it, a block at a time. Activations are rounded to bf16 once, or split
//! into three parts that together are the f32: then the product is f32's, up to the order of sums.
//!
//! The assembler is Intel's, for Rust has no stable intrinsics. Tiles are configured per thread, and
//! candle, too, configures them, once, and relies on it: every region here restores what it found.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::few::Part;
use super::format::{Format, GROUP, ROWS};
use super::lanes::Avx512;
use super::memory::{Buffer, Shared};
use super::panel::{Left, each_pair};
use super::pool::share;

/// Groups of columns worked through at a time: 1024 columns.
const DEPTH: usize = 32;
/// Bytes of activations that stay in a core's second cache meanwhile.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes of a tile.
const TILE: usize = 1024;

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

/// Activations in tiles, `[rows / 16][groups][parts][16 rows][32 columns]`.
pub(super) struct Tiles {
    data: Buffer,
    rows: usize,
    groups: usize,
    parts: usize,
}

impl Tiles {
    /// # Safety
    /// [`usable`] must have answered yes.
    pub(super) unsafe fn new(left: &Left, exact: bool) -> Self {
        let (groups, parts) = (left.width / GROUP, if exact { 3 } else { 1 });
        let blocks = left.rows.div_ceil(ROWS);
        // An even number, so that two can be taken at a time.
        let mut data = Buffer::zeroed(blocks.next_multiple_of(2) * groups * parts * TILE);
        let to = Shared(data.as_mut_ptr());
        share(left.rows, 2, |rows| {
            for row in rows {
                // SAFETY: each row has 64 bytes of each of its tiles, and a thread of its own.
                unsafe {
                    let to = to.get().add(row / ROWS * groups * parts * TILE + row % ROWS * 64);
                    split(left.x.add(row * left.width), groups, parts, to);
                }
            }
        });
        Self { data, rows: left.rows, groups, parts }
    }
}

/// Rounds a row to bf16, and what that leaves over again, `parts` times.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn split(x: *const f32, groups: usize, parts: usize, to: *mut u8) {
    for g in 0..groups {
        // SAFETY: the caller's: a row of `groups` · 32 numbers, and room for their parts.
        unsafe {
            let mut a = _mm512_loadu_ps(x.add(g * GROUP));
            let mut b = _mm512_loadu_ps(x.add(g * GROUP + 16));
            for part in 0..parts {
                let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(b, a));
                let at = to.add((g * parts + part) * TILE);
                _mm512_storeu_si512(at.cast(), rounded);
                let (low, high) =
                    (_mm512_castsi512_si256(rounded), _mm512_extracti64x4_epi64::<1>(rounded));
                let wide = |half| {
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
                };
                a = _mm512_sub_ps(a, wide(low));
                b = _mm512_sub_ps(b, wide(high));
            }
        }
    }
}

/// The outputs of `tiles` for all rows of `left`.
///
/// # Safety
/// [`usable`] must have answered yes; the sizes must be those of the matrices.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
pub(super) unsafe fn many(part: &Part, left: &Tiles, tiles: Range<usize>) {
    let step = left.groups * left.parts * TILE; // to the next sixteen rows
    let per_block = (BLOCK_BYTES / (DEPTH.min(left.groups) * left.parts * TILE)).max(2) / 2 * 2;
    let blocks = left.rows.div_ceil(ROWS);
    let mut scratch = Buffer::zeroed(match part.format {
        Format::Bf16 => 0,
        _ => 2 * DEPTH.min(left.groups) * TILE,
    });
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        for depth in (0..left.groups).step_by(DEPTH) {
            let groups = depth..left.groups.min(depth + DEPTH);
            for first in (0..blocks).step_by(per_block) {
                for pair in tiles.clone().step_by(2) {
                    let count = 2.min(tiles.end - pair);
                    let right = [0, count - 1].map(|i| {
                        let tile = part.tiles.add((pair + i) * part.tile_bytes);
                        if part.format == Format::Bf16 {
                            return tile.add(depth * TILE);
                        }
                        let to = scratch.as_mut_ptr().add(i * DEPTH.min(left.groups) * TILE);
                        unpack(part.format, tile, part.groups, groups.clone(), to);
                        to.cast_const()
                    });
                    for row in (first..blocks.min(first + per_block)).step_by(2) {
                        let at = row * step + depth * left.parts * TILE;
                        let left_at = left.data.as_ptr().add(at);
                        let target = Target {
                            out: part.out.add(row * ROWS * part.n + pair * ROWS),
                            stride: part.n,
                            rows: (left.rows - row * ROWS).min(2 * ROWS),
                            columns: (part.n - pair * ROWS).min(count * ROWS),
                            add: depth > 0,
                        };
                        target.fill(|out, stride, single| {
                            let b = [left_at, left_at.add(step), right[0], right[1]];
                            multiply(b, groups.len(), left.parts, single, out, stride);
                        });
                    }
                }
            }
        }
    }
}

/// Groups of a tile as bf16, in AMX's order of pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn unpack(format: Format, tile: *const u8, groups: usize, range: Range<usize>, to: *mut u8) {
    // SAFETY: the caller's.
    unsafe {
        let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        each_pair::<Avx512>(format, tile, groups, range, |pair, a, b| {
            let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(b, a));
            let both = _mm512_permutexvar_epi16(order, both);
            _mm512_storeu_si512(to.add(pair * 64).cast(), both);
        });
    }
}

/// Where up to 32 × 32 outputs go.
struct Target {
    out: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    /// Onto what is there.
    add: bool,
}

impl Target {
    /// Hands `work` a place for 32 × 32 numbers (16 × 32 where `single`), which begins as what is
    /// to be added to.
    #[inline(always)]
    unsafe fn fill(&self, work: impl FnOnce(*mut f32, usize, bool)) {
        let single = self.rows <= ROWS;
        let whole = self.columns == 2 * ROWS && self.rows.is_multiple_of(ROWS);
        // SAFETY: `rows` · `columns` outputs lie at `out`.
        unsafe {
            if whole {
                if !self.add {
                    for row in 0..self.rows {
                        self.out.add(row * self.stride).write_bytes(0, 2 * ROWS);
                    }
                }
                return work(self.out, self.stride, single);
            }
            let mut edge = [0f32; 4 * ROWS * ROWS];
            if self.add {
                for (row, edge) in edge.chunks_mut(2 * ROWS).take(self.rows).enumerate() {
                    let from = self.out.add(row * self.stride);
                    edge.as_mut_ptr().copy_from_nonoverlapping(from, self.columns);
                }
            }
            work(edge.as_mut_ptr(), 2 * ROWS, single);
            for (row, edge) in edge.chunks(2 * ROWS).take(self.rows).enumerate() {
                let to = self.out.add(row * self.stride);
                to.copy_from_nonoverlapping(edge.as_ptr(), self.columns);
            }
        }
    }
}

/// One step along the depth: two left tiles (or one) with two right ones, added to four sums.
macro_rules! meet {
    (two, $part:literal) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line} + ",
            $part,
            " * 1024]\n",
            "tileloadd tmm5, [{a1} + {line} + ",
            $part,
            " * 1024]\n",
            "tdpbf16ps tmm0, tmm4, tmm6\n",
            "tdpbf16ps tmm1, tmm4, tmm7\n",
            "tdpbf16ps tmm2, tmm5, tmm6\n",
            "tdpbf16ps tmm3, tmm5, tmm7\n",
        )
    };
    (one, $part:literal) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line} + ",
            $part,
            " * 1024]\n",
            "tdpbf16ps tmm0, tmm4, tmm6\n",
            "tdpbf16ps tmm1, tmm4, tmm7\n",
        )
    };
}

macro_rules! run {
    ($m:ident, $parts:literal, [$($part:literal)*], $at:ident, $n:ident, $out:ident, $stride:ident) => {{
        let [a0, a1, b0, b1] = $at;
        let low = match stringify!($m) { "two" => $out.add(ROWS * $stride), _ => $out };
        asm!(
            "tileloadd tmm0, [{c0} + {pitch}]",
            "tileloadd tmm1, [{c0} + {pitch} + 64]",
            "tileloadd tmm2, [{c1} + {pitch}]",
            "tileloadd tmm3, [{c1} + {pitch} + 64]",
            "2:",
            "tileloadd tmm6, [{b0} + {line}]",
            "tileloadd tmm7, [{b1} + {line}]",
            $(meet!($m, $part),)*
            concat!("add {a0}, ", $parts, " * 1024"),
            concat!("add {a1}, ", $parts, " * 1024"),
            "add {b0}, 1024",
            "add {b1}, 1024",
            "dec {n}",
            "jnz 2b",
            // Where there is one left tile, the lower sums are not wanted: the upper come last.
            "tilestored [{c1} + {pitch}], tmm2",
            "tilestored [{c1} + {pitch} + 64], tmm3",
            "tilestored [{c0} + {pitch}], tmm0",
            "tilestored [{c0} + {pitch} + 64], tmm1",
            a0 = inout(reg) a0 => _, a1 = inout(reg) a1 => _,
            b0 = inout(reg) b0 => _, b1 = inout(reg) b1 => _,
            n = inout(reg) $n => _,
            c0 = in(reg) $out, c1 = in(reg) low,
            pitch = in(reg) $stride * 4, line = in(reg) 64usize,
            options(nostack)
        );
    }};
}

/// Adds `[a0; a1] · [b0 b1]` over `n` tiles along the depth to 32 × 32 sums at `out`; with `single`
/// only `a0`'s sixteen rows.
///
/// # Safety
/// Within a [`Region`]; the pointers must be good for all that is read and written.
unsafe fn multiply(
    at: [*const u8; 4],
    n: usize,
    parts: usize,
    single: bool,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's. The tiles are the region's alone.
    unsafe {
        match (single, parts) {
            (false, 1) => run!(two, 1, [0], at, n, out, stride),
            (false, _) => run!(two, 3, [0 1 2], at, n, out, stride),
            (true, 1) => run!(one, 1, [0], at, n, out, stride),
            (true, _) => run!(one, 3, [0 1 2], at, n, out, stride),
        }
    }
}
