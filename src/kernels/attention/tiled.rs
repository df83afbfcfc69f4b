//! Many queries: a block of them, of all heads of a key head, meets a tile of keys at a time. Tiles
//! that nobody in the block sees are skipped. What is kept is a tile of scores and the sums.

use std::ops::Range;

use super::super::isa::Isa;
use super::super::lanes::{Lanes, per_isa};
use super::super::memory::Shared;
use super::super::panel::{Left, Right, multiply};
use super::super::pool::share;
use super::pairs::{self, PAIRED};
use super::rows::columns;
use super::softmax::{Seen, Sum, weigh};
use super::{Kind, Task};

/// Keys of a tile.
const TILE: usize = 64;
/// Rows of a block: queries times heads of a group, where one query's do not exceed it.
pub(super) const ROWS: usize = 192;

/// Writes (batch, seq, heads, head_dim).
///
/// # Safety
/// The processor must have `isa`; the task's views must be what they say.
pub(super) unsafe fn run(isa: Isa, task: &Task<'_>, out: *mut f32) {
    let queries = (ROWS / task.group()).clamp(1, task.seq);
    let blocks = task.seq.div_ceil(queries);
    let out = Shared(out);
    share(blocks * task.batch * task.kv_heads, usize::MAX / 1024, |pieces| {
        // SAFETY: the caller's; each piece has outputs of its own.
        unsafe { some(isa, task, queries, pieces, out.get()) };
    });
}

per_isa! {
    /// Some blocks of some heads.
    fn some(task: &Task<'_>, queries: usize, pieces: Range<usize>, out: *mut f32) = some_of, lines
}

#[inline(always)]
unsafe fn some_of<L: Lanes>(task: &Task<'_>, queries: usize, pieces: Range<usize>, out: *mut f32) {
    let mut room = Room::new(task, queries);
    let pairs = L::BF16 && task.rounds && task.head_dim.is_multiple_of(PAIRED);
    for piece in pieces {
        let block = Block::of(task, queries, piece);
        // SAFETY: the caller's.
        unsafe {
            match pairs {
                true => block.run::<L, true>(&mut room, out),
                false => block.run::<L, false>(&mut room, out),
            }
        }
    }
}

/// What a block is worked out in. Everything is written before it is read.
struct Room {
    q: Vec<f32>,      // (rows, head_dim), scaled
    keys: Vec<f32>,   // (TILE / 16, head_dim, 16)
    values: Vec<f32>, // (TILE, width), where values are not read in place
    scores: Vec<f32>, // (rows, TILE)
    out: Vec<f32>,    // (rows, width)
    sums: Vec<Sum>,
}

impl Room {
    fn new(task: &Task<'_>, queries: usize) -> Self {
        let (rows, width) = (queries * task.group(), task.vectors() * 16);
        Self {
            q: vec![0.0; rows * task.head_dim],
            keys: vec![0.0; TILE * task.head_dim.next_multiple_of(16)],
            values: vec![0.0; TILE * width],
            scores: vec![0.0; rows * TILE],
            out: vec![0.0; rows * width],
            sums: Vec::with_capacity(rows),
        }
    }
}

/// Some queries of all heads of a key head. Row g · queries + i is query i of head g.
pub(super) struct Block<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) batch: usize,
    pub(super) kv_head: usize,
    queries: Range<usize>,
}

impl<'a> Block<'a> {
    /// The piece's, of blocks of so many queries.
    pub(super) fn of(task: &'a Task<'a>, queries: usize, piece: usize) -> Self {
        let blocks = task.seq.div_ceil(queries);
        // The last block sees most: first, so that threads end together.
        let (block, head) = (blocks - 1 - piece % blocks, piece / blocks);
        let (batch, kv_head) = (head / task.kv_heads, head % task.kv_heads);
        let queries = block * queries..task.seq.min((block + 1) * queries);
        Self { task, batch, kv_head, queries }
    }

    /// The first key that one of them sees, and the one behind the last.
    pub(super) fn reach(&self) -> (usize, usize) {
        let start = self.task.keys - self.task.seq;
        // Both ends of what a query sees grow with the query.
        let first = self.task.sees(self.batch, start + self.queries.start).start;
        (first, start + self.queries.end)
    }

    #[inline(always)]
    unsafe fn run<L: Lanes, const PAIRS: bool>(&self, room: &mut Room, out: *mut f32) {
        let (first, end) = self.reach();
        self.enter(room);
        if PAIRS {
            for row in room.q.chunks_exact_mut(self.task.head_dim).take(self.rows()) {
                // SAFETY: a row is so long.
                unsafe { pairs::in_place::<L>(row.as_mut_ptr(), row.len()) };
            }
        }
        for tile in (first..end).step_by(TILE) {
            let keys = tile..end.min(tile + TILE);
            // SAFETY: the caller's: the keys are there.
            unsafe {
                self.score::<L, PAIRS>(keys.clone(), room);
                self.weigh::<L, PAIRS>(keys.clone(), room, tile > first);
                self.gather::<L, PAIRS>(keys, room, tile > first);
            }
        }
        // SAFETY: the caller's.
        unsafe { self.leave(room, out) };
    }

    /// Rows of the block.
    pub(super) fn rows(&self) -> usize {
        self.queries.len() * self.task.group()
    }

    pub(super) fn head(&self, row: usize) -> usize {
        self.kv_head * self.task.group() + row / self.queries.len()
    }

    pub(super) fn query(&self, row: usize) -> usize {
        self.queries.start + row % self.queries.len()
    }

    fn enter(&self, room: &mut Room) {
        let task = self.task;
        room.sums.clear();
        for (row, to) in room.q.chunks_exact_mut(task.head_dim).take(self.rows()).enumerate() {
            // SAFETY: the task's: there is such a head, and such a query.
            unsafe {
                let from = task.q.head(self.batch, self.head(row));
                let from: *const f32 = from.row(self.query(row)).cast();
                for (i, to) in to.iter_mut().enumerate() {
                    *to = *from.add(i) * task.scale;
                }
            }
            room.sums.push(Sum::new(task, self.head(row)));
        }
    }

    /// The products of all rows with the keys.
    #[inline(always)]
    unsafe fn score<L: Lanes, const PAIRS: bool>(&self, keys: Range<usize>, room: &mut Room) {
        let head_dim = self.task.head_dim;
        // SAFETY: the caller's; the room is large enough for any tile.
        unsafe {
            let rows = self.task.k.head(self.batch, self.kv_head);
            for (panel, first) in keys.clone().step_by(16).enumerate() {
                let to = room.keys.as_mut_ptr().add(panel * head_dim * 16);
                let keys = first..keys.end.min(first + 16);
                match PAIRS {
                    true => pairs::columns::<L>(rows, keys, head_dim, to),
                    false => columns::<L>(rows, keys, head_dim, to),
                }
            }
            let (x, rows) = (room.q.as_ptr(), self.rows());
            let width = if PAIRS { head_dim / 2 } else { head_dim };
            let left = Left { x, rows, width, pitch: head_dim };
            let panels = keys.len().div_ceil(16);
            for panel in (0..panels).step_by(at_once::<L>()) {
                let count = at_once::<L>().min(panels - panel);
                let at = |i: usize| room.keys.as_ptr().add((panel + i) * head_dim * 16);
                let right = Right { panels: [at(0), at(count - 1)], count, pitch: 16 };
                let out = room.scores.as_mut_ptr().add(panel * 16);
                multiply::<L, PAIRS>(&left, &right, out, TILE, false);
            }
        }
    }

    /// Products become weights, and sums so far are rescaled.
    #[inline(always)]
    unsafe fn weigh<L: Lanes, const PAIRS: bool>(
        &self,
        keys: Range<usize>,
        room: &mut Room,
        summed: bool,
    ) {
        let task = self.task;
        let width = task.vectors() * 16;
        let vectors = keys.len().div_ceil(16);
        for row in 0..self.rows() {
            let slot = task.keys - task.seq + self.query(row);
            let seen = task.sees(self.batch, slot);
            let clamp = |key: usize| key.clamp(keys.start, keys.end) - keys.start;
            let (from, to) = (clamp(seen.start), clamp(seen.end));
            // A key may stand after the query: then it is not seen, whatever its distance.
            let seen = Seen { from, to, before: slot.saturating_sub(keys.start) };
            // SAFETY: a row of scores is a tile long, a row of sums `width`.
            unsafe {
                let scores = room.scores.as_mut_ptr().add(row * TILE);
                let sum = &mut room.sums[row];
                let factor = weigh::<L>(task, self.head(row), scores, vectors, seen, sum);
                if PAIRS {
                    if vectors % 2 == 1 {
                        L::store(scores.add(vectors * 16), L::splat(0.0));
                    }
                    pairs::in_place::<L>(scores, vectors.next_multiple_of(2) * 16);
                }
                if summed && factor != 1.0 {
                    let out = room.out.as_mut_ptr().add(row * width);
                    for i in (0..width).step_by(16) {
                        L::store(out.add(i), L::mul(L::load(out.add(i)), L::splat(factor)));
                    }
                }
            }
        }
    }

    /// Adds the weighted values.
    #[inline(always)]
    unsafe fn gather<L: Lanes, const PAIRS: bool>(
        &self,
        keys: Range<usize>,
        room: &mut Room,
        add: bool,
    ) {
        let (head_dim, vectors) = (self.task.head_dim, self.task.vectors());
        let width = vectors * 16;
        // SAFETY: the caller's; copies have room for a tile.
        unsafe {
            let rows = self.task.v.head(self.batch, self.kv_head);
            let in_place = rows.kind == Kind::F32 && head_dim == width;
            let (mut values, mut pitch): (*const f32, usize) = (room.values.as_ptr(), width);
            if PAIRS {
                pairs::two_by_two::<L>(rows, keys.clone(), head_dim, room.values.as_mut_ptr());
            } else if in_place {
                (values, pitch) = (rows.row(keys.start).cast(), rows.step / 4);
            } else {
                for (key, to) in keys.clone().zip(room.values.chunks_exact_mut(width)) {
                    rows.widen::<L>(key, &mut to[..head_dim]);
                }
            }
            let (x, rows) = (room.scores.as_ptr(), self.rows());
            let met = if PAIRS { keys.len().div_ceil(2) } else { keys.len() };
            let left = Left { x, rows, width: met, pitch: TILE };
            for vector in (0..vectors).step_by(at_once::<L>()) {
                let count = at_once::<L>().min(vectors - vector);
                let at = |i: usize| values.add((vector + i) * 16);
                let right = Right { panels: [at(0), at(count - 1)], count, pitch };
                let out = room.out.as_mut_ptr().add(vector * 16);
                multiply::<L, PAIRS>(&left, &right, out, width, add);
            }
        }
    }

    unsafe fn leave(&self, room: &Room, out: *mut f32) {
        let task = self.task;
        let width = task.vectors() * 16;
        for (row, from) in room.out.chunks_exact(width).take(self.rows()).enumerate() {
            let at = (self.batch * task.seq + self.query(row)) * task.heads + self.head(row);
            let inverse = 1.0 / room.sums[row].total;
            for (i, from) in from.iter().take(task.head_dim).enumerate() {
                // SAFETY: the caller's: every query of every head has its place.
                unsafe { out.add(at * task.head_dim + i).write(from * inverse) };
            }
        }
    }
}

/// Panels that a product takes.
fn at_once<L: Lanes>() -> usize {
    if L::WIDE { 2 } else { 1 }
}
