//! A few queries meet keys, and their weights values: each row of the cache is loaded once for all
//! of them. Which keys, and what becomes of the products, is `one.rs`'s affair.

use super::super::lanes::Lanes;
use super::Rows;
use super::one::TILE;
use super::rows::{bytes, load};

/// The products of R queries with all keys, at most a tile; answers R.
#[inline(always)]
pub(super) unsafe fn multiply<L: Lanes, const KIND: u8, const R: usize>(
    q: *const f32,
    [k, v]: [Rows; 2],
    count: usize,
    vectors: usize,
    to: *mut f32,
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        for first in (0..count).step_by(16) {
            let mut products = [[L::splat(0.0); 16]; R];
            for i in 0..16.min(count - first) {
                let row = k.row(first + i);
                // The values' while the keys are read, for two places are read faster than one.
                for line in (0..vectors * 16 * bytes(KIND)).step_by(64) {
                    L::prefetch(row.wrapping_add(line + L::AHEAD[2]));
                    L::prefetch(v.row(first + i).wrapping_add(line + L::AHEAD[2]));
                }
                let mut sums = [L::splat(0.0); R];
                for vector in 0..vectors {
                    let key = load::<L, KIND>(row, vector, vectors * 16);
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = L::fma(key, L::load(q.add((r * vectors + vector) * 16)), *sum);
                    }
                }
                for (products, sum) in products.iter_mut().zip(sums) {
                    products[i] = sum;
                }
            }
            for (r, products) in products.into_iter().enumerate() {
                L::store(to.add(r * TILE + first), L::sums(products));
            }
        }
        R
    }
}

/// Adds the weighted values to `factors` times the sums of R queries; answers R.
#[inline(always)]
pub(super) unsafe fn gather<L: Lanes, const KIND: u8, const R: usize>(
    [weights, factors]: [*const f32; 2],
    v: Rows,
    count: usize,
    vectors: usize,
    to: *mut f32,
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        let mut vector = 0;
        while vector < vectors {
            let to = to.add(vector * 16);
            let weights = [weights, factors];
            vector += match vectors - vector {
                4.. if L::WIDE => add_up::<L, KIND, R, 4>(weights, v, count, vector, vectors, to),
                _ => add_up::<L, KIND, R, 1>(weights, v, count, vector, vectors, to),
            };
        }
        R
    }
}

/// C vectors of them, from number `vector` on; answers C.
#[inline(always)]
unsafe fn add_up<L: Lanes, const KIND: u8, const R: usize, const C: usize>(
    [weights, factors]: [*const f32; 2],
    v: Rows,
    count: usize,
    vector: usize,
    vectors: usize,
    to: *mut f32,
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[L::splat(0.0); C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let factor = L::splat(*factors.add(r));
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = L::mul(L::load(to.add((r * vectors + c) * 16)), factor);
            }
        }
        for key in 0..count {
            let row = v.row(key);
            let mut values = [L::splat(0.0); C];
            for (c, value) in values.iter_mut().enumerate() {
                *value = load::<L, KIND>(row, vector + c, vectors * 16);
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weight = L::splat(*weights.add(r * TILE + key));
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = L::fma(value, weight, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                L::store(to.add((r * vectors + c) * 16), sum);
            }
        }
        C
    }
}
