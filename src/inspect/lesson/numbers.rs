//! Arithmetic on rows of numbers, and how a few of them are written down.

/// Numbers of a vector that are shown.
const SHOWN: usize = 5;

/// Σ a·b, in the arithmetic of one's own: f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// √Σ a².
pub(super) fn length(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// The largest difference of two vectors.
pub(super) fn apart(a: &[f64], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    most_of(a.iter().zip(b).map(|(a, b)| (a - f64::from(*b)).abs()))
}

/// The largest of some deviations, at least 0; no number where one of them is none.
pub(super) fn most_of(values: impl Iterator<Item = f64>) -> f64 {
    values
        .fold(0.0, |most: f64, x| if most.is_nan() || x.is_nan() { f64::NAN } else { most.max(x) })
}

/// The largest size of a number in a vector, at least 1e-6.
pub(super) fn size(a: &[f32]) -> f64 {
    a.iter().fold(1e-6, |most, x| most.max(f64::from(x.abs())))
}

/// exp(x) / Σ exp(x).
pub(super) fn softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = x.iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|x| x / sum).collect()
}

/// Standard deviation.
pub(super) fn spread(x: &[f64]) -> f64 {
    let count = x.len().max(1) as f64;
    let mean = x.iter().sum::<f64>() / count;
    (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// Σ weightⱼ · valueⱼ.
pub(super) fn weighted(weights: &[f64], values: &[Vec<f32>]) -> Vec<f64> {
    let width = values.first().map_or(0, Vec::len);
    let mut sum = vec![0f64; width];
    for (weight, value) in weights.iter().zip(values) {
        for (sum, x) in sum.iter_mut().zip(value) {
            *sum += weight * f64::from(*x);
        }
    }
    sum
}

/// The first numbers of a vector: `[0.12, −1.30, … 64 numbers]`.
pub(super) fn vector(x: &[f32]) -> String {
    let shown: Vec<String> = x.iter().take(SHOWN).map(|x| format!("{x:.3}")).collect();
    match x.len() > SHOWN {
        true => format!("[{}, … {} numbers]", shown.join(", "), x.len()),
        false => format!("[{}]", shown.join(", ")),
    }
}

/// Bytes in a unit that a reader can hold.
pub(super) fn bytes(count: f64) -> String {
    match count {
        c if c < 1e3 => format!("{c:.0} B"),
        c if c < 1e6 => format!("{:.1} kB", c / 1e3),
        c if c < 1e9 => format!("{:.1} MB", c / 1e6),
        c => format!("{:.2} GB", c / 1e9),
    }
}
