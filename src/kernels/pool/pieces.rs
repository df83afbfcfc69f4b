//! How the work of a region is cut. Who takes which piece is `pool.rs`'s affair.

use std::ops::Range;

/// How `0..n` is cut.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    pub(super) n: usize,
    pub(super) count: usize,
    /// So many pieces, the first ones, are three quarters of all.
    pub(super) long: usize,
}

impl Pieces {
    /// Within the long and the short ones, pieces are as even as they can be.
    pub(super) fn piece(&self, index: usize) -> Range<usize> {
        let Self { n, count, long } = *self;
        let border = if long == 0 { 0 } else { n / 4 * 3 };
        let cut = |from: usize, n: usize, index: usize, count: usize| {
            from + n * index / count..from + n * (index + 1) / count
        };
        match index.checked_sub(long) {
            Some(short) => cut(border, n - border, short, count - long),
            None => cut(0, border, index, long),
        }
    }
}
