//! Many queries, on AMX: as in `tiled.rs`, but queries and keys, weights and values meet as tiles of
//! bf16. Either each is rounded once, or an f32 is the sum of three; see `kernels/amx.rs`.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::amx::{EXACT, Region, Sums, TILE, Tiles, Unpacked, sum};
use super::super::format::GROUP;
use super::super::lanes::Avx512;
use super::super::memory::{Lent, Shared, lent};
use super::super::panel::Sink;
use super::super::pool::share;
use super::columns::{columns, mask};
use super::softmax::{Seen, Sum, weigh};
use super::tiled::{Block, ROWS};
use super::{Kind, Task};

/// Keys that are worked through at a time.
const KEYS: usize = 64;
/// Groups of them.
const GROUPS: usize = KEYS / GROUP;

/// Writes (batch, seq, heads, head_dim).
///
/// # Safety
/// The processor must have AMX; the task's views must be what they say.
pub(super) unsafe fn run(task: &Task<'_>, out: *mut f32) {
    let queries = (ROWS / task.group()).clamp(1, task.seq);
    let blocks = task.seq.div_ceil(queries);
    let out = Shared(out);
    share(blocks * task.batch * task.kv_heads, usize::MAX / 1024, |pieces| {
        // SAFETY: the caller's; each piece has outputs of its own.
        unsafe {
            match (task.rounds, task.k.kind) {
                (true, _) => some::<1, 1>(task, queries, pieces, out.get()),
                (false, Kind::Bf16) => some::<EXACT, 1>(task, queries, pieces, out.get()),
                (false, _) => some::<EXACT, EXACT>(task, queries, pieces, out.get()),
            }
        }
    });
}

/// Some blocks of some heads; `A` parts of what stands on the left, `B` of what on the right.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn some<const A: usize, const B: usize>(
    task: &Task<'_>,
    queries: usize,
    pieces: Range<usize>,
    out: *mut f32,
) {
    let mut desk = Desk::<A, B>::new(task, queries);
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        for piece in pieces {
            let block = Block::of(task, queries, piece);
            desk.enter(&block);
            let (first, end) = block.reach();
            for start in (first..end).step_by(KEYS) {
                let keys = start..end.min(start + KEYS);
                desk.score(&block, keys.clone());
                desk.weigh(&block, keys.clone(), start > first);
                desk.gather(&block, keys, start > first);
            }
            desk.leave(&block, out);
        }
    }
}

/// What a block is worked out in. Everything is written before it is read.
struct Desk<const A: usize, const B: usize> {
    q: Tiles,       // (rows, head_dim), scaled
    keys: Lent,     // [KEYS / 16][groups of head_dim][B] tiles
    scores: Lent,   // (rows, KEYS)
    weights: Tiles, // (rows, KEYS)
    values: Lent,   // [vectors][GROUPS][B] tiles
    out: Lent,      // (rows, width)
    sums: Vec<Sum>,
    groups: usize,
    width: usize,
}

impl<const A: usize, const B: usize> Desk<A, B> {
    fn new(task: &Task<'_>, queries: usize) -> Self {
        let rows = (queries * task.group()).next_multiple_of(16);
        let groups = task.head_dim.div_ceil(GROUP);
        let width = task.vectors().next_multiple_of(2) * 16;
        Self {
            q: Tiles::new(rows, groups, A == EXACT),
            keys: lent(KEYS / 16 * groups * B * TILE),
            scores: lent(rows * KEYS * 4),
            weights: Tiles::new(rows, GROUPS, A == EXACT),
            values: lent(task.vectors() * GROUPS * B * TILE),
            out: lent(rows * width * 4),
            sums: Vec::with_capacity(rows),
            groups,
            width,
        }
    }

    #[inline(always)]
    unsafe fn enter(&mut self, block: &Block<'_>) {
        let task = block.task;
        self.sums.clear();
        let room = self.q.shared();
        for row in 0..block.rows() {
            // SAFETY: the task's: there is such a head, and such a query.
            unsafe {
                let from = task.q.head(block.batch, block.head(row));
                let scale = _mm512_set1_ps(task.scale);
                for group in 0..self.groups {
                    let numbers = from.pair(block.query(row), group, task.head_dim);
                    room.put(row, group, numbers.map(|x| _mm512_mul_ps(x, scale)));
                }
            }
            self.sums.push(Sum::new(task, block.head(row)));
        }
    }

    /// The products of all rows with the keys.
    #[inline(always)]
    unsafe fn score(&mut self, block: &Block<'_>, keys: Range<usize>) {
        let head_dim = block.task.head_dim;
        let step = self.groups * B * TILE;
        // SAFETY: the caller's: the keys are there.
        unsafe {
            let rows = block.task.k.head(block.batch, block.kv_head);
            let room = self.keys.as_mut_ptr();
            for (panel, first) in keys.clone().step_by(16).enumerate() {
                let to = room.add(panel * step);
                columns::<B>(rows, first..keys.end.min(first + 16), head_dim, self.groups, to);
            }
            let panels = keys.len().div_ceil(16);
            let scores: *mut f32 = self.scores.as_mut_ptr().cast();
            for panel in (0..panels).step_by(2) {
                let b =
                    [panel, (panel + 1).min(panels - 1)].map(|p| room.add(p * step).cast_const());
                let to = scores.add(panel * 16);
                products::<A, B>(&self.q, block.rows(), b, self.groups, to, KEYS, false);
            }
        }
    }

    /// Products become weights, and sums so far are rescaled.
    #[inline(always)]
    unsafe fn weigh(&mut self, block: &Block<'_>, keys: Range<usize>, summed: bool) {
        let task = block.task;
        let room = self.weights.shared();
        for row in 0..block.rows() {
            let slot = task.keys - task.seq + block.query(row);
            let seen = task.sees(block.batch, slot);
            let clamp = |key: usize| key.clamp(keys.start, keys.end) - keys.start;
            let (from, to) = (clamp(seen.start), clamp(seen.end));
            let seen = Seen { from, to, before: slot.saturating_sub(keys.start) };
            let vectors = to.div_ceil(16);
            // SAFETY: a row of scores is `KEYS` long, a row of sums `width`.
            unsafe {
                let scores = self.scores.as_mut_ptr().cast::<f32>().add(row * KEYS);
                let sum = &mut self.sums[row];
                let factor = weigh::<Avx512>(task, block.head(row), scores, vectors, seen, sum);
                for group in 0..GROUPS {
                    let mut numbers = [_mm512_setzero_ps(); 2];
                    for (half, number) in numbers.iter_mut().enumerate() {
                        if 2 * group + half < vectors {
                            *number = _mm512_loadu_ps(scores.add(group * GROUP + half * 16));
                        }
                    }
                    room.put(row, group, numbers);
                }
                if summed && factor != 1.0 {
                    let out = self.out.as_mut_ptr().cast::<f32>().add(row * self.width);
                    let factor = _mm512_set1_ps(factor);
                    for i in (0..self.width).step_by(16) {
                        let scaled = _mm512_mul_ps(_mm512_loadu_ps(out.add(i)), factor);
                        _mm512_storeu_ps(out.add(i), scaled);
                    }
                }
            }
        }
    }

    /// Adds the weighted values.
    #[inline(always)]
    unsafe fn gather(&mut self, block: &Block<'_>, keys: Range<usize>, add: bool) {
        let (head_dim, vectors) = (block.task.head_dim, block.task.vectors());
        let step = GROUPS * B * TILE;
        let groups = keys.len().div_ceil(GROUP);
        // SAFETY: the caller's: the keys are there.
        unsafe {
            let rows = block.task.v.head(block.batch, block.kv_head);
            let room = self.values.as_mut_ptr();
            for pair in 0..groups * GROUP / 2 {
                for vector in 0..vectors {
                    let [a, b] = [0, 1].map(|i| {
                        let key = keys.start + 2 * pair + i;
                        let here = key < keys.end;
                        rows.vector(key.min(keys.end - 1), vector, if here { head_dim } else { 0 })
                    });
                    Unpacked::<B>(room.add(vector * step)).pair(pair, a, b);
                }
            }
            let out: *mut f32 = self.out.as_mut_ptr().cast();
            for vector in (0..vectors).step_by(2) {
                let b = [vector, (vector + 1).min(vectors - 1)];
                let b = b.map(|vector| room.add(vector * step).cast_const());
                let to = out.add(vector * 16);
                products::<A, B>(&self.weights, block.rows(), b, groups, to, self.width, add);
            }
        }
    }

    #[inline(always)]
    unsafe fn leave(&self, block: &Block<'_>, out: *mut f32) {
        let task = block.task;
        for row in 0..block.rows() {
            let at = (block.batch * task.seq + block.query(row)) * task.heads + block.head(row);
            let inverse = 1.0 / self.sums[row].total;
            for vector in 0..task.vectors() {
                // SAFETY: the caller's: every query of every head has its place.
                unsafe {
                    let inverse = _mm512_set1_ps(inverse);
                    let from = self.out.as_ptr().cast::<f32>().add(row * self.width + vector * 16);
                    let to = out.add(at * task.head_dim + vector * 16);
                    let mask = mask(task.head_dim, vector * 16);
                    let scaled = _mm512_mul_ps(_mm512_loadu_ps(from), inverse);
                    _mm512_mask_storeu_ps(to, mask, scaled);
                }
            }
        }
    }
}

/// The products of rows with two right tiles, 32 rows at a time.
#[inline(always)]
unsafe fn products<const A: usize, const B: usize>(
    left: &Tiles,
    rows: usize,
    b: [*const u8; 2],
    groups: usize,
    to: *mut f32,
    stride: usize,
    add: bool,
) {
    let blocks = rows.div_ceil(16);
    for block in (0..blocks).step_by(2) {
        // SAFETY: the caller's.
        unsafe {
            let to = to.add(block * 16 * stride);
            let a = [left.at(block, 0), left.at((block + 1).min(blocks - 1), 0)];
            let to = Sums { at: to, stride };
            let from = add.then_some(to);
            match block + 1 < blocks {
                true => sum::<A, B, false>(a, b, groups, from, to),
                false => sum::<A, B, true>(a, b, groups, from, to),
            }
        }
    }
}
