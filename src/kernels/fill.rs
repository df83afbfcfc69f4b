//! Packing: rows as they lie in a file, into tiles. ggml's blocks are taken apart and put together
//! again bit by bit, never through f32. The layout is `format.rs`'s.

mod whole;

use half::{bf16, f16};

use super::blocks::{Block, Group, read_block, single_group};
use super::format::{Format, GROUP, ROWS, Scales};
use super::isa::Isa;
use super::memory::{Buffer, Shared};
use super::packed::Packed;
use super::pool::share;
use super::turn::turn;
use whole::write_tile;

/// A packed matrix in the making; rows not given are zero.
#[derive(Debug)]
pub struct Packer(Packed);

impl Packer {
    /// An empty matrix (n, k).
    pub fn new(format: Format, n: usize, k: usize) -> Self {
        let groups = k.next_multiple_of(format.block_columns()) / GROUP;
        let tile_bytes = format.tile_bytes(groups);
        let data = Buffer::zeroed(n.div_ceil(ROWS) * tile_bytes);
        Self(Packed { format, n, k, groups, tile_bytes, data, rounded: false })
    }

    /// The matrix, as far as it was filled.
    pub fn done(self) -> Packed {
        self.0
    }

    /// Rows from `first` on; a dense format takes them as they are, a quantised one rounds as ggml
    /// does (`Q8_0` and `Q4_0` only; others take blocks).
    pub fn f32(&mut self, first: usize, rows: &[f32]) {
        let k = self.0.k;
        let whole = (self.0.format == Format::F32).then(|| Lines::new(rows, k));
        self.each(first, rows.len() / k.max(1), whole, |row| Source::F32(&rows[row * k..][..k]));
    }

    /// Rows from `first` on, bytes of bf16.
    pub fn bf16(&mut self, first: usize, rows: &[u8]) {
        let size = self.0.k * 2;
        let pairs = self.0.format == Format::Bf16 && self.0.k.is_multiple_of(2);
        let whole = pairs.then(|| Lines::new(rows, size));
        self.each(first, rows.len() / size.max(1), whole, |row| {
            Source::Bf16(&rows[row * size..][..size])
        });
    }

    /// Rows from `first` on, bytes of ggml's blocks of the same format.
    pub fn blocks(&mut self, first: usize, rows: &[u8]) {
        let size = self.0.k / self.0.format.block_columns() * self.0.format.ggml_bytes();
        let whole = Lines { blocks: true, ..Lines::new(rows, size) };
        self.each(first, rows.len() / size.max(1), Some(whole), |row| {
            Source::Blocks(&rows[row * size..][..size])
        });
    }

    /// `whole` is where whole tiles may come from at once.
    fn each<'a>(
        &mut self,
        first: usize,
        count: usize,
        whole: Option<Lines>,
        source: impl Fn(usize) -> Source<'a> + Sync,
    ) {
        let this = &self.0;
        let count = count.min(this.n.saturating_sub(first));
        let (format, groups, tile_bytes) = (this.format, this.groups, this.tile_bytes);
        let (data, isa) = (Shared(self.0.data.as_mut_ptr()), Isa::current());
        // Threads take whole tiles, where rows lie side by side.
        let (start, end) = (first / ROWS, (first + count).div_ceil(ROWS));
        share(end - start, 4, |tiles| {
            for tile in start + tiles.start..start + tiles.end {
                let rows = (tile * ROWS).max(first)..((tile + 1) * ROWS).min(first + count);
                // SAFETY: the tile lies within the buffer, and this thread has it to itself; where
                // sixteen rows are given, their lines are.
                unsafe {
                    let to = data.get().add(tile * tile_bytes);
                    if let (Some(lines), ROWS) = (whole, rows.len()) {
                        let from = lines.at.add((rows.start - first) * lines.bytes);
                        if lines.blocks {
                            let from = std::slice::from_raw_parts(from, ROWS * lines.bytes);
                            let to = std::slice::from_raw_parts_mut(to, tile_bytes);
                            write_tile(isa, format, from, groups, to);
                        } else {
                            turn(isa, from, lines.bytes, to);
                        }
                        continue;
                    }
                    let to = std::slice::from_raw_parts_mut(to, tile_bytes);
                    for row in rows {
                        write_row(format, groups, to, row % ROWS, source(row - first));
                    }
                }
            }
        });
    }
}

/// Rows one behind the other, each of so many bytes: words as a tile will have them, or blocks.
#[derive(Clone, Copy)]
struct Lines {
    at: *const u8,
    bytes: usize,
    blocks: bool,
}

// SAFETY: what the pointer leads to is only read.
unsafe impl Sync for Lines {}

impl Lines {
    /// Rows of `len` elements.
    fn new<T>(rows: &[T], len: usize) -> Self {
        Self { at: rows.as_ptr().cast(), bytes: len * size_of::<T>(), blocks: false }
    }
}

/// A row to be packed.
enum Source<'a> {
    F32(&'a [f32]),
    Bf16(&'a [u8]),
    Blocks(&'a [u8]),
}

fn write_row(format: Format, groups: usize, tile: &mut [u8], lane: usize, source: Source<'_>) {
    let (codes, scales) = tile.split_at_mut(groups * format.code_bytes());
    match (format, source) {
        (Format::Bf16, Source::Bf16(row)) => {
            for (pair, from) in row.chunks(4).enumerate() {
                let second = from.get(2..).unwrap_or_default();
                let at = |i: usize| second.get(i).copied().unwrap_or(0);
                put(codes, pair, lane, [from[0], from[1], at(0), at(1)]);
            }
        }
        (Format::Bf16, Source::F32(row)) => {
            for (pair, from) in row.chunks(2).enumerate() {
                for (i, x) in from.iter().enumerate() {
                    let at = (pair * ROWS + lane) * 4 + i * 2;
                    codes[at..at + 2].copy_from_slice(&bf16::from_f32(*x).to_le_bytes());
                }
            }
        }
        (Format::F32, Source::F32(row)) => {
            for (i, x) in row.iter().enumerate() {
                put(codes, i, lane, x.to_le_bytes());
            }
        }
        (_, Source::Bf16(row)) => {
            let wide = |b: &[u8]| bf16::from_le_bytes([b[0], b[1]]).to_f32();
            let row: Vec<f32> = row.chunks_exact(2).map(wide).collect();
            write_row(format, groups, tile, lane, Source::F32(&row));
        }
        (_, Source::F32(row)) => {
            for (g, numbers) in row.chunks(GROUP).enumerate() {
                let (d, group) = quantise(format, numbers);
                put_codes(format, &mut codes[g * format.code_bytes()..], lane, &group);
                let at = g * format.scale_bytes() + lane * 2;
                scales[at..at + 2].copy_from_slice(&d.to_le_bytes());
            }
        }
        (_, Source::Blocks(row)) => {
            let size = format.code_bytes();
            write_blocks(format, row, scales, lane, |g, group| {
                put_codes(format, &mut codes[g * size..][..size], lane, group);
            });
        }
    }
}

/// Writes the scales of a row of blocks; hands over the codes of each group.
fn write_blocks(
    format: Format,
    row: &[u8],
    scales: &mut [u8],
    lane: usize,
    mut codes: impl FnMut(usize, &[u8; GROUP]),
) {
    for (b, block) in row.chunks_exact(format.ggml_bytes()).enumerate() {
        let scales = &mut scales[b * format.scale_bytes()..][..format.scale_bytes()];
        if format.groups_per_block() == 1 {
            codes(b, &single_group(format, block));
            put_halves(format, scales, lane, &[[block[0], block[1]], [block[2], block[3]]]);
            continue;
        }
        let Block { groups, halves } = read_block(format, block);
        for (g, group) in groups.iter().enumerate() {
            codes(b * groups.len() + g, &group.codes);
        }
        put_halves(format, scales, lane, &halves);
        put_scales(format, scales, lane, &groups);
    }
}

/// Four bytes of vector `vector`.
#[inline(always)]
fn put(codes: &mut [u8], vector: usize, lane: usize, bytes: [u8; 4]) {
    let at = (vector * ROWS + lane) * 4;
    codes[at..at + 4].copy_from_slice(&bytes);
}

fn put_codes(format: Format, to: &mut [u8], lane: usize, codes: &[u8; GROUP]) {
    let quad = |q: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| codes[q * 4 + i]));
    if format.bits() == 8 {
        for q in 0..8 {
            put(to, q, lane, quad(q).to_le_bytes());
        }
        return;
    }
    let low = |q: usize| quad(q) & 0x0f0f_0f0f;
    for v in 0..4 {
        put(to, v, lane, (low(2 * v) | low(2 * v + 1) << 4).to_le_bytes());
    }
    let high = |q: usize| quad(q) >> 4 & 0x0f0f_0f0f;
    match format.bits() {
        5 => put(to, 4, lane, (0..8).fold(0, |bits, q| bits | high(q) << q).to_le_bytes()),
        6 => {
            for v in 0..2 {
                let bits = (0..4).fold(0u32, |bits, q| bits | high(v * 4 + q) << (2 * q));
                put(to, 4 + v, lane, bits.to_le_bytes());
            }
        }
        _ => {}
    }
}

/// f16 numbers that a block's scales begin with.
fn halves(format: Format) -> usize {
    if matches!(format.scales(), Scales::Offset | Scales::Halves) { 1 } else { 2 }
}

fn put_halves(format: Format, to: &mut [u8], lane: usize, bytes: &[[u8; 2]; 2]) {
    for (vector, half) in bytes.iter().take(halves(format)).enumerate() {
        let at = (vector * ROWS + lane) * 2;
        to[at..at + 2].copy_from_slice(half);
    }
}

/// The scales of a block's groups, behind its halves.
fn put_scales(format: Format, to: &mut [u8], lane: usize, groups: &[Group]) {
    for (g, group) in groups.iter().enumerate() {
        for (half, scale) in group.scales.iter().enumerate() {
            to[2 * halves(format) * ROWS + (2 * g + half) * ROWS + lane] = *scale;
        }
    }
}

/// Up to 32 numbers as codes and their factor, as ggml rounds them.
fn quantise(format: Format, x: &[f32]) -> (f16, [u8; GROUP]) {
    let greatest = x.iter().fold(0f32, |g, x| if x.abs() > g.abs() { *x } else { g });
    let (d, middle, top) = match format {
        Format::Q4_0 => (greatest / -8.0, 8, 15),
        _ => (greatest.abs() / 127.0, 128, 255),
    };
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let mut codes = [middle as u8; GROUP];
    for (code, x) in codes.iter_mut().zip(x) {
        let steps = match format {
            Format::Q4_0 => (x * inverse + 8.5).floor() as i32,
            _ => (x * inverse).round() as i32 + middle,
        };
        *code = steps.clamp(0, top) as u8;
    }
    (f16::from_f32(d), codes)
}
