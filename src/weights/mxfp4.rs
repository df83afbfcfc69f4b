//! MXFP4, the 4-bit floats of the OCP Microscaling specification (Rouhani et al. 2023,
//! 2310.10537): 32 numbers of one sign, two exponent and one mantissa bit share a power of two.
//! It knows the two packings, no tensor's meaning.

use std::ops::Range;

use half::f16;

use super::checkpoint::Checkpoint;
use super::file::Stored;
use crate::error::{Error, Result};

/// Numbers that share a scale.
pub(super) const BLOCK: usize = 32;
/// Bytes of a block in ggml: the scale, then 16 bytes, low halves first.
pub(super) const GGML_BYTES: usize = 17;

/// Twice the value of each of the 16 codes: whole numbers.
const TWICE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Blocks in a row of `columns` numbers, and bytes in a block whose scale is elsewhere.
pub(super) fn blocks(columns: usize) -> Option<[usize; 2]> {
    columns.is_multiple_of(BLOCK).then_some([columns / BLOCK, BLOCK / 2])
}

/// Half of what the stored exponent stands for, since the codes are doubled.
fn half_scale(exponent: u8) -> f32 {
    match exponent {
        0 | 1 => f32::from_bits(0x0020_0000 << exponent), // 2^-128 and 2^-127, subnormal
        e => f32::from_bits(u32::from(e - 1) << 23),
    }
}

/// Numbers of ggml's blocks.
pub(super) fn decode(bytes: &[u8]) -> Vec<f32> {
    let mut out = Vec::with_capacity(bytes.len() / GGML_BYTES * BLOCK);
    for block in bytes.chunks_exact(GGML_BYTES) {
        let scale = half_scale(block[0]);
        let value = |code: u8| f32::from(TWICE[usize::from(code)]) * scale;
        out.extend(block[1..].iter().map(|byte| value(byte & 15)));
        out.extend(block[1..].iter().map(|byte| value(byte >> 4)));
    }
    out
}

/// The same numbers in ggml's Q8_0 blocks (a scale in f16 and 32 signed bytes), appended to `out`:
/// exact, since a power of two fits into an f16. Answers `false` where one does not.
pub(super) fn as_q8_0(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    for block in bytes.chunks_exact(GGML_BYTES) {
        let code = |code: u8| TWICE[usize::from(code)].to_le_bytes()[0];
        let empty = block[1..].iter().all(|byte| byte & 0x77 == 0);
        let scale = if empty { 0.0 } else { half_scale(block[0]) };
        if f16::from_f32(scale).to_f32() != scale {
            return false;
        }
        let scale = f16::from_f32(scale);
        out.extend(scale.to_le_bytes());
        out.extend(block[1..].iter().map(|byte| code(byte & 15)));
        out.extend(block[1..].iter().map(|byte| code(byte >> 4)));
    }
    true
}

impl Checkpoint {
    /// The rows of a matrix stored as two tensors: blocks (…, rows, columns / 32, 16), low half of
    /// a byte first, and scales (…, rows, columns / 32).
    pub(super) fn microscaled(
        &self,
        blocks: &Stored,
        scales: &Stored,
        rows: &[Range<usize>],
    ) -> Result<Vec<f32>> {
        let of_bytes = |tensor: &Stored| tensor.info.dtype.block() == (1, 1);
        let (per_row, bytes) = match (blocks.info.shape.as_slice(), scales.info.shape.as_slice()) {
            ([rows @ .., bytes], fit) if rows == fit && of_bytes(blocks) && of_bytes(scales) => {
                (scales.row_len(), *bytes)
            }
            _ => {
                let (name, path) = (&scales.info.name, &self.files[scales.file].path);
                return Err(Error::file(path, format!("tensor `{name}` does not fit its blocks")));
            }
        };
        let mut exponents = Vec::new();
        self.for_each(scales, rows, &mut |bytes| {
            exponents.extend_from_slice(bytes);
            Ok(())
        })?;
        let rows: Vec<_> = rows.iter().map(|r| r.start * per_row..r.end * per_row).collect();
        let mut out = Vec::with_capacity(exponents.len() * BLOCK);
        let mut scales = exponents.into_iter().map(half_scale);
        self.for_each(blocks, &rows, &mut |piece| {
            for (block, scale) in piece.chunks_exact(bytes).zip(&mut scales) {
                let value = |code: u8| f32::from(TWICE[usize::from(code)]) * scale;
                out.extend(block.iter().flat_map(|byte| [value(byte & 15), value(byte >> 4)]));
            }
            Ok(())
        })?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
