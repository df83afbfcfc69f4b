//! Products of many rows in f32: a block of rows meets sixteen or thirty-two columns at a time,
//! its sums kept in registers. Packed tiles of f32 are such columns already; others are unpacked,
//! a tile at a time.

use std::ops::Range;

use super::few::Part;
use super::format::{Format, GROUP, ROWS};
use super::lanes::{Lanes, per_isa};
use super::memory::lent;
use super::quads::{BLOCKS, Group, HALVES, MINIMUM, OFFSET, Tile, groups_per_block};

/// Columns of the left, rows of the right matrix that are worked through at a time: a block of
/// them stays in the caches.
const DEPTH: usize = 512;

/// Rows of f32, (count, width), `pitch` numbers from one to the next.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) x: *const f32,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) pitch: usize,
}

/// Panels, 1 or, where lanes are wide, 2 of them, each of as many rows of sixteen as the left is wide, `pitch` apart.
pub(super) struct Right {
    pub(super) panels: [*const f32; 2],
    pub(super) count: usize,
    pub(super) pitch: usize,
}

// SAFETY: the numbers are only read.
unsafe impl Sync for Left {}

per_isa! {
    /// The outputs of `tiles` for all rows.
    fn many(part: &Part, left: &Left, tiles: Range<usize>) = many_of
}

#[inline(always)]
unsafe fn many_of<L: Lanes>(part: &Part, left: &Left, tiles: Range<usize>) {
    let columns = if L::WIDE { 2 } else { 1 };
    let dense = part.format == Format::F32;
    let mut scratch = lent(if dense { 0 } else { columns * ROWS * left.width * 4 });
    let mut edge = lent(left.rows * columns * ROWS * 4);
    let (scratch, edge) = (scratch.as_mut_ptr().cast::<f32>(), edge.as_mut_ptr().cast::<f32>());
    for first in tiles.clone().step_by(columns) {
        let count = columns.min(tiles.end - first);
        // SAFETY: tiles lie within the matrix, panels within `scratch`; outputs of whole tiles
        // lie within `out`, those of others go through `edge`.
        unsafe {
            let mut panels = [std::ptr::null(); 2];
            for (i, panel) in [0, count - 1].into_iter().zip(&mut panels) {
                let tile = part.tiles.add((first + i) * part.tile_bytes);
                if dense {
                    *panel = tile.cast::<f32>();
                    continue;
                }
                let to = scratch.add(i * ROWS * left.width);
                unpack::<L>(part.format, tile, part.groups, to);
                *panel = to;
            }
            let whole = (first + count) * ROWS <= part.n;
            let (out, stride) = match whole {
                true => (part.out.add(first * ROWS), part.n),
                false => (edge, columns * ROWS),
            };
            multiply::<L, false>(left, &Right { panels, count, pitch: ROWS }, out, stride, false);
            if !whole {
                let width = part.n - first * ROWS;
                for row in 0..left.rows {
                    let to = part.out.add(row * part.n + first * ROWS);
                    to.copy_from_nonoverlapping(edge.add(row * columns * ROWS), width);
                }
            }
        }
    }
}

/// `out = left · right`, or, with `add`, that onto what `out` holds. With `PAIRS`, numbers of both
/// sides are pairs of bf16.
#[inline(always)]
pub(super) unsafe fn multiply<L: Lanes, const PAIRS: bool>(
    left: &Left,
    right: &Right,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    let &Right { panels, count, pitch } = right;
    for start in (0..left.width).step_by(DEPTH) {
        let depth = DEPTH.min(left.width - start);
        let mut row = 0;
        while row < left.rows {
            // SAFETY: the blocks lie within their matrices.
            unsafe {
                let block = Block {
                    x: left.x.add(row * left.pitch + start),
                    x_pitch: left.pitch,
                    panels: panels.map(|p| p.add(start * pitch)),
                    pitch,
                    depth,
                    out: out.add(row * stride),
                    stride,
                    add: add || start > 0,
                };
                row += match (L::WIDE && count == 2, left.rows - row) {
                    (true, 12..) => block.run::<L, PAIRS, 12, 2>(),
                    (true, 8..) => block.run::<L, PAIRS, 8, 2>(),
                    (true, 4..) => block.run::<L, PAIRS, 4, 2>(),
                    (true, _) => block.run::<L, PAIRS, 1, 2>(),
                    (false, 6..) => block.run::<L, PAIRS, 6, 1>(),
                    (false, 3..) => block.run::<L, PAIRS, 3, 1>(),
                    (false, _) => block.run::<L, PAIRS, 1, 1>(),
                };
            }
        }
    }
}

/// One block of sums.
struct Block {
    x: *const f32,
    x_pitch: usize,
    panels: [*const f32; 2],
    pitch: usize,
    depth: usize,
    out: *mut f32,
    stride: usize,
    /// Onto what `out` holds.
    add: bool,
}

impl Block {
    /// R rows by C panels; answers R.
    #[inline(always)]
    unsafe fn run<L: Lanes, const PAIRS: bool, const R: usize, const C: usize>(&self) -> usize {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[L::splat(0.0); C]; R];
            if self.add {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(self.out.add(r * self.stride + c * ROWS));
                    }
                }
            }
            for i in 0..self.depth {
                let mut w = [L::splat(0.0); C];
                for (c, w) in w.iter_mut().enumerate() {
                    *w = L::load(self.panels[c].add(i * self.pitch));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = L::splat(*self.x.add(r * self.x_pitch + i));
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = match PAIRS {
                            true => L::dot_bf16(*sum, L::bits(w), L::bits(x)),
                            false => L::fma(w, x, *sum),
                        };
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (c, sum) in sums.into_iter().enumerate() {
                    L::store(self.out.add(r * self.stride + c * ROWS), sum);
                }
            }
            R
        }
    }
}

/// A tile as f32, (groups · 32 columns, 16 rows).
#[inline(always)]
unsafe fn unpack<L: Lanes>(format: Format, tile: *const u8, groups: usize, to: *mut f32) {
    // SAFETY: the caller's: the tile is of this format, and `to` has room for all its numbers.
    unsafe {
        each_pair::<L>(format, tile, groups, 0..groups, Unpacked(to));
    }
}

/// What is done with two columns of sixteen rows. (No closure: only a method is inlined always.
/// A closure that is not has none of the instructions, and calls each of them.)
pub(super) trait Sink<L: Lanes> {
    /// Takes a pair of columns and its number.
    ///
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn pair(&mut self, pair: usize, a: L::F, b: L::F);
}

/// Columns of f32, one after the other.
struct Unpacked(*mut f32);

impl<L: Lanes> Sink<L> for Unpacked {
    #[inline(always)]
    unsafe fn pair(&mut self, pair: usize, a: L::F, b: L::F) {
        // SAFETY: the caller's: there is room for every pair.
        unsafe {
            L::store(self.0.add(pair * 2 * ROWS), a);
            L::store(self.0.add((pair * 2 + 1) * ROWS), b);
        }
    }
}

/// Calls `sink` with every pair of columns of the groups in `range`, widened, and its number,
/// counted from the range's start.
#[inline(always)]
pub(super) unsafe fn each_pair<L: Lanes>(
    format: Format,
    tile: *const u8,
    groups: usize,
    range: Range<usize>,
    mut sink: impl Sink<L>,
) {
    // SAFETY: the caller's: the tile is of this format, and the range lies within its groups.
    unsafe {
        match format {
            Format::F32 => {
                let from = tile.cast::<f32>().add(range.start * GROUP * ROWS);
                for pair in 0..range.len() * GROUP / 2 {
                    let at = from.add(pair * 2 * ROWS);
                    sink.pair(pair, L::load(at), L::load(at.add(ROWS)));
                }
            }
            Format::Bf16 => {
                let high = L::splat_i(0xffff_0000_u32 as i32);
                let from = tile.add(range.start * GROUP * ROWS * 2);
                for pair in 0..range.len() * GROUP / 2 {
                    let both = L::load_i(from.add(pair * 64));
                    sink.pair(pair, L::float(L::shl::<16>(both)), L::float(L::and(both, high)));
                }
            }
            Format::Q8_0 => codes::<L, 8, OFFSET>(tile, groups, range, sink),
            Format::Q4_0 => codes::<L, 4, OFFSET>(tile, groups, range, sink),
            Format::Q4_1 => codes::<L, 4, MINIMUM>(tile, groups, range, sink),
            Format::Q5_0 => codes::<L, 5, OFFSET>(tile, groups, range, sink),
            Format::Q5_1 => codes::<L, 5, MINIMUM>(tile, groups, range, sink),
            Format::Q4K => codes::<L, 4, BLOCKS>(tile, groups, range, sink),
            Format::Q5K => codes::<L, 5, BLOCKS>(tile, groups, range, sink),
            Format::Q6K => codes::<L, 6, HALVES>(tile, groups, range, sink),
        }
    }
}

#[inline(always)]
unsafe fn codes<L: Lanes, const BITS: u32, const SCALES: u8>(
    tile: *const u8,
    groups: usize,
    range: Range<usize>,
    mut sink: impl Sink<L>,
) {
    let (tile, count) = (Tile::<BITS, SCALES>::new(tile, groups), groups_per_block(SCALES));
    // SAFETY: the caller's. Where there are blocks, the range is of whole ones.
    unsafe {
        let (byte, offset) = (L::splat_i(255), L::splat(-Tile::<BITS, SCALES>::OFFSET as f32));
        for block in range.start / count..range.end / count {
            let head = tile.head::<L>(block);
            for g in block * count..(block + 1) * count {
                let Group { quads, factor, second } = tile.group(&head, g);
                for (q, quad) in quads.into_iter().enumerate() {
                    let (factor, summand) = match SCALES {
                        HALVES if q >= 4 => (second, L::mul(second, offset)),
                        MINIMUM | BLOCKS => (factor, second),
                        _ => (factor, L::mul(factor, offset)),
                    };
                    let codes = [quad, L::shr::<8>(quad), L::shr::<16>(quad), L::shr::<24>(quad)];
                    let mut numbers = [summand; 4];
                    for (number, code) in numbers.iter_mut().zip(codes) {
                        *number = L::fma(L::number(L::and(code, byte)), factor, summand);
                    }
                    let pair = (g - range.start) * GROUP / 2 + q * 2;
                    sink.pair(pair, numbers[0], numbers[1]);
                    sink.pair(pair + 1, numbers[2], numbers[3]);
                }
            }
        }
    }
}
