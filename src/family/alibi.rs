//! The slopes of linear biases (Press et al. 2021, 2108.12409): a geometric series over the heads,
//! continued in two ways where their number is no power of two. What is done with them is `nn`'s
//! affair.

/// The paper's code and BLOOM's: the series of the next smaller power of two, then every other one
/// of the next larger's.
pub(crate) fn appended_slopes(n_heads: usize) -> Vec<f64> {
    let whole = (n_heads / 2 + 1).next_power_of_two().min(n_heads.next_power_of_two()).max(1);
    let more = (0..n_heads.saturating_sub(whole)).map(|i| slope(2 * i + 1, 2 * whole, 8.0));
    (1..=whole).map(|i| slope(i, whole, 8.0)).chain(more).take(n_heads).collect()
}

/// MPT's: the series of the next larger power of two, its even members, then its odd ones.
pub(crate) fn dealt_slopes(n_heads: usize, largest: f64) -> Vec<f64> {
    let whole = n_heads.next_power_of_two();
    let series = |i: usize| slope(i, whole, largest);
    if whole == n_heads {
        return (1..=whole).map(series).collect();
    }
    let (even, odd) = ((2..=whole).step_by(2), (1..=whole).step_by(2));
    even.chain(odd).map(series).take(n_heads).collect()
}

/// The i-th of n: 2^(−largest · i / n).
fn slope(i: usize, n: usize, largest: f64) -> f64 {
    (-largest * i as f64 / n as f64).exp2()
}
