//! Which processor a thread is on, and which it is kept off. When, and why, is `waiting.rs`'s affair.
//! Elsewhere than on Linux nothing is done.

/// No processor.
pub(super) const NOWHERE: usize = usize::MAX;

/// The processor that this thread is on.
#[cfg(target_os = "linux")]
pub(super) fn place() -> usize {
    // SAFETY: it only answers a number.
    usize::try_from(unsafe { nix::libc::sched_getcpu() }).unwrap_or(NOWHERE)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn place() -> usize {
    NOWHERE
}

/// Where a worker may run: wherever it might when it began, but for one processor at times.
#[cfg(target_os = "linux")]
pub(super) struct Seat {
    all: nix::libc::cpu_set_t,
    off: usize,
}

#[cfg(target_os = "linux")]
impl Seat {
    /// This thread's.
    pub(super) fn new() -> Self {
        // SAFETY: zeros are a set without a processor; the call writes the thread's own there.
        let all = unsafe {
            let mut all: nix::libc::cpu_set_t = std::mem::zeroed();
            nix::libc::sched_getaffinity(0, size_of_val(&all), &raw mut all);
            all
        };
        Self { all, off: NOWHERE }
    }

    /// Keeps this thread off a processor, if another one is left to it.
    pub(super) fn keep_off(&mut self, processor: usize) {
        if self.off == processor {
            return;
        }
        self.off = processor;
        let mut set = self.all;
        // SAFETY: it changes a copy, and where this thread runs. An empty set is refused, as it should be.
        unsafe {
            if processor < nix::libc::CPU_SETSIZE as usize {
                nix::libc::CPU_CLR(processor, &mut set);
            }
            nix::libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) struct Seat;

#[cfg(not(target_os = "linux"))]
impl Seat {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn keep_off(&mut self, _: usize) {}
}
