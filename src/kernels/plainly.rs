//! Computing without any fast path, to hold the two against each other. It makes nothing faster.

use std::cell::Cell;
use std::thread::LocalKey;

thread_local! {
    static PLAIN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, and has every fast path decline while it runs on this thread: what it computes, it
/// computes by the definitions in `nn`.
pub fn plainly<T>(f: impl FnOnce() -> T) -> T {
    during(&PLAIN, true, f)
}

/// Runs `f` while a flag of this thread is `value`.
pub(super) fn during<T>(
    flag: &'static LocalKey<Cell<bool>>,
    value: bool,
    f: impl FnOnce() -> T,
) -> T {
    /// Puts the flag back, also where `f` panics.
    struct Before(&'static LocalKey<Cell<bool>>, bool);
    impl Drop for Before {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _before = Before(flag, flag.replace(value));
    f()
}

/// May fast paths be offered?
pub(crate) fn offering() -> bool {
    !PLAIN.get()
}
