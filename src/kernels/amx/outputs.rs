//! Where blocks of sums go: to their place among the outputs, or aside until the last stretch of
//! columns has been added. Nothing is unpacked or divided here.

use std::arch::x86_64::*;

use super::super::format::ROWS;
use super::right::Ahead;
use super::{Sums, sum_ahead};

/// Rows and columns of a block of sums.
pub(super) const SIDE: usize = 2 * ROWS;
/// Its bytes.
pub(super) const BLOCK: usize = SIDE * SIDE * 4;

/// Where the outputs of some rows go, for up to 32 columns.
pub(super) struct Outputs {
    pub(super) out: *mut f32,
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Onto what is there.
    pub(super) add: bool,
}

/// Which of a block's stretches one is.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) first: bool,
    pub(super) last: bool,
}

impl Outputs {
    /// Takes the products along a stretch into the block `i`, whose sums are `kept` meanwhile.
    #[inline(always)]
    pub(super) unsafe fn fill<const A: usize, const B: usize, const S: bool, const N: usize>(
        &self,
        i: usize,
        ab: [[*const u8; 2]; 2],
        groups: usize,
        turn: Turn,
        kept: Sums,
        ahead: &mut [Ahead; N],
    ) {
        let rows = (self.rows - i * SIDE).min(SIDE);
        let whole = self.columns == SIDE && rows.is_multiple_of(ROWS);
        // SAFETY: `rows` · `columns` outputs lie at `out`.
        unsafe {
            let out = Sums { at: self.out.add(i * SIDE * self.stride), stride: self.stride };
            let from = match turn.first {
                false => Some(kept),
                true if !self.add => None,
                true if whole => Some(out),
                true => {
                    copy(out, kept, rows, self.columns);
                    Some(kept)
                }
            };
            if turn.last && whole && !(turn.first && self.add) {
                // They will be here when the sums are ready.
                for row in 0..rows {
                    let line: *const i8 = out.at.add(row * out.stride).cast();
                    _mm_prefetch::<_MM_HINT_ET0>(line);
                    _mm_prefetch::<_MM_HINT_ET0>(line.add(64));
                }
            }
            let to = if turn.last && whole { out } else { kept };
            sum_ahead::<A, B, S, N>(ab, groups, from, to, ahead);
            if turn.last && !whole {
                copy(kept, out, rows, self.columns);
            }
        }
    }
}

#[inline(always)]
unsafe fn copy(from: Sums, to: Sums, rows: usize, columns: usize) {
    for row in 0..rows {
        // SAFETY: the caller's: both have so many numbers.
        unsafe {
            let (from, to) = (from.at.add(row * from.stride), to.at.add(row * to.stride));
            to.copy_from_nonoverlapping(from, columns);
        }
    }
}
