//! Nonlinearities, alone or times what they gate, with their gradients; the nonlinearity is
//! computed once more on the way back. Its definitions are `unary.rs`'s.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};

use super::super::isa::Isa;
use super::super::lanes::{Lanes, per_isa};
use super::super::unary::{Activation, activate as value, slope};
use super::fits;
use super::numbers::{like, load, numbers, slice, store, stored, written};
use crate::error::Result;

/// `activation(a) · b`, elementwise.
///
/// # Errors
/// The operation's own.
pub(crate) fn activate_times(
    a: &Tensor,
    b: &Tensor,
    activation: Activation,
) -> Result<Option<Tensor>> {
    if !fits(a) || !fits(b) || a.dims() != b.dims() {
        return Ok(None);
    }
    Ok(Some(a.contiguous()?.apply_op2(&b.contiguous()?, Activated(activation))?))
}

/// `activation(x)`, elementwise.
///
/// # Errors
/// The operation's own.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Option<Tensor>> {
    if !fits(x) {
        return Ok(None);
    }
    Ok(Some(x.contiguous()?.apply_op1(Activated(activation))?))
}

struct Activated(Activation);

impl Activated {
    fn forward(&self, a: &[f32], b: Option<&[f32]>) -> Vec<f32> {
        // SAFETY: both are as long, and all numbers are written.
        unsafe { written(a.len(), |to| forward(Isa::current(), self.0, a, b, to)) }
    }

    /// The gradients of a and, where there is one, b.
    fn backward(
        &self,
        a: &Tensor,
        b: Option<&Tensor>,
        grad: &Tensor,
    ) -> candle_core::Result<(Vec<f32>, Vec<f32>)> {
        let grad = grad.contiguous()?;
        let (a, b, dy) = (numbers(a)?, b.map(numbers).transpose()?, numbers(&grad)?);
        let (n, b) = (a.len(), b.as_deref());
        let mut da = Vec::new();
        // SAFETY: all are as long, and all numbers are written.
        let db = unsafe {
            written(b.map_or(0, |_| n), |db| {
                da = written(n, |da| backward(Isa::current(), self.0, &a, b, &dy, da, db));
            })
        };
        Ok((da, db))
    }
}

impl CustomOp1 for Activated {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(stored(self.forward(slice(storage, layout)?, None), layout.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        like(x, self.backward(x, None, grad)?.0)
    }
}

impl CustomOp2 for Activated {
    fn name(&self) -> &'static str {
        "activate-times"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let y = self.forward(slice(a, a_layout)?, Some(slice(b, b_layout)?));
        Ok(stored(y, a_layout.shape()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (da, db) = self.backward(a, Some(b), grad)?;
        Ok((like(a, da)?, like(b, db)?))
    }
}

per_isa! {
    /// `activation(a)`, times `b` where there is one.
    fn forward(activation: Activation, a: &[f32], b: Option<&[f32]>, to: *mut f32) = forward_with
}

#[inline(always)]
unsafe fn forward_with<L: Lanes>(
    activation: Activation,
    a: &[f32],
    b: Option<&[f32]>,
    to: *mut f32,
) {
    for i in (0..a.len()).step_by(16) {
        // SAFETY: vectors lie within the slices.
        unsafe {
            let of = |x: &[f32]| load::<L>(x.as_ptr().add(i), a.len() - i, 0.0);
            let y = value::<L>(activation, of(a));
            let y = b.map_or(y, |b| L::mul(y, of(b)));
            store::<L>(to.add(i), a.len() - i, y);
        }
    }
}

per_isa! {
    /// The gradients of both; without `b`, `db` is not written.
    fn backward(
        activation: Activation,
        a: &[f32],
        b: Option<&[f32]>,
        dy: &[f32],
        da: *mut f32,
        db: *mut f32,
    ) = backward_with
}

#[inline(always)]
unsafe fn backward_with<L: Lanes>(
    activation: Activation,
    a: &[f32],
    b: Option<&[f32]>,
    dy: &[f32],
    da: *mut f32,
    db: *mut f32,
) {
    for i in (0..a.len()).step_by(16) {
        let count = a.len() - i;
        // SAFETY: vectors lie within the slices.
        unsafe {
            let of = |x: &[f32]| load::<L>(x.as_ptr().add(i), count, 0.0);
            let (y, slope) = slope::<L>(activation, of(a));
            let mut grad = of(dy);
            if let Some(b) = b {
                store::<L>(db.add(i), count, L::mul(grad, y));
                grad = L::mul(grad, of(b));
            }
            store::<L>(da.add(i), count, L::mul(grad, slope));
        }
    }
}
