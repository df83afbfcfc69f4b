//! Slopes against those that transformers gives BLOOM and MPT, as exponents of 1/2.

use super::slopes;

fn exponents(n_heads: usize) -> Vec<f64> {
    let exponent = |slope: &f64| (-slope.log2() * 1e9).round() / 1e9;
    slopes(n_heads).iter().map(exponent).collect()
}

#[test]
fn a_power_of_two_is_one_series() {
    for n in [1, 2, 4, 8, 16] {
        let series: Vec<f64> = (1..=n).map(|i| 8.0 * i as f64 / n as f64).collect();
        assert_eq!(exponents(n), series);
    }
}

#[test]
fn other_numbers_continue_with_the_odd_members_of_the_next() {
    assert_eq!(exponents(3), [4.0, 8.0, 2.0]);
    assert_eq!(exponents(7), [2.0, 4.0, 6.0, 8.0, 1.0, 3.0, 5.0]);
    let twelve = exponents(12);
    assert_eq!(twelve[..8], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(twelve[8..], [0.5, 1.5, 2.5, 3.5]);
}
