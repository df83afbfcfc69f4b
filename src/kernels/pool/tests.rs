//! Regions one after another as fast as they go: each piece once, and nothing after the end.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::share;

#[test]
fn every_piece_is_done_once_and_no_region_outlives_its_call() {
    for round in 0..50_000 {
        // Of another size every time, so that a piece of an earlier region would show.
        let n = 2 + round % 7;
        let done: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
        let alive = AtomicUsize::new(1);
        share(n, 4, |range| {
            assert_eq!(alive.load(SeqCst), 1, "a piece of a closed region");
            for at in range {
                done[at].fetch_add(1, SeqCst);
            }
        });
        alive.store(0, SeqCst);
        assert!(done.iter().all(|count| count.load(SeqCst) == 1), "round {round}: {done:?}");
    }
}
