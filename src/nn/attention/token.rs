//! Attention of one token whose numbers lie in slices: the steps of `Attention::forward`, in the same
//! order. What they are for is said there.

use super::super::linear::Linear;
use super::super::token::Token;
use super::{Attention, HeadNorm, Place};
use crate::kernels;

/// Room for the queries, keys and values of a token, and for what two of them become.
pub(in crate::nn) type Room = [Vec<f32>; 5];

impl Attention {
    /// [`Attention::forward`] of one token; its key and value are in the cache afterwards.
    ///
    /// # Shapes
    /// (dim) → (dim)
    pub(in crate::nn) fn token(
        &self,
        x: &[f32],
        layer: usize,
        token: &mut Token<'_>,
        [q, k, v, other_q, other_k]: &mut Room,
        y: &mut [f32],
    ) -> Option<()> {
        let head_dim = self.spec.head_dim;
        let (q_width, kv_width) = (self.spec.n_heads * head_dim, self.spec.n_kv_heads * head_dim);
        let (q, other_q) = (q.get_mut(..q_width)?, other_q.get_mut(..q_width)?);
        let (k, other_k) = (k.get_mut(..kv_width)?, other_k.get_mut(..kv_width)?);
        let v = v.get_mut(..kv_width)?;
        let projections = [&self.query, &self.key, &self.value];
        Linear::token_all(projections, x, [&mut *q, &mut *k, &mut *v])?;
        let (q, z) = self.placed(q, other_q, &self.query_norm, token.position)?;
        let (k, _) = self.placed(k, other_k, &self.key_norm, token.position)?;
        self.clipped(v);
        if let Some(growth) = &self.growth {
            let factor = growth.factor(token.position);
            q.iter_mut().for_each(|q| *q *= factor);
        }
        let [keys, values] = token.layers.get(layer)?;
        let how = self.attending(&[])?;
        token.slots.write(keys, token.position, k)?;
        token.slots.write(values, token.position, v)?;
        let count = token.position + 1;
        kernels::attend_row(q, head_dim, [keys, values], count, &token.slots, &how, z)?;
        self.out.token(z, y)
    }

    /// Queries or keys with norm, limit and position; what the other slice holds then is of no use.
    ///
    /// # Shapes
    /// (heads · head_dim) → the same
    fn placed<'a>(
        &self,
        x: &'a mut [f32],
        other: &'a mut [f32],
        norm: &Option<HeadNorm>,
        position: usize,
    ) -> Option<(&'a mut [f32], &'a mut [f32])> {
        let (mut x, mut other) = (x, other);
        if let Some(HeadNorm::Full(norm) | HeadNorm::PerHead(norm)) = norm {
            norm.token(x, other)?;
            (x, other) = (other, x);
        }
        self.clipped(x);
        if let Place::Rotary(rotary) = &self.place {
            rotary.token(x, self.spec.head_dim, position + 1, other)?;
            (x, other) = (other, x);
        }
        if let Some(HeadNorm::Placed(norm)) = norm {
            norm.token(x, other)?;
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
