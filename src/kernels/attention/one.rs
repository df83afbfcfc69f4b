//! One query a head: reading keys and values is all that counts, so every query head of a key head
//! takes its part of each row while it is here. The keys are cut into stretches of the same length
//! whoever works on them: the sums do not depend on the number of threads.

use std::ops::Range;

use super::super::isa::Isa;
use super::super::lanes::{Lanes, per_isa};
use super::super::memory::Shared;
use super::super::pool::share;
use super::few::{BF16, F16, F32, gather, multiply};
use super::softmax::{LOWEST, Seen, Sum, weigh};
use super::{Kind, Rows, Task};

/// Keys of one piece of work.
pub(super) const STRETCH: usize = 256;
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
    let mut parts: Vec<f32> = Vec::with_capacity(pieces * task.group() * (width + 2));
    let to = Shared(parts.as_mut_ptr());
    let work = |range: Range<usize>| {
        // SAFETY: the caller's; each piece has a place of its own.
        unsafe { stretch(isa, task, stretches, range, to.get()) };
    };
    let bytes = 2 * most * task.batch * task.kv_heads * task.head_dim * task.k.kind.bytes();
    match bytes / SERIAL_BYTES {
        0 | 1 => work(0..pieces),
        _ => share(pieces, 4, work),
    }
    // SAFETY: all pieces are written; `out` is as long as the caller says.
    unsafe { join(isa, task, stretches, to.get(), out) };
}

per_isa! {
    /// The sums of some pieces.
    fn stretch(task: &Task<'_>, stretches: usize, pieces: Range<usize>, to: *mut f32) = stretch_of
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
    let mut room = Room::new(task);
    for piece in pieces {
        let place = Piece::new(task, stretches, piece);
        // SAFETY: the caller's: the keys are there.
        unsafe {
            let [k, v] = [&task.k, &task.v].map(|x| {
                let rows = x.head(place.batch, place.kv_head);
                Rows { at: rows.row(place.keys.start), ..rows }
            });
            place.run::<L, KIND>(task, k, v, &mut room, to);
        }
    }
}

/// Where they are not, through a copy with zeros behind each row.
#[inline(always)]
unsafe fn padded<L: Lanes>(task: &Task<'_>, stretches: usize, pieces: Range<usize>, to: *mut f32) {
    let mut room = Room::new(task);
    let width = task.vectors() * 16;
    let mut copies = [vec![0f32; STRETCH * width], vec![0f32; STRETCH * width]];
    for piece in pieces {
        let place = Piece::new(task, stretches, piece);
        // SAFETY: the caller's: the keys are there.
        unsafe {
            let [a, b] = &mut copies;
            let [k, v] = [(&task.k, a), (&task.v, b)].map(|(x, copy)| {
                let rows = x.head(place.batch, place.kv_head);
                for (key, to) in place.keys.clone().zip(copy.chunks_exact_mut(width)) {
                    rows.widen(key, &mut to[..task.head_dim]);
                }
                Rows { at: copy.as_ptr().cast(), kind: Kind::F32, step: width * 4 }
            });
            place.run::<L, F32>(task, k, v, &mut room, to);
        }
    }
}

/// Queries, padded and scaled, (group, width), and scores, (group, STRETCH).
struct Room {
    q: Vec<f32>,
    scores: Vec<f32>,
}

impl Room {
    fn new(task: &Task<'_>) -> Self {
        let group = task.group();
        Self { q: vec![0.0; group * task.vectors() * 16], scores: vec![0.0; group * STRETCH] }
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
        room: &mut Room,
        to: *mut f32,
    ) {
        let (group, vectors, count) = (task.group(), task.vectors(), self.keys.len());
        let width = vectors * 16;
        // SAFETY: the caller's; `room` is large enough for any piece, and `to` for all of them.
        unsafe {
            let to = to.add(self.index * group * (width + 2));
            let scores = room.scores.as_mut_ptr();
            self.score::<L, KIND>(task, [k, v], room);
            for g in 0..group {
                let head = self.kv_head * group + g;
                let mut sum = Sum { greatest: LOWEST, total: 0.0 };
                let before = task.keys.saturating_sub(1 + self.keys.start);
                let seen = Seen { from: 0, to: count, before };
                let row = scores.add(g * STRETCH);
                weigh::<L>(task, head, row, count.div_ceil(16), seen, &mut sum);
                to.add(group * width + 2 * g).write(sum.greatest);
                to.add(group * width + 2 * g + 1).write(sum.total);
            }
            let mut g = 0;
            while g < group {
                let (weights, to) = (scores.add(g * STRETCH), to.add(g * width));
                g += match group - g {
                    1 => gather::<L, KIND, 1>(weights, v, count, vectors, to),
                    2 => gather::<L, KIND, 2>(weights, v, count, vectors, to),
                    3 => gather::<L, KIND, 3>(weights, v, count, vectors, to),
                    _ => gather::<L, KIND, 4>(weights, v, count, vectors, to),
                };
            }
        }
    }

    /// The products of all heads' queries with the keys.
    #[inline(always)]
    unsafe fn score<L: Lanes, const KIND: u8>(
        &self,
        task: &Task<'_>,
        [k, v]: [Rows; 2],
        room: &mut Room,
    ) {
        let (group, vectors, count) = (task.group(), task.vectors(), self.keys.len());
        let width = vectors * 16;
        let (q, scores) = (room.q.as_mut_ptr(), room.scores.as_mut_ptr());
        // SAFETY: the caller's; `room` is large enough for any piece.
        unsafe {
            for g in 0..group {
                let from: *const f32 =
                    task.q.head(self.batch, self.kv_head * group + g).row(0).cast();
                for i in 0..task.head_dim {
                    *q.add(g * width + i) = *from.add(i) * task.scale;
                }
            }
            let mut g = 0;
            while g < group {
                let (q, scores) = (q.add(g * width), scores.add(g * STRETCH));
                g += match group - g {
                    1 => multiply::<L, KIND, 1>(q, [k, v], count, vectors, scores),
                    2 => multiply::<L, KIND, 2>(q, [k, v], count, vectors, scores),
                    3 => multiply::<L, KIND, 3>(q, [k, v], count, vectors, scores),
                    _ => multiply::<L, KIND, 4>(q, [k, v], count, vectors, scores),
                };
            }
        }
    }
}

per_isa! {
    /// Joins the stretches of each head.
    fn join(task: &Task<'_>, stretches: usize, parts: *const f32, out: *mut f32) = join_of
}

#[inline(always)]
unsafe fn join_of<L: Lanes>(task: &Task<'_>, stretches: usize, parts: *const f32, out: *mut f32) {
    let (group, width) = (task.group(), task.vectors() * 16);
    let mut sums = vec![0f32; width];
    for index in 0..task.batch * task.heads {
        let (kv, g) = (index / group, index % group);
        let whole = Sum::new(task, index % task.heads);
        // SAFETY: the caller's: every piece is there.
        unsafe {
            let part = |stretch| parts.add((kv * stretches + stretch) * group * (width + 2));
            let sum = |stretch| {
                let at = part(stretch).add(group * width + 2 * g);
                Sum { greatest: *at, total: *at.add(1) }
            };
            let greatest = (0..stretches).map(|s| sum(s).greatest).fold(whole.greatest, f32::max);
            let mut total = whole.total * (whole.greatest - greatest).exp();
            sums.fill(0.0);
            for stretch in 0..stretches {
                let Sum { greatest: own, total: count } = sum(stretch);
                let factor = (own - greatest).exp();
                total += count * factor;
                let from = part(stretch).add(g * width);
                for at in (0..width).step_by(16) {
                    let to = sums.as_mut_ptr().add(at);
                    let sum = L::fma(L::load(from.add(at)), L::splat(factor), L::load(to));
                    L::store(to, sum);
                }
            }
            for (i, sum) in sums.iter().take(task.head_dim).enumerate() {
                out.add(index * task.head_dim + i).write(sum / total);
            }
        }
    }
}
