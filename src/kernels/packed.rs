//! A matrix packed for products: what it holds, and its rows read back. Products are in
//! `product.rs`, packing is in `fill.rs`.

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::format::{Format, GROUP, ROWS, Scales};
use super::memory::{Buffer, Shared, filled};
use super::pool::share;
use crate::error::Result;

/// A matrix (n, k) in tiles; see `format.rs`.
#[derive(Debug)]
pub struct Packed {
    pub(super) format: Format,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) groups: usize,
    pub(super) tile_bytes: usize,
    pub(super) data: Buffer,
    pub(super) rounded: bool,
}

impl Packed {
    /// What it is made of.
    pub fn format(&self) -> Format {
        self.format
    }

    /// (out, in)
    pub fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    /// Bytes that it takes, and that a product reads.
    pub fn bytes(&self) -> usize {
        self.data.bytes()
    }

    /// Whether products of many rows may round activations to bf16; otherwise a product with bf16
    /// or f32 weights is f32's, up to the order of sums.
    pub fn rounds(&self) -> bool {
        self.rounded || self.format.is_quantised()
    }

    /// Was it asked that activations be rounded?
    pub fn is_rounded(&self) -> bool {
        self.rounded
    }

    /// The same, with products of many rows that round activations to bf16.
    pub fn rounded(mut self) -> Self {
        self.rounded = true;
        self
    }

    pub(super) fn tiles(&self) -> usize {
        self.n.div_ceil(ROWS)
    }

    /// The rows `ids`, any shape, as f32: (ids' shape, k).
    ///
    /// # Errors
    /// An id that is no row.
    pub fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        let list = ids.flatten_all()?.to_dtype(DType::U32)?.to_vec1::<u32>()?;
        if let Some(id) = list.iter().find(|id| **id as usize >= self.n) {
            let problem = format!("row {id} of a matrix with {}", self.n);
            return Err(candle_core::Error::Msg(problem).into());
        }
        let mut shape = ids.dims().to_vec();
        shape.push(self.k);
        // SAFETY: each row is written whole, into its own place.
        unsafe {
            filled(shape, |out: *mut f32| {
                for (i, id) in list.iter().enumerate() {
                    let row = std::slice::from_raw_parts_mut(out.add(i * self.k), self.k);
                    self.read_row(*id as usize, row);
                }
            })
        }
    }

    /// The row `id` as f32, (k).
    pub fn row(&self, id: u32, out: &mut [f32]) -> Option<()> {
        let fits = (id as usize) < self.n && out.len() == self.k;
        fits.then(|| self.read_row(id as usize, out))
    }

    /// The matrix as a tensor (n, k) in f32: what it stands for, and the plain path's.
    ///
    /// # Errors
    /// The tensor's own.
    pub fn dense(&self) -> Result<Tensor> {
        let k = self.k;
        // SAFETY: each row is written whole, into its own place.
        unsafe {
            filled((self.n, k), |out: *mut f32| {
                let out = Shared(out);
                share(self.n, 4, |rows| {
                    for row in rows {
                        let to = std::slice::from_raw_parts_mut(out.get().add(row * k), k);
                        self.read_row(row, to);
                    }
                });
            })
        }
    }

    /// A tensor (n, k) with gradients has no packed form: this is for what is only read.
    ///
    /// # Errors
    /// The tensor's own.
    pub fn of_tensor(format: Format, x: &Tensor) -> Result<Self> {
        let (n, k) = x.dims2()?;
        let x = x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
        let mut packer = super::Packer::new(format, n, k);
        packer.f32(0, &x.to_vec1::<f32>()?);
        Ok(packer.done())
    }

    fn tile(&self, tile: usize) -> &[u8] {
        // SAFETY: the buffer holds `tiles()` tiles of `tile_bytes`, and lives as long as `self`.
        unsafe {
            std::slice::from_raw_parts(
                self.data.as_ptr().add(tile * self.tile_bytes),
                self.tile_bytes,
            )
        }
    }

    /// One row, number by number: the definition of the layout.
    pub(super) fn read_row(&self, row: usize, out: &mut [f32]) {
        let (tile, lane) = (self.tile(row / ROWS), row % ROWS);
        let format = self.format;
        let size = format.code_bytes();
        let per_block = format.groups_per_block();
        let scales = &tile[self.groups * size..];
        for (g, out) in out.chunks_mut(GROUP).enumerate() {
            let codes = &tile[g * size..][..size];
            let scales = &scales[g / per_block * format.scale_bytes()..][..format.scale_bytes()];
            match format {
                Format::F32 => {
                    for (i, out) in out.iter_mut().enumerate() {
                        let at = (i * ROWS + lane) * 4;
                        *out = f32::from_le_bytes([0, 1, 2, 3].map(|b| codes[at + b]));
                    }
                }
                Format::Bf16 => {
                    for (i, out) in out.iter_mut().enumerate() {
                        let at = (i / 2 * ROWS + lane) * 4 + i % 2 * 2;
                        *out = bf16::from_le_bytes([codes[at], codes[at + 1]]).to_f32();
                    }
                }
                _ => {
                    for (i, out) in out.iter_mut().enumerate() {
                        let (factor, summand) = scale(format, scales, g % per_block, lane, i);
                        *out = factor * f32::from(code(format, codes, lane, i)) + summand;
                    }
                }
            }
        }
    }
}

/// What a symmetric format takes off its codes.
pub(super) fn offset(format: Format) -> i32 {
    match format.scales() {
        Scales::Offset | Scales::Halves => 1 << (format.bits() - 1),
        Scales::Minimum | Scales::Blocks => 0,
    }
}

/// The code of column `i` of a group.
fn code(format: Format, codes: &[u8], lane: usize, i: usize) -> u8 {
    let (quad, byte) = (i / 4, i % 4);
    let at = |plane: usize, vector: usize| codes[plane + (vector * ROWS + lane) * 4 + byte];
    let nibble = || at(0, quad / 2) >> (quad % 2 * 4) & 15;
    match format.bits() {
        8 => at(0, quad),
        5 => nibble() | (at(256, 0) >> quad & 1) << 4,
        6 => nibble() | (at(256, quad / 4) >> (quad % 4 * 2) & 3) << 4,
        _ => nibble(),
    }
}

/// Factor and summand of column `i` of the block's group `g`.
fn scale(format: Format, scales: &[u8], g: usize, lane: usize, i: usize) -> (f32, f32) {
    let half = |vector: usize| {
        let at = vector * 2 * ROWS + lane * 2;
        f16::from_le_bytes([scales[at], scales[at + 1]]).to_f32()
    };
    match format.scales() {
        Scales::Offset => (half(0), -half(0) * offset(format) as f32),
        Scales::Minimum => (half(0), half(1)),
        Scales::Blocks => {
            let at = 4 * ROWS + g * 2 * ROWS + lane;
            (half(0) * f32::from(scales[at]), -half(1) * f32::from(scales[at + ROWS]))
        }
        Scales::Halves => {
            let at = 2 * ROWS + g * 2 * ROWS + i / 16 * ROWS + lane;
            let factor = half(0) * f32::from(scales[at] as i8);
            (factor, -factor * offset(format) as f32)
        }
    }
}
