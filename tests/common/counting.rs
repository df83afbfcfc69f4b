//! An allocator that counts how often it is asked.
#![allow(dead_code, reason = "each test file uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The system's, counting.
pub(crate) struct Counting;

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}
static EVERYWHERE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HERE.try_with(|count| count.set(count.get() + 1));
        EVERYWHERE.fetch_add(1, SeqCst);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

/// How often `f` asks on this thread.
pub(crate) fn here(f: impl FnOnce()) -> usize {
    let before = HERE.get();
    f();
    HERE.get() - before
}

/// How often all threads ask while `f` runs.
pub(crate) fn everywhere(f: impl FnOnce()) -> usize {
    let before = EVERYWHERE.load(SeqCst);
    f();
    EVERYWHERE.load(SeqCst) - before
}
