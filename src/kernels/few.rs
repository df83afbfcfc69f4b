//! Products of few rows: the matrix is streamed once, and each group of it meets up to four rows
//! while it is in registers. Memory is the limit, so no format is ever unpacked to memory here.

#![allow(clippy::needless_range_loop, reason = "indices are lanes and rows of registers")]

use std::ops::Range;

use super::activations::{Places, Sums};
use super::dots::dots;
use super::format::{Format, ROWS};
use super::lanes::{Lanes, per_isa};
use super::unary::{Activation, activate};

/// Rows that one pass takes along.
pub(super) const MOST: usize = 4;

/// A matrix's tiles, and where its outputs go.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) format: Format,
    pub(super) tiles: *const u8,
    pub(super) tile_bytes: usize,
    pub(super) groups: usize,
    pub(super) n: usize,
    /// (rows, n)
    pub(super) out: *mut f32,
}

impl Part {
    /// Sixteens of outputs.
    pub(super) fn tiles(&self) -> usize {
        self.n.div_ceil(ROWS)
    }
}

/// A cluster of rows of activations.
#[derive(Clone, Copy)]
pub(super) struct Input {
    pub(super) rows: usize,
    /// (rows, groups · 32); null where no part is dense.
    pub(super) x: *const f32,
    /// (groups, rows, 32); null where no part is quantised.
    pub(super) codes: *const i8,
    /// (groups, rows)
    pub(super) d: *const f32,
    /// (groups, rows)
    pub(super) sums: *const Sums,
}

impl Input {
    pub(super) fn new(rows: usize, x: *const f32, codes: &Places) -> Self {
        let &Places { codes, d, sums } = codes;
        Self { rows, x, codes, d, sums }
    }
}

// SAFETY: what the pointers point at is only read, except `out`, of which each thread writes its
// own tiles.
unsafe impl Sync for Part {}
// SAFETY: as above.
unsafe impl Sync for Input {}

per_isa! {
    /// The outputs of `tiles` of one part.
    fn products(part: &Part, input: &Input, tiles: Range<usize>) = products_of, bytes
}

per_isa! {
    /// `activation(gate) · up`, for `tiles` of both parts; written where `gate.out` says.
    fn gated(gate: &Part, up: &Part, activation: Activation, input: &Input, tiles: Range<usize>)
        = gated_of, bytes
}

// No closures around kernels: one is compiled without the instructions of the function around it,
// and where it is too large to be inlined, each instruction in it becomes a call.

/// Runs `$one!(rows, streams, first tile, tiles from one stream to the next)` over all tiles of
/// `$tiles`. With pages of 4 KiB, four streams are a third faster than one on Intel's processors; on
/// AMD's, two are. More rows need the registers for sums.
macro_rules! in_streams {
    ($input:expr, $tiles:expr, $one:ident) => {{
        let mut rest: Range<usize> = $tiles;
        macro_rules! streams {
            ($m:tt, $s:tt) => {
                let first = take(&mut rest, $s);
                for t in first.clone() {
                    $one!($m, $s, t, first.len());
                }
            };
        }
        match $input.rows {
            1 => {
                if L::STREAMS >= 4 {
                    streams!(1, 4);
                }
                if L::STREAMS >= 2 {
                    streams!(1, 2);
                }
                streams!(1, 1);
            }
            2 => {
                streams!(2, 1);
            }
            3 => {
                streams!(3, 1);
            }
            _ => {
                streams!(4, 1);
            }
        }
    }};
}

/// Takes as many tiles as fit `streams` streams; gives those of the first.
fn take(rest: &mut Range<usize>, streams: usize) -> Range<usize> {
    let first = rest.start..rest.start + rest.len() / streams;
    rest.start += streams * first.len();
    first
}

#[inline(always)]
unsafe fn products_of<L: Lanes>(part: &Part, input: &Input, tiles: Range<usize>) {
    macro_rules! one {
        ($m:tt, $s:tt, $t:expr, $gap:expr) => {
            let mut at = [($t, part); $s];
            for s in 0..$s {
                at[s].0 += s * $gap;
            }
            let sums = dots::<L, $m, $s>(at, input);
            for s in 0..$s {
                write::<L, $m>(part, at[s].0, sums[s]);
            }
        };
    }
    // SAFETY: the caller's.
    unsafe { in_streams!(input, tiles, one) }
}

#[inline(always)]
unsafe fn gated_of<L: Lanes>(
    gate: &Part,
    up: &Part,
    activation: Activation,
    input: &Input,
    tiles: Range<usize>,
) {
    macro_rules! one {
        ($m:tt, $s:tt, $t:expr, $gap:expr) => {
            // The parts' tiles are met one after another by the same instructions: twice as many
            // would be compiled for a speed that nobody sees.
            let mut both = [[[L::splat(0.0); $m]; $s]; 2];
            for (sums, part) in both.iter_mut().zip([gate, up]) {
                let mut at = [($t, part); $s];
                for s in 0..$s {
                    at[s].0 += s * $gap;
                }
                *sums = dots::<L, $m, $s>(at, input);
            }
            for s in 0..$s {
                let mut a = both[0][s];
                for m in 0..$m {
                    a[m] = L::mul(activate::<L>(activation, a[m]), both[1][s][m]);
                }
                write::<L, $m>(gate, $t + s * $gap, a);
            }
        };
    }
    // SAFETY: the caller's.
    unsafe { in_streams!(input, tiles, one) }
}

/// Writes one tile's outputs.
#[inline(always)]
pub(super) unsafe fn write<L: Lanes, const M: usize>(part: &Part, t: usize, sums: [L::F; M]) {
    for m in 0..M {
        // SAFETY: row `m` has `n` outputs, of which this tile has sixteen, the last one fewer.
        unsafe {
            let to = part.out.add(m * part.n + t * ROWS);
            if (t + 1) * ROWS <= part.n {
                L::store(to, sums[m]);
            } else {
                let mut all = [0f32; ROWS];
                L::store(all.as_mut_ptr(), sums[m]);
                to.copy_from_nonoverlapping(all.as_ptr(), part.n - t * ROWS);
            }
        }
    }
}
