//! Sixteen rows of blocks at once: their codes apart first, then turned, then put together again. Row
//! by row is in `fill.rs`.

use super::super::format::{Format, GROUP, ROWS};
use super::super::isa::Isa;
use super::super::turn::turn;
use super::write_blocks;

/// Writes a whole tile.
pub(super) fn write_tile(isa: Isa, format: Format, rows: &[u8], groups: usize, tile: &mut [u8]) {
    let (codes, scales) = tile.split_at_mut(groups * format.code_bytes());
    let width = groups * GROUP;
    let mut apart = vec![0u8; ROWS * width]; // (16 rows, columns)
    let rows = rows.chunks_exact(rows.len() / ROWS);
    for (lane, (row, to)) in rows.zip(apart.chunks_exact_mut(width)).enumerate() {
        write_blocks(format, row, scales, lane, |g, group| {
            to[g * GROUP..][..GROUP].copy_from_slice(group);
        });
    }
    let mut turned = vec![0u8; ROWS * width]; // (columns / 4, 16 rows, 4)
    // SAFETY: sixteen rows of so many bytes, a multiple of 4, and as much room.
    unsafe { turn(isa, apart.as_ptr(), width, turned.as_mut_ptr()) };
    let quads = turned.chunks_exact(ROWS * GROUP);
    for (quads, to) in quads.zip(codes.chunks_exact_mut(format.code_bytes())) {
        narrow(format, quads, to);
    }
}

/// A group's eight quads, 64 bytes each, as the format has them.
fn narrow(format: Format, quads: &[u8], to: &mut [u8]) {
    if format.bits() == 8 {
        to.copy_from_slice(quads);
        return;
    }
    let (nibbles, high) = to.split_at_mut(256);
    for (pair, to) in quads.chunks_exact(128).zip(nibbles.chunks_exact_mut(64)) {
        let (a, b) = pair.split_at(64);
        for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
            *to = a & 15 | (b & 15) << 4;
        }
    }
    // The bits above the fourth: one of each of eight quads, or two of each of four.
    let (bits, per_byte) = if format.bits() == 5 { (1, 8) } else { (2, 4) };
    for (quads, to) in quads.chunks_exact(64 * per_byte).zip(high.chunks_exact_mut(64)) {
        to.fill(0);
        for (q, quad) in quads.chunks_exact(64).enumerate() {
            for (to, code) in to.iter_mut().zip(quad) {
                *to |= (code >> 4) << (q * bits);
            }
        }
    }
}
