//! Rows of scores and of heads, on any level. Nothing is multiplied with keys or values here.

use super::super::super::lanes::{Lanes, exp};
use super::super::numbers::{load, store};

/// The first `seen` of `all` scores, whole vectors, become weights that add up to 1; the rest 0.
#[inline(always)]
pub(super) unsafe fn softmax<L: Lanes>(row: *mut f32, seen: usize, all: usize) {
    let keys = seen.next_multiple_of(16);
    // SAFETY: the caller's: there are `all` numbers.
    unsafe {
        for i in seen..keys {
            *row.add(i) = f32::NEG_INFINITY;
        }
        row.add(keys).write_bytes(0, all - keys);
        let mut greatest = L::load(row);
        for i in (16..keys).step_by(16) {
            greatest = L::max(greatest, L::load(row.add(i)));
        }
        let greatest = L::splat(L::greatest(greatest));
        let mut total = L::splat(0.0);
        for i in (0..keys).step_by(16) {
            let weights = exp::<L>(L::sub(L::load(row.add(i)), greatest));
            L::store(row.add(i), weights);
            total = L::add(total, weights);
        }
        let inverse = L::splat(1.0 / L::total(total));
        for i in (0..keys).step_by(16) {
            L::store(row.add(i), L::mul(L::load(row.add(i)), inverse));
        }
    }
}

/// Copies a row, times a factor.
#[inline(always)]
pub(super) unsafe fn copy<L: Lanes>(from: *const f32, to: *mut f32, count: usize, factor: f32) {
    for i in (0..count).step_by(16) {
        // SAFETY: the caller's: both are as long.
        unsafe {
            let numbers = load::<L>(from.add(i), count - i, 0.0);
            store::<L>(to.add(i), count - i, L::mul(numbers, L::splat(factor)));
        }
    }
}

/// The sum of the products of two rows.
#[inline(always)]
pub(super) unsafe fn dot<L: Lanes>(a: *const f32, b: *const f32, count: usize) -> f32 {
    // SAFETY: the caller's: both are as long.
    unsafe {
        let mut sum = L::splat(0.0);
        for i in (0..count).step_by(16) {
            let (a, b) = (load::<L>(a.add(i), count - i, 0.0), load::<L>(b.add(i), count - i, 0.0));
            sum = L::fma(a, b, sum);
        }
        L::total(sum)
    }
}
