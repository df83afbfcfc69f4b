//! Attention of one token of each row, its numbers in slices: the steps of `Attention::forward`, in the
//! same order. What they are for is said there.

use super::super::linear::Linear;
use super::super::position::Turn;
use super::super::token::Token;
use super::{Attention, HeadNorm, Place};
use crate::kernels;

/// Room for the queries, keys and values of all rows, and for what two of them become.
pub(in crate::nn) type Room = [Vec<f32>; 5];

impl Attention {
    /// [`Attention::forward`] of one token of each row; its keys and values are in the cache afterwards.
    ///
    /// # Shapes
    /// (rows · dim) → (rows · dim)
    pub(in crate::nn) fn token(
        &self,
        x: &[f32],
        layer: usize,
        token: &mut Token<'_>,
        [q, k, v, other_q, other_k]: &mut Room,
        y: &mut [f32],
    ) -> Option<()> {
        let (rows, head_dim) = (token.rows(), self.spec.head_dim);
        let q_width = rows * self.spec.n_heads * head_dim;
        let kv_width = rows * self.spec.n_kv_heads * head_dim;
        let (q, other_q) = (q.get_mut(..q_width)?, other_q.get_mut(..q_width)?);
        let (k, other_k) = (k.get_mut(..kv_width)?, other_k.get_mut(..kv_width)?);
        let v = v.get_mut(..kv_width)?;
        let projections = [&self.query, &self.key, &self.value];
        Linear::rows_all(projections, x, [&mut *q, &mut *k, &mut *v])?;
        let turn = match &self.place {
            Place::Rotary(rotary) => Some(rotary.turn(token.length())?),
            Place::Alibi(_) | Place::Nowhere => None,
        };
        let (q, z) = self.placed(q, other_q, &self.query_norm, &turn, token)?;
        let (k, _) = self.placed(k, other_k, &self.key_norm, &turn, token)?;
        self.clipped(v);
        if let Some(growth) = &self.growth {
            for (q, position) in q.chunks_exact_mut(q_width / rows).zip(token.positions()) {
                let factor = growth.factor(position);
                q.iter_mut().for_each(|q| *q *= factor);
            }
        }
        let [keys, values] = token.layers.get(layer)?;
        let how = self.attending(token.padding)?;
        token.slots.write(keys, token.slot, k)?;
        token.slots.write(values, token.slot, v)?;
        kernels::attend_rows(q, head_dim, [keys, values], token.length(), &token.slots, &how, z)?;
        self.out.rows(z, y)
    }

    /// Queries or keys with norm, limit and position; what the other slice holds then is of no use.
    ///
    /// # Shapes
    /// (rows · heads · head_dim) → the same
    fn placed<'a>(
        &self,
        x: &'a mut [f32],
        other: &'a mut [f32],
        norm: &Option<HeadNorm>,
        turn: &Option<Turn>,
        token: &Token<'_>,
    ) -> Option<(&'a mut [f32], &'a mut [f32])> {
        let (mut x, mut other) = (x, other);
        if let Some(HeadNorm::Full(norm) | HeadNorm::PerHead(norm)) = norm {
            norm.rows(x, other)?;
            (x, other) = (other, x);
        }
        self.clipped(x);
        if let Some(turn) = turn {
            let width = x.len() / token.rows();
            let rows = x.chunks_exact(width).zip(other.chunks_exact_mut(width));
            for ((x, to), position) in rows.zip(token.positions()) {
                turn.row(x, self.spec.head_dim, position, to)?;
            }
            (x, other) = (other, x);
        }
        if let Some(HeadNorm::Placed(norm)) = norm {
            norm.rows(x, other)?;
            (x, other) = (other, x);
        }
        Some((x, other))
    }

    fn clipped(&self, x: &mut [f32]) {
        if let Some(clip) = self.spec.clip {
            let clip = clip as f32;
            x.iter_mut().for_each(|x| *x = x.clamp(-clip, clip));
        }
    }
}
