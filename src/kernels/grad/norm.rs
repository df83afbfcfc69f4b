//! RMSNorm and LayerNorm with their gradients. With n numbers x in a row, x̂ = (x − mean) / spread
//! and g = w · dy, dx = (g − mean(g) − x̂ · mean(g · x̂)) / spread, where the means of x and of g are
//! LayerNorm's alone. Statistics are computed once more on the way back.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};

use super::super::isa::Isa;
use super::super::lanes::{Lanes, per_isa};
use super::super::norm::{Factors, norm};
use super::fits;
use super::numbers::{like, load, numbers, slice, store, stored, written};
use crate::error::Result;

/// RMSNorm over the last axis with factor `weight`.
///
/// # Errors
/// The operation's own.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    if !wanted(x, &[weight]) {
        return Ok(None);
    }
    let op = Norm { eps: eps as f32, centred: false };
    Ok(Some(x.contiguous()?.apply_op2(&weight.contiguous()?, op)?))
}

/// LayerNorm over the last axis with factor `weight` and summand `bias`.
///
/// # Errors
/// The operation's own.
pub(crate) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Option<Tensor>> {
    if !wanted(x, &[weight, bias]) {
        return Ok(None);
    }
    let op = Norm { eps: eps as f32, centred: true };
    Ok(Some(x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?))
}

fn wanted(x: &Tensor, with: &[&Tensor]) -> bool {
    let width = x.dims().last().copied().unwrap_or(0);
    fits(x) && with.iter().all(|vector| fits(vector) && vector.dims() == [width])
}

pub(super) struct Norm {
    eps: f32,
    centred: bool,
}

impl Norm {
    fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let factors = Factors { weight, bias, width: weight.len(), eps: self.eps };
        // SAFETY: rows are as wide as the vectors, and all are written.
        unsafe { written(x.len(), |to| norm(Isa::current(), x, &factors, 0, to)) }
    }

    /// The gradients of x, weight and bias.
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<[Vec<f32>; 3]> {
        let grad = grad.contiguous()?;
        let (x, weight, dy) = (numbers(x)?, numbers(weight)?, numbers(&grad)?);
        let (mut dw, mut db) = (vec![0f32; weight.len()], vec![0f32; weight.len()]);
        // SAFETY: as in `forward`.
        let dx = unsafe {
            written(x.len(), |to| {
                backward(Isa::current(), self, &x, &weight, &dy, to, &mut dw, &mut db);
            })
        };
        Ok([dx, dw, db])
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let y = self.forward(slice(x, x_layout)?, slice(weight, weight_layout)?, None);
        Ok(stored(y, x_layout.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(x, weight, grad)?;
        Ok((like(x, dx)?, like(weight, dw)?))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let y = self.forward(slice(x, x_layout)?, weight, Some(bias));
        Ok(stored(y, x_layout.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.backward(x, weight, grad)?;
        Ok((like(x, dx)?, like(weight, dw)?, like(bias, db)?))
    }
}

/// A row's mean (0 for RMSNorm) and 1 / spread, in all lanes.
#[inline(always)]
unsafe fn statistics<L: Lanes>(norm: &Norm, x: &[f32]) -> (L::F, L::F) {
    let (n, mut mean) = (x.len(), 0.0);
    // SAFETY: vectors lie within the row.
    unsafe {
        if norm.centred {
            let mut sum = L::splat(0.0);
            for i in (0..n).step_by(16) {
                sum = L::add(sum, load::<L>(x.as_ptr().add(i), n - i, 0.0));
            }
            mean = L::total(sum) / n as f32;
        }
        let (mut squares, less) = (L::splat(0.0), L::splat(mean));
        for i in (0..n).step_by(16) {
            let off = L::sub(load::<L>(x.as_ptr().add(i), n - i, mean), less);
            squares = L::fma(off, off, squares);
        }
        (less, L::splat(1.0 / (L::total(squares) / n as f32 + norm.eps).sqrt()))
    }
}

per_isa! {
    /// The gradients of rows; those of factor and summand are added up.
    fn backward(
        norm: &Norm,
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
        dx: *mut f32,
        dw: &mut [f32],
        db: &mut [f32],
    ) = backward_with
}

#[inline(always)]
unsafe fn backward_with<L: Lanes>(
    norm: &Norm,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    dx: *mut f32,
    dw: &mut [f32],
    db: &mut [f32],
) {
    let n = weight.len();
    for (row, (x, dy)) in x.chunks_exact(n).zip(dy.chunks_exact(n)).enumerate() {
        // SAFETY: vectors lie within the rows.
        unsafe {
            let (mean, inverse) = statistics::<L>(norm, x);
            let row_of = Row { x, weight, dy, mean, inverse };
            let (mut g_sum, mut gx_sum) = (L::splat(0.0), L::splat(0.0));
            for i in (0..n).step_by(16) {
                let (x, g, _) = row_of.part::<L>(i);
                g_sum = L::add(g_sum, g);
                gx_sum = L::fma(g, x, gx_sum);
            }
            let g_mean = if norm.centred { L::total(g_sum) / n as f32 } else { 0.0 };
            let (g_mean, gx_mean) = (L::splat(g_mean), L::splat(-L::total(gx_sum) / n as f32));
            for i in (0..n).step_by(16) {
                let (x, g, dy) = row_of.part::<L>(i);
                let d = L::fma(x, gx_mean, L::sub(g, g_mean));
                store::<L>(dx.add(row * n + i), n - i, L::mul(d, inverse));
                add_to::<L>(dw, i, L::mul(dy, x));
                if norm.centred {
                    add_to::<L>(db, i, dy);
                }
            }
        }
    }
}

/// A row on its way back.
struct Row<'a, F> {
    x: &'a [f32],
    weight: &'a [f32],
    dy: &'a [f32],
    mean: F,
    inverse: F,
}

impl<F: Copy> Row<'_, F> {
    /// x̂, g and dy of sixteen numbers, or as many as are left; beyond the row g and dy are 0. (No
    /// closure: its instructions would become calls.)
    #[inline(always)]
    unsafe fn part<L: Lanes<F = F>>(&self, i: usize) -> (F, F, F) {
        let count = self.x.len() - i;
        // SAFETY: `i` lies within the row.
        unsafe {
            let x = load::<L>(self.x.as_ptr().add(i), count, 0.0);
            let weight = load::<L>(self.weight.as_ptr().add(i), count, 0.0);
            let dy = load::<L>(self.dy.as_ptr().add(i), count, 0.0);
            (L::mul(L::sub(x, self.mean), self.inverse), L::mul(dy, weight), dy)
        }
    }
}

/// Adds sixteen numbers, or as many as are left, from number `i` on.
#[inline(always)]
unsafe fn add_to<L: Lanes>(sums: &mut [f32], i: usize, a: L::F) {
    let count = sums.len() - i;
    // SAFETY: `i` lies within the sums.
    unsafe {
        let at = sums.as_mut_ptr().add(i);
        store::<L>(at, count, L::add(a, load::<L>(at, count, 0.0)));
    }
}
