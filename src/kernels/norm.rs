//! Norms over the last axis, a row at a time. Which norm a model has, and where, is not known here.

use std::ops::Range;

use candle_core::Tensor;

use super::grad;
use super::isa::Isa;
use super::lanes::{Lanes, per_isa};
use super::memory::{Shared, filled, plain, with_slice};
use super::pool::share_rows;
use crate::error::Result;

/// RMSNorm over the last axis with factor `weight`, (width), or (heads, width) for x (…, heads, width).
///
/// # Errors
/// The tensor's own.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    if x.track_op() || weight.track_op() {
        return grad::rms_norm(x, weight, eps);
    }
    normed(x, weight, None, eps)
}

/// LayerNorm over the last axis with factor `weight`, as [`rms_norm`]'s, and summand `bias`, of the same
/// shape.
///
/// # Errors
/// The tensor's own.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    if [x, weight, bias].iter().any(|x| x.track_op()) {
        return grad::layer_norm(x, weight, bias, eps);
    }
    normed(x, weight, Some(bias), eps)
}

fn normed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Option<Tensor>> {
    if !plain(x) || x.elem_count() == 0 || !x.dims().ends_with(weight.dims()) {
        return Ok(None);
    }
    let run = |x_slice: &[f32], factors: Factors<'_>| {
        // SAFETY: all rows are written.
        unsafe { filled(x.dims(), |to| shared(x_slice, &factors, to)) }
    };
    with_slice(x, |x| with_factors(weight, bias, eps, |factors| run(x, factors)))
        .flatten()
        .transpose()
}

/// The norm of rows in a slice, as [`rms_norm`] has it, or with a bias as [`layer_norm`]; nothing is
/// taken from the allocator.
pub fn norm_rows(
    x: &[f32],
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    to: &mut [f32],
) -> Option<()> {
    let run = |factors: Factors<'_>| {
        let fits = x.len().is_multiple_of(factors.weight.len());
        // SAFETY: `to` is as long as `x`, which is whole rows.
        (fits && x.len() == to.len()).then(|| unsafe { shared(x, &factors, to.as_mut_ptr()) })
    };
    with_factors(weight, bias, eps, run).flatten()
}

/// What a norm has besides its numbers: `weight` (width), or (heads, width) for rows of heads, and
/// `bias` the same.
pub(super) struct Factors<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) width: usize,
    pub(super) eps: f32,
}

fn with_factors<R>(
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    run: impl FnOnce(Factors<'_>) -> R,
) -> Option<R> {
    let width = weight.dims().last().copied()?;
    let fits = |y: &Tensor| plain(y) && (1..=2).contains(&y.rank()) && y.dims() == weight.dims();
    if !fits(weight) || !bias.is_none_or(fits) || weight.elem_count() == 0 {
        return None;
    }
    let eps = eps as f32;
    with_slice(weight, |weight| match bias {
        None => Some(run(Factors { weight, bias: None, width, eps })),
        Some(bias) => {
            with_slice(bias, |bias| run(Factors { weight, bias: Some(bias), width, eps }))
        }
    })
    .flatten()
}

/// # Safety
/// `x` must be whole rows, and `to` have room for as many numbers.
unsafe fn shared(x: &[f32], factors: &Factors<'_>, to: *mut f32) {
    let (isa, width, to) = (Isa::current(), factors.width, Shared(to));
    let some = |rows: Range<usize>| {
        let x = &x[rows.start * width..rows.end * width];
        // SAFETY: each row is written whole, into its own place.
        unsafe { norm(isa, x, factors, rows.start, to.get().add(rows.start * width)) };
    };
    share_rows(x.len() / width, width, some);
}

per_isa! {
    /// Writes as many numbers as `x` has; with a bias, the mean is taken off before. `first` is the
    /// first row's number.
    fn norm(x: &[f32], factors: &Factors<'_>, first: usize, to: *mut f32) = norm_of
}

#[inline(always)]
unsafe fn norm_of<L: Lanes>(x: &[f32], factors: &Factors<'_>, first: usize, to: *mut f32) {
    let &Factors { weight, bias, width, eps } = factors;
    let (heads, whole) = (weight.len() / width, width / 16 * 16);
    for (row, x) in x.chunks_exact(width).enumerate() {
        let head = (first + row) % heads * width;
        let (weight, bias) = (&weight[head..], bias.map(|bias| &bias[head..]));
        // SAFETY: whole vectors lie within the row; the rest is taken number by number.
        unsafe {
            let to = to.add(row * width);
            let mean = if bias.is_some() { sum::<L>(x, None) / width as f32 } else { 0.0 };
            let factor = 1.0 / (sum::<L>(x, Some(mean)) / width as f32 + eps).sqrt();
            for i in (0..whole).step_by(16) {
                let off = L::sub(L::load(x.as_ptr().add(i)), L::splat(mean));
                let y = L::mul(L::mul(off, L::splat(factor)), L::load(weight.as_ptr().add(i)));
                let y = match bias {
                    Some(bias) => L::add(y, L::load(bias.as_ptr().add(i))),
                    None => y,
                };
                L::store(to.add(i), y);
            }
            for i in whole..width {
                let summand = bias.map_or(0.0, |bias| bias[i]);
                to.add(i).write((x[i] - mean) * factor * weight[i] + summand);
            }
        }
    }
}

/// The sum of a row's numbers, or of the squares of what they are off `mean`.
#[inline(always)]
unsafe fn sum<L: Lanes>(x: &[f32], mean: Option<f32>) -> f32 {
    let whole = x.len() / 16 * 16;
    // SAFETY: whole vectors lie within the row.
    unsafe {
        let mut sums = [L::splat(0.0); 2]; // chains, for an addition takes four cycles
        for i in (0..whole).step_by(16) {
            let number = L::load(x.as_ptr().add(i));
            let sum = &mut sums[i / 16 % 2];
            *sum = match mean {
                None => L::add(*sum, number),
                Some(mean) => {
                    let off = L::sub(number, L::splat(mean));
                    L::fma(off, off, *sum)
                }
            };
        }
        let mut total = L::total(L::add(sums[0], sums[1]));
        for number in &x[whole..] {
            total += mean.map_or(*number, |mean| (number - mean) * (number - mean));
        }
        total
    }
}
