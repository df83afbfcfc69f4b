//! Memory for packed weights, the raw slices of candle's tensors, and pointers that several threads
//! write through. Nothing is computed here.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::error::Result;

/// One line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes that begin at a cache line, zero at first.
#[derive(Debug)]
pub(super) struct Buffer {
    held: Held,
    bytes: usize,
}

#[derive(Debug)]
enum Held {
    Lines(Vec<Line>),
    Pages(memmap2::MmapMut),
}

/// From this size on, pages of their own, 2 MiB each where the system grants them: reading whole
/// matrices is 10 to 15 % faster with fewer pages to look up.
const OWN_PAGES: usize = 4 << 20;

impl Buffer {
    pub(super) fn zeroed(bytes: usize) -> Self {
        if bytes >= OWN_PAGES
            && let Ok(pages) = memmap2::MmapMut::map_anon(bytes + 64)
        {
            #[cfg(target_os = "linux")]
            // What is only advice may fail.
            let _ = pages.advise(memmap2::Advice::HugePage);
            return Self { held: Held::Pages(pages), bytes };
        }
        Self { held: Held::Lines(vec![Line([0; 64]); bytes.div_ceil(64) + 1]), bytes }
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        match &self.held {
            Held::Lines(lines) => lines.as_ptr().cast(),
            Held::Pages(pages) => pages.as_ptr(),
        }
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        match &mut self.held {
            Held::Lines(lines) => lines.as_mut_ptr().cast(),
            Held::Pages(pages) => pages.as_mut_ptr(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Has the allocator keep what it once got from the system, for all threads together. Training
/// frees and wants the same hundreds of megabytes every step: fetching them anew, page by page,
/// costs a third of its time. Call it before the threads that are to profit; it can fail only to
/// help.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it sets parameters of the allocator, which takes any and answers whether it does.
    unsafe {
        use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
        mallopt(M_ARENA_MAX, 1);
        mallopt(M_MMAP_THRESHOLD, 32 << 20); // the highest that it takes
        mallopt(M_TRIM_THRESHOLD, -1); // never
    }
}

thread_local! {
    static LENT: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that a thread keeps for the next time: fresh pages cost more than what is done with them.
const KEPT: usize = 4;

/// A buffer that is given back when dropped.
pub(super) struct Lent(Option<Buffer>);

/// At least so many bytes. What they hold is not defined.
pub(super) fn lent(bytes: usize) -> Lent {
    let kept = LENT.with_borrow_mut(|kept| {
        let fits = |buffer: &Buffer| buffer.bytes >= bytes;
        kept.iter().position(fits).map(|at| kept.remove(at))
    });
    Lent(Some(kept.unwrap_or_else(|| Buffer::zeroed(bytes))))
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(buffer) = self.0.take() else { return };
        // At the thread's end there is nobody to keep it for.
        let _ = LENT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            kept.push(buffer);
            kept.sort_by_key(|buffer| buffer.bytes); // the smallest that fits is lent
            if kept.len() > KEPT {
                kept.remove(0);
            }
        });
    }
}

impl Lent {
    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ref().map_or(std::ptr::null(), |buffer| buffer.as_ptr())
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut().map_or(std::ptr::null_mut(), |buffer| buffer.as_mut_ptr())
    }
}

/// A pointer that threads share. Whoever follows it answers for what it finds.
pub(super) struct Shared<T>(pub(super) *mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}
// SAFETY: sending a pointer is harmless; each use of it is an unsafe block of its own.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// (A method, so that closures capture the whole and not the raw field.)
    pub(super) fn get(self) -> *mut T {
        self.0
    }
}

/// Whether kernels may read `x`: f32 on the CPU, and no gradient wanted, for they have none.
pub(super) fn plain(x: &Tensor) -> bool {
    super::offering() && x.device().is_cpu() && x.dtype() == DType::F32 && !x.track_op()
}

/// Hands the numbers of a contiguous f32 tensor on the CPU to `f`; `None` for any other.
pub(super) fn with_slice<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Option<R> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(data)) = &*storage else { return None };
    let (start, end) = layout.contiguous_offsets()?;
    Some(f(&data[start..end]))
}

/// A tensor of `shape`, all of whose `n` numbers `fill` writes.
///
/// # Safety
/// `fill` must write every one of the `n` numbers, and nothing else.
pub(super) unsafe fn filled(
    shape: impl Into<candle_core::Shape>,
    fill: impl FnOnce(*mut f32),
) -> Result<Tensor> {
    let shape = shape.into();
    let n = shape.elem_count();
    let mut data: Vec<f32> = Vec::with_capacity(n);
    fill(data.as_mut_ptr());
    // SAFETY: the capacity is `n`, and `fill` wrote all of it.
    unsafe { data.set_len(n) };
    Ok(Tensor::from_vec(data, shape, &Device::Cpu)?)
}
