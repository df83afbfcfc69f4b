//! How a packed matrix lies in memory: sixteen rows side by side, thirty-two columns a group. Sizes
//! and offsets only; kernels read it, `fill.rs` writes it.
//!
//! ```text
//! tile  = 16 rows: [codes of every group | scales of every block], rounded up to a cache line
//! F32   [32 columns][16 rows] f32
//! BF16  [16 pairs of columns][16 rows][2] bf16, as AMX wants its right-hand tiles
//! codes [columns / 4][16 rows][4] bytes, so that 64 bytes hold four columns of every row;
//!       below 8 bits quads 2i and 2i+1 share bytes as low and high nibble, and the bits above
//!       the fourth lie behind all nibbles: bit q of a byte (5), or two bits a quad (6)
//! ```

use candle_core::quantized::GgmlDType;

/// What the numbers of a packed matrix are made of. The quantised ones hold ggml's numbers exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// As they are.
    F32,
    /// bf16, widened exactly in the product.
    Bf16,
    /// 8 bits, a factor a group.
    Q8_0,
    /// 4 bits, a factor a group.
    Q4_0,
    /// 4 bits, factor and summand a group.
    Q4_1,
    /// 5 bits, a factor a group.
    Q5_0,
    /// 5 bits, factor and summand a group.
    Q5_1,
    /// 4 bits; 6-bit factors and summands of groups within blocks of 256.
    Q4K,
    /// 5 bits; otherwise as `Q4K`.
    Q5K,
    /// 6 bits; 8-bit factors of half groups within blocks of 256.
    Q6K,
}

/// Rows of a tile.
pub(super) const ROWS: usize = 16;
/// Columns of a group.
pub(super) const GROUP: usize = 32;

/// How codes become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scales {
    /// `d · (code − offset)`: d f16\[16\] a group.
    Offset,
    /// `d · code + m`: d, m f16\[16\] a group.
    Minimum,
    /// `d·s · code − e·m`: d, e f16\[16\] a block, then s, m u8\[16\] for each of 8 groups.
    Blocks,
    /// `d·s · (code − 32)`: d f16\[16\] a block, then s i8\[2\]\[16\] for each of 8 groups, for its halves.
    Halves,
}

impl Format {
    /// The format that holds ggml's blocks of this type; `None` where there is none.
    pub fn of_ggml(dtype: GgmlDType) -> Option<Self> {
        Some(match dtype {
            GgmlDType::Q8_0 => Self::Q8_0,
            GgmlDType::Q4_0 => Self::Q4_0,
            GgmlDType::Q4_1 => Self::Q4_1,
            GgmlDType::Q5_0 => Self::Q5_0,
            GgmlDType::Q5_1 => Self::Q5_1,
            GgmlDType::Q4K => Self::Q4K,
            GgmlDType::Q5K => Self::Q5K,
            GgmlDType::Q6K => Self::Q6K,
            _ => return None,
        })
    }

    /// Whether products take quantised activations.
    pub(super) fn is_quantised(self) -> bool {
        !matches!(self, Self::F32 | Self::Bf16)
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::Bf16 => 16,
            Self::Q8_0 => 8,
            Self::Q4_0 | Self::Q4_1 | Self::Q4K => 4,
            Self::Q5_0 | Self::Q5_1 | Self::Q5K => 5,
            Self::Q6K => 6,
        }
    }

    pub(super) fn scales(self) -> Scales {
        match self {
            Self::Q4_1 | Self::Q5_1 => Scales::Minimum,
            Self::Q4K | Self::Q5K => Scales::Blocks,
            Self::Q6K => Scales::Halves,
            _ => Scales::Offset,
        }
    }

    /// Columns that cannot be parted: rows are whole blocks.
    pub(super) fn block_columns(self) -> usize {
        GROUP * self.groups_per_block()
    }

    pub(super) fn groups_per_block(self) -> usize {
        match self.scales() {
            Scales::Blocks | Scales::Halves => 8,
            Scales::Offset | Scales::Minimum => 1,
        }
    }

    /// Bytes of a group's codes: `bits` for each of 16 × 32.
    pub(super) fn code_bytes(self) -> usize {
        ROWS * GROUP * self.bits() as usize / 8
    }

    /// Bytes of a block's scales.
    pub(super) fn scale_bytes(self) -> usize {
        match self.scales() {
            _ if !self.is_quantised() => 0,
            Scales::Offset => 2 * ROWS,
            Scales::Minimum => 4 * ROWS,
            Scales::Blocks => 4 * ROWS + 8 * 2 * ROWS,
            Scales::Halves => 2 * ROWS + 8 * 2 * ROWS,
        }
    }

    /// Bytes of a tile of so many groups.
    pub(super) fn tile_bytes(self, groups: usize) -> usize {
        let scales = groups.div_ceil(self.groups_per_block()) * self.scale_bytes();
        (groups * self.code_bytes() + scales).next_multiple_of(64)
    }

    /// Bytes of a block of one row, as ggml stores it; 0 for what has no blocks.
    pub(super) fn ggml_bytes(self) -> usize {
        match self {
            Self::F32 | Self::Bf16 => 0,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }
}
