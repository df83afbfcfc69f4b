//! Rows of a quantised table, without dequantising the rest. Products with quantised matrices
//! are not made here.

use candle_core::Tensor;
use candle_core::quantized::QTensor;

use crate::error::Result;

/// The rows `ids` of a quantised table, in f32 on the table's device.
///
/// # Shapes
/// `table` (rows, dim), `ids` any shape of `u32` → `ids`' shape with `dim` behind it.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) where an id is no row (on the CPU; elsewhere ids must
/// have been checked).
pub fn gather_rows(table: &QTensor, ids: &Tensor) -> Result<Tensor> {
    Ok(table.embedding(ids)?)
}
