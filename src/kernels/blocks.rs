//! ggml's blocks taken apart into codes and scales. What a code is worth is `format.rs`'s affair.
//! The layouts: ggml, `ggml-common.h` and `ggml-quants.c`.

use super::format::{Format, GROUP};

/// 32 codes, and the scales of their own (block formats: of two kinds, or of two halves).
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) codes: [u8; GROUP],
    pub(super) scales: [u8; 2],
}

/// A block of one row, of a format with eight groups a block.
pub(super) struct Block {
    pub(super) groups: [Group; 8],
    /// The bytes of its f16 numbers: the factor, and the summand's.
    pub(super) halves: [[u8; 2]; 2],
}

/// Takes a block of eight groups apart; `b` is as long as the format says.
pub(super) fn read_block(format: Format, b: &[u8]) -> Block {
    let mut block = Block {
        groups: [Group { codes: [0; GROUP], scales: [0; 2] }; 8],
        halves: [[b[0], b[1]], [b[2], b[3]]],
    };
    match format {
        Format::Q6K => {
            block.halves = [[b[208], b[209]], [0; 2]];
            blocks_of_halves(b, &mut block.groups);
        }
        _ => blocks_of_groups(format, b, &mut block.groups),
    }
    block
}

/// The codes of a block of one group. Nibbles hold columns i and i + 16.
pub(super) fn single_group(format: Format, b: &[u8]) -> [u8; GROUP] {
    let mut codes = [0; GROUP];
    if format == Format::Q8_0 {
        for (code, b) in codes.iter_mut().zip(&b[2..]) {
            *code = b ^ 0x80; // signed, plus 128
        }
        return codes;
    }
    let (high, nibbles) = match format {
        Format::Q5_0 => (Some(&b[2..6]), &b[6..]),
        Format::Q5_1 => (Some(&b[4..8]), &b[8..]),
        Format::Q4_1 => (None, &b[4..]),
        _ => (None, &b[2..]),
    };
    for i in 0..16 {
        codes[i] = nibbles[i] & 15;
        codes[i + 16] = nibbles[i] >> 4;
    }
    if let Some(high) = high {
        for (i, code) in codes.iter_mut().enumerate() {
            *code |= (high[i / 8] >> (i % 8) & 1) << 4;
        }
    }
    codes
}

/// Q4_K and Q5_K: d, dmin, 12 bytes of 6-bit scales, (fifth bits,) nibbles.
fn blocks_of_groups(format: Format, b: &[u8], groups: &mut [Group; 8]) {
    let packed = &b[4..16];
    let (high, nibbles) = match format {
        Format::Q5K => (Some(&b[16..48]), &b[48..]),
        _ => (None, &b[16..]),
    };
    for (g, group) in groups.iter_mut().enumerate() {
        group.scales = match g {
            0..4 => [packed[g] & 63, packed[g + 4] & 63],
            _ => [
                packed[g + 4] & 15 | packed[g - 4] >> 6 << 4,
                packed[g + 4] >> 4 | packed[g] >> 6 << 4,
            ],
        };
        for (i, code) in group.codes.iter_mut().enumerate() {
            *code = nibbles[g / 2 * 32 + i] >> (g % 2 * 4) & 15;
            if let Some(high) = high {
                *code |= (high[i] >> g & 1) << 4;
            }
        }
    }
}

/// Q6_K: low nibbles, upper two bits, scales of 16, d.
fn blocks_of_halves(b: &[u8], groups: &mut [Group; 8]) {
    let (low, high, scales) = (&b[..128], &b[128..192], &b[192..208]);
    for (g, group) in groups.iter_mut().enumerate() {
        let (half, part) = (g / 4, g % 4);
        group.scales = [scales[2 * g], scales[2 * g + 1]];
        for (i, code) in group.codes.iter_mut().enumerate() {
            let nibble = low[half * 64 + part % 2 * 32 + i] >> (part / 2 * 4) & 15;
            *code = nibble | (high[half * 32 + i] >> (part * 2) & 3) << 4;
        }
    }
}
