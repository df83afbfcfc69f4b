//! Every code at every scale, against the formula.

use super::{GGML_BYTES, as_q8_0, decode};
use half::f16;

/// A block of this scale with every code in it, low halves 0 to 15, high halves 15 to 0.
fn block(exponent: u8) -> Vec<u8> {
    let mut block = vec![exponent];
    block.extend((0..16).map(|code| code | (15 - code) << 4));
    assert_eq!(block.len(), GGML_BYTES);
    block
}

/// Sign, two bits of exponent (bias 1), one of mantissa.
fn value(code: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(code >> 1 & 3), f64::from(code & 1));
    let size = match exponent {
        0 => mantissa / 2.0,
        e => (1.0 + mantissa / 2.0) * 2f64.powi(e - 1),
    };
    if code & 8 == 0 { size } else { -size }
}

#[test]
fn codes_and_scales_mean_what_the_specification_says() {
    for exponent in 0..=254 {
        let scale = 2f64.powi(i32::from(exponent) - 127);
        let numbers = decode(&block(exponent));
        for (place, number) in numbers.iter().enumerate() {
            let code = if place < 16 { place } else { 31 - place } as u8;
            let exact = (value(code) * scale) as f32; // infinite at the very top
            assert_eq!(*number, exact, "code {code} at {exponent}");
        }
    }
}

#[test]
fn q8_0_holds_the_same_numbers_or_says_no() {
    for exponent in 0..=255 {
        let mut out = Vec::new();
        let exact = as_q8_0(&block(exponent), &mut out);
        // Half the scale is a power of two from f16's smallest to its largest.
        assert_eq!(exact, (104..=143).contains(&exponent), "{exponent}");
        if !exact {
            continue;
        }
        let scale = f16::from_le_bytes([out[0], out[1]]).to_f32();
        let numbers: Vec<f32> =
            out[2..].iter().map(|q| scale * f32::from(i8::from_le_bytes([*q]))).collect();
        assert_eq!(numbers, decode(&block(exponent)));
    }
    // A block of zeros fits whatever its scale is.
    let mut out = Vec::new();
    assert!(as_q8_0(&[[0; 1].as_slice(), &[0x80; 16]].concat(), &mut out));
    assert_eq!(out, [0; 34]);
}
