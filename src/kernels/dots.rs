//! Tiles times rows, in registers: a tile's groups are met one after another, several tiles in turn,
//! and no group is ever unpacked to memory. Where the outputs go is `few.rs`'s affair.
#![allow(clippy::needless_range_loop, reason = "indices are lanes and rows of registers")]

use super::few::{Input, Part};
use super::format::{Format, GROUP};
use super::lanes::Lanes;
use super::quads::{BLOCKS, Group, HALVES, MINIMUM, OFFSET, Tile, groups_per_block};

/// The outputs of some tiles, of parts of one format, for each row.
#[inline(always)]
pub(super) unsafe fn dots<L: Lanes, const M: usize, const S: usize>(
    at: [(usize, &Part); S],
    input: &Input,
) -> [[L::F; M]; S] {
    let Part { format, groups, .. } = *at[0].1;
    // SAFETY: the caller's.
    unsafe {
        let mut tiles = [std::ptr::null(); S];
        for s in 0..S {
            tiles[s] = at[s].1.tiles.add(at[s].0 * at[s].1.tile_bytes);
        }
        match format {
            Format::F32 => dense_f32::<L, M, S>(tiles, input, groups),
            Format::Bf16 => dense_bf16::<L, M, S>(tiles, input, groups),
            Format::Q8_0 => quantised::<L, 8, OFFSET, M, S>(tiles, input, groups),
            Format::Q4_0 => quantised::<L, 4, OFFSET, M, S>(tiles, input, groups),
            Format::Q4_1 => quantised::<L, 4, MINIMUM, M, S>(tiles, input, groups),
            Format::Q5_0 => quantised::<L, 5, OFFSET, M, S>(tiles, input, groups),
            Format::Q5_1 => quantised::<L, 5, MINIMUM, M, S>(tiles, input, groups),
            Format::Q4K => quantised::<L, 4, BLOCKS, M, S>(tiles, input, groups),
            Format::Q5K => quantised::<L, 5, BLOCKS, M, S>(tiles, input, groups),
            Format::Q6K => quantised::<L, 6, HALVES, M, S>(tiles, input, groups),
        }
    }
}

#[inline(always)]
unsafe fn dense_f32<L: Lanes, const M: usize, const S: usize>(
    tiles: [*const u8; S],
    input: &Input,
    groups: usize,
) -> [[L::F; M]; S] {
    // SAFETY: a tile holds 16 numbers for each of `groups` · 32 columns, and a row of `x` as many.
    unsafe {
        let width = groups * GROUP;
        let mut sums = [[[L::splat(0.0); 4]; M]; S]; // chains, for an addition takes four cycles
        for column in (0..width).step_by(4) {
            for i in 0..4 {
                for s in 0..S {
                    let at = tiles[s].add((column + i) * 64);
                    L::prefetch(at.wrapping_add(AHEAD));
                    let w = L::load(at.cast());
                    for m in 0..M {
                        let x = L::splat(*input.x.add(m * width + column + i));
                        sums[s][m][i] = L::fma(w, x, sums[s][m][i]);
                    }
                }
            }
        }
        joined::<L, M, S>(sums)
    }
}

/// How far ahead lines are asked for.
const AHEAD: usize = 2048;

#[inline(always)]
unsafe fn dense_bf16<L: Lanes, const M: usize, const S: usize>(
    tiles: [*const u8; S],
    input: &Input,
    groups: usize,
) -> [[L::F; M]; S] {
    // SAFETY: a tile holds 16 pairs for each of `groups` · 16 pairs of columns.
    unsafe {
        let width = groups * GROUP;
        let high = L::splat_i(0xffff_0000_u32 as i32);
        let mut sums = [[[L::splat(0.0); 4]; M]; S];
        for column in (0..width).step_by(4) {
            for i in 0..2 {
                for s in 0..S {
                    let at = tiles[s].add((column / 2 + i) * 64);
                    L::prefetch(at.wrapping_add(AHEAD));
                    let pair = L::load_i(at);
                    // A bf16 is the upper half of an f32.
                    let (even, odd) = (L::float(L::shl::<16>(pair)), L::float(L::and(pair, high)));
                    for m in 0..M {
                        let x = input.x.add(m * width + column + 2 * i);
                        let sums = &mut sums[s][m];
                        sums[2 * i] = L::fma(even, L::splat(*x), sums[2 * i]);
                        sums[2 * i + 1] = L::fma(odd, L::splat(*x.add(1)), sums[2 * i + 1]);
                    }
                }
            }
        }
        joined::<L, M, S>(sums)
    }
}

/// The sums of all chains.
#[inline(always)]
unsafe fn joined<L: Lanes, const M: usize, const S: usize>(
    sums: [[[L::F; 4]; M]; S],
) -> [[L::F; M]; S] {
    // SAFETY: arithmetic only; the caller has the instructions.
    unsafe {
        let mut all = [[L::splat(0.0); M]; S];
        for s in 0..S {
            for m in 0..M {
                let [a, b, c, d] = sums[s][m];
                all[s][m] = L::add(L::add(a, b), L::add(c, d));
            }
        }
        all
    }
}

#[inline(always)]
unsafe fn quantised<L: Lanes, const BITS: u32, const SCALES: u8, const M: usize, const S: usize>(
    tiles: [*const u8; S],
    input: &Input,
    groups: usize,
) -> [[L::F; M]; S] {
    // SAFETY: see `format.rs` for what a tile holds; a row of activations has `groups` groups.
    unsafe {
        let mut sums = [[L::splat(0.0); M]; S];
        let tiles = tiles.map(|tile| Tile::<BITS, SCALES>::new(tile, groups));
        let count = groups_per_block(SCALES);
        for block in 0..groups / count {
            let mut heads = [tiles[0].head::<L>(block); S];
            for s in 1..S {
                heads[s] = tiles[s].head(block);
            }
            // Group by group in turn: more of memory is busy than when each tile has a long turn.
            for g in block * count..(block + 1) * count {
                for s in 0..S {
                    let group = tiles[s].group(&heads[s], g);
                    add::<L, BITS, SCALES, M>(&group, input, groups, g, &mut sums[s]);
                }
            }
        }
        sums
    }
}

/// Adds a group's products with each row to that row's sum.
#[inline(always)]
unsafe fn add<L: Lanes, const BITS: u32, const SCALES: u8, const M: usize>(
    group: &Group<L>,
    input: &Input,
    groups: usize,
    g: usize,
    sums: &mut [L::F; M],
) {
    for m in 0..M {
        // SAFETY: the caller's: row `m` of the activations has this group.
        unsafe {
            let at = m * groups + g;
            let d = L::splat(*input.d.add(at));
            let (first, second) = (*input.sums.add(2 * at), *input.sums.add(2 * at + 1));
            let x: *const i32 = input.codes.add(at * GROUP).cast();
            let offset = Tile::<BITS, SCALES>::OFFSET;
            let [a, b] = halves::<L, BITS>(group, x, [-offset * first, -offset * second]);
            let scaled = if SCALES == HALVES {
                let a = L::mul(L::number(a), group.factor);
                L::fma(L::number(b), group.second, a)
            } else {
                L::mul(L::number(L::add_i(a, b)), group.factor)
            };
            sums[m] = L::fma(scaled, d, sums[m]);
            if SCALES == MINIMUM || SCALES == BLOCKS {
                let sum = L::mul(d, L::splat((first + second) as f32));
                sums[m] = L::fma(group.second, sum, sums[m]);
            }
        }
    }
}

/// The products of both halves of a group, onto integers to begin with: (code − offset)·x is
/// code·x − offset·Σx, exactly.
#[inline(always)]
unsafe fn halves<L: Lanes, const BITS: u32>(
    group: &Group<L>,
    x: *const i32,
    [first, second]: [i32; 2],
) -> [L::I; 2] {
    // SAFETY: the caller's: the activations have 32 codes here.
    unsafe {
        let (mut a, mut b) = (L::splat_i(first), L::splat_i(second));
        for q in 0..4 {
            let (x, y) = (x.add(q).read_unaligned(), x.add(q + 4).read_unaligned());
            let (p, q) = (group.quads[q], group.quads[q + 4]);
            if BITS == 8 {
                a = L::dot8(a, p, L::splat_i(x));
                b = L::dot8(b, q, L::splat_i(y));
            } else {
                a = L::dot7(a, p, L::splat_i(x));
                b = L::dot7(b, q, L::splat_i(y));
            }
        }
        [a, b]
    }
}
