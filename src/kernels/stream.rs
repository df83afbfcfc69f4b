//! How fast memory is read: the limit of every decoder that takes one token at a time. It reads as
//! products of few rows do, line after line, and computes nothing of use.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::isa::Isa;
use super::lanes::{Lanes, per_isa};
use super::memory::Buffer;
use super::pool::{share, threads};

/// Bytes read at a time by one thread.
const PIECE: usize = 1 << 20;

static STREAMED: AtomicU64 = AtomicU64::new(0);

/// Bytes of packed weights that products of this process have read so far.
pub fn streamed() -> u64 {
    STREAMED.load(Relaxed)
}

/// A product has read so many bytes of weights.
pub(super) fn count(bytes: usize) {
    STREAMED.fetch_add(bytes as u64, Relaxed);
}

/// Bytes a second, read from memory by one thread and by all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// One thread alone.
    pub one: f64,
    /// All threads of the pool together.
    pub all: f64,
    /// How many these are.
    pub threads: usize,
}

/// Reads `bytes` of memory, rounded up to whole mebibytes, `repeat` times with one thread and with
/// all, and takes the fastest time of each. It should be several times what the caches hold.
pub fn bandwidth(bytes: usize, repeat: usize) -> Bandwidth {
    let pieces = bytes.div_ceil(PIECE).max(1);
    let mut memory = Buffer::zeroed(pieces * PIECE);
    // SAFETY: the buffer is as long. Pages that nobody wrote to may all be the same one.
    unsafe { std::ptr::write_bytes(memory.as_mut_ptr(), 1, pieces * PIECE) };
    let (isa, memory) = (Isa::current(), &memory);
    let sum = AtomicU64::new(0);
    let read = |range: Range<usize>| {
        // SAFETY: the pieces lie within the buffer; `isa` is the processor's.
        unsafe {
            let from = memory.as_ptr().add(range.start * PIECE);
            let mut part = 0;
            sum_of(isa, from, range.len() * PIECE, &mut part);
            sum.fetch_add(u64::from(part), Relaxed);
        }
    };
    let best = |run: &dyn Fn()| {
        let times = (0..=repeat).map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64()
        });
        (pieces * PIECE) as f64 / times.fold(f64::INFINITY, f64::min)
    };
    let one = best(&|| read(0..pieces));
    let all = best(&|| share(pieces, 8, read));
    std::hint::black_box(sum.into_inner());
    Bandwidth { one, all, threads: threads() }
}

per_isa! {
    /// The sum of `bytes` bytes' lanes, `bytes` a multiple of 512.
    fn sum_of(from: *const u8, bytes: usize, out: &mut u32) = sum_lanes, lines
}

#[inline(always)]
unsafe fn sum_lanes<L: Lanes>(from: *const u8, bytes: usize, out: &mut u32) {
    // SAFETY: the caller's; prefetches may go beyond.
    unsafe {
        let mut sums = [L::splat_i(0); 8];
        for at in (0..bytes).step_by(512) {
            for (i, sum) in sums.iter_mut().enumerate() {
                let line = from.wrapping_add(at + i * 64);
                L::prefetch(line.wrapping_add(AHEAD));
                *sum = L::add_i(*sum, L::load_i(line));
            }
        }
        let sum = sums.into_iter().fold(L::splat_i(0), |a, b| L::add_i(a, b));
        let mut lanes = [0u32; 16];
        L::store_i(lanes.as_mut_ptr().cast(), sum);
        *out = lanes.iter().fold(0, |a, b| a.wrapping_add(*b));
    }
}

/// How far ahead lines are asked for.
const AHEAD: usize = 4096;

#[cfg(test)]
mod tests;
