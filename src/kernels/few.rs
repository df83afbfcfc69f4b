//! Products of few rows: the matrix is streamed once, and each group of it meets up to four rows
//! while it is in registers. Memory is the limit, so no format is ever unpacked to memory here.

#![allow(clippy::needless_range_loop, reason = "indices are lanes and rows of registers")]

use std::ops::Range;

use super::format::{Format, GROUP, ROWS};
use super::lanes::{Lanes, per_isa};
use super::quads::{BLOCKS, Each, GroupScales, HALVES, MINIMUM, OFFSET, quads};
use super::unary::{Activation, activate};

/// Rows that one pass takes along.
pub(super) const MOST: usize = 4;

/// A matrix's tiles, and where its outputs go.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) format: Format,
    pub(super) tiles: *const u8,
    pub(super) tile_bytes: usize,
    pub(super) groups: usize,
    pub(super) n: usize,
    /// (rows, n)
    pub(super) out: *mut f32,
}

impl Part {
    /// Sixteens of outputs.
    pub(super) fn tiles(&self) -> usize {
        self.n.div_ceil(ROWS)
    }
}

/// Up to four rows of activations.
#[derive(Clone, Copy)]
pub(super) struct Input {
    pub(super) rows: usize,
    /// (rows, groups · 32); null where no part is dense.
    pub(super) x: *const f32,
    /// (rows, groups · 32); null where no part is quantised.
    pub(super) codes: *const i8,
    /// (rows, groups)
    pub(super) d: *const f32,
    /// (rows, groups, 2)
    pub(super) sums: *const i32,
}

// SAFETY: what the pointers point at is only read, except `out`, of which each thread writes its
// own tiles.
unsafe impl Sync for Part {}
// SAFETY: as above.
unsafe impl Sync for Input {}

per_isa! {
    /// The outputs of `tiles` of one part.
    fn products(part: &Part, input: &Input, tiles: Range<usize>) = products_of
}

per_isa! {
    /// `activation(gate) · up`, for `tiles` of both parts; written where `gate.out` says.
    fn gated(gate: &Part, up: &Part, activation: Activation, input: &Input, tiles: Range<usize>)
        = gated_of
}

// No closures around kernels: one is compiled without the instructions of the function around it,
// and where it is too large to be inlined, each instruction in it becomes a call.

#[inline(always)]
unsafe fn products_of<L: Lanes>(part: &Part, input: &Input, tiles: Range<usize>) {
    macro_rules! rows {
        ($m:literal) => {
            for t in tiles {
                write::<L, $m>(part, t, dot::<L, $m>(part, input, t));
            }
        };
    }
    // SAFETY: the caller's.
    unsafe {
        match input.rows {
            1 => rows!(1),
            2 => rows!(2),
            3 => rows!(3),
            _ => rows!(4),
        }
    }
}

#[inline(always)]
unsafe fn gated_of<L: Lanes>(
    gate: &Part,
    up: &Part,
    activation: Activation,
    input: &Input,
    tiles: Range<usize>,
) {
    macro_rules! rows {
        ($m:literal) => {
            for t in tiles {
                let (mut a, b) = (dot::<L, $m>(gate, input, t), dot::<L, $m>(up, input, t));
                for m in 0..$m {
                    a[m] = L::mul(activate::<L>(activation, a[m]), b[m]);
                }
                write::<L, $m>(gate, t, a);
            }
        };
    }
    // SAFETY: the caller's.
    unsafe {
        match input.rows {
            1 => rows!(1),
            2 => rows!(2),
            3 => rows!(3),
            _ => rows!(4),
        }
    }
}

/// Writes one tile's outputs.
#[inline(always)]
unsafe fn write<L: Lanes, const M: usize>(part: &Part, t: usize, sums: [L::F; M]) {
    for m in 0..M {
        // SAFETY: row `m` has `n` outputs, of which this tile has sixteen, the last one fewer.
        unsafe {
            let to = part.out.add(m * part.n + t * ROWS);
            if (t + 1) * ROWS <= part.n {
                L::store(to, sums[m]);
            } else {
                let mut all = [0f32; ROWS];
                L::store(all.as_mut_ptr(), sums[m]);
                to.copy_from_nonoverlapping(all.as_ptr(), part.n - t * ROWS);
            }
        }
    }
}

/// One tile's outputs for each row.
#[inline(always)]
unsafe fn dot<L: Lanes, const M: usize>(part: &Part, input: &Input, t: usize) -> [L::F; M] {
    // SAFETY: the caller's.
    unsafe {
        let tile = part.tiles.add(t * part.tile_bytes);
        match part.format {
            Format::F32 => dense_f32::<L, M>(tile, input, part.groups),
            Format::Bf16 => dense_bf16::<L, M>(tile, input, part.groups),
            Format::Q8_0 => quantised::<L, 8, OFFSET, M>(tile, input, part.groups),
            Format::Q4_0 => quantised::<L, 4, OFFSET, M>(tile, input, part.groups),
            Format::Q4_1 => quantised::<L, 4, MINIMUM, M>(tile, input, part.groups),
            Format::Q5_0 => quantised::<L, 5, OFFSET, M>(tile, input, part.groups),
            Format::Q5_1 => quantised::<L, 5, MINIMUM, M>(tile, input, part.groups),
            Format::Q4K => quantised::<L, 4, BLOCKS, M>(tile, input, part.groups),
            Format::Q5K => quantised::<L, 5, BLOCKS, M>(tile, input, part.groups),
            Format::Q6K => quantised::<L, 6, HALVES, M>(tile, input, part.groups),
        }
    }
}

#[inline(always)]
unsafe fn dense_f32<L: Lanes, const M: usize>(
    tile: *const u8,
    input: &Input,
    groups: usize,
) -> [L::F; M] {
    // SAFETY: a tile holds 16 numbers for each of `groups` · 32 columns, and a row of `x` as many.
    unsafe {
        let w: *const f32 = tile.cast();
        let width = groups * GROUP;
        let mut sums = [[L::splat(0.0); 4]; M]; // chains, for an addition takes four cycles
        for column in (0..width).step_by(4) {
            for i in 0..4 {
                L::prefetch(w.add((column + i + 64) * ROWS).cast());
                let w = L::load(w.add((column + i) * ROWS));
                for m in 0..M {
                    let x = L::splat(*input.x.add(m * width + column + i));
                    sums[m][i] = L::fma(w, x, sums[m][i]);
                }
            }
        }
        sums.map(|s| L::add(L::add(s[0], s[1]), L::add(s[2], s[3])))
    }
}

#[inline(always)]
unsafe fn dense_bf16<L: Lanes, const M: usize>(
    tile: *const u8,
    input: &Input,
    groups: usize,
) -> [L::F; M] {
    // SAFETY: a tile holds 16 pairs for each of `groups` · 16 pairs of columns.
    unsafe {
        let width = groups * GROUP;
        let high = L::splat_i(0xffff_0000_u32 as i32);
        let mut sums = [[L::splat(0.0); 4]; M];
        for column in (0..width).step_by(4) {
            for i in 0..2 {
                let at = tile.add((column / 2 + i) * 64);
                L::prefetch(at.wrapping_add(2048));
                let pair = L::load_i(at);
                // A bf16 is the upper half of an f32.
                let (even, odd) = (L::float(L::shl::<16>(pair)), L::float(L::and(pair, high)));
                for m in 0..M {
                    let x = input.x.add(m * width + column + 2 * i);
                    sums[m][2 * i] = L::fma(even, L::splat(*x), sums[m][2 * i]);
                    sums[m][2 * i + 1] = L::fma(odd, L::splat(*x.add(1)), sums[m][2 * i + 1]);
                }
            }
        }
        sums.map(|s| L::add(L::add(s[0], s[1]), L::add(s[2], s[3])))
    }
}

#[inline(always)]
unsafe fn quantised<L: Lanes, const BITS: u32, const SCALES: u8, const M: usize>(
    tile: *const u8,
    input: &Input,
    groups: usize,
) -> [L::F; M] {
    // SAFETY: see `format.rs` for what a tile holds; a row of activations has `groups` groups.
    unsafe {
        let mut sums = [L::splat(0.0); M];
        let dots = Dots::<L, BITS, SCALES, M> { input, groups, sums: &mut sums };
        quads::<L, BITS, SCALES>(tile, groups, 0..groups, dots);
        sums
    }
}

/// Adds a group's products with each row to that row's sum.
struct Dots<'a, L: Lanes, const BITS: u32, const SCALES: u8, const M: usize> {
    input: &'a Input,
    groups: usize,
    sums: &'a mut [L::F; M],
}

impl<L: Lanes, const BITS: u32, const SCALES: u8, const M: usize> Each<L>
    for Dots<'_, L, BITS, SCALES, M>
{
    #[inline(always)]
    unsafe fn group(&mut self, g: usize, quads: [L::I; 8], scales: GroupScales<L>) {
        let (input, sums) = (self.input, &mut *self.sums);
        for m in 0..M {
            // SAFETY: the caller's: row `m` of the activations has this group.
            unsafe {
                let at = m * self.groups + g;
                let x: *const i32 = input.codes.add(at * GROUP).cast();
                let d = L::splat(*input.d.add(at));
                let (first, second) = (*input.sums.add(2 * at), *input.sums.add(2 * at + 1));
                // (code − offset)·x = code·x − offset·Σx, exact in integers.
                let offset = scales.offset;
                let mut a = L::splat_i(-offset * first);
                let mut b = L::splat_i(-offset * second);
                for q in 0..4 {
                    let (x, y) = (x.add(q).read_unaligned(), x.add(q + 4).read_unaligned());
                    if BITS == 8 {
                        a = L::dot8(a, quads[q], L::splat_i(x));
                        b = L::dot8(b, quads[q + 4], L::splat_i(y));
                    } else {
                        a = L::dot7(a, quads[q], L::splat_i(x));
                        b = L::dot7(b, quads[q + 4], L::splat_i(y));
                    }
                }
                let scaled = if SCALES == HALVES {
                    let a = L::mul(L::number(a), scales.factor);
                    L::fma(L::number(b), scales.second, a)
                } else {
                    L::mul(L::number(L::add_i(a, b)), scales.factor)
                };
                sums[m] = L::fma(scaled, d, sums[m]);
                if SCALES == MINIMUM || SCALES == BLOCKS {
                    let sum = L::mul(d, L::splat((first + second) as f32));
                    sums[m] = L::fma(scales.second, sum, sums[m]);
                }
            }
        }
    }
}
