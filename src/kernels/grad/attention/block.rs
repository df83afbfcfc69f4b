//! A few dozen queries of a head meet all keys that they see. Rows are copied with zeros behind
//! them, so that every vector is whole; queries are scaled as they are copied.

use super::super::super::lanes::{Lanes, per_isa};
use super::super::product::{Left, Out, Right, multiply};
use super::room::Room;
use super::rows::{copy, dot, softmax};
use super::{Inputs, Outputs};

/// Queries of a block: their scores of a thousand keys are 192 KiB.
pub(super) const ROWS: usize = 48;
/// Queries that are multiplied with the same keys.
const STRIP: usize = 12;

per_isa! {
    /// Writes (batch, seq, heads, head_dim).
    fn forward(inputs: Inputs<'_>, to: *mut f32) = forward_with
}

#[inline(always)]
unsafe fn forward_with<L: Lanes>(inputs: Inputs<'_>, to: *mut f32) {
    let sizes = inputs.sizes;
    let mut room = Room::new(&inputs);
    for pair in 0..sizes.batch * sizes.kv_heads {
        // SAFETY: there is such a key head, such queries, and a place for what they find.
        unsafe {
            room.enter_head::<L>(&inputs, pair);
            for head in inputs.heads_of(pair) {
                for first in (0..sizes.seq).step_by(ROWS) {
                    let block = Block::new(&inputs, head, first);
                    block.enter::<L>(&inputs, &mut room);
                    block.weigh::<L>(&mut room);
                    let values = Right { at: room.v.as_ptr(), step: room.width };
                    for (strip, rows, keys) in block.strips() {
                        let weights = room.weights.as_ptr().add(strip * room.pitch);
                        let left = Left { at: weights, row: room.pitch, step: 1 };
                        let out = room.dq.as_mut_ptr().add(strip * room.width);
                        let out = Out { at: out, row: room.width, add: false };
                        multiply::<L>(left, values, out, [rows, keys, room.width]);
                    }
                    for i in 0..block.rows {
                        let from = room.dq.as_ptr().add(i * room.width);
                        let to = to.add(inputs.place(head, first + i));
                        copy::<L>(from, to, sizes.head_dim, 1.0);
                    }
                }
            }
        }
    }
}

per_isa! {
    /// Writes the gradients of queries, keys and values, as they lie.
    fn backward(
        inputs: Inputs<'_>,
        outputs: Outputs<'_>,
        dq: *mut f32,
        dk: &mut [f32],
        dv: &mut [f32],
    ) = backward_with
}

#[inline(always)]
unsafe fn backward_with<L: Lanes>(
    inputs: Inputs<'_>,
    outputs: Outputs<'_>,
    dq: *mut f32,
    dk: &mut [f32],
    dv: &mut [f32],
) {
    let sizes = inputs.sizes;
    let mut room = Room::new(&inputs);
    for pair in 0..sizes.batch * sizes.kv_heads {
        // SAFETY: there is such a key head, such queries, and places for their gradients.
        unsafe {
            room.enter_head::<L>(&inputs, pair);
            room.dk.fill(0.0);
            room.dv.fill(0.0);
            for head in inputs.heads_of(pair) {
                for first in (0..sizes.seq).step_by(ROWS) {
                    let block = Block::new(&inputs, head, first);
                    block.enter::<L>(&inputs, &mut room);
                    block.weigh::<L>(&mut room);
                    block.differentiate::<L>(&inputs, &outputs, &mut room);
                    block.give_back::<L>(&mut room);
                    for i in 0..block.rows {
                        let from = room.dq.as_ptr().add(i * room.width);
                        let to = dq.add((head * sizes.seq + first + i) * sizes.head_dim);
                        copy::<L>(from, to, sizes.head_dim, inputs.scale);
                    }
                }
            }
            let start = pair * sizes.seq * sizes.head_dim;
            for (sums, to) in [(&room.dk, &mut *dk), (&room.dv, &mut *dv)] {
                for key in 0..sizes.seq {
                    let to = to.as_mut_ptr().add(start + key * sizes.head_dim);
                    copy::<L>(sums.as_ptr().add(key * room.width), to, sizes.head_dim, 1.0);
                }
            }
        }
    }
}

/// Queries of one head, from `first` on.
struct Block {
    head: usize,
    first: usize,
    rows: usize,
    /// Keys that the last of them sees, in whole vectors.
    keys: usize,
    head_dim: usize,
}

impl Block {
    fn new(inputs: &Inputs<'_>, head: usize, first: usize) -> Self {
        let rows = ROWS.min(inputs.sizes.seq - first);
        let keys = (first + rows).next_multiple_of(16);
        Self { head, first, rows, keys, head_dim: inputs.sizes.head_dim }
    }

    /// Strips of rows: the first, how many, and the keys they see in whole vectors. (No closure
    /// over the work: its instructions would become calls.)
    fn strips(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (first, all) = (self.first, self.rows);
        (0..all).step_by(STRIP).map(move |strip| {
            let rows = STRIP.min(all - strip);
            (strip, rows, (first + strip + rows).next_multiple_of(16))
        })
    }

    #[inline(always)]
    unsafe fn enter<L: Lanes>(&self, inputs: &Inputs<'_>, room: &mut Room) {
        let start = (self.head * inputs.sizes.seq + self.first) * self.head_dim;
        for i in 0..self.rows {
            // SAFETY: the queries are there.
            unsafe {
                let from = inputs.q.as_ptr().add(start + i * self.head_dim);
                let to = room.q.as_mut_ptr().add(i * room.width);
                copy::<L>(from, to, self.head_dim, inputs.scale);
            }
        }
    }

    /// The weights of all keys, those beyond what a query sees 0.
    #[inline(always)]
    unsafe fn weigh<L: Lanes>(&self, room: &mut Room) {
        // SAFETY: the room is as large.
        unsafe {
            let (q, keys) = (room.q.as_ptr(), room.k_turned.as_ptr());
            self.meet::<L>(q, keys, [room.width, room.pitch], room.weights.as_mut_ptr());
            for i in 0..self.rows {
                let row = room.weights.as_mut_ptr().add(i * room.pitch);
                softmax::<L>(row, self.first + i + 1, self.keys);
            }
        }
    }

    /// Products of the block's rows of `head_dim` numbers with all keys' (or values').
    #[inline(always)]
    unsafe fn meet<L: Lanes>(
        &self,
        rows_at: *const f32,
        turned: *const f32,
        [width, pitch]: [usize; 2],
        to: *mut f32,
    ) {
        for (strip, rows, keys) in self.strips() {
            // SAFETY: the caller's.
            unsafe {
                let left = Left { at: rows_at.add(strip * width), row: width, step: 1 };
                let out = Out { at: to.add(strip * pitch), row: pitch, add: false };
                let sizes = [rows, self.head_dim, keys];
                multiply::<L>(left, Right { at: turned, step: pitch }, out, sizes);
            }
        }
    }

    /// The gradients of the scores: weight · (dz·v − dz·z).
    #[inline(always)]
    unsafe fn differentiate<L: Lanes>(
        &self,
        inputs: &Inputs<'_>,
        outputs: &Outputs<'_>,
        room: &mut Room,
    ) {
        // SAFETY: the outputs are there; the room is as large.
        unsafe {
            let mut shares = [0f32; ROWS];
            for (i, share) in shares.iter_mut().enumerate().take(self.rows) {
                let at = inputs.place(self.head, self.first + i);
                let (z, dz) = (outputs.z.as_ptr().add(at), outputs.dz.as_ptr().add(at));
                copy::<L>(dz, room.dz.as_mut_ptr().add(i * room.width), self.head_dim, 1.0);
                *share = dot::<L>(z, dz, self.head_dim);
            }
            let (dz, values) = (room.dz.as_ptr(), room.v_turned.as_ptr());
            self.meet::<L>(dz, values, [room.width, room.pitch], room.scores.as_mut_ptr());
            for (strip, rows, keys) in self.strips() {
                for (i, share) in shares.iter().enumerate().skip(strip).take(rows) {
                    let weights = room.weights.as_ptr().add(i * room.pitch);
                    let scores = room.scores.as_mut_ptr().add(i * room.pitch);
                    for key in (0..keys).step_by(16) {
                        let off = L::sub(L::load(scores.add(key)), L::splat(*share));
                        L::store(scores.add(key), L::mul(off, L::load(weights.add(key))));
                    }
                    scores.add(keys).write_bytes(0, self.keys - keys);
                }
            }
        }
    }

    /// From the scores' gradients to those of queries (not scaled yet), keys and values.
    #[inline(always)]
    unsafe fn give_back<L: Lanes>(&self, room: &mut Room) {
        let (width, pitch) = (room.width, room.pitch);
        // SAFETY: the room is as large.
        unsafe {
            let keys = Right { at: room.k.as_ptr(), step: width };
            let (scores, dq) = (room.scores.as_ptr(), room.dq.as_mut_ptr());
            for (strip, rows, seen) in self.strips() {
                let left = Left { at: scores.add(strip * pitch), row: pitch, step: 1 };
                let out = Out { at: dq.add(strip * width), row: width, add: false };
                multiply::<L>(left, keys, out, [rows, seen, width]);
            }
            let seen = self.first + self.rows;
            for (left, right, sums) in
                [(&room.scores, &room.q, &mut room.dk), (&room.weights, &room.dz, &mut room.dv)]
            {
                let left = Left { at: left.as_ptr(), row: 1, step: pitch };
                let right = Right { at: right.as_ptr(), step: width };
                let out = Out { at: sums.as_mut_ptr(), row: width, add: true };
                multiply::<L>(left, right, out, [seen, self.rows, width]);
            }
        }
    }
}
