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
            _ => coded::<L, M, S>(format, tiles, input, groups),
        }
    }
}

/// The same for quantised tiles.
#[inline(always)]
pub(super) unsafe fn coded<L: Lanes, const M: usize, const S: usize>(
    format: Format,
    tiles: [*const u8; S],
    input: &Input,
    groups: usize,
) -> [[L::F; M]; S] {
    // SAFETY: the caller's.
    unsafe {
        match format {
            Format::F32 | Format::Bf16 => [[L::splat(0.0); M]; S], // no codes
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
                    L::prefetch(at.wrapping_add(L::AHEAD[0]));
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
                    L::prefetch(at.wrapping_add(L::AHEAD[0]));
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

/// The outputs of tiles of bf16 for `M` rows of bf16, `pitch` bytes from a group of theirs to the next.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn rounded<L: Lanes, const M: usize, const S: usize>(
    tiles: [*const u8; S],
    x: *const u8,
    pitch: usize,
    groups: usize,
) -> [[L::F; M]; S] {
    // SAFETY: a tile holds 16 pairs for each of `groups` · 16 pairs of columns.
    unsafe {
        let mut sums = [[L::splat(0.0); M]; S];
        for g in 0..groups {
            let x = x.add(g * pitch).cast::<i32>();
            for pair in 0..GROUP / 2 {
                let mut w = [L::splat_i(0); S];
                for s in 0..S {
                    let at = tiles[s].add((g * GROUP / 2 + pair) * 64);
                    L::prefetch(at.wrapping_add(L::AHEAD[0]));
                    w[s] = L::load_i(at);
                }
                for m in 0..M {
                    let x = L::splat_i(x.add(m * GROUP / 2 + pair).read_unaligned());
                    for s in 0..S {
                        sums[s][m] = L::dot_bf16(sums[s][m], w[s], x);
                    }
                }
            }
        }
        sums
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
                    add::<L, BITS, SCALES, M>(&group, input, g, &mut sums[s]);
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
    g: usize,
    sums: &mut [L::F; M],
) {
    for m in 0..M {
        // SAFETY: the caller's: row `m` of the activations has this group.
        unsafe {
            let at = g * M + m;
            let (d, x) = (L::splat(*input.d.add(at)), &*input.sums.add(at));
            let codes: *const i32 = input.codes.add(at * GROUP).cast();
            // (code − offset)·x is code·x − offset·Σx, exactly.
            let begin = match SCALES {
                OFFSET => [taken::<L, BITS>(x.all), L::splat_i(0)],
                HALVES => [taken::<L, BITS>(x.halves[0]), taken::<L, BITS>(x.halves[1])],
                _ => [L::splat_i(0); 2],
            };
            let [a, b] = halves::<L, BITS>(group, codes, begin);
            let scaled = if SCALES == HALVES {
                let a = L::mul(L::number(a), group.factor);
                L::fma(L::number(b), group.second, a)
            } else {
                L::mul(L::number(L::add_i(a, b)), group.factor)
            };
            sums[m] = L::fma(scaled, d, sums[m]);
            if SCALES == MINIMUM || SCALES == BLOCKS {
                sums[m] = L::fma(group.second, L::splat(x.scaled), sums[m]);
            }
        }
    }
}

/// What the offset of a symmetric format, half of all codes, makes of a sum.
#[inline(always)]
unsafe fn taken<L: Lanes, const BITS: u32>(sum: i32) -> L::I {
    // SAFETY: arithmetic only; the caller has the instructions.
    unsafe {
        match BITS {
            4 => L::shl::<3>(L::splat_i(sum)),
            5 => L::shl::<4>(L::splat_i(sum)),
            6 => L::shl::<5>(L::splat_i(sum)),
            _ => L::shl::<7>(L::splat_i(sum)),
        }
    }
}

/// The products of both halves of a group, onto integers to begin with.
#[inline(always)]
unsafe fn halves<L: Lanes, const BITS: u32>(
    group: &Group<L>,
    x: *const i32,
    [mut a, mut b]: [L::I; 2],
) -> [L::I; 2] {
    // SAFETY: the caller's: the activations have 32 codes here.
    unsafe {
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
