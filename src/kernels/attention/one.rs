//! One query a head: reading keys and values is all that counts, so every query head of a key head takes
//! its part of each row while it is here. Keys are cut alike whoever works on them.

use std::ops::Range;

use super::super::isa::Isa;
use super::super::lanes::{Lanes, per_isa};
use super::super::memory::{Lent, Shared, lent};
use super::super::pool::sweep;
use super::few::{gather, multiply};
use super::join::join;
use super::rows::{BF16, CODES, F16, F32};
use super::softmax::{LOWEST, Seen, Sum, weigh};
use super::{Kind, Rows, Task};

/// Keys of one piece of work.
const STRETCH: usize = 256;
/// Keys that are met, weighed and summed at once: so few that memory is read all the time, not by
/// turns with the sums.
pub(super) const TILE: usize = 32;
/// Bytes of keys and values that a thread reads in a few microseconds.
const SERIAL_BYTES: usize = 64 << 10;

/// Writes (batch, 1, heads, head_dim).
///
/// # Safety
/// The processor must have `isa`; the task's views must be what they say.
pub(super) unsafe fn run(isa: Isa, task: &Task<'_>, out: *mut f32) {
    let slot = task.keys - 1;
    let most = (0..task.batch).map(|row| task.sees(row, slot).len()).max().unwrap_or(0);
    let stretches = most.div_ceil(STRETCH);
    let width = task.vectors() * 16;
    let pieces = task.batch * task.kv_heads * stretches;
    // Of each piece and query head: the sums, not yet divided, then what they are relative to.
    let mut parts = lent(pieces * task.group() * (width + 2) * 4);
    let to = Shared(parts.as_mut_ptr().cast::<f32>());
    let work = |range: Range<usize>| {
        // SAFETY: the caller's; each piece has a place of its own.
        unsafe { stretch(isa, task, stretches, range, to.get()) };
    };
    let bytes = 2 * most * task.batch * task.kv_heads * task.head_dim * task.k.kind.bytes();
    match bytes / SERIAL_BYTES {
        0 | 1 => work(0..pieces),
        _ => sweep(pieces, work),
    }
    // SAFETY: all pieces are written; `out` is as long as the caller says.
    unsafe { join(isa, task, stretches, to.get(), out) };
}

per_isa! {
    /// The sums of some pieces.
    fn stretch(task: &Task<'_>, stretches: usize, pieces: Range<usize>, to: *mut f32)
        = stretch_of, lines
}

#[inline(always)]
unsafe fn stretch_of<L: Lanes>(
    task: &Task<'_>,
    stretches: usize,
    pieces: Range<usize>,
    to: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        match task.k.kind {
            _ if !task.head_dim.is_multiple_of(16) => padded::<L>(task, stretches, pieces, to),
            Kind::F32 => whole::<L, F32>(task, stretches, pieces, to),
            Kind::Bf16 => whole::<L, BF16>(task, stretches, pieces, to),
            Kind::F16 => whole::<L, F16>(task, stretches, pieces, to),
            Kind::Codes => whole::<L, CODES>(task, stretches, pieces, to),
        }
    }
}

/// Where keys and values are whole vectors.
#[inline(always)]
unsafe fn whole<L: Lanes, const KIND: u8>(
    task: &Task<'_>,
    stretches: usize,
    pieces: Range<usize>,
    to: *mut f32,
) {
    let room = Room::new(task);
    for piece in pieces {
        let place = Piece::new(task, stretches, piece);
        // SAFETY: the caller's: the keys are there.
        unsafe {
            let [k, v] = [&task.k, &task.v].map(|x| {
                let x = x.head(place.batch, place.kv_head);
                Rows { at: x.row(place.keys.start), ..x }
            });
            place.run::<L, KIND>(task, k, v, &room, to);
        }
    }
}

/// Where they are not, through a copy with zeros behind each row.
#[inline(always)]
unsafe fn padded<L: Lanes>(task: &Task<'_>, stretches: usize, pieces: Range<usize>, to: *mut f32) {
    let room = Room::new(task);
    let width = task.vectors() * 16;
    let mut copies = [lent(STRETCH * width * 4), lent(STRETCH * width * 4)];
    for piece in pieces {
        let place = Piece::new(task, stretches, piece);
        // SAFETY: the caller's: the keys are there.
        unsafe {
            let [a, b] = &mut copies;
            let [k, v] = [(&task.k, a), (&task.v, b)].map(|(x, copy)| {
                let rows = x.head(place.batch, place.kv_head);
                let to = copy.as_mut_ptr().cast::<f32>();
                for (i, key) in place.keys.clone().enumerate() {
                    let to = std::slice::from_raw_parts_mut(to.add(i * width), width);
                    to[task.head_dim..].fill(0.0);
                    rows.widen::<L>(key, &mut to[..task.head_dim]);
                }
                Rows { at: to.cast(), kind: Kind::F32, step: width * 4 }
            });
            place.run::<L, F32>(task, k, v, &room, to);
        }
    }
}

/// Where a thread works on a piece: queries, padded and scaled, (group, width); scores,
/// (group, TILE); factors, (group).
struct Room {
    q: *mut f32,
    scores: *mut f32,
    factors: *mut f32,
    _held: Lent,
}

impl Room {
    fn new(task: &Task<'_>) -> Self {
        let (group, width) = (task.group(), task.vectors() * 16);
        let mut held = lent(group * (width + TILE + 1) * 4);
        let q: *mut f32 = held.as_mut_ptr().cast();
        let scores = q.wrapping_add(group * width);
        Self { q, scores, factors: scores.wrapping_add(group * TILE), _held: held }
    }
}

/// A stretch of the keys of one head.
struct Piece {
    index: usize,
    batch: usize,
    kv_head: usize,
    keys: Range<usize>,
}

impl Piece {
    fn new(task: &Task<'_>, stretches: usize, index: usize) -> Self {
        let (head, stretch) = (index / stretches, index % stretches);
        let (batch, kv_head) = (head / task.kv_heads, head % task.kv_heads);
        let seen = task.sees(batch, task.keys - 1);
        let start = (seen.start + stretch * STRETCH).min(seen.end);
        Self { index, batch, kv_head, keys: start..seen.end.min(start + STRETCH) }
    }

    /// `k` and `v` begin at the piece's first key.
    #[inline(always)]
    unsafe fn run<L: Lanes, const KIND: u8>(
        &self,
        task: &Task<'_>,
        k: Rows,
        v: Rows,
        room: &Room,
        to: *mut f32,
    ) {
        let (group, vectors) = (task.group(), task.vectors());
        let width = vectors * 16;
        // SAFETY: the caller's; `room` is large enough for any piece, and `to` for all of them.
        unsafe {
            let to = to.add(self.index * group * (width + 2));
            let sums = to.add(group * width).cast::<Sum>();
            to.write_bytes(0, group * width);
            for g in 0..group {
                sums.add(g).write(Sum { greatest: LOWEST, total: 0.0 });
            }
            for line in (0..L::AHEAD[2]).step_by(64) {
                L::prefetch(k.at.wrapping_add(line));
                L::prefetch(v.at.wrapping_add(line));
            }
            self.scale(task, room);
            for first in (0..self.keys.len()).step_by(TILE) {
                let count = TILE.min(self.keys.len() - first);
                let [k, v] = [k, v].map(|rows| Rows { at: rows.row(first), ..rows });
                score::<L, KIND>([k, v], count, group, vectors, room);
                for g in 0..group {
                    let head = self.kv_head * group + g;
                    let before = (task.keys - 1).saturating_sub(self.keys.start + first);
                    let seen = Seen { from: 0, to: count, before };
                    let (row, sum) = (room.scores.add(g * TILE), &mut *sums.add(g));
                    let factor = weigh::<L>(task, head, row, count.div_ceil(16), seen, sum);
                    room.factors.add(g).write(factor);
                }
                sum::<L, KIND>(v, count, group, vectors, room, to);
            }
        }
    }

    /// The queries of all heads of the key head, scaled, with zeros behind them.
    unsafe fn scale(&self, task: &Task<'_>, room: &Room) {
        let (group, width) = (task.group(), task.vectors() * 16);
        for g in 0..group {
            // SAFETY: the caller's: there is such a head, and `room` has a place for it.
            unsafe {
                let from = task.q.head(self.batch, self.kv_head * group + g).row(0).cast::<f32>();
                let to = room.q.add(g * width);
                for i in 0..width {
                    let number = if i < task.head_dim { *from.add(i) * task.scale } else { 0.0 };
                    to.add(i).write(number);
                }
            }
        }
    }
}

/// The products of all heads' queries with the keys of a tile.
#[inline(always)]
unsafe fn score<L: Lanes, const KIND: u8>(
    rows: [Rows; 2],
    count: usize,
    group: usize,
    vectors: usize,
    room: &Room,
) {
    let (q, scores) = (room.q.cast_const(), room.scores);
    let mut g = 0;
    while g < group {
        // SAFETY: the caller's; `room` is large enough for any tile.
        unsafe {
            let (q, to) = (q.add(g * vectors * 16), scores.add(g * TILE));
            g += match group - g {
                1 => multiply::<L, KIND, 1>(q, rows, count, vectors, to),
                2 => multiply::<L, KIND, 2>(q, rows, count, vectors, to),
                3 => multiply::<L, KIND, 3>(q, rows, count, vectors, to),
                _ => multiply::<L, KIND, 4>(q, rows, count, vectors, to),
            };
        }
    }
}

/// The weighted sums of the values of a tile, added to all heads'.
#[inline(always)]
unsafe fn sum<L: Lanes, const KIND: u8>(
    v: Rows,
    count: usize,
    group: usize,
    vectors: usize,
    room: &Room,
    to: *mut f32,
) {
    let (scores, factors) = (room.scores.cast_const(), room.factors.cast_const());
    let mut g = 0;
    while g < group {
        // SAFETY: the caller's; `room` is large enough for any tile.
        unsafe {
            let (weights, to) = ([scores.add(g * TILE), factors.add(g)], to.add(g * vectors * 16));
            g += match group - g {
                1 => gather::<L, KIND, 1>(weights, v, count, vectors, to),
                2 => gather::<L, KIND, 2>(weights, v, count, vectors, to),
                3 => gather::<L, KIND, 3>(weights, v, count, vectors, to),
                _ => gather::<L, KIND, 4>(weights, v, count, vectors, to),
            };
        }
    }
}
