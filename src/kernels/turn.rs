//! Sixteen rows of words, turned so that each word's sixteen lie side by side: how dense matrices
//! become tiles. No word is changed.

use super::format::ROWS;
use super::lanes::{Lanes, per_isa};

per_isa! {
    /// Writes the words of sixteen rows of `bytes` bytes (a multiple of 4), one behind the other,
    /// as `[word][row]`.
    fn turn(from: *const u8, bytes: usize, to: *mut u8) = turn_rows
}

#[inline(always)]
unsafe fn turn_rows<L: Lanes>(from: *const u8, bytes: usize, to: *mut u8) {
    let words = bytes / 4;
    let squares = words / ROWS * ROWS;
    for word in (0..squares).step_by(ROWS) {
        // SAFETY: the caller's: each row has these sixteen words, and `to` their places.
        unsafe {
            let mut square = [L::splat(0.0); ROWS];
            for (row, line) in square.iter_mut().enumerate() {
                *line = L::load(from.add(row * bytes + word * 4).cast());
            }
            for (i, line) in L::transpose(square).into_iter().enumerate() {
                L::store(to.add((word + i) * ROWS * 4).cast(), line);
            }
        }
    }
    for word in squares..words {
        for row in 0..ROWS {
            // SAFETY: as above.
            unsafe {
                let four = from.add(row * bytes + word * 4).cast::<[u8; 4]>().read_unaligned();
                to.add((word * ROWS + row) * 4).cast::<[u8; 4]>().write_unaligned(four);
            }
        }
    }
}
