//! Who lets products round: a thread for itself, for as long as it says so. No product is here.

use std::cell::Cell;

use super::super::plainly::during;

thread_local! {
    static ROUNDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; where `may`, linear maps whose gradients are wanted round their factors to bf16 on
/// this thread while it runs, forwards and backwards, where the processor is faster so. Weights
/// stay f32 where they are kept, and so do sums.
pub fn rounded<T>(may: bool, f: impl FnOnce() -> T) -> T {
    during(&ROUNDED, may, f)
}

/// Whether products on this thread may.
pub(super) fn may_round() -> bool {
    ROUNDED.get()
}
