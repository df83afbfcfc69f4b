//! Products of small matrices in f32, where either side may lie as it likes: twelve rows meet
//! thirty-two columns at a time, their sums kept in registers. Who needs them is not known here.

use super::super::lanes::Lanes;

/// A matrix (rows, depth), its numbers `row` apart along the rows and `step` along the depth.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) at: *const f32,
    pub(super) row: usize,
    pub(super) step: usize,
}

/// A matrix (depth, columns), its rows `step` apart and without gaps.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub(super) at: *const f32,
    pub(super) step: usize,
}

/// A matrix (rows, columns), its rows `row` apart and without gaps.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) at: *mut f32,
    pub(super) row: usize,
    /// Onto what is there.
    pub(super) add: bool,
}

/// `out = left · right` for [rows, depth, columns]; columns are whole vectors of sixteen.
#[inline(always)]
pub(super) unsafe fn multiply<L: Lanes>(
    left: Left,
    right: Right,
    out: Out,
    [rows, depth, columns]: [usize; 3],
) {
    let mut column = 0;
    while column < columns {
        let pair = L::WIDE && columns - column >= 32;
        let mut row = 0;
        while row < rows {
            // SAFETY: the blocks lie within their matrices.
            unsafe {
                let left = Left { at: left.at.add(row * left.row), ..left };
                let right = Right { at: right.at.add(column), ..right };
                let out = Out { at: out.at.add(row * out.row + column), ..out };
                row += match (pair, rows - row) {
                    (true, 12..) => block::<L, 12, 2>(left, right, out, depth),
                    (true, 4..) => block::<L, 4, 2>(left, right, out, depth),
                    (true, _) => block::<L, 1, 2>(left, right, out, depth),
                    (false, 6..) => block::<L, 6, 1>(left, right, out, depth),
                    (false, 3..) => block::<L, 3, 1>(left, right, out, depth),
                    (false, _) => block::<L, 1, 1>(left, right, out, depth),
                };
            }
        }
        column += if pair { 32 } else { 16 };
    }
}

/// R rows by C vectors; answers R.
#[inline(always)]
unsafe fn block<L: Lanes, const R: usize, const C: usize>(
    left: Left,
    right: Right,
    out: Out,
    depth: usize,
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[L::splat(0.0); C]; R];
        if out.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = L::load(out.at.add(r * out.row + c * 16));
                }
            }
        }
        for i in 0..depth {
            let mut w = [L::splat(0.0); C];
            for (c, w) in w.iter_mut().enumerate() {
                *w = L::load(right.at.add(i * right.step + c * 16));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = L::splat(*left.at.add(r * left.row + i * left.step));
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = L::fma(w, x, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                L::store(out.at.add(r * out.row + c * 16), sum);
            }
        }
        R
    }
}
