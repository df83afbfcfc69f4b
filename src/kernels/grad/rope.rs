//! Rotations of pairs with their gradient, which is turned back by the opposite angles. The rows are
//! turned by `rotate.rs`, which also asks whether the tables fit.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::super::isa::Isa;
use super::super::rotate::{Turn, turn_rows};
use super::fits;
use super::numbers::{like, numbers, stored, written};
use crate::error::Result;

/// Rotates the first numbers of the last axis of `x` (batch, heads, seq, head_dim), twice as many
/// as `cos` and `sin`, (seq, pairs) or (batch, seq, pairs), are wide.
///
/// # Errors
/// The operation's own.
pub(crate) fn rotate(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    interleaved: bool,
) -> Result<Option<Tensor>> {
    if !fits(x) {
        return Ok(None);
    }
    // Rows of the last axis are read where they lie.
    let x = if x.stride()[3] == 1 { x.clone() } else { x.contiguous()? };
    let (cos, sin) = (cos.contiguous()?, sin.contiguous()?);
    Ok(Some(x.apply_op1(Rotation { cos, sin, interleaved })?))
}

struct Rotation {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

impl Rotation {
    /// Rows of `dims`, `steps` from one to the next along the first three axes.
    fn run(
        &self,
        x: *const f32,
        dims: (usize, usize, usize, usize),
        steps: [usize; 3],
        sin: &Tensor,
    ) -> candle_core::Result<Vec<f32>> {
        let (cos, sin) = (numbers(&self.cos)?, numbers(sin)?);
        let (batch, heads, seq, head_dim) = dims;
        let shared = self.cos.rank() == 2;
        let turn = Turn {
            x,
            steps,
            shape: [heads, seq, head_dim],
            cos: cos.as_ptr(),
            sin: sin.as_ptr(),
            width: cos.len() / if shared { seq } else { batch * seq },
            shared,
            interleaved: self.interleaved,
        };
        let rows = batch * heads * seq;
        // SAFETY: the rows are where the layout says, and all are written.
        Ok(unsafe { written(rows * head_dim, |to| turn_rows(Isa::current(), &turn, 0..rows, to)) })
    }
}

impl CustomOp1 for Rotation {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = &storage.as_slice::<f32>()?[layout.start_offset()..];
        let steps = layout.stride();
        let steps = [steps[0], steps[1], steps[2]];
        let y = self.run(x.as_ptr(), layout.shape().dims4()?, steps, &self.sin)?;
        Ok(stored(y, layout.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dims = x.dims4()?;
        let (_, heads, seq, head_dim) = dims;
        let grad = grad.contiguous()?;
        let steps = [heads * seq * head_dim, seq * head_dim, head_dim];
        like(x, self.run(numbers(&grad)?.as_ptr(), dims, steps, &self.sin.neg()?)?)
    }
}
