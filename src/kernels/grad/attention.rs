//! Causal attention with its gradients, for sequences whose scores of a few dozen queries fit into
//! a core's cache: those are computed, used, and computed once more on the way back. Rules beyond
//! "a query sees itself and what is before it" are left to the definition.

mod block;
mod room;
mod rows;
#[cfg(target_arch = "x86_64")]
mod tiled;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};

use super::super::isa::Isa;
use super::fits;
use super::numbers::{like, numbers, slice, stored, written};
use super::rounded::may_round;
use crate::error::Result;

/// Each of as many queries as keys sees itself and the keys before it.
///
/// # Shapes
/// q (batch, heads, seq, head_dim), k and v (batch, kv_heads, seq, head_dim) →
/// (batch, heads, seq, head_dim), a view of (batch, seq, heads, head_dim)
///
/// # Errors
/// The operation's own.
pub(crate) fn attend(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Option<Tensor>> {
    let (batch, heads, seq, head_dim) = q.dims4()?;
    let (_, kv_heads, _, _) = k.dims4()?;
    let served = [q, k, v].iter().all(|x| fits(x) && x.dtype() == DType::F32)
        && k.dims() == [batch, kv_heads, seq, head_dim]
        && v.dims() == k.dims()
        && heads.is_multiple_of(kv_heads);
    if !served {
        return Ok(None);
    }
    let sizes = Sizes { batch, heads, kv_heads, seq, head_dim };
    let op = Attention { sizes, scale, rounded: may_round() };
    let z = q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)?;
    Ok(Some(z.transpose(1, 2)?))
}

/// The sizes of one call.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    seq: usize,
    head_dim: usize,
}

struct Attention {
    sizes: Sizes,
    scale: f64,
    /// Whether products may round their factors to bf16.
    rounded: bool,
}

impl Attention {
    /// # Safety
    /// The inputs must be as long as the sizes say, and `to` as the queries.
    unsafe fn forward(&self, inputs: Inputs<'_>, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            match (Isa::current(), self.rounded) {
                #[cfg(target_arch = "x86_64")]
                (Isa::Amx, true) => tiled::forward::<1>(inputs, to),
                #[cfg(target_arch = "x86_64")]
                (Isa::Amx, false) => tiled::forward::<3>(inputs, to),
                (isa, _) => block::forward(isa, inputs, to),
            }
        }
    }

    /// # Safety
    /// As [`Attention::forward`]; the gradients must be as long as what they are of.
    unsafe fn backward(
        &self,
        inputs: Inputs<'_>,
        outputs: Outputs<'_>,
        dq: *mut f32,
        dk: &mut [f32],
        dv: &mut [f32],
    ) {
        // SAFETY: the caller's.
        unsafe {
            match (Isa::current(), self.rounded) {
                #[cfg(target_arch = "x86_64")]
                (Isa::Amx, true) => tiled::backward::<1>(inputs, outputs, dq, dk, dv),
                #[cfg(target_arch = "x86_64")]
                (Isa::Amx, false) => tiled::backward::<3>(inputs, outputs, dq, dk, dv),
                (isa, _) => block::backward(isa, inputs, outputs, dq, dk, dv),
            }
        }
    }
}

/// Queries, keys and values, contiguous.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    sizes: Sizes,
    scale: f32,
}

/// What the way back begins with, (batch, seq, heads, head_dim) both.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    z: &'a [f32],
    dz: &'a [f32],
}

impl Inputs<'_> {
    /// The query heads, counted through the batch, of key head `pair`, counted so as well.
    fn heads_of(&self, pair: usize) -> std::ops::Range<usize> {
        let group = self.sizes.heads / self.sizes.kv_heads;
        pair * group..(pair + 1) * group
    }

    /// Where a query's row begins in (batch, seq, heads, head_dim).
    fn place(&self, head: usize, query: usize) -> usize {
        let (batch, head) = (head / self.sizes.heads, head % self.sizes.heads);
        ((batch * self.sizes.seq + query) * self.sizes.heads + head) * self.sizes.head_dim
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let inputs = Inputs {
            q: slice(q, q_layout)?,
            k: slice(k, k_layout)?,
            v: slice(v, v_layout)?,
            sizes: self.sizes,
            scale: self.scale as f32,
        };
        // SAFETY: the slices are as long as the sizes say, and all is written.
        let z = unsafe { written(inputs.q.len(), |to| self.forward(inputs, to)) };
        let Sizes { batch, heads, seq, head_dim, .. } = self.sizes;
        Ok(stored(z, (batch, seq, heads, head_dim)))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        z: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (q_numbers, k_numbers, v_numbers) = (numbers(q)?, numbers(k)?, numbers(v)?);
        let (z, dz) = (numbers(z)?, numbers(&grad)?);
        let inputs = Inputs {
            q: &q_numbers,
            k: &k_numbers,
            v: &v_numbers,
            sizes: self.sizes,
            scale: self.scale as f32,
        };
        let (mut dk, mut dv) = (vec![0f32; inputs.k.len()], vec![0f32; inputs.k.len()]);
        // SAFETY: as on the way there.
        let dq = unsafe {
            written(inputs.q.len(), |dq| {
                let outputs = Outputs { z: &z, dz: &dz };
                self.backward(inputs, outputs, dq, &mut dk, &mut dv);
            })
        };
        Ok((like(q, dq)?, like(k, dk)?, like(v, dv)?))
    }
}
