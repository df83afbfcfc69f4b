//! Who lets products round: a thread for itself, for as long as it says so. No product is here.

use std::cell::Cell;

thread_local! {
    static ROUNDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; where `may`, linear maps whose gradients are wanted round their factors to bf16 on
/// this thread while it runs, forwards and backwards, where the processor is faster so. Weights
/// stay f32 where they are kept, and so do sums.
pub fn rounded<T>(may: bool, f: impl FnOnce() -> T) -> T {
    /// Puts the flag back, also where `f` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ROUNDED.set(self.0);
        }
    }
    let _before = Before(ROUNDED.replace(may));
    f()
}

/// Whether products on this thread may.
pub(super) fn may_round() -> bool {
    ROUNDED.get()
}
