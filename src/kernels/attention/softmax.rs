//! From products to weights, a row at a time: cap, bias, the greatest score, exponentials and their
//! sum. Nothing is multiplied with keys or values here.

use super::super::lanes::{Lanes, exp};
use super::super::unary::capped;
use super::Task;

/// Below every score, and finite, so that differences of two of it are 0.
pub(super) const LOWEST: f32 = -1e30;

/// What a row of weights so far is relative to, and their sum.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Sum {
    pub(super) greatest: f32,
    pub(super) total: f32,
}

impl Sum {
    /// Of no key: of the head's sink, where there is one.
    pub(super) fn new(task: &Task<'_>, head: usize) -> Self {
        match task.sinks.and_then(|sinks| sinks.get(head)) {
            Some(sink) => Self { greatest: sink.max(LOWEST), total: 1.0 },
            None => Self { greatest: LOWEST, total: 0.0 },
        }
    }
}

/// Turns the `vectors` · 16 products at `row`, which belong to keys from `first` on, into weights,
/// those outside of `seen` into 0; answers the factor on what was summed before.
///
/// # Safety
/// `row` must be good for as many numbers.
#[inline(always)]
pub(super) unsafe fn weigh<L: Lanes>(
    task: &Task<'_>,
    head: usize,
    row: *mut f32,
    vectors: usize,
    seen: Seen,
    sum: &mut Sum,
) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        if task.softcap.is_some() || task.slopes.is_some() {
            shape::<L>(task, head, row, vectors, &seen);
        }
        let numbers = std::slice::from_raw_parts_mut(row, vectors * 16);
        numbers[..seen.from].fill(f32::NEG_INFINITY);
        numbers[seen.to..].fill(f32::NEG_INFINITY);
        // Of no vector at all nothing is read: the row still holds another stretch's weights.
        let mut greatest = L::splat(sum.greatest);
        for i in 0..vectors {
            greatest = L::max(greatest, L::load(row.add(i * 16)));
        }
        let greatest = L::greatest(greatest);
        let factor = if greatest > sum.greatest { (sum.greatest - greatest).exp() } else { 1.0 };
        let less = L::splat(greatest);
        let mut total = L::splat(0.0);
        for i in 0..vectors {
            let weights = exp::<L>(L::sub(L::load(row.add(i * 16)), less));
            L::store(row.add(i * 16), weights);
            total = L::add(total, weights);
        }
        *sum = Sum { greatest, total: sum.total * factor + L::total(total) };
        factor
    }
}

/// Which of a row's numbers belong to keys that its query sees, and how far before the query the
/// key of the first number stands.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) before: usize,
}

/// Cap and bias.
#[inline(always)]
unsafe fn shape<L: Lanes>(
    task: &Task<'_>,
    head: usize,
    row: *mut f32,
    vectors: usize,
    seen: &Seen,
) {
    const STEPS: [f32; 16] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];
    // SAFETY: the caller's.
    unsafe {
        for i in 0..vectors {
            let mut score = L::load(row.add(i * 16));
            if let Some(cap) = task.softcap {
                score = capped::<L>(score, cap);
            }
            if let Some(slopes) = task.slopes {
                let first = (i * 16) as f32 - seen.before as f32;
                let distance = L::add(L::load(STEPS.as_ptr()), L::splat(first));
                score = L::fma(distance, L::splat(slopes[head]), score);
            }
            L::store(row.add(i * 16), score);
        }
    }
}
