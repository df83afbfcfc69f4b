//! Norms over the last axis, a row at a time. Which norm a model has, and where, is not known here.

use candle_core::Tensor;

use super::grad;
use super::isa::Isa;
use super::lanes::{Lanes, per_isa};
use super::memory::{Shared, filled, plain, with_slice};
use super::pool::{SERIAL, share};
use crate::error::Result;

/// RMSNorm over the last axis with factor `weight`.
///
/// # Errors
/// The tensor's own.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    if x.track_op() || weight.track_op() {
        return grad::rms_norm(x, weight, eps);
    }
    normed(x, weight, None, eps)
}

/// LayerNorm over the last axis with factor `weight` and summand `bias`.
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
    let width = x.dims().last().copied().unwrap_or(0);
    let fits = |y: &Tensor| plain(y) && y.dims() == [width];
    if !plain(x) || x.elem_count() == 0 || !fits(weight) || !bias.is_none_or(fits) {
        return Ok(None);
    }
    let run = |x_slice: &[f32], weight: &[f32], bias: Option<&[f32]>| {
        let (isa, eps, rows) = (Isa::current(), eps as f32, x_slice.len() / width);
        // SAFETY: each row is written whole, into its own place.
        unsafe {
            filled(x.dims(), |to: *mut f32| {
                let to = Shared(to);
                let some = |rows: std::ops::Range<usize>| {
                    let to = to.get().add(rows.start * width);
                    norm(
                        isa,
                        &x_slice[rows.start * width..rows.end * width],
                        weight,
                        bias,
                        eps,
                        to,
                    );
                };
                match x_slice.len() / SERIAL {
                    0 => some(0..rows),
                    _ => share(rows, 2, some),
                }
            })
        }
    };
    let of = |bias: Option<&[f32]>| {
        with_slice(x, |x| with_slice(weight, |weight| run(x, weight, bias))).flatten()
    };
    match bias {
        None => of(None),
        Some(bias) => with_slice(bias, |bias| of(Some(bias))).flatten(),
    }
    .transpose()
}

/// The norm of rows in a slice, as [`rms_norm`] has it, or with a bias as [`layer_norm`]; nothing is
/// taken from the allocator.
pub fn norm_row(
    x: &[f32],
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    to: &mut [f32],
) -> Option<()> {
    let fits = |y: &Tensor| plain(y) && y.rank() == 1;
    if !fits(weight) || !bias.is_none_or(fits) || x.len() != to.len() {
        return None;
    }
    let mut run = |weight: &[f32], bias: Option<&[f32]>| {
        let width = weight.len();
        let whole = width > 0 && x.len().is_multiple_of(width);
        let fits = whole && bias.is_none_or(|bias| bias.len() == width);
        // SAFETY: `to` is as long as `x`, which is whole rows.
        fits.then(|| unsafe { norm(Isa::current(), x, weight, bias, eps as f32, to.as_mut_ptr()) })
    };
    with_slice(weight, |weight| match bias {
        None => run(weight, None),
        Some(bias) => with_slice(bias, |bias| run(weight, Some(bias))).flatten(),
    })
    .flatten()
}

per_isa! {
    /// Writes as many numbers as `x` has; with a bias, the mean is taken off before.
    fn norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, to: *mut f32) = norm_of
}

#[inline(always)]
unsafe fn norm_of<L: Lanes>(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
    to: *mut f32,
) {
    let width = weight.len();
    let whole = width / 16 * 16;
    for (row, x) in x.chunks_exact(width).enumerate() {
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
