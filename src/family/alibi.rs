//! The slopes of linear biases (Press et al. 2021, 2108.12409): a geometric series over the heads.
//! What is done with them is `nn`'s affair.

/// 2^(−8/n), 2^(−16/n), …; where the number of heads is no power of two, the series of the next
/// smaller one and then every other member of the next larger one's.
///
/// (BLOOM writes that down so; MPT takes the even and then the odd members of the larger series,
/// which is the same.)
pub(crate) fn slopes(n_heads: usize) -> Vec<f64> {
    let whole = n_heads.next_power_of_two();
    let member = |i: usize| (-8.0 * i as f64 / whole as f64).exp2();
    if whole == n_heads {
        return (1..=whole).map(member).collect();
    }
    let (even, odd) = ((2..=whole).step_by(2), (1..=whole).step_by(2));
    even.chain(odd).map(member).take(n_heads).collect()
}

#[cfg(test)]
mod tests;
