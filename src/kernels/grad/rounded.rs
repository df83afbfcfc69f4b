//! Linear maps whose products are of bf16, summed in f32, forwards and backwards: on AMX, several
//! times as fast as f32. Weights stay f32 where they are kept; both factors are rounded each time.
//! Offered only to those who ask for it, on their own thread.

use std::cell::Cell;

use candle_core::Tensor;

use crate::error::Result;

thread_local! {
    static ROUNDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; where `may`, [`linear`] rounds on this thread while it runs.
pub fn rounded<T>(may: bool, f: impl FnOnce() -> T) -> T {
    /// Puts the flag back, also where `f` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ROUNDED.set(self.0);
        }
    }
    let _before = Before(ROUNDED.replace(may));
    f()
}

/// `x·Wᵀ`, both factors rounded to bf16, and with gradients made so as well; only within
/// [`rounded`].
///
/// # Shapes
/// x (rows, in), weight (out, in) → (rows, out)
///
/// # Errors
/// The tensor's own.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Option<Tensor>> {
    if !ROUNDED.get() || !super::fits(x) || !super::fits(weight) {
        return Ok(None);
    }
    let (_, input) = x.dims2()?;
    let (out, columns) = weight.dims2()?;
    if input != columns || input % 32 != 0 || out % 32 != 0 {
        return Ok(None);
    }
    tiles::linear(x, weight)
}

#[cfg(not(target_arch = "x86_64"))]
mod tiles {
    use super::{Result, Tensor};

    pub(super) fn linear(_: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }
}

#[cfg(target_arch = "x86_64")]
mod tiles {
    use std::arch::x86_64::*;

    use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

    use super::super::super::amx;
    use super::super::super::few::Part;
    use super::super::super::format::{Format, GROUP, ROWS};
    use super::super::super::isa::Isa;
    use super::super::super::lanes::{Avx512, Lanes};
    use super::super::super::memory::Buffer;
    use super::super::numbers::{like, numbers, slice, stored, written};
    use super::Result;

    /// Bytes of a tile.
    const TILE: usize = 1024;

    pub(super) fn linear(x: &Tensor, weight: &Tensor) -> Result<Option<Tensor>> {
        if Isa::current() != Isa::Amx {
            return Ok(None);
        }
        Ok(Some(x.contiguous()?.apply_op2(&weight.contiguous()?, Rounded)?))
    }

    struct Rounded;

    impl CustomOp2 for Rounded {
        fn name(&self) -> &'static str {
            "linear-rounded"
        }

        fn cpu_fwd(
            &self,
            x: &CpuStorage,
            x_layout: &Layout,
            weight: &CpuStorage,
            weight_layout: &Layout,
        ) -> candle_core::Result<(CpuStorage, Shape)> {
            let (rows, input) = x_layout.shape().dims2()?;
            let (out, _) = weight_layout.shape().dims2()?;
            let (x, weight) = (slice(x, x_layout)?, slice(weight, weight_layout)?);
            // SAFETY: the processor has AMX; the sizes are the shapes'.
            let y = unsafe { product(x, rows, &Right::turned(weight, out, input)) };
            Ok(stored(y, (rows, out)))
        }

        fn bwd(
            &self,
            x: &Tensor,
            weight: &Tensor,
            _y: &Tensor,
            grad: &Tensor,
        ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
            let ((rows, input), (out, _)) = (x.dims2()?, weight.dims2()?);
            let grad = grad.contiguous()?;
            let (dy, w) = (numbers(&grad)?, numbers(weight)?);
            let dx = match x.track_op() {
                // SAFETY: the processor has AMX; the sizes are the shapes'.
                true => like(x, unsafe { product(&dy, rows, &Right::rows(&w, out, input)) })?,
                false => None,
            };
            let dw = match weight.track_op() {
                true => {
                    let x = numbers(x)?;
                    // SAFETY: as above; the turned rows are as wide as the right is high.
                    let dw = unsafe {
                        let turned = turn(&dy, rows, out);
                        product(&turned, out, &Right::rows(&x, rows, input))
                    };
                    like(weight, dw)?
                }
                false => None,
            };
            Ok((dx, dw))
        }
    }

    /// `left`, of `rows` rows, times the right.
    ///
    /// # Safety
    /// The processor must have AMX; `left` must be as wide as the right is high, in whole groups.
    unsafe fn product(left: &[f32], rows: usize, right: &Right) -> Vec<f32> {
        let width = right.groups * GROUP;
        // SAFETY: the caller's; `many` writes every output.
        unsafe {
            let left = amx::Tiles::of(&left[..rows * width], width, right.groups, false);
            written(rows * right.n, |out| {
                let part = Part {
                    format: Format::Bf16,
                    tiles: right.data.as_ptr(),
                    tile_bytes: right.groups * TILE,
                    groups: right.groups,
                    n: right.n,
                    out,
                };
                amx::many(&part, &left, 0..(right.n / ROWS).div_ceil(2));
            })
        }
    }

    /// The right factor in tiles: for sixteen columns, pairs of rows side by side.
    struct Right {
        data: Buffer,
        n: usize,
        groups: usize,
    }

    impl Right {
        fn zeroed(n: usize, k: usize) -> Self {
            let groups = k.div_ceil(GROUP);
            Self { data: Buffer::zeroed(n / ROWS * groups * TILE), n, groups }
        }

        /// (k, n) as it lies.
        ///
        /// # Safety
        /// The processor must have AMX; `x` has `k · n` numbers, `n` whole sixteens.
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        unsafe fn rows(x: &[f32], k: usize, n: usize) -> Self {
            let mut this = Self::zeroed(n, k);
            let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
            // SAFETY: the caller's; a pair of rows has 64 bytes of each column tile.
            unsafe {
                let order = _mm512_loadu_si512(order.as_ptr().cast());
                for row in (0..k).step_by(2) {
                    for column in (0..n).step_by(16) {
                        let from = x.as_ptr().add(row * n + column);
                        let a = _mm512_loadu_ps(from);
                        let b = match row + 1 < k {
                            true => _mm512_loadu_ps(from.add(n)),
                            false => _mm512_setzero_ps(),
                        };
                        let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(b, a));
                        let both = _mm512_permutexvar_epi16(order, both);
                        let at = column / ROWS * this.groups * TILE + row / 2 * 64;
                        _mm512_storeu_si512(this.data.as_mut_ptr().add(at).cast(), both);
                    }
                }
            }
            this
        }

        /// (n, k), turned.
        ///
        /// # Safety
        /// The processor must have AMX; `x` has `n · k` numbers, `n` whole sixteens and `k` whole
        /// groups.
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        unsafe fn turned(x: &[f32], n: usize, k: usize) -> Self {
            let mut this = Self::zeroed(n, k);
            // SAFETY: the caller's; sixteen rows of a group are a tile.
            unsafe {
                for row in (0..n).step_by(16) {
                    for column in (0..k).step_by(GROUP) {
                        let mut square = [_mm512_setzero_ps(); 16];
                        for (i, line) in square.iter_mut().enumerate() {
                            let from = x.as_ptr().add((row + i) * k + column);
                            let (a, b) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
                            *line =
                                std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(b, a));
                        }
                        let at = row / ROWS * this.groups * TILE + column / GROUP * TILE;
                        let to = this.data.as_mut_ptr().add(at);
                        for (i, line) in Avx512::transpose(square).into_iter().enumerate() {
                            Avx512::store(to.add(i * 64).cast(), line);
                        }
                    }
                }
            }
            this
        }
    }

    /// (rows, columns) turned to (columns, rows), with zeros up to whole groups of rows.
    ///
    /// # Safety
    /// The processor must have AVX-512; `x` has `rows · columns` numbers, `columns` whole sixteens.
    #[target_feature(enable = "avx512f")]
    unsafe fn turn(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        let width = rows.next_multiple_of(GROUP);
        let mut turned = vec![0f32; columns * width];
        // SAFETY: the caller's; whole squares of sixteen lie within `turned`.
        unsafe {
            for row in (0..rows).step_by(16) {
                for column in (0..columns).step_by(16) {
                    let mut square = [_mm512_setzero_ps(); 16];
                    for (i, line) in square.iter_mut().enumerate().take(rows - row) {
                        *line = _mm512_loadu_ps(x.as_ptr().add((row + i) * columns + column));
                    }
                    let to = turned.as_mut_ptr().add(column * width + row);
                    for (i, line) in Avx512::transpose(square).into_iter().enumerate() {
                        Avx512::store(to.add(i * width), line);
                    }
                }
            }
        }
        turned
    }
}
