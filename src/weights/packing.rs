//! Which tiles a matrix is packed in for the kernels. Nothing is packed here.

use super::dtype::StoredDtype;
use super::param::Param;
use crate::kernels::Format;

/// How matrices are packed for the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// What dense matrices are packed as. Quantised ones keep their blocks' numbers.
    pub dense: Format,
    /// The same for the embedding and the head, which suffer most from rounding.
    pub ends: Format,
    /// Products of many rows may round activations to bf16.
    pub rounded: bool,
}

impl Packing {
    /// The format that a matrix is packed in, and whether its products may round.
    pub(super) fn of(
        self,
        param: Param,
        stored: StoredDtype,
        dequantise: bool,
    ) -> Option<(Format, bool)> {
        match (stored, param) {
            (_, Param::PositionEmbedding) => None, // rows are added, never multiplied
            (StoredDtype::Mxfp4, _) if !dequantise => None, // becomes Q8_0 blocks
            (StoredDtype::Quantised(dtype), _) if !dequantise => {
                Some((Format::of_ggml(dtype)?, true))
            }
            // What is stored wider than the rest (or became so by an adapter) keeps its numbers.
            (stored, _) if self.keeps(stored) => Some((Format::F32, false)),
            (_, Param::TokenEmbedding | Param::Head) => Some((self.ends, self.rounded)),
            _ => Some((self.dense, self.rounded)),
        }
    }

    /// Whether a dtype would lose bits that nobody gave up.
    fn keeps(self, stored: StoredDtype) -> bool {
        self.dense == Format::Bf16 && !self.rounded && stored != StoredDtype::BF16
    }
}
