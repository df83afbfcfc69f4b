//! `x·Wᵀ` with its gradients, dy·W and dyᵀ·x: three products of the same two shapes, none of which
//! copies a matrix to turn it. On AMX they are `tiles.rs`'s, elsewhere the gemm crate's, both on
//! this thread alone. Packed weights have no gradient, and are not known here.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::super::isa::Isa;
use super::fits;
use super::numbers::{like, numbers, slice, stored, written};
use super::rounded::may_round;
#[cfg(target_arch = "x86_64")]
use super::tiles;
use crate::error::Result;

/// `x·Wᵀ`, where a gradient of either is wanted.
///
/// # Shapes
/// x (…, in), weight (out, in) → (…, out)
///
/// # Errors
/// The operation's own.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Option<Tensor>> {
    let wanted = x.track_op() || weight.track_op();
    let width = x.dims().last().copied();
    if !wanted || !fits(x) || !fits(weight) || weight.rank() != 2 || width != Some(weight.dim(1)?) {
        return Ok(None);
    }
    let op = Linear { rounded: may_round() };
    Ok(Some(x.contiguous()?.apply_op2(&weight.contiguous()?, op)?))
}

struct Linear {
    /// Whether products may round their factors to bf16.
    rounded: bool,
}

impl Linear {
    /// Every row of the left with every row of the right, (left, right).
    fn product(&self, left: Side<'_>, right: Side<'_>) -> Vec<f32> {
        // SAFETY: the sides are as large as they say; all ways write all numbers.
        unsafe {
            written(left.outer * right.outer, |to| {
                #[cfg(target_arch = "x86_64")]
                if Isa::current() == Isa::Amx {
                    return match self.rounded {
                        true => tiles::product::<1>(left, right, to),
                        false => tiles::product::<3>(left, right, to),
                    };
                }
                elsewhere(left, right, to);
            })
        }
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (out, input) = weight_layout.shape().dims2()?;
        let (x, weight) = (slice(x, x_layout)?, slice(weight, weight_layout)?);
        let y = self.product(rows(x, input), rows(weight, input));
        let mut shape = x_layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = out;
        }
        Ok(stored(y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (out, input) = weight.dims2()?;
        let dy = numbers(&grad)?;
        let dx = match x.track_op() {
            true => like(x, self.product(rows(&dy, out), columns(&numbers(weight)?, input)))?,
            false => None,
        };
        let dw = match weight.track_op() {
            true => like(weight, self.product(columns(&dy, out), columns(&numbers(x)?, input)))?,
            false => None,
        };
        Ok((dx, dw))
    }
}

/// One side of a product, (outer, depth), the numbers `outer_step` and `depth_step` apart, one of
/// which is 1.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) outer: usize,
    pub(super) depth: usize,
    pub(super) outer_step: usize,
    pub(super) depth_step: usize,
}

impl<'a> Side<'a> {
    /// [rows, columns] of a matrix whose rows are `pitch` apart.
    pub(super) fn new(numbers: &'a [f32], [outer, depth]: [usize; 2], pitch: usize) -> Self {
        Self { numbers, outer, depth, outer_step: pitch, depth_step: 1 }
    }

    /// Columns in place of rows.
    pub(super) fn turned(self) -> Self {
        let Self { numbers, outer, depth, outer_step, depth_step } = self;
        Self { numbers, outer: depth, depth: outer, outer_step: depth_step, depth_step: outer_step }
    }
}

/// The rows of a matrix `width` wide.
fn rows(numbers: &[f32], width: usize) -> Side<'_> {
    Side::new(numbers, [numbers.len() / width, width], width)
}

/// Its columns.
fn columns(numbers: &[f32], width: usize) -> Side<'_> {
    rows(numbers, width).turned()
}

/// By the gemm crate.
unsafe fn elsewhere(left: Side<'_>, right: Side<'_>, to: *mut f32) {
    let step = |step: usize| step as isize;
    // SAFETY: the caller's.
    unsafe {
        gemm::gemm(
            left.outer,
            right.outer,
            left.depth,
            to,
            1,
            step(right.outer),
            false,
            left.numbers.as_ptr(),
            step(left.depth_step),
            step(left.outer_step),
            right.numbers.as_ptr(),
            step(right.outer_step),
            step(right.depth_step),
            0f32,
            1f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
