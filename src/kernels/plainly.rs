//! Computing without any fast path, to hold the two against each other. It makes nothing faster.

use std::cell::Cell;

thread_local! {
    static PLAIN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, and has every fast path decline while it runs on this thread: what it computes, it
/// computes by the definitions in `nn`.
pub fn plainly<T>(f: impl FnOnce() -> T) -> T {
    /// Puts the flag back, also where `f` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            PLAIN.set(self.0);
        }
    }
    let _before = Before(PLAIN.replace(true));
    f()
}

/// May fast paths be offered?
pub(crate) fn offering() -> bool {
    !PLAIN.get()
}
