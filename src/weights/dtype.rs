//! What tensors are stored as, and how bytes become numbers. It knows sizes and conversions, no
//! file format.

use std::fmt;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, WithDType};
use half::{bf16, f16};

use super::mxfp4;

/// How a tensor's elements are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoredDtype {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of a single.
    BF16,
    /// Stored, but nothing a parameter can be read from: integers, masks, 8-bit floats.
    Other {
        /// The format's own name for it.
        name: &'static str,
        /// Bytes of an element.
        bytes: usize,
    },
    /// Blocks of ggml's that the tensor library knows.
    Quantised(GgmlDType),
    /// Blocks of ggml's that it does not know: 4-bit floats.
    Mxfp4,
}

impl StoredDtype {
    /// The name that the file formats use: `BF16`, `Q4_K`, `I64`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Other { name, .. } => name,
            Self::Mxfp4 => "MXFP4",
            Self::Quantised(dtype) => match dtype {
                GgmlDType::F32 => "F32",
                GgmlDType::F16 => "F16",
                GgmlDType::BF16 => "BF16",
                GgmlDType::Q4_0 => "Q4_0",
                GgmlDType::Q4_1 => "Q4_1",
                GgmlDType::Q5_0 => "Q5_0",
                GgmlDType::Q5_1 => "Q5_1",
                GgmlDType::Q8_0 => "Q8_0",
                GgmlDType::Q8_1 => "Q8_1",
                GgmlDType::Q2K => "Q2_K",
                GgmlDType::Q3K => "Q3_K",
                GgmlDType::Q4K => "Q4_K",
                GgmlDType::Q5K => "Q5_K",
                GgmlDType::Q6K => "Q6_K",
                GgmlDType::Q8K => "Q8_K",
            },
        }
    }

    /// The smallest unit: (elements, bytes). One element, except where blocks are stored.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F64 => (1, 8),
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Other { bytes, .. } => (1, bytes),
            Self::Quantised(dtype) => (dtype.block_size(), dtype.type_size()),
            Self::Mxfp4 => (mxfp4::BLOCK, mxfp4::GGML_BYTES),
        }
    }

    /// Bytes of a tensor of this shape, where its rows are whole blocks and the number fits.
    pub fn bytes(self, shape: &[usize]) -> Option<u64> {
        let (elements, bytes) = self.block();
        if !shape.last().copied().unwrap_or(1).is_multiple_of(elements) {
            return None;
        }
        let count = shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64))?;
        (count / elements as u64).checked_mul(bytes as u64)
    }

    /// The dtype that holds it unchanged, for the floats that one computes in.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::BF16 => Some(DType::BF16),
            _ => None,
        }
    }
}

impl fmt::Display for StoredDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number that one computes in, made from a stored one with a single rounding.
pub(super) trait Element: WithDType {
    fn of_f32(x: f32) -> Self;
    fn of_f64(x: f64) -> Self;
    fn of_f16(x: f16) -> Self;
    fn of_bf16(x: bf16) -> Self;
}

macro_rules! element {
    ($t:ty, $f32:expr, $f64:expr, $f16:expr, $bf16:expr) => {
        impl Element for $t {
            fn of_f32(x: f32) -> Self {
                $f32(x)
            }
            fn of_f64(x: f64) -> Self {
                $f64(x)
            }
            fn of_f16(x: f16) -> Self {
                $f16(x)
            }
            fn of_bf16(x: bf16) -> Self {
                $bf16(x)
            }
        }
    };
}

element!(f64, f64::from, |x| x, f16::to_f64, bf16::to_f64);
element!(f32, |x| x, |x| x as f32, f16::to_f32, bf16::to_f32);
element!(f16, f16::from_f32, f16::from_f64, |x| x, |x: bf16| f16::from_f32(x.to_f32()));
element!(bf16, bf16::from_f32, bf16::from_f64, |x: f16| bf16::from_f32(x.to_f32()), |x| x);

/// Appends the numbers in `bytes` (little-endian, whole elements) to `out`. Answers whether
/// `stored` is a plain float at all.
pub(super) fn decode<T: Element>(stored: StoredDtype, bytes: &[u8], out: &mut Vec<T>) -> bool {
    match stored {
        StoredDtype::F64 => out.extend(words(bytes).map(|b| T::of_f64(f64::from_le_bytes(b)))),
        StoredDtype::F32 => out.extend(words(bytes).map(|b| T::of_f32(f32::from_le_bytes(b)))),
        StoredDtype::F16 => out.extend(words(bytes).map(|b| T::of_f16(f16::from_le_bytes(b)))),
        StoredDtype::BF16 => out.extend(words(bytes).map(|b| T::of_bf16(bf16::from_le_bytes(b)))),
        _ => return false,
    }
    true
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}
