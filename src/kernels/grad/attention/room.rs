//! What a head's blocks are worked in, and its keys and values as they are read there.

use super::super::super::lanes::Lanes;
use super::Inputs;
use super::block::ROWS;
use super::rows::copy;

/// What is worked in. Rows of `head_dim` numbers are `width` wide, rows of scores `pitch`.
pub(super) struct Room {
    pub(super) width: usize,
    pub(super) pitch: usize,
    pub(super) k: Vec<f32>,        // (seq, width)
    pub(super) v: Vec<f32>,        // (seq, width)
    pub(super) k_turned: Vec<f32>, // (width, pitch)
    pub(super) v_turned: Vec<f32>, // (width, pitch)
    pub(super) q: Vec<f32>,        // (ROWS, width), scaled
    pub(super) dz: Vec<f32>,       // (ROWS, width)
    pub(super) weights: Vec<f32>,  // (ROWS, pitch)
    pub(super) scores: Vec<f32>,   // (ROWS, pitch): gradients of the weights, then of the scores
    pub(super) dq: Vec<f32>,       // (ROWS, width)
    pub(super) dk: Vec<f32>,       // (seq, width)
    pub(super) dv: Vec<f32>,       // (seq, width)
}

impl Room {
    pub(super) fn new(inputs: &Inputs<'_>) -> Self {
        let (width, seq) = (inputs.sizes.head_dim.next_multiple_of(16), inputs.sizes.seq);
        let pitch = seq.next_multiple_of(16);
        let rows = |n: usize, width: usize| vec![0f32; n * width];
        Self {
            width,
            pitch,
            k: rows(pitch, width),
            v: rows(pitch, width),
            k_turned: rows(width, pitch),
            v_turned: rows(width, pitch),
            q: rows(ROWS, width),
            dz: rows(ROWS, width),
            weights: rows(ROWS, pitch),
            scores: rows(ROWS, pitch),
            dq: rows(ROWS, width),
            dk: rows(seq, width),
            dv: rows(seq, width),
        }
    }

    /// Copies a key head's rows, and turns them.
    #[inline(always)]
    pub(super) unsafe fn enter_head<L: Lanes>(&mut self, inputs: &Inputs<'_>, pair: usize) {
        let (seq, head_dim) = (inputs.sizes.seq, inputs.sizes.head_dim);
        let start = pair * seq * head_dim;
        let sides = [
            (inputs.k, &mut self.k, &mut self.k_turned),
            (inputs.v, &mut self.v, &mut self.v_turned),
        ];
        for (from, rows, turned) in sides {
            // SAFETY: the rows are there; there is room for whole squares of sixteen.
            unsafe {
                for key in 0..seq {
                    let from = from.as_ptr().add(start + key * head_dim);
                    copy::<L>(from, rows.as_mut_ptr().add(key * self.width), head_dim, 1.0);
                }
                for key in (0..self.pitch).step_by(16) {
                    for number in (0..self.width).step_by(16) {
                        let mut square = [L::splat(0.0); 16];
                        for (i, line) in square.iter_mut().enumerate() {
                            *line = L::load(rows.as_ptr().add((key + i) * self.width + number));
                        }
                        for (i, line) in L::transpose(square).into_iter().enumerate() {
                            let to = (number + i) * self.pitch + key;
                            L::store(turned.as_mut_ptr().add(to), line);
                        }
                    }
                }
            }
        }
    }
}
