//! Rows of a cache as f32, whatever they are made of: sixteen numbers at a time, one, or all.

use std::ops::Range;

use super::super::lanes::Lanes;
use super::codes::{CODE_GROUP, CODE_SCALES};
use super::{Kind, Rows};

pub(super) const F32: u8 = 0;
pub(super) const BF16: u8 = 1;
pub(super) const F16: u8 = 2;
pub(super) const CODES: u8 = 3;

/// Bytes of a number.
pub(super) const fn bytes(kind: u8) -> usize {
    match kind {
        F32 => 4,
        BF16 | F16 => 2,
        _ => 1,
    }
}

/// Sixteen numbers of a row of `width`, all of them there.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes, const KIND: u8>(
    row: *const u8,
    vector: usize,
    width: usize,
) -> L::F {
    // SAFETY: the caller's.
    unsafe {
        match KIND {
            F32 => L::load(row.cast::<f32>().add(vector * 16)),
            BF16 => L::load_bf16(row.add(vector * 32)),
            F16 => L::load_f16(row.add(vector * 32)),
            _ => {
                let scale = *row.add(width + vector * 16 / CODE_GROUP);
                let codes = L::number(L::load_i8(row.add(vector * 16)));
                L::mul(codes, L::splat(CODE_SCALES[usize::from(scale)]))
            }
        }
    }
}

impl Rows {
    /// Sixteen numbers of a row of `width`, all of them there.
    #[inline(always)]
    pub(super) unsafe fn load<L: Lanes>(&self, index: usize, vector: usize, width: usize) -> L::F {
        // SAFETY: the caller's: there is such a row.
        unsafe {
            let row = self.row(index);
            match self.kind {
                Kind::F32 => load::<L, F32>(row, vector, width),
                Kind::Bf16 => load::<L, BF16>(row, vector, width),
                Kind::F16 => load::<L, F16>(row, vector, width),
                Kind::Codes => load::<L, CODES>(row, vector, width),
            }
        }
    }

    /// One number of a row of `width`.
    #[inline(always)]
    pub(super) unsafe fn number(&self, index: usize, i: usize, width: usize) -> f32 {
        // SAFETY: the caller's: there is such a row.
        unsafe {
            let row = self.row(index);
            match self.kind {
                Kind::F32 => *row.cast::<f32>().add(i),
                Kind::Bf16 => half::bf16::from_bits(*row.cast::<u16>().add(i)).to_f32(),
                Kind::F16 => half::f16::from_bits(*row.cast::<u16>().add(i)).to_f32(),
                Kind::Codes => {
                    let scale = *row.add(width + i / CODE_GROUP);
                    f32::from(*row.cast::<i8>().add(i)) * CODE_SCALES[usize::from(scale)]
                }
            }
        }
    }

    /// A whole row.
    #[inline(always)]
    pub(super) unsafe fn widen<L: Lanes>(&self, index: usize, to: &mut [f32]) {
        let width = to.len();
        let vectors = if width.is_multiple_of(16) { width / 16 } else { 0 };
        // SAFETY: the caller's: there is such a row, of as many numbers.
        unsafe {
            for vector in 0..vectors {
                let numbers = self.load::<L>(index, vector, width);
                L::store(to.as_mut_ptr().add(vector * 16), numbers);
            }
            for (i, to) in to.iter_mut().enumerate().skip(vectors * 16) {
                *to = self.number(index, i, width);
            }
        }
    }
}

/// Up to sixteen rows as columns, (head_dim, 16); columns without a row are 0.
#[inline(always)]
pub(super) unsafe fn columns<L: Lanes>(
    rows: Rows,
    keys: Range<usize>,
    head_dim: usize,
    to: *mut f32,
) {
    // SAFETY: the caller's: the keys are there, and `to` has room.
    unsafe {
        let whole = if keys.len() == 16 { head_dim / 16 * 16 } else { 0 };
        for at in (0..whole).step_by(16) {
            let mut square = [L::splat(0.0); 16];
            for (i, line) in square.iter_mut().enumerate() {
                *line = rows.load::<L>(keys.start + i, at / 16, head_dim);
            }
            for (i, line) in L::transpose(square).into_iter().enumerate() {
                L::store(to.add((at + i) * 16), line);
            }
        }
        for number in whole..head_dim {
            for i in 0..16 {
                *to.add(number * 16 + i) = match i < keys.len() {
                    true => rows.number(keys.start + i, number, head_dim),
                    false => 0.0,
                };
            }
        }
    }
}
