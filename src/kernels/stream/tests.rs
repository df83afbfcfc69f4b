//! Does it read all that it says, at every level? Its speed is not judged.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "a test may")]

use super::*;

#[test]
fn every_level_reads_every_byte_once() {
    let numbers: Vec<u32> = (0..1024u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
    let expected = numbers.iter().fold(0u32, |a, b| a.wrapping_add(*b));
    for isa in Isa::available() {
        let mut sum = 0;
        unsafe { sum_of(isa, numbers.as_ptr().cast(), 4096, &mut sum) };
        assert_eq!(sum, expected, "{}", isa.name());
    }
}

#[test]
fn bandwidths_are_numbers() {
    let found = bandwidth(1, 1);
    assert!(found.one.is_finite() && found.one > 0.0, "{found:?}");
    assert!(found.all.is_finite() && found.all > 0.0, "{found:?}");
    assert_eq!(found.threads, threads());
}
