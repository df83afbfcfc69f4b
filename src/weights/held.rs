//! Tensors in memory in place of a file's: what training reads its decoder from. Choosing from
//! them keeps the way back, so that gradients arrive at the tensors that were handed in. It reads
//! no file.

use std::ops::Range;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use super::checkpoint::{Checkpoint, Format};
use super::dtype::StoredDtype;
use super::file::Stored;
use super::read::Choice;
use crate::error::{Error, Result};

impl Checkpoint {
    /// Tensors in memory under the names that a file would have for them; they are not copied, and
    /// what is loaded from them are views of them wherever their layout allows it. `origin` names
    /// them in errors.
    ///
    /// A [`Decoder`](crate::nn::Decoder) loaded from trained variables holds what was computed of
    /// them when it was loaded (a norm's `weight + 1`, a fused tensor's parts): load it anew after
    /// every change of theirs. That is cheap.
    ///
    /// # Errors
    /// [`Error::File`], naming `origin`, for a name that comes twice, or a dtype nobody computes in.
    pub fn of_tensors(
        origin: &str,
        tensors: impl IntoIterator<Item = (String, Tensor)>,
    ) -> Result<Self> {
        let mut this = Self::empty(origin.into(), PathBuf::from("."), Format::Memory);
        for (name, tensor) in tensors {
            let dtype = match tensor.dtype() {
                DType::F64 => StoredDtype::F64,
                DType::F32 => StoredDtype::F32,
                DType::F16 => StoredDtype::F16,
                DType::BF16 => StoredDtype::BF16,
                other => {
                    let problem = format!("tensor `{name}` is {other:?}, no dtype to compute in");
                    return Err(Error::file(origin, problem));
                }
            };
            let bytes = (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64;
            let stored = Stored::new(name, tensor.dims().to_vec(), dtype, bytes, 0);
            this.list(stored).map_err(|problem| Error::file(origin, problem))?;
            this.held.push(tensor);
        }
        Ok(this)
    }

    /// The tensors in the bytes of a safetensors file.
    ///
    /// # Errors
    /// [`Error::File`], naming `origin`, for what is no such file.
    pub fn of_bytes(origin: &str, bytes: &[u8]) -> Result<Self> {
        let wrong = |e: safetensors::SafeTensorError| Error::file(origin, e);
        let file = safetensors::SafeTensors::deserialize(bytes).map_err(wrong)?;
        let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let dtype = DType::try_from(view.dtype())?;
            let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
            Ok((name, tensor))
        };
        let tensors = file.tensors().into_iter().map(tensor).collect::<Result<Vec<_>>>()?;
        Self::of_tensors(origin, tensors)
    }

    /// The tensor of this name, whole, in its own shape.
    ///
    /// # Errors
    /// [`Error::File`] where there is none, or where it cannot be read.
    pub fn whole(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let index = self.position(name).ok_or_else(|| {
            Error::file(self.origin(), format!("holds no tensor of the name `{name}`"))
        })?;
        let stored = &self.tensors[index];
        let rows: Vec<Range<usize>> = std::iter::once(0..stored.rows()).collect();
        let choice = Choice { rows, columns: 0..stored.row_len(), stride: 1, transposed: false };
        let tensor = self.dense(stored, &choice, dtype, device)?;
        Ok(tensor.reshape(stored.info.shape.as_slice())?)
    }

    /// The tensor itself, where it is in memory.
    pub(super) fn held(&self, stored: &Stored) -> Option<&Tensor> {
        self.held.get(self.position(&stored.info.name)?)
    }
}

/// The choice as a matrix, by operations that a gradient passes.
pub(super) fn chosen(tensor: &Tensor, stored: &Stored, choice: &Choice) -> Result<Tensor> {
    let all = tensor.reshape((stored.rows(), stored.row_len()))?;
    let rows = match choice.rows.as_slice() {
        [range] => all.narrow(0, range.start, range.len())?,
        ranges => {
            let index: Vec<u32> = ranges.iter().flat_map(|r| r.clone()).map(|r| r as u32).collect();
            all.index_select(&Tensor::new(index, tensor.device())?, 0)?
        }
    };
    let columns = &choice.columns;
    let matrix = match choice.stride {
        1 => rows.narrow(1, columns.start, columns.len())?,
        stride => {
            let index: Vec<u32> = columns.clone().step_by(stride).map(|c| c as u32).collect();
            rows.contiguous()?.index_select(&Tensor::new(index, tensor.device())?, 1)?
        }
    };
    // A vector is one column: as it lies, one row.
    Ok(match choice.transposed {
        true => matrix.t()?.contiguous()?,
        false => matrix,
    })
}

/// Whether two tensors are equal, number by number.
pub(super) fn same(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.shape() != b.shape() || a.dtype() != b.dtype() {
        return Ok(false);
    }
    let differ = a.detach().ne(&b.detach())?.to_dtype(DType::F32)?.sum_all()?;
    Ok(differ.to_scalar::<f32>()? == 0.0)
}
