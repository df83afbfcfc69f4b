//! The numbers of tensors as the operations here read and write them, and vectors that need not be
//! whole. Nothing is computed.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, Error, Layout, Result, Shape, Storage, Tensor};

use super::super::lanes::Lanes;

/// The numbers of a contiguous f32 tensor on the CPU.
pub(super) fn numbers(x: &Tensor) -> Result<impl Deref<Target = [f32]>> {
    let (storage, layout) = x.storage_and_layout();
    let range = match &*storage {
        Storage::Cpu(cpu) => range(cpu, layout)?,
        _ => return Err(Error::Msg("a gradient is not on the CPU".into())),
    };
    Ok(Numbers { storage, range })
}

struct Numbers<G> {
    storage: G,
    range: Range<usize>,
}

impl<G: Deref<Target = Storage>> Deref for Numbers<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.range.clone()],
            _ => &[],
        }
    }
}

/// The same of what candle hands to an operation.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let range = range(storage, layout)?;
    Ok(&storage.as_slice::<f32>()?[range])
}

fn range(storage: &CpuStorage, layout: &Layout) -> Result<Range<usize>> {
    storage.as_slice::<f32>()?;
    let ends = layout.contiguous_offsets();
    let (start, end) = ends.ok_or_else(|| Error::Msg("the numbers are not contiguous".into()))?;
    Ok(start..end)
}

/// `n` numbers that `fill` writes.
///
/// # Safety
/// `fill` must write every one of them, and nothing else.
pub(super) unsafe fn written(n: usize, fill: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut data: Vec<f32> = Vec::with_capacity(n);
    fill(data.as_mut_ptr());
    // SAFETY: the capacity is `n`, and `fill` wrote all of it.
    unsafe { data.set_len(n) };
    data
}

/// What an operation hands back.
pub(super) fn stored(data: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(data), shape.into())
}

/// A gradient of `x`'s shape.
pub(super) fn like(x: &Tensor, data: Vec<f32>) -> Result<Option<Tensor>> {
    Ok(Some(Tensor::from_vec(data, x.shape(), &Device::Cpu)?))
}

/// Up to sixteen numbers, `rest` where there is none.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes>(from: *const f32, count: usize, rest: f32) -> L::F {
    // SAFETY: the caller's: so many are there.
    unsafe { if count < 16 { L::load_first(from, count, rest) } else { L::load(from) } }
}

/// Writes the first `count` of sixteen numbers.
#[inline(always)]
pub(super) unsafe fn store<L: Lanes>(to: *mut f32, count: usize, a: L::F) {
    // SAFETY: the caller's: there is room for so many.
    unsafe { if count < 16 { L::store_first(to, count, a) } else { L::store(to, a) } }
}
