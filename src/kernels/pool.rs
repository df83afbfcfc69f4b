//! Threads for the kernels. One call is one region: its pieces are taken, not dealt, so a thread
//! that the system keeps waiting holds up nobody. Whoever waits spins for some microseconds, then
//! gives way, then sleeps: on a busy machine spinning would take the time that it waits for.
//! What the pieces compute is not known here.

use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Instant;

mod pieces;
mod seat;
mod waiting;

use pieces::Pieces;
use seat::Seat;
use waiting::{Crowd, IDLE, spin};

/// Numbers that a thread works through in a few microseconds.
pub(super) const SERIAL: usize = 1 << 14;

static WANTED: AtomicUsize = AtomicUsize::new(0);
static POOL: OnceLock<Pool> = OnceLock::new();

/// Sets the number of threads, before the first kernel runs; later it has no effect.
pub fn set_threads(threads: usize) {
    WANTED.store(threads, SeqCst);
}

/// Threads that share the work.
pub fn threads() -> usize {
    pool().workers + 1
}

/// Calls `work` for pieces of `0..n`, each piece once, some on other threads, and returns when all
/// are done. `pieces` is how many a thread should find to take.
pub(super) fn share(n: usize, pieces: usize, work: impl Fn(Range<usize>) + Sync) {
    let pool = pool();
    let count = (pool.workers + 1).saturating_mul(pieces).min(n);
    pool.offer(Pieces { n, count, long: 0 }, &work);
}

/// [`share`] of rows of so many numbers, where there are enough to be shared.
pub(super) fn share_rows(rows: usize, width: usize, work: impl Fn(Range<usize>) + Sync) {
    match rows * width / SERIAL {
        0 => work(0..rows),
        _ => share(rows, 2, work),
    }
}

/// [`share`] for work that reads memory from one end to the other: each jump to another place costs
/// a microsecond, so there is a long piece for each thread, and a short one to end together.
pub(super) fn sweep(n: usize, work: impl Fn(Range<usize>) + Sync) {
    let pool = pool();
    let threads = pool.workers + 1;
    let long = if n < 4 * threads { 0 } else { threads };
    pool.offer(Pieces { n, count: (threads + long).min(n), long }, &work);
}

/// Calls `work` with every one of `items`, some on other threads, and returns when all are done.
pub(crate) fn each<T: Send>(items: &mut [T], work: impl Fn(&mut T) + Sync) {
    let items: Vec<Mutex<&mut T>> = items.iter_mut().map(Mutex::new).collect();
    share(items.len(), items.len(), |range| {
        for item in &items[range] {
            work(&mut item.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}

type Work<'a> = dyn Fn(Range<usize>) + Sync + 'a;

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    pieces: Pieces,
}

struct Pool {
    workers: usize,
    /// Held while a region runs; whoever finds it held works alone.
    caller: Mutex<()>,
    job: UnsafeCell<Option<Job>>,
    /// Odd while `job` may be entered.
    epoch: AtomicUsize,
    /// Threads that look at `job`.
    inside: AtomicUsize,
    next: AtomicUsize,
    failed: AtomicBool,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    caller_sleeps: AtomicBool,
    wake_caller: Condvar,
    crowd: Crowd,
}

// SAFETY: `job` is written only by the thread that holds `caller`, while `epoch` is even and
// `inside` is 0, so that no worker reads it; all else is atomics and locks.
unsafe impl Sync for Pool {}
// SAFETY: `job` holds a pointer to a `Sync` closure, valid while a region runs.
unsafe impl Send for Pool {}

fn pool() -> &'static Pool {
    let mut first = false;
    let pool = POOL.get_or_init(|| {
        first = true;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let rayon = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok());
        let threads = match WANTED.load(SeqCst) {
            0 => rayon.filter(|n| *n > 0).unwrap_or(cores),
            wanted => wanted,
        };
        Pool {
            workers: threads - 1,
            caller: Mutex::new(()),
            job: UnsafeCell::new(None),
            epoch: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            caller_sleeps: AtomicBool::new(false),
            wake_caller: Condvar::new(),
            crowd: Crowd::new(),
        }
    });
    if first {
        for index in 0..pool.workers {
            // A thread that cannot be had is not missed: pieces are taken, not dealt.
            let _ =
                std::thread::Builder::new().name(format!("kernel-{index}")).spawn(|| pool.serve());
        }
    }
    pool
}

fn lock(mutex: &Mutex<()>) -> std::sync::MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Runs a region, or all of the work here, where there is no other thread or no other piece.
    fn offer(&self, pieces: Pieces, work: &Work<'_>) {
        if self.workers == 0 || pieces.count <= 1 || !self.run(pieces, work) {
            work(0..pieces.n);
        }
    }

    /// Runs a region; `false` where another one is running.
    fn run(&self, pieces: Pieces, work: &Work<'_>) -> bool {
        let Ok(_caller) = self.caller.try_lock() else { return false };
        // SAFETY: only the lifetime changes. The pointer is followed only while `inside` counts the
        // follower, and this function returns only when nobody is inside.
        let work: *const Work<'static> = unsafe { std::mem::transmute(work) };
        let job = Job { work, pieces };
        // SAFETY: `epoch` is even and nobody is inside: see `impl Sync`.
        unsafe { *self.job.get() = Some(job) };
        self.next.store(0, SeqCst);
        self.inside.fetch_add(1, SeqCst);
        self.epoch.fetch_add(1, SeqCst); // odd: open
        if self.sleepers.load(SeqCst) > 0 && self.sleepers.swap(0, SeqCst) > 0 {
            self.crowd.waking();
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
        struct Close<'a>(&'a Pool);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.0.epoch.fetch_add(1, SeqCst); // even: closed
                self.0.await_workers();
            }
        }
        let close = Close(self); // a panic of `work` waits, too
        self.take(job);
        drop(close);
        if self.failed.swap(false, SeqCst) {
            std::panic::resume_unwind(Box::new("a kernel's thread panicked"));
        }
        true
    }

    /// Takes pieces until none is left. Whoever calls it has been counted in `inside`.
    fn take(&self, job: Job) {
        struct Leave<'a>(&'a Pool);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.failed.store(true, SeqCst);
                }
                if self.0.inside.fetch_sub(1, SeqCst) == 1 && self.0.caller_sleeps.load(SeqCst) {
                    drop(lock(&self.0.sleep));
                    self.0.wake_caller.notify_all();
                }
            }
        }
        let _leave = Leave(self);
        // SAFETY: the caller of `run` waits until this thread has left.
        let work = unsafe { &*job.work };
        loop {
            let piece = self.next.fetch_add(1, SeqCst);
            if piece >= job.pieces.count {
                return;
            }
            work(job.pieces.piece(piece));
        }
    }

    fn await_workers(&self) {
        let done = || self.inside.load(SeqCst) == 0;
        if spin(done) {
            return;
        }
        for _ in 0..8 {
            if !self.crowd.give_way() {
                break;
            }
            if done() {
                return;
            }
        }
        self.caller_sleeps.store(true, SeqCst);
        let mut guard = lock(&self.sleep);
        while !done() {
            guard = self.wake_caller.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.caller_sleeps.store(false, SeqCst);
    }

    /// A worker's life.
    fn serve(&self) {
        let (mut seen, mut seat) = (0, Seat::new());
        loop {
            let epoch = self.await_region(seen, &mut seat);
            seen = epoch;
            self.inside.fetch_add(1, SeqCst);
            if epoch % 2 == 1 && self.epoch.load(SeqCst) == epoch {
                // SAFETY: odd and unchanged, so the region was open after this thread was counted,
                // so its caller waits for it, and writes no other job before.
                if let Some(job) = unsafe { *self.job.get() } {
                    self.take(job);
                    continue;
                }
            }
            if self.inside.fetch_sub(1, SeqCst) == 1 && self.caller_sleeps.load(SeqCst) {
                drop(lock(&self.sleep));
                self.wake_caller.notify_all();
            }
        }
    }

    /// The epoch, odd, of a region not seen yet. It is the one that was found open: read once more
    /// it might be that of a closed region, whose job is gone.
    fn await_region(&self, seen: usize, seat: &mut Seat) -> usize {
        let found = Cell::new(seen);
        let open = || {
            found.set(self.epoch.load(SeqCst));
            found.get() % 2 == 1 && found.get() != seen
        };
        let start = Instant::now();
        while !spin(open) {
            if self.crowd.give_way() && start.elapsed() <= IDLE {
                continue;
            }
            seat.keep_off(self.crowd.taken());
            let mut guard = lock(&self.sleep);
            loop {
                // Counted before it looks: whoever opens a region counts after it has opened it.
                self.sleepers.fetch_add(1, SeqCst);
                if open() {
                    break;
                }
                guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            break;
        }
        found.get()
    }
}

#[cfg(test)]
mod tests;
