//! Rotary frequencies and their stretchings, on plain numbers. Turning tensors by them is
//! `position.rs`'s affair.

use std::f64::consts::PI;

use crate::spec::{Rope, RopeScaling};

/// Inverse frequencies, one a pair, and the factor on cosines and sines, when `length` positions
/// are in use. Only `Dynamic` and `LongRope` depend on the length.
///
/// They are f32 on purpose: that is what Hugging Face's are, and at a position of 100 000 the
/// difference shows.
pub(crate) fn frequencies(rope: &Rope, length: usize) -> (Vec<f32>, f64) {
    let dim = rope.rotary_dim;
    let plain = |theta: f64| -> Vec<f32> { powers(theta, dim).map(|p| 1.0 / p).collect() };
    match &rope.scaling {
        RopeScaling::None => (plain(rope.theta), 1.0),
        RopeScaling::Linear { factor } => {
            (plain(rope.theta).into_iter().map(|f| f / *factor as f32).collect(), 1.0)
        }
        RopeScaling::Dynamic { factor, original_max_seq_len } => {
            let stretch = length.max(*original_max_seq_len) as f64 / *original_max_seq_len as f64;
            let growth = (factor * stretch - (factor - 1.0)).powf(dim as f64 / (dim as f64 - 2.0));
            (plain(rope.theta * growth), 1.0)
        }
        RopeScaling::Llama3 { .. } => {
            (plain(rope.theta).into_iter().map(|f| llama3(f, &rope.scaling)).collect(), 1.0)
        }
        RopeScaling::Yarn { attention_factor, .. } => (yarn(rope), *attention_factor),
        RopeScaling::LongRope { short, long, attention_factors, original_max_seq_len } => {
            let (divisors, factor) = match length > *original_max_seq_len {
                true => (long, attention_factors[1]),
                false => (short, attention_factors[0]),
            };
            let pairs = powers(rope.theta, dim).zip(divisors);
            (pairs.map(|(p, d)| 1.0 / (*d as f32 * p)).collect(), factor)
        }
    }
}

/// Tells the frequencies of one length from those of another: equal numbers, equal frequencies.
pub(crate) fn stretch(rope: &Rope, length: usize) -> u64 {
    match rope.scaling {
        RopeScaling::Dynamic { original_max_seq_len, .. } => {
            length.max(original_max_seq_len) as u64
        }
        RopeScaling::LongRope { original_max_seq_len, .. } => {
            u64::from(length > original_max_seq_len)
        }
        _ => 0,
    }
}

/// theta^(2i/dim), one a pair, rounded as f32 arithmetic rounds it.
fn powers(theta: f64, dim: usize) -> impl Iterator<Item = f32> {
    (0..dim / 2).map(move |i| {
        let exponent = (2 * i) as f32 / dim as f32;
        (theta as f32 as f64).powf(exponent as f64) as f32
    })
}

fn llama3(frequency: f32, scaling: &RopeScaling) -> f32 {
    let RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_seq_len } =
        scaling
    else {
        return frequency;
    };
    let original = *original_max_seq_len as f64;
    let wavelength = 2.0 * PI / f64::from(frequency);
    if wavelength > original / low_freq_factor {
        return (f64::from(frequency) / factor) as f32;
    }
    if wavelength < original / high_freq_factor {
        return frequency;
    }
    let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
    let slow = f64::from(frequency) / factor;
    ((1.0 - smooth) * slow + smooth * f64::from(frequency)) as f32
}

fn yarn(rope: &Rope) -> Vec<f32> {
    let RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_seq_len, truncate, .. } =
        rope.scaling
    else {
        return Vec::new();
    };
    let dim = rope.rotary_dim as f64;
    // The (fractional) pair that turns so many times over the original length.
    let pair_at = |turns: f64| {
        dim * (original_max_seq_len as f64 / (turns * 2.0 * PI)).ln() / (2.0 * rope.theta.ln())
    };
    let (mut low, mut high) = (pair_at(beta_fast), pair_at(beta_slow));
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dim - 1.0));
    if low == high {
        high += 0.001;
    }
    powers(rope.theta, rope.rotary_dim)
        .enumerate()
        .map(|(i, power)| {
            let ramp = (((i as f64 - low) / (high - low)) as f32).clamp(0.0, 1.0);
            let keep = 1.0 - ramp;
            (1.0 / (factor as f32 * power)) * (1.0 - keep) + (1.0 / power) * keep
        })
        .collect()
}
