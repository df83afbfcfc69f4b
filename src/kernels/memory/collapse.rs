//! Small pages, put together into large ones while the process goes on: a start has them soon, and who
//! generates for longer reads faster. Which chunks are small is said in `memory.rs`.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{Chunk, HUGE_PAGE};

/// Whoever is done before is not held up.
const DELAY: Duration = Duration::from_millis(400);
/// `MADV_COLLAPSE`, Linux 6.1 and later.
const COLLAPSE: i32 = 25;

static WAITING: Mutex<Vec<Weak<Chunk>>> = Mutex::new(Vec::new());

/// Has a thread see to the chunk after a while. Where none can be had, pages stay as they are.
pub(super) fn later(chunk: &Arc<Chunk>) {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.push(Arc::downgrade(chunk));
    if waiting.len() == 1 {
        let _ = std::thread::Builder::new().name("large-pages".to_owned()).spawn(collapse);
    }
}

fn collapse() {
    std::thread::sleep(DELAY);
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let chunks = std::mem::take(&mut *waiting);
    drop(waiting);
    chunks.iter().filter_map(Weak::upgrade).for_each(|chunk| put_together(&chunk));
}

fn put_together(chunk: &Chunk) {
    let from = chunk.pages.as_mut_ptr().wrapping_add(chunk.start);
    // What nobody has yet would only take memory.
    for page in 0..chunk.used.load(Relaxed) / HUGE_PAGE {
        let at = from.wrapping_add(page * HUGE_PAGE).cast();
        // SAFETY: a whole page within the chunk, which lives as long as it is borrowed; what it holds
        // does not change. An older system knows no such advice, and refuses.
        unsafe { nix::libc::madvise(at, HUGE_PAGE, COLLAPSE) };
    }
}

#[cfg(test)]
mod tests;
