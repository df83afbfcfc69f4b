//! Memory for packed weights, the raw slices of candle's tensors, and pointers that several threads
//! write through. Nothing is computed here.

#[cfg(target_os = "linux")]
mod collapse;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use candle_core::{CpuStorage, DType, Device, Storage, Tensor, WithDType};
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};

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
    /// Some of a chunk, from this byte on.
    Part(Arc<Chunk>, usize),
}

/// Pages of the system's. Matrices share chunks, for one alone is often smaller than a large page.
#[derive(Debug)]
struct Chunk {
    pages: memmap2::MmapRaw,
    /// The first whole huge page.
    start: usize,
    /// Bytes from there on that matrices have.
    used: AtomicUsize,
}

/// What is smaller than this is no matter.
const SMALL: usize = 64 << 10;
const HUGE_PAGE: usize = 2 << 20;
const CHUNK: usize = 32 << 20;

/// Beyond this, pages of 2 MiB are asked for: with fewer pages to look up, whole matrices are read
/// 5 to 10 % faster. Up to this, the start counts for more: on a virtual machine that has given its
/// free memory back, large pages take up to four times as long to come as small ones. There small ones
/// are put together later.
#[cfg(target_os = "linux")]
const SMALL_PAGES: usize = 320 << 20;

/// Bytes of all chunks so far.
#[cfg(target_os = "linux")]
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The chunk that is being filled, and how far it is.
static FILLING: Mutex<(Weak<Chunk>, usize)> = Mutex::new((Weak::new(), 0));

impl Chunk {
    /// A chunk with so many bytes from its first whole huge page on.
    fn new(bytes: usize) -> Option<Arc<Self>> {
        let pages = memmap2::MmapMut::map_anon(bytes + HUGE_PAGE).ok()?;
        let start = pages.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
        #[cfg(target_os = "linux")]
        let small = TAKEN.fetch_add(bytes, Relaxed) + bytes <= SMALL_PAGES;
        #[cfg(target_os = "linux")]
        if !small {
            // What is only advice may fail.
            let _ = pages.advise(memmap2::Advice::HugePage);
        }
        let used = AtomicUsize::new(0);
        let chunk = Arc::new(Self { pages: pages.into(), start, used });
        #[cfg(target_os = "linux")]
        if small {
            collapse::later(&chunk);
        }
        Some(chunk)
    }

    /// So many bytes that nobody else has, all zero.
    fn part(bytes: usize) -> Option<Held> {
        if bytes > CHUNK / 2 {
            let chunk = Self::new(bytes)?;
            chunk.used.store(bytes, Relaxed);
            let start = chunk.start;
            return Some(Held::Part(chunk, start));
        }
        let mut filling = FILLING.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |chunk: &Arc<Self>| filling.1 + bytes <= chunk.pages.len();
        let (chunk, at) = match filling.0.upgrade().filter(fits) {
            Some(chunk) => (chunk, filling.1),
            None => {
                let chunk = Self::new(CHUNK)?;
                let start = chunk.start;
                (chunk, start)
            }
        };
        chunk.used.store(at + bytes - chunk.start, Relaxed);
        *filling = (Arc::downgrade(&chunk), at + bytes);
        Some(Held::Part(chunk, at))
    }
}

impl Buffer {
    pub(super) fn zeroed(bytes: usize) -> Self {
        let lines = bytes.div_ceil(64) + 1;
        let part = if bytes < SMALL { None } else { Chunk::part(lines * 64) };
        Self { held: part.unwrap_or_else(|| Held::Lines(vec![Line([0; 64]); lines])), bytes }
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        match &self.held {
            Held::Lines(lines) => lines.as_ptr().cast(),
            // SAFETY: the part lies within the chunk.
            Held::Part(chunk, at) => unsafe { chunk.pages.as_ptr().add(*at) },
        }
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        match &mut self.held {
            Held::Lines(lines) => lines.as_mut_ptr().cast(),
            // SAFETY: as above; no other buffer has this part.
            Held::Part(chunk, at) => unsafe { chunk.pages.as_mut_ptr().add(*at) },
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Has the allocator keep what it once got from the system: fetching the same megabytes anew, page
/// by page, costs a fifth of a large model's prefill. It can fail only to help.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it sets parameters of the allocator, which takes any and answers whether it does.
    unsafe {
        use nix::libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
        mallopt(M_MMAP_THRESHOLD, 32 << 20); // the highest that it takes
        mallopt(M_TRIM_THRESHOLD, -1); // never
    }
}

/// [`keep_memory`], for all threads together: what one frees in training, another wants the next
/// step. (Decoding from a long cache is a tenth slower so.) Call it before the threads begin.
pub fn keep_memory_together() {
    keep_memory();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: as above.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}

/// So many zeros, in one dimension. Where most of them are `used` soon, large pages of memory are
/// asked for: reading a long cache from small ones takes up to a third longer.
///
/// # Errors
/// The tensor's own.
pub fn zeros(count: usize, dtype: DType, device: &Device, used: bool) -> Result<Tensor> {
    // In these ways no number is written, so that a page is there only when it is used.
    let tensor = match (dtype, device) {
        (DType::F32, Device::Cpu) => {
            Tensor::from_vec(large(vec![0f32; count], used), count, device)
        }
        (DType::BF16, Device::Cpu) => {
            let numbers = large(vec![0u16; count], used).reinterpret_into::<bf16>();
            Tensor::from_vec(numbers, count, device)
        }
        (DType::F16, Device::Cpu) => {
            let numbers = large(vec![0u16; count], used).reinterpret_into::<f16>();
            Tensor::from_vec(numbers, count, device)
        }
        (DType::U8, Device::Cpu) => Tensor::from_vec(large(vec![0u8; count], used), count, device),
        _ => Tensor::zeros(count, dtype, device),
    };
    Ok(tensor?)
}

/// In large pages where it is not yet in any, `wanted` and worth it.
fn large<T>(numbers: Vec<T>, wanted: bool) -> Vec<T> {
    #[cfg(target_os = "linux")]
    if wanted && size_of_val(numbers.as_slice()) >= 4 * HUGE_PAGE {
        use nix::libc::{MADV_HUGEPAGE, madvise};
        let range = numbers.as_ptr_range();
        let start = range.start.addr().next_multiple_of(HUGE_PAGE);
        let bytes = range.end.addr().saturating_sub(start) / HUGE_PAGE * HUGE_PAGE;
        let at = range.start.with_addr(start).cast_mut();
        // SAFETY: whole pages within the vector. What is only advice may fail.
        unsafe { madvise(at.cast(), bytes, MADV_HUGEPAGE) };
    }
    numbers
}

thread_local! {
    static LENT: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that a thread keeps for the next time, as many as it ever has at once: fresh pages cost more
/// than what is done with them.
const KEPT: usize = 5;

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

/// A tensor on the CPU of `shape`, all of whose `n` numbers `fill` writes.
///
/// # Safety
/// `fill` must write every one of the `n` numbers, and nothing else.
pub(super) unsafe fn filled<T: WithDType>(
    shape: impl Into<candle_core::Shape>,
    fill: impl FnOnce(*mut T),
) -> Result<Tensor> {
    let shape = shape.into();
    let n = shape.elem_count();
    let mut data: Vec<T> = Vec::with_capacity(n);
    fill(data.as_mut_ptr());
    // SAFETY: the capacity is `n`, and `fill` wrote all of it.
    unsafe { data.set_len(n) };
    Ok(Tensor::from_vec(data, shape, &Device::Cpu)?)
}
