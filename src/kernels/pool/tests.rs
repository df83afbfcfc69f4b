//! Regions one after another as fast as they go: each piece once, and nothing after the end.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::{Pieces, pool, share, sweep};

#[test]
fn every_piece_is_done_once_and_no_region_outlives_its_call() {
    regions(50_000);
    // In a crowd nobody gives way: who has spun in vain sleeps, and is woken for the next region.
    pool().crowd.stay();
    regions(20_000);
    pool().crowd.leave();
}

fn regions(rounds: usize) {
    for round in 0..rounds {
        // Of another size every time, so that a piece of an earlier region would show.
        let n = 2 + round % 23;
        let done: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
        let alive = AtomicUsize::new(1);
        let work = |range: std::ops::Range<usize>| {
            assert_eq!(alive.load(SeqCst), 1, "a piece of a closed region");
            for at in range {
                done[at].fetch_add(1, SeqCst);
            }
        };
        match round % 2 {
            0 => share(n, 4, work),
            _ => sweep(n, work),
        }
        alive.store(0, SeqCst);
        if round % 50 == 0 {
            // Longer than anyone spins.
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        assert!(done.iter().all(|count| count.load(SeqCst) == 1), "round {round}: {done:?}");
    }
}

#[test]
fn pieces_are_all_there_is_and_none_is_empty() {
    for threads in 1..9 {
        for n in 4 * threads..300 {
            let pieces = Pieces { n, count: 2 * threads, long: threads };
            let mut end = 0;
            for piece in (0..pieces.count).map(|index| pieces.piece(index)) {
                assert_eq!(piece.start, end, "{n} over {threads}");
                assert!(piece.end > end, "{n} over {threads}");
                end = piece.end;
            }
            assert_eq!(end, n);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_is_kept_off_one_processor_and_let_back() {
    use super::seat::{NOWHERE, Seat};
    let allowed = || std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::spawn(move || {
        let (mut seat, all) = (Seat::new(), allowed());
        seat.keep_off(super::seat::place());
        // Where there is only one, it stays.
        assert_eq!(allowed(), (all - 1).max(1));
        seat.keep_off(NOWHERE);
        assert_eq!(allowed(), all);
    })
    .join()
    .unwrap();
}
