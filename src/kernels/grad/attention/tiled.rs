//! The same on AMX: every product is one of tiles, and what stands between two of them is packed in
//! between. A block's scores that nobody sees are neither computed nor read, but for those within
//! 32 of the diagonal. What is computed is `block.rs`'s affair.

use super::super::super::amx::Region;
use super::super::super::lanes::{Avx512, Lanes};
use super::super::linear::Side;
use super::super::tiles::Packed;
use super::rows::{copy, dot, softmax};
use super::{Inputs, Outputs};

/// Queries of a block.
const ROWS: usize = 128;
/// Rows and columns that are multiplied at a time.
const EDGE: usize = 32;

/// Writes (batch, seq, heads, head_dim).
///
/// # Safety
/// The processor must have AMX; the inputs must be what they say.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
pub(super) unsafe fn forward<const PARTS: usize>(inputs: Inputs<'_>, to: *mut f32) {
    let sizes = inputs.sizes;
    let mut room = Room::<PARTS>::new(&inputs);
    // SAFETY: there is such a key head, such queries, and a place for what they find.
    unsafe {
        let _region = Region::enter();
        for pair in 0..sizes.batch * sizes.kv_heads {
            let [keys, values] = [inputs.k, inputs.v].map(|x| inputs.rows_of(x, pair));
            room.k_rows.take::<true>(&keys, [0, sizes.seq], [0, sizes.head_dim]);
            room.v_columns.take::<true>(&values.turned(), [0, sizes.head_dim], [0, sizes.seq]);
            for head in inputs.heads_of(pair) {
                for first in (0..sizes.seq).step_by(ROWS) {
                    let block = Block { head, first, rows: ROWS.min(sizes.seq - first) };
                    block.weigh(&inputs, &mut room);
                    block.gather(&mut room, false);
                    for i in 0..block.rows {
                        let from = room.out.as_ptr().add(i * room.width);
                        let to = to.add(inputs.place(head, first + i));
                        copy::<Avx512>(from, to, sizes.head_dim, 1.0);
                    }
                }
            }
        }
    }
}

/// Writes the gradients of queries, keys and values, as they lie.
///
/// # Safety
/// As [`forward`]; the gradients must be as long as what they are of.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
pub(super) unsafe fn backward<const PARTS: usize>(
    inputs: Inputs<'_>,
    outputs: Outputs<'_>,
    dq: *mut f32,
    dk: &mut [f32],
    dv: &mut [f32],
) {
    let (sizes, head_dim) = (inputs.sizes, inputs.sizes.head_dim);
    let mut room = Room::<PARTS>::new(&inputs);
    // SAFETY: there is such a key head, such queries, and places for their gradients.
    unsafe {
        let _region = Region::enter();
        for pair in 0..sizes.batch * sizes.kv_heads {
            let [keys, values] = [inputs.k, inputs.v].map(|x| inputs.rows_of(x, pair));
            room.k_rows.take::<true>(&keys, [0, sizes.seq], [0, head_dim]);
            room.v_rows.take::<true>(&values, [0, sizes.seq], [0, head_dim]);
            // What the scores' gradients gather are keys.
            room.v_columns.take::<true>(&keys.turned(), [0, head_dim], [0, sizes.seq]);
            room.dk.fill(0.0);
            room.dv.fill(0.0);
            for head in inputs.heads_of(pair) {
                for first in (0..sizes.seq).step_by(ROWS) {
                    let block = Block { head, first, rows: ROWS.min(sizes.seq - first) };
                    block.weigh(&inputs, &mut room);
                    block.differentiate(&inputs, &outputs, &mut room);
                    block.give_back(&mut room);
                    for i in 0..block.rows {
                        let from = room.out.as_ptr().add(i * room.width);
                        let to = dq.add((head * sizes.seq + first + i) * head_dim);
                        copy::<Avx512>(from, to, head_dim, inputs.scale);
                    }
                }
            }
            room.leave(&inputs, pair, dk, dv);
        }
    }
}

impl Inputs<'_> {
    /// The rows of head `index`, counted through the batch, of keys or values.
    fn rows_of<'a>(&self, x: &'a [f32], index: usize) -> Side<'a> {
        let (seq, head_dim) = (self.sizes.seq, self.sizes.head_dim);
        let numbers = &x[index * seq * head_dim..][..seq * head_dim];
        Side::new(numbers, [seq, head_dim], head_dim)
    }
}

/// What is worked in. Rows of `head_dim` numbers are `width` wide, in whole edges, with zeros behind
/// them; rows of scores are `pitch` apart.
struct Room<const PARTS: usize> {
    width: usize,
    pitch: usize,
    q: Vec<f32>,       // (ROWS, width), scaled
    dz: Vec<f32>,      // (ROWS, width)
    weights: Vec<f32>, // (ROWS, pitch)
    scores: Vec<f32>,  // (ROWS, pitch): gradients of the weights, then of the scores
    out: Vec<f32>,     // (ROWS, width)
    dk: Vec<f32>,      // (keys, width)
    dv: Vec<f32>,      // (keys, width)
    k_rows: Packed<PARTS>,
    v_rows: Packed<PARTS>,
    v_columns: Packed<PARTS>,
    left: Packed<PARTS>,
    right: Packed<PARTS>,
}

impl<const PARTS: usize> Room<PARTS> {
    fn new(inputs: &Inputs<'_>) -> Self {
        let width = inputs.sizes.head_dim.next_multiple_of(EDGE);
        let keys = inputs.sizes.seq.next_multiple_of(EDGE);
        // An odd number of lines: rows a power of two apart would meet in the same sets of a cache.
        let pitch = keys + 16;
        let rows = |n: usize, width: usize| vec![0f32; n * width];
        Self {
            width,
            pitch,
            q: rows(ROWS, width),
            dz: rows(ROWS, width),
            weights: rows(ROWS, pitch),
            scores: rows(ROWS, pitch),
            out: rows(ROWS, width),
            dk: rows(keys, width),
            dv: rows(keys, width),
            k_rows: Packed::new(keys, width),
            v_rows: Packed::new(keys, width),
            v_columns: Packed::new(width, keys),
            left: Packed::new(keys.max(ROWS), ROWS.max(width).max(keys)),
            right: Packed::new(width, ROWS),
        }
    }

    /// Writes the gradients of a head's keys and values.
    fn leave(&self, inputs: &Inputs<'_>, pair: usize, dk: &mut [f32], dv: &mut [f32]) {
        let (seq, head_dim) = (inputs.sizes.seq, inputs.sizes.head_dim);
        for (sums, to) in [(&self.dk, dk), (&self.dv, dv)] {
            let rows = to.chunks_exact_mut(head_dim).skip(pair * seq).take(seq);
            for (from, to) in sums.chunks_exact(self.width).zip(rows) {
                to.copy_from_slice(&from[..head_dim]);
            }
        }
    }
}

/// Queries of one head, from `first` on.
struct Block {
    head: usize,
    first: usize,
    rows: usize,
}

impl Block {
    /// Edges of rows: the first of them, and the keys they see in whole edges.
    fn edges(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let first = self.first;
        let rows = self.rows;
        (0..rows).step_by(EDGE).map(move |row| (row, (first + row + EDGE).next_multiple_of(EDGE)))
    }

    /// Keys that the last edge sees.
    fn keys(&self) -> usize {
        (self.first + self.rows).next_multiple_of(EDGE)
    }

    /// The weights of all keys up to the block's last, those beyond what a query sees 0.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
    unsafe fn weigh<const PARTS: usize>(&self, inputs: &Inputs<'_>, room: &mut Room<PARTS>) {
        let (seq, head_dim) = (inputs.sizes.seq, inputs.sizes.head_dim);
        let start = (self.head * seq + self.first) * head_dim;
        // SAFETY: the queries are there; the room is as large.
        unsafe {
            for i in 0..self.rows {
                let from = inputs.q.as_ptr().add(start + i * head_dim);
                let to = room.q.as_mut_ptr().add(i * room.width);
                copy::<Avx512>(from, to, head_dim, inputs.scale);
            }
            let q = Side::new(&room.q, [self.rows, room.width], room.width);
            room.left.take::<false>(&q, [0, self.rows], [0, room.width]);
            let to = room.weights.as_mut_ptr();
            self.meet(&room.left, &room.k_rows, room.width, to, room.pitch);
            for i in 0..self.rows {
                softmax::<Avx512>(to.add(i * room.pitch), self.first + i + 1, self.keys());
            }
        }
    }

    /// Products of the block's rows with those of all keys (or values) that they see.
    #[inline(always)]
    unsafe fn meet<const PARTS: usize>(
        &self,
        left: &Packed<PARTS>,
        right: &Packed<PARTS>,
        width: usize,
        to: *mut f32,
        pitch: usize,
    ) {
        for (row, keys) in self.edges() {
            for key in (0..keys.min(self.keys())).step_by(EDGE) {
                // SAFETY: the caller's.
                unsafe {
                    let out = to.add(row * pitch + key);
                    left.meet(right, [row, key, width], out, pitch, false);
                }
            }
        }
    }

    /// Gathers what `v_columns` holds: by the weights, or by the scores' gradients.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
    unsafe fn gather<const PARTS: usize>(&self, room: &mut Room<PARTS>, back: bool) {
        let from = if back { &room.scores } else { &room.weights };
        let keys = self.keys();
        // SAFETY: the room is as large.
        unsafe {
            let weights = Side::new(from, [self.rows, keys], room.pitch);
            for (row, seen) in self.edges() {
                let (count, seen) = (EDGE.min(self.rows - row), seen.min(keys));
                room.left.take::<false>(&weights, [row, count], [0, seen]);
                for column in (0..room.width).step_by(EDGE) {
                    let out = room.out.as_mut_ptr().add(row * room.width + column);
                    let at = [0, column, seen];
                    room.left.meet(&room.v_columns, at, out, room.width, false);
                }
            }
        }
    }

    /// The gradients of the scores: weight · (dz·v − dz·z).
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
    unsafe fn differentiate<const PARTS: usize>(
        &self,
        inputs: &Inputs<'_>,
        outputs: &Outputs<'_>,
        room: &mut Room<PARTS>,
    ) {
        let head_dim = inputs.sizes.head_dim;
        let mut shares = [0f32; ROWS];
        // SAFETY: the outputs are there; the room is as large.
        unsafe {
            for (i, share) in shares.iter_mut().enumerate().take(self.rows) {
                let at = inputs.place(self.head, self.first + i);
                let (z, dz) = (outputs.z.as_ptr().add(at), outputs.dz.as_ptr().add(at));
                copy::<Avx512>(dz, room.dz.as_mut_ptr().add(i * room.width), head_dim, 1.0);
                *share = dot::<Avx512>(z, dz, head_dim);
            }
            let dz = Side::new(&room.dz, [self.rows, room.width], room.width);
            room.left.take::<false>(&dz, [0, self.rows], [0, room.width]);
            let to = room.scores.as_mut_ptr();
            self.meet(&room.left, &room.v_rows, room.width, to, room.pitch);
            for (i, share) in shares.iter().enumerate().take(self.rows) {
                // Beyond what the row sees there is nothing, or what another block left.
                let seen = (self.first + i + 1).next_multiple_of(16);
                let weights = room.weights.as_ptr().add(i * room.pitch);
                let scores = to.add(i * room.pitch);
                for key in (0..seen).step_by(16) {
                    let off =
                        <Avx512>::sub(<Avx512>::load(scores.add(key)), <Avx512>::splat(*share));
                    let weights = <Avx512>::load(weights.add(key));
                    <Avx512>::store(scores.add(key), <Avx512>::mul(off, weights));
                }
                scores.add(seen).write_bytes(0, self.keys() - seen);
            }
        }
    }

    /// From the scores' gradients to those of queries (not scaled yet), keys and values.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
    unsafe fn give_back<const PARTS: usize>(&self, room: &mut Room<PARTS>) {
        let (keys, rows) = (self.keys(), self.rows);
        // SAFETY: the room is as large.
        unsafe {
            self.gather(room, true);
            for (left, right, sums) in
                [(&room.scores, &room.q, &mut room.dk), (&room.weights, &room.dz, &mut room.dv)]
            {
                let right = Side::new(right, [rows, room.width], room.width).turned();
                room.right.take::<true>(&right, [0, room.width], [0, rows]);
                let left = Side::new(left, [rows, keys], room.pitch).turned();
                room.left.take::<false>(&left, [0, keys], [0, rows]);
                for key in (0..keys).step_by(EDGE) {
                    for column in (0..room.width).step_by(EDGE) {
                        let out = sums.as_mut_ptr().add(key * room.width + column);
                        room.left.meet(&room.right, [key, column, rows], out, room.width, true);
                    }
                }
            }
        }
    }
}
