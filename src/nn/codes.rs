//! Keys and values as codes of 8 bits, by the definition: groups of 32 numbers share a scale, a power
//! of 2^(1/8), with which the greatest of them just fits. `kernels::encode` does the same.

use candle_core::{DType, Tensor};

use crate::error::Result;
use crate::kernels::{self, CODE_GROUP, CODE_MAX, CODE_NONE, CODE_ONE, CODE_SCALES, CODE_STEPS};

/// # Shapes
/// (batch, heads, seq, n) → u8 (batch, heads, seq, `coded_width(n)`)
pub(crate) fn encode(x: &Tensor) -> Result<Tensor> {
    if let Some(codes) = kernels::encode(x)? {
        return Ok(codes);
    }
    let (batch, heads, seq, numbers) = x.dims4()?;
    let groups = grouped(&x.to_dtype(DType::F32)?)?; // (batch, heads, seq, groups, 32)
    let greatest = groups.abs()?.max_keepdim(4)?;
    let steps = (greatest / f64::from(CODE_MAX))?.log()?;
    let steps = steps.affine(CODE_STEPS / std::f64::consts::LN_2, CODE_ONE)?;
    let steps = steps.ceil()?.clamp(0f32, f32::from(CODE_NONE) - 1.0)?;
    let scale = scales(&steps)?;
    let codes = groups.broadcast_mul(&scale.recip()?)?.clamp(-CODE_MAX, CODE_MAX)?.round()?;
    // A byte knows no sign: −1 is 255, as in two's complement.
    let codes = (&codes + (codes.lt(0f32)?.to_dtype(DType::F32)? * 256.0)?)?;
    // Infinities and what is no number become NaN, which equals nothing.
    let odd = (&groups * 0.0)?.sum_keepdim(4)?;
    let none = Tensor::full(f32::from(CODE_NONE), steps.shape(), x.device())?;
    let steps = odd.eq(&odd)?.where_cond(&steps, &none)?;
    let codes = codes.flatten_from(3)?.narrow(3, 0, numbers)?;
    let steps = steps.reshape((batch, heads, seq, ()))?;
    Ok(Tensor::cat(&[codes, steps], 3)?.to_dtype(DType::U8)?)
}

/// # Shapes
/// u8 (batch, heads, seq, `coded_width(numbers)`) → (batch, heads, seq, numbers), of `dtype`
pub(crate) fn decode(codes: &Tensor, numbers: usize, dtype: DType) -> Result<Tensor> {
    let codes = codes.to_dtype(DType::F32)?;
    let steps = codes.narrow(3, numbers, codes.dim(3)? - numbers)?.unsqueeze(4)?;
    let scale = scales(&steps)?;
    let codes = codes.narrow(3, 0, numbers)?;
    let codes = (&codes - (codes.ge(128f32)?.to_dtype(DType::F32)? * 256.0)?)?;
    let numbers_of = grouped(&codes)?.broadcast_mul(&scale)?.flatten_from(3)?;
    Ok(numbers_of.narrow(3, 0, numbers)?.to_dtype(dtype)?)
}

/// What bytes of scales mean.
fn scales(steps: &Tensor) -> Result<Tensor> {
    let table = Tensor::new(&CODE_SCALES, steps.device())?;
    let index = steps.flatten_all()?.to_dtype(DType::U32)?;
    Ok(table.index_select(&index, 0)?.reshape(steps.shape())?)
}

/// (…, n) → (…, groups, 32), zeros behind.
fn grouped(x: &Tensor) -> Result<Tensor> {
    let (batch, heads, seq, numbers) = x.dims4()?;
    let padded = x.pad_with_zeros(3, 0, numbers.next_multiple_of(CODE_GROUP) - numbers)?;
    Ok(padded.reshape((batch, heads, seq, (), CODE_GROUP))?)
}
