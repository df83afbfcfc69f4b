//! How threads wait: they spin, they give way, they sleep. What they wait for is `pool.rs`'s affair.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::seat::{NOWHERE, place};

/// Rounds of spinning before a thread gives way, about 20 µs.
const SPINS: usize = 600;
/// How long an idle thread gives way before it sleeps.
pub(super) const IDLE: Duration = Duration::from_micros(300);

/// Who comes back later than this from giving way has let another process in.
const TURN: Duration = Duration::from_millis(2);
/// For so many milliseconds after that nobody gives way.
const CROWDED: usize = 100;

/// Whether other processes want the processors. Linux takes the rest of its turn from a thread that gives
/// way, and nothing from one that sleeps: beside a busy process, a thread that gave way every few
/// microseconds was let run a seventh of the time.
pub(super) struct Crowd {
    started: Instant,
    /// The millisecond after the start until which there is one.
    until: AtomicUsize,
    /// Where the thread last ran that woke others, as [`place`] has it.
    waker: AtomicUsize,
}

impl Crowd {
    pub(super) fn new() -> Self {
        let (until, waker) = (AtomicUsize::new(0), AtomicUsize::new(NOWHERE));
        Self { started: Instant::now(), until, waker }
    }

    /// Lets other threads run; where lately that has let another process in it does not, and answers
    /// `false`.
    pub(super) fn give_way(&self) -> bool {
        let asked = Instant::now();
        if self.is_there(asked) {
            return false;
        }
        std::thread::yield_now();
        if asked.elapsed() > TURN {
            self.until.store(self.now(asked) + CROWDED, SeqCst);
        }
        true
    }

    fn is_there(&self, at: Instant) -> bool {
        self.now(at) < self.until.load(SeqCst)
    }

    fn now(&self, at: Instant) -> usize {
        (at - self.started).as_millis() as usize
    }

    /// This thread is about to wake others.
    pub(super) fn waking(&self) {
        self.waker.store(place(), SeqCst);
    }

    /// The processor that whoever goes to sleep now should not be woken on: in a crowd Linux likes to
    /// wake it where the waker runs, and there they can only take turns.
    pub(super) fn taken(&self) -> usize {
        match self.is_there(Instant::now()) {
            true => self.waker.load(SeqCst),
            false => NOWHERE,
        }
    }

    /// From now on there is one.
    #[cfg(test)]
    pub(super) fn stay(&self) {
        self.until.store(usize::MAX, SeqCst);
    }

    /// There is none.
    #[cfg(test)]
    pub(super) fn leave(&self) {
        self.until.store(0, SeqCst);
    }
}

/// Answers whether it was done while this thread looked.
pub(super) fn spin(done: impl Fn() -> bool) -> bool {
    for _ in 0..SPINS {
        if done() {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}
