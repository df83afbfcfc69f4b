//! Attention where rows decode, one query each: keys and values are written into the cache and met there,
//! all of it through one pointer, and nothing is taken from the allocator. Who sees whom is not decided
//! here.

use std::cell::Cell;
use std::marker::PhantomData;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::super::isa::Isa;
use super::super::memory::with_slice;
use super::codes::encode_row;
use super::{Attending, Kind, Task, View, coded_width, one};

/// The numbers of a cache, to be written and read in place.
#[derive(Debug)]
pub struct Slots<'a> {
    at: *mut u8,
    bytes: usize,
    dtype: DType,
    of: PhantomData<&'a mut Tensor>,
}

impl<'a> Slots<'a> {
    /// Of the tensor that the keys and values of all layers are views of; `lead` is its first number (of
    /// more than one, candle makes a list to see whether they overlap). As long as this lives nobody may
    /// read or write the numbers in another way.
    pub fn of(lead: &'a mut Tensor) -> Option<Self> {
        let find = Find(Cell::new(None));
        let one = lead.elem_count() == 1 && lead.layout().start_offset() == 0;
        if !one || !lead.device().is_cpu() || !super::super::offering() {
            return None;
        }
        lead.inplace_op1(&find).ok()?;
        let (at, bytes) = find.0.get()?;
        Some(Self { at, bytes, dtype: lead.dtype(), of: PhantomData })
    }

    /// Writes `x`, (batch, kv_heads, head_dim), into a slot of every row of `part`, (batch, kv_heads,
    /// capacity, head_dim or its codes).
    pub fn write(&mut self, part: &Tensor, slot: usize, x: &[f32]) -> Option<()> {
        let view = self.view(part)?;
        let &[batch, kv_heads, capacity, width] = part.dims() else { return None };
        let head_dim = x.len().checked_div(batch * kv_heads)?;
        let fits = batch * kv_heads * head_dim == x.len() && self.width(head_dim) == width;
        if !fits || slot >= capacity || head_dim == 0 {
            return None;
        }
        for (head, x) in x.chunks_exact(head_dim).enumerate() {
            // SAFETY: `view` has found the head's slots within the memory, which nobody else uses; there
            // are so many numbers, or codes, and they are aligned, for all offsets are whole numbers'.
            unsafe {
                let to = view.head(head / kv_heads, head % kv_heads).row(slot).cast_mut();
                match view.kind {
                    Kind::F32 => to.cast::<f32>().copy_from_nonoverlapping(x.as_ptr(), head_dim),
                    Kind::Bf16 => std::slice::from_raw_parts_mut(to.cast::<bf16>(), head_dim)
                        .convert_from_f32_slice(x),
                    Kind::F16 => std::slice::from_raw_parts_mut(to.cast::<f16>(), head_dim)
                        .convert_from_f32_slice(x),
                    Kind::Codes => encode_row(x, to),
                }
            }
        }
        Some(())
    }

    /// What a slot of so many numbers takes.
    fn width(&self, head_dim: usize) -> usize {
        if self.dtype == DType::U8 { coded_width(head_dim) } else { head_dim }
    }

    /// All of a part, where it lies within the memory.
    fn view(&self, part: &Tensor) -> Option<View> {
        let (kind, layout) = (Kind::of(self.dtype)?, part.layout());
        let (&[batch, heads, capacity, width], &[row, head, slot, 1]) =
            (part.dims(), layout.stride())
        else {
            return None;
        };
        let last = |count: usize| count.checked_sub(1);
        let steps = last(batch)? * row + last(heads)? * head + last(capacity)? * slot;
        let end = layout.start_offset() + steps + width;
        if part.dtype() != self.dtype || end * kind.bytes() > self.bytes {
            return None;
        }
        let at = self.at.wrapping_add(layout.start_offset() * kind.bytes());
        let steps = [row, head, slot].map(|step| step * kind.bytes());
        Some(View { at: at.cast_const(), kind, steps })
    }
}

/// Finds where a tensor's numbers are.
struct Find(Cell<Option<(*mut u8, usize)>>);

impl InplaceOp1 for Find {
    fn name(&self) -> &'static str {
        "slots"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        fn found<T>(numbers: &mut [T]) -> (*mut u8, usize) {
            (numbers.as_mut_ptr().cast(), size_of_val(numbers))
        }
        self.0.set(match storage {
            CpuStorage::F32(data) => Some(found(data)),
            CpuStorage::BF16(data) => Some(found(data)),
            CpuStorage::F16(data) => Some(found(data)),
            CpuStorage::U8(data) => Some(found(data)),
            _ => None,
        });
        Ok(())
    }
}

/// [`super::attend`] of one query a row, at the last of the first `keys` slots of `k` and `v`.
///
/// # Shapes
/// q (batch · heads · head_dim), k and v as in [`Slots::write`] → (batch · heads · head_dim)
pub fn attend_rows(
    q: &[f32],
    head_dim: usize,
    [k, v]: [&Tensor; 2],
    keys: usize,
    slots: &Slots<'_>,
    how: &Attending<'_>,
    out: &mut [f32],
) -> Option<()> {
    let &[batch, kv_heads, capacity, width] = k.dims() else { return None };
    let heads = q.len().checked_div(batch * head_dim)?;
    let steps = [heads, 1, 0].map(|rows| rows * head_dim * 4);
    let queries = View { at: q.as_ptr().cast(), kind: Kind::F32, steps };
    let views = [queries, slots.view(k)?, slots.view(v)?];
    let fits = batch * heads * head_dim == q.len()
        && out.len() == q.len()
        && k.dims() == v.dims()
        && slots.width(head_dim) == width
        && heads.is_multiple_of(kv_heads.max(1))
        && (1..=capacity).contains(&keys)
        && how.fits(batch, heads);
    if !fits || heads == 0 {
        return None;
    }
    let mut run = |sinks: Option<&[f32]>| {
        let task = Task::new(views, [batch, heads, kv_heads, 1, keys, head_dim], how, sinks);
        // SAFETY: the views lie within their memory; `out` has room for all heads.
        unsafe { one::run(Isa::current(), &task, out.as_mut_ptr()) };
    };
    let Some(sinks) = how.sinks else {
        run(None);
        return Some(());
    };
    with_slice(sinks, |sinks| run(Some(sinks)))
}
