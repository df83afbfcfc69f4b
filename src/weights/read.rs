//! Chosen rows and columns of a stored tensor, copied out. The file is mapped a window at a time,
//! so that the pages it costs stay few, and nothing outside the choice is copied. What the rows
//! mean is not known here.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::checkpoint::Checkpoint;
use super::dtype::{Element, StoredDtype, decode};
use super::file::Stored;
use super::held::chosen;
use super::mxfp4;
use crate::error::{Error, Result};
use crate::kernels::{Format, Packed, Packer};

/// What of a tensor is wanted. Rows are those of the stored tensor; a vector's are its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// In the order wanted.
    pub(super) rows: Vec<Range<usize>>,
    /// Of each row, every `stride`-th.
    pub(super) columns: Range<usize>,
    pub(super) stride: usize,
    /// The result is turned from (rows, columns) to (columns, rows).
    pub(super) transposed: bool,
}

impl Choice {
    pub(super) fn n_rows(&self) -> usize {
        self.rows.iter().map(Range::len).sum()
    }

    fn n_columns(&self) -> usize {
        self.columns.len().div_ceil(self.stride)
    }
}

impl Checkpoint {
    /// The choice as a dense matrix (rows, columns) on `device`, dequantised where it is
    /// quantised.
    pub(super) fn dense(
        &self,
        stored: &Stored,
        choice: &Choice,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if let Some(tensor) = self.held(stored) {
            return Ok(chosen(tensor, stored, choice)?.to_dtype(dtype)?.to_device(device)?);
        }
        let shape = (choice.n_rows(), choice.n_columns());
        let cpu = Device::Cpu;
        let tensor = match dtype {
            DType::F64 => Tensor::from_vec(self.numbers::<f64>(stored, choice)?, shape, &cpu)?,
            DType::F32 => Tensor::from_vec(self.numbers::<f32>(stored, choice)?, shape, &cpu)?,
            DType::F16 => Tensor::from_vec(self.numbers::<f16>(stored, choice)?, shape, &cpu)?,
            DType::BF16 => Tensor::from_vec(self.numbers::<bf16>(stored, choice)?, shape, &cpu)?,
            other => {
                return Err(Error::request(
                    "dtype",
                    format!("{other:?} is no dtype to compute in"),
                ));
            }
        };
        let tensor = if choice.transposed { tensor.t()?.contiguous()? } else { tensor };
        Ok(tensor.to_device(device)?)
    }

    /// The chosen rows of a quantised tensor as they are, (rows, columns). MXFP4, with which
    /// nothing here multiplies, comes in Q8_0 blocks of the same numbers; `None` where these
    /// cannot hold them.
    pub(super) fn quantised(
        &self,
        stored: &Stored,
        choice: &Choice,
        device: &Device,
    ) -> Result<Option<Arc<QTensor>>> {
        let (dtype, packed) = match stored.info.dtype {
            StoredDtype::Quantised(dtype) => (dtype, false),
            StoredDtype::Mxfp4 => (GgmlDType::Q8_0, true),
            _ => return Ok(None),
        };
        let columns = stored.row_len();
        if choice.transposed || choice.columns != (0..columns) || choice.stride != 1 {
            let problem = format!(
                "tensor `{}` is {} and would have to be turned round, which its blocks do not \
                 allow; run it dequantised",
                stored.info.name, stored.info.dtype
            );
            return Err(Error::file(&self.files[stored.file].path, problem));
        }
        let shape = (choice.n_rows(), columns);
        let row_bytes = columns / dtype.block_size() * dtype.type_size();
        let mut data = Blocks::with_capacity(row_bytes * shape.0);
        let mut exact = true;
        self.for_each(stored, &choice.rows, &mut |rows| {
            match packed {
                true => exact &= mxfp4::as_q8_0(rows, &mut data.0),
                false => data.0.extend_from_slice(rows),
            }
            Ok(())
        })?;
        match exact {
            true => Ok(Some(Arc::new(data.tensor(dtype, shape, device)?))),
            false => Ok(None),
        }
    }

    /// The choice in tiles, without a dense copy on the way where rows lie as they are needed.
    pub(super) fn packed(
        &self,
        stored: &Stored,
        choice: &Choice,
        format: Format,
    ) -> Result<Packed> {
        let (rows, columns) = (choice.n_rows(), choice.columns.len());
        if choice.transposed
            || columns != stored.row_len()
            || choice.stride != 1
            || stored.info.dtype == StoredDtype::Mxfp4
            || self.held(stored).is_some()
        {
            let dense = self.dense(stored, choice, DType::F32, &Device::Cpu)?;
            return Packed::of_tensor(format, &dense);
        }
        let mut packer = Packer::new(format, rows, columns);
        let row_bytes = self.row_bytes(stored) as usize;
        let mut row = 0;
        self.for_each(stored, &choice.rows, &mut |bytes| {
            match stored.info.dtype {
                StoredDtype::Quantised(dtype) if Format::of_ggml(dtype) == Some(format) => {
                    packer.blocks(row, bytes);
                }
                StoredDtype::Quantised(dtype) => {
                    let numbers = Blocks::numbers(bytes, dtype, columns)?;
                    packer.f32(row, &numbers.to_vec1::<f32>()?);
                }
                StoredDtype::BF16 => packer.bf16(row, bytes),
                other => {
                    let mut numbers: Vec<f32> =
                        Vec::with_capacity(bytes.len() / row_bytes * columns);
                    if !decode(other, bytes, &mut numbers) {
                        return Err(self.not_a_float(stored));
                    }
                    packer.f32(row, &numbers);
                }
            }
            row += bytes.len() / row_bytes;
            Ok(())
        })?;
        Ok(packer.done())
    }

    /// A small tensor's numbers, in f32; `None` where there is no such tensor. For tables that
    /// belong to the configuration, such as llama.cpp's RoPE divisors.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read.
    pub fn numbers_of(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(index) = self.position(name) else { return Ok(None) };
        let stored = &self.tensors[index];
        let (rows, columns) = (stored.rows(), stored.row_len());
        #[allow(clippy::single_range_in_vec_init, reason = "one range of rows is meant")]
        let choice =
            Choice { rows: vec![0..rows], columns: 0..columns, stride: 1, transposed: false };
        Ok(Some(self.numbers::<f32>(stored, &choice)?))
    }

    /// The chosen numbers, row after row.
    fn numbers<T: Element>(&self, stored: &Stored, choice: &Choice) -> Result<Vec<T>> {
        if let Some(tensor) = self.held(stored) {
            let numbers = chosen(tensor, stored, choice)?.flatten_all()?.to_dtype(T::DTYPE)?;
            return Ok(numbers.to_vec1::<T>()?);
        }
        let mut out = Vec::with_capacity(choice.n_rows() * choice.n_columns());
        let (row_len, columns) = (stored.row_len(), choice.columns.clone());
        self.for_each(stored, &choice.rows, &mut |rows| {
            if let Some(numbers) = self.unpacked(stored, rows)? {
                for row in numbers.chunks_exact(row_len) {
                    let wanted = row[columns.clone()].iter().step_by(choice.stride);
                    out.extend(wanted.map(|x| T::of_f32(*x)));
                }
                return Ok(());
            }
            let size = stored.info.dtype.block().1;
            let known = if columns.len() == row_len && choice.stride == 1 {
                decode(stored.info.dtype, rows, &mut out)
            } else {
                rows.chunks_exact(row_len * size).all(|row| {
                    let wanted = &row[columns.start * size..columns.end * size];
                    match choice.stride {
                        1 => decode(stored.info.dtype, wanted, &mut out),
                        stride => wanted
                            .chunks_exact(size)
                            .step_by(stride)
                            .all(|element| decode(stored.info.dtype, element, &mut out)),
                    }
                })
            };
            if known { Ok(()) } else { Err(self.not_a_float(stored)) }
        })?;
        Ok(out)
    }

    /// The numbers in whole rows of blocks; `None` where the tensor has none.
    fn unpacked(&self, stored: &Stored, rows: &[u8]) -> Result<Option<Vec<f32>>> {
        let dtype = match stored.info.dtype {
            StoredDtype::Mxfp4 => return Ok(Some(mxfp4::decode(rows))),
            StoredDtype::Quantised(dtype) => dtype,
            _ => return Ok(None),
        };
        let shape = (rows.len() / self.row_bytes(stored) as usize, stored.row_len());
        let mut blocks = Blocks::with_capacity(rows.len());
        blocks.0.extend_from_slice(rows);
        let tensor = blocks.tensor(dtype, shape, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        Ok(Some(tensor.flatten_all()?.to_vec1::<f32>()?))
    }

    pub(super) fn not_a_float(&self, stored: &Stored) -> Error {
        let problem = format!(
            "tensor `{}` is stored as {}, from which no parameter can be read",
            stored.info.name, stored.info.dtype
        );
        let path = self.files.get(stored.file).map_or(Path::new(self.origin()), |f| &f.path);
        Error::file(path, problem)
    }
}

/// Bytes of ggml blocks; these begin with 16-bit numbers, and candle insists on their alignment.
struct Blocks(Vec<u8>, usize);

impl Blocks {
    fn with_capacity(bytes: usize) -> Self {
        let mut data = Vec::with_capacity(bytes + 1);
        let skip = data.as_ptr() as usize % 2;
        data.resize(skip, 0);
        Self(data, skip)
    }

    /// Rows of blocks, dequantised.
    fn numbers(rows: &[u8], dtype: GgmlDType, row_len: usize) -> Result<Tensor> {
        let shape = (rows.len() / (row_len / dtype.block_size() * dtype.type_size()), row_len);
        let mut blocks = Self::with_capacity(rows.len());
        blocks.0.extend_from_slice(rows);
        let tensor = blocks.tensor(dtype, shape, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        Ok(tensor.flatten_all()?)
    }

    fn tensor(&self, dtype: GgmlDType, shape: (usize, usize), device: &Device) -> Result<QTensor> {
        let storage = QStorage::from_data(Cow::Borrowed(&self.0[self.1..]), device, dtype)?;
        Ok(QTensor::new(storage, shape)?)
    }
}
