//! Queries, keys, weights and values as pairs of bf16, for products that take two at a time. Who meets
//! whom is said in `tiled.rs`.

use std::ops::Range;

use super::super::lanes::Lanes;
use super::Rows;

/// Numbers that become pairs at once.
pub(super) const PAIRED: usize = 32;

/// `count` numbers, a multiple of 32, as half as many pairs in their place.
#[inline(always)]
pub(super) unsafe fn in_place<L: Lanes>(row: *mut f32, count: usize) {
    for at in (0..count).step_by(PAIRED) {
        // SAFETY: the caller's; what is written has been read.
        unsafe {
            let (a, b) = (L::load(row.add(at)), L::load(row.add(at + 16)));
            L::store_bf16(row.add(at / 2).cast(), a, b);
        }
    }
}

/// Up to sixteen rows as columns, (head_dim / 2, 16) pairs; columns without a row are 0.
#[inline(always)]
pub(super) unsafe fn columns<L: Lanes>(
    rows: Rows,
    keys: Range<usize>,
    head_dim: usize,
    to: *mut f32,
) {
    for at in (0..head_dim).step_by(PAIRED) {
        // SAFETY: the caller's: the keys are there, and `to` has room.
        unsafe {
            let mut square = [L::splat(0.0); 16];
            for (key, line) in keys.clone().zip(&mut square) {
                let a = rows.load::<L>(key, at / 16, head_dim);
                let b = rows.load::<L>(key, at / 16 + 1, head_dim);
                let mut pairs = [0f32; 16];
                L::store_bf16(pairs.as_mut_ptr().cast(), a, b);
                *line = L::load(pairs.as_ptr());
            }
            for (i, line) in L::transpose(square).into_iter().enumerate() {
                L::store(to.add((at / 2 + i) * 16), line);
            }
        }
    }
}

/// Rows two by two, (rows / 2, head_dim) pairs; beside the last of an odd number stand zeros.
#[inline(always)]
pub(super) unsafe fn two_by_two<L: Lanes>(
    rows: Rows,
    keys: Range<usize>,
    head_dim: usize,
    to: *mut f32,
) {
    for (pair, key) in keys.clone().step_by(2).enumerate() {
        for vector in 0..head_dim / 16 {
            // SAFETY: as above.
            unsafe {
                let a = rows.load::<L>(key, vector, head_dim);
                let mut b = L::splat(0.0);
                if key + 1 < keys.end {
                    b = rows.load::<L>(key + 1, vector, head_dim);
                }
                L::store_i(to.add(pair * head_dim + vector * 16).cast(), L::pairs(a, b));
            }
        }
    }
}
