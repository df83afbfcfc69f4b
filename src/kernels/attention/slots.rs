//! One row's attention where it decodes: its keys and values are written into the cache and met there,
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
    /// Of a tensor that the keys and values of all layers are views of. As long as this lives nobody may
    /// read or write their numbers in another way.
    pub fn of(room: &'a mut Tensor) -> Option<Self> {
        let find = Find(Cell::new(None));
        if !room.device().is_cpu() || !room.is_contiguous() || !super::super::offering() {
            return None;
        }
        room.inplace_op1(&find).ok()?;
        let (at, bytes) = find.0.get()?;
        Some(Self { at, bytes, dtype: room.dtype(), of: PhantomData })
    }

    /// Writes `x`, (kv_heads, head_dim), into a slot of `part`, (1, kv_heads, capacity, head_dim or its
    /// codes).
    pub fn write(&mut self, part: &Tensor, slot: usize, x: &[f32]) -> Option<()> {
        let view = self.view(part)?;
        let &[_, kv_heads, capacity, width] = part.dims() else { return None };
        let head_dim = x.len().checked_div(kv_heads)?;
        let fits = kv_heads * head_dim == x.len() && self.width(head_dim) == width;
        if !fits || slot >= capacity || head_dim == 0 {
            return None;
        }
        for (head, x) in x.chunks_exact(head_dim).enumerate() {
            // SAFETY: `view` has found the head's slots within the memory, which nobody else uses; there
            // are so many numbers, or codes, and they are aligned, for all offsets are whole numbers'.
            unsafe {
                let to = view.head(0, head).row(slot).cast_mut();
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
        let kind = match self.dtype {
            DType::F32 => Kind::F32,
            DType::BF16 => Kind::Bf16,
            DType::F16 => Kind::F16,
            DType::U8 => Kind::Codes,
            _ => return None,
        };
        let layout = part.layout();
        let (&[1, heads, capacity, width], &[_, head, row, 1]) = (part.dims(), layout.stride())
        else {
            return None;
        };
        let last = |count: usize| count.checked_sub(1);
        let end = layout.start_offset() + last(heads)? * head + last(capacity)? * row + width;
        if part.dtype() != self.dtype || end * kind.bytes() > self.bytes {
            return None;
        }
        let at = self.at.wrapping_add(layout.start_offset() * kind.bytes());
        let steps = [0, head, row].map(|step| step * kind.bytes());
        Some(View { at: at.cast_const(), kind, steps })
    }
}

/// Finds where a tensor's numbers are.
struct Find(Cell<Option<(*mut u8, usize)>>);

impl InplaceOp1 for Find {
    fn name(&self) -> &'static str {
        "slots"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else { return Ok(()) };
        fn found<T>(numbers: &mut [T]) -> (*mut u8, usize) {
            (numbers.as_mut_ptr().cast(), size_of_val(numbers))
        }
        self.0.set(match storage {
            CpuStorage::F32(data) if start == 0 => Some(found(&mut data[..end])),
            CpuStorage::BF16(data) if start == 0 => Some(found(&mut data[..end])),
            CpuStorage::F16(data) if start == 0 => Some(found(&mut data[..end])),
            CpuStorage::U8(data) if start == 0 => Some(found(&mut data[..end])),
            _ => None,
        });
        Ok(())
    }
}

/// [`super::attend`] of one row's one query, at the last of the first `keys` slots of `k` and `v`.
///
/// # Shapes
/// q (heads · head_dim), k and v as in [`Slots::write`] → (heads · head_dim)
pub fn attend_row(
    q: &[f32],
    head_dim: usize,
    [k, v]: [&Tensor; 2],
    keys: usize,
    slots: &Slots<'_>,
    how: &Attending<'_>,
    out: &mut [f32],
) -> Option<()> {
    let heads = q.len().checked_div(head_dim)?;
    let &[_, kv_heads, capacity, width] = k.dims() else { return None };
    let views = [
        View { at: q.as_ptr().cast(), kind: Kind::F32, steps: [0, head_dim * 4, 0] },
        slots.view(k)?,
        slots.view(v)?,
    ];
    let fits = heads * head_dim == q.len()
        && out.len() == q.len()
        && k.dims() == v.dims()
        && slots.width(head_dim) == width
        && heads.is_multiple_of(kv_heads.max(1))
        && (1..=capacity).contains(&keys)
        && how.window != Some(0)
        && how.slopes.is_none_or(|slopes| slopes.len() == heads)
        && how.sinks.is_none_or(|sinks| sinks.elem_count() == heads)
        && how.padding.iter().all(|pad| *pad == 0);
    if !fits || heads == 0 {
        return None;
    }
    let mut run = |sinks: Option<&[f32]>| {
        let task = Task::new(views, [1, heads, kv_heads, 1, keys, head_dim], how, sinks);
        // SAFETY: the views lie within their memory; `out` has room for all heads.
        unsafe { one::run(Isa::current(), &task, out.as_mut_ptr()) };
    };
    let Some(sinks) = how.sinks else {
        run(None);
        return Some(());
    };
    with_slice(sinks, |sinks| run(Some(sinks)))
}
