//! Products of many rows by vectors: clusters of up to sixteen rows, rounded to 8 bits or to bf16, meet
//! each group of a tile while it is in registers. Nothing is unpacked to memory. What must not be
//! rounded is `panel.rs`'s affair.

use std::ops::Range;

use super::activations::{Quantised, Rows, quantise, round};
use super::dots::{coded, rounded};
use super::few::{Input, Part, write};
use super::format::{Format, GROUP};
use super::isa::Isa;
use super::lanes::{Avx512, Lanes};
use super::memory::{Lent, Shared, lent};
use super::packed::Packed;
use super::pool::share;

/// Rows of a cluster. Those left over make smaller ones.
const MOST: usize = 16;
/// Bytes of activations that stay in a core's second cache beside a tile of weights.
const BLOCK_BYTES: usize = 1 << 19;

/// Whether clusters serve this matrix at this level.
pub(super) fn serves(isa: Isa, weight: &Packed) -> bool {
    match weight.format {
        Format::F32 => false,
        Format::Bf16 => isa == Isa::Avx512Bf16 && weight.rounded,
        _ => matches!(isa, Isa::Avx512 | Isa::Avx512Bf16),
    }
}

/// Rows in clusters, each form where one of the matrices wants it.
pub(super) struct Clusters {
    rows: usize,
    groups: usize,
    codes: Quantised,
    /// `[row / cluster][group][row % cluster][32]` bf16
    rounded: Option<Lent>,
}

impl Clusters {
    pub(super) fn new(isa: Isa, x: &Rows<'_>, weights: &[&Packed]) -> Self {
        let (width, x) = (x.width, x.as_slice());
        let (rows, groups) = (x.len() / width, width / GROUP);
        let mine = |weight: &&&Packed| serves(isa, weight);
        let coded = weights.iter().filter(mine).any(|w| w.format.is_quantised());
        let bf16 = weights.iter().filter(mine).any(|w| w.format == Format::Bf16);
        let codes = if coded { Quantised::new(rows, groups) } else { Quantised::default() };
        let mut rounded = bf16.then(|| lent(rows * width * 2));
        if !coded && !bf16 {
            return Self { rows, groups, codes, rounded };
        }
        let places = codes.places;
        let halves = Shared(rounded.as_mut().map_or(std::ptr::null_mut(), Lent::as_mut_ptr));
        share(count(rows), 2, |range| {
            for index in range {
                let (row, size) = cluster(rows, index);
                let x = &x[row * width..(row + size) * width];
                // SAFETY: there is room for all rows; each cluster's is its own.
                unsafe {
                    if coded {
                        quantise(isa, x, size, &places.at(row * groups));
                    }
                    if bf16 {
                        round(isa, x, size, halves.get().add(row * width * 2));
                    }
                }
            }
        });
        Self { rows, groups, codes, rounded }
    }

    /// Whether the part's form is here.
    pub(super) fn serves(&self, part: &Part) -> bool {
        match part.format {
            Format::F32 => false,
            Format::Bf16 => self.rounded.is_some(),
            _ => !self.codes.is_empty(),
        }
    }
}

/// Clusters of so many rows: of sixteen, then of four, then of one.
fn count(rows: usize) -> usize {
    rows / MOST + rows % MOST / 4 + rows % 4
}

/// The first row of a cluster, and how many it has.
fn cluster(rows: usize, index: usize) -> (usize, usize) {
    let (large, middle) = (rows / MOST, rows % MOST / 4);
    if index < large {
        (index * MOST, MOST)
    } else if index < large + middle {
        (large * MOST + (index - large) * 4, 4)
    } else {
        (large * MOST + middle * 4 + (index - large - middle), 1)
    }
}

/// The outputs of `tiles` for all rows.
///
/// # Safety
/// The processor must have `isa`, and the clusters what the part wants.
pub(super) unsafe fn many(isa: Isa, part: &Part, left: &Clusters, tiles: Range<usize>) {
    // SAFETY: the caller's.
    unsafe {
        match isa {
            Isa::Avx512Bf16 => avx512_bf16(part, left, tiles),
            _ => avx512(part, left, tiles),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn avx512(part: &Part, left: &Clusters, tiles: Range<usize>) {
    // SAFETY: the caller's.
    unsafe { many_of::<Avx512<false>>(part, left, tiles) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn avx512_bf16(part: &Part, left: &Clusters, tiles: Range<usize>) {
    // SAFETY: the caller's.
    unsafe { many_of::<Avx512<true>>(part, left, tiles) }
}

#[inline(always)]
unsafe fn many_of<L: Lanes>(part: &Part, left: &Clusters, tiles: Range<usize>) {
    let bytes = left.groups * GROUP * if part.format == Format::Bf16 { 2 } else { 1 };
    let at_once = (BLOCK_BYTES / bytes).next_multiple_of(MOST).max(MOST);
    for first in (0..left.rows).step_by(at_once) {
        let end = left.rows.min(first + at_once);
        let mut tile = tiles.start;
        while tile < tiles.end {
            // A register of bf16 is used once: two tiles share each row's.
            let pair = part.format == Format::Bf16 && tile + 1 < tiles.end;
            let mut row = first;
            while row < end {
                // SAFETY: the caller's: there are such tiles, and such a cluster.
                unsafe {
                    row += match (end - row, pair) {
                        (MOST.., true) => of_cluster::<L, MOST, 8, 2>(part, left, row, tile),
                        (MOST.., false) => of_cluster::<L, MOST, MOST, 1>(part, left, row, tile),
                        (4.., true) => of_cluster::<L, 4, 4, 2>(part, left, row, tile),
                        (4.., false) => of_cluster::<L, 4, 4, 1>(part, left, row, tile),
                        (_, true) => of_cluster::<L, 1, 1, 2>(part, left, row, tile),
                        (_, false) => of_cluster::<L, 1, 1, 1>(part, left, row, tile),
                    };
                }
            }
            tile += if pair { 2 } else { 1 };
        }
    }
}

/// The outputs of `S` tiles for a cluster of `M` rows, bf16 for `R` of them at a time; answers `M`.
#[inline(always)]
unsafe fn of_cluster<L: Lanes, const M: usize, const R: usize, const S: usize>(
    part: &Part,
    left: &Clusters,
    row: usize,
    tile: usize,
) -> usize {
    let at = row * left.groups;
    // SAFETY: the caller's.
    unsafe {
        let part = Part { out: part.out.add(row * part.n), ..*part };
        let tile_at = |s: usize| part.tiles.add((tile + s) * part.tile_bytes);
        if part.format != Format::Bf16 {
            let input = Input::new(M, std::ptr::null(), &left.codes.places.at(at));
            let [sums] = coded::<L, M, 1>(part.format, [tile_at(0)], &input, left.groups);
            write::<L, M>(&part, tile, sums);
            return M;
        }
        let mut tiles = [std::ptr::null(); S];
        for (s, to) in tiles.iter_mut().enumerate() {
            *to = tile_at(s);
        }
        let x = left.rounded.as_ref().map_or(std::ptr::null(), Lent::as_ptr).add(at * GROUP * 2);
        for first in (0..M).step_by(R) {
            let x = x.add(first * GROUP * 2);
            let sums = rounded::<L, R, S>(tiles, x, M * GROUP * 2, left.groups);
            let part = Part { out: part.out.add(first * part.n), ..part };
            for (s, sums) in sums.into_iter().enumerate() {
                write::<L, R>(&part, tile + s, sums);
            }
        }
        M
    }
}
