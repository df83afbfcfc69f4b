//! What a reference's own numbers say about how they were made: its rotary frequencies, windows
//! and factors, measured between one site and the next. It believes no configuration.

use std::f64::consts::TAU;

use candle_core::{Device, Tensor};

use super::trace::Trace;
use crate::error::Result;
use crate::nn::{At, Site};
use crate::spec::{Layer, Rope, RopeScaling, Spec};

/// The numbers of the stage under suspicion.
pub(super) struct Evidence<'a> {
    /// What our decoder is.
    pub(super) spec: &'a Spec,
    /// The layer under suspicion, the last one for what follows it.
    pub(super) layer: usize,
    /// Ours.
    pub(super) ours: &'a Trace,
    /// The reference.
    pub(super) theirs: &'a Trace,
}

/// Rotary frequencies as measured.
pub(super) struct Frequencies {
    /// One a pair, in radians a position.
    pub(super) each: Vec<f64>,
    /// Factor on what turns.
    pub(super) magnitude: f64,
}

impl Evidence<'_> {
    /// The layer's part of the spec.
    pub(super) fn layer(&self) -> Option<&Layer> {
        self.spec.layers.get(self.layer)
    }

    fn of(&self, trace: &Trace, site: Site) -> Option<Tensor> {
        let layer = match site {
            Site::Embed | Site::FinalNorm | Site::Logits => None,
            _ => Some(self.layer),
        };
        trace.sites.get(&At { layer, site }).cloned()
    }

    /// How many times as large the reference's `site` is as ours.
    pub(super) fn ratio(&self, site: Site) -> Option<f64> {
        let ours = numbers(&self.of(self.ours, site)?)?;
        let theirs = numbers(&self.of(self.theirs, site)?)?;
        fit(&ours, &theirs)
    }

    /// The softcap that turns our logits into the reference's.
    pub(super) fn head_cap(&self) -> Option<f64> {
        let ours = numbers(&self.of(self.ours, Site::Logits)?)?;
        cap(&ours, &numbers(&self.of(self.theirs, Site::Logits)?)?).map(plain)
    }

    /// The keys that a query of the reference sees at most; `None` if all before it.
    pub(super) fn window(&self) -> Option<Option<usize>> {
        let scores = self.of(self.theirs, Site::Scores)?;
        let (.., seq, keys) = scores.dims4().ok()?;
        let rows = numbers(&scores)?;
        let seen = |row: &[f64]| row.iter().filter(|score| score.is_finite()).count();
        let most = rows.chunks(keys).map(seen).max()?;
        Some(if most >= keys.min(seq) { None } else { Some(most) })
    }

    /// What the reference makes scores of: pairs of a product q·k and the score.
    pub(super) fn scored(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let q = self.of(self.theirs, Site::QPos)?;
        let k = self.of(self.theirs, Site::KPos)?;
        let scores = self.of(self.theirs, Site::Scores)?;
        let products = products(&q, &k).ok()?;
        if products.dims() != scores.dims() {
            return None;
        }
        let pairs = numbers(&products)?.into_iter().zip(numbers(&scores)?);
        Some(pairs.filter(|(_, score)| score.is_finite()).unzip())
    }

    /// The reference's rotary frequencies, by how its queries turn; its pairs lie as ours do.
    pub(super) fn frequencies(&self, rope: &Rope) -> Option<Frequencies> {
        let before = self.of(self.theirs, Site::Q)?;
        let after = self.of(self.theirs, Site::QPos)?;
        let (batch, heads, seq, head_dim) = before.dims4().ok()?;
        if before.dims() != after.dims() || seq < 2 || rope.rotary_dim > head_dim {
            return None;
        }
        let (x, y) = (numbers(&before)?, numbers(&after)?);
        let rows: Vec<(usize, usize)> =
            (0..batch * heads * seq).map(|row| (row % seq, row * head_dim)).collect();
        let half = rope.rotary_dim / 2;
        let mut each = Vec::with_capacity(half);
        let (mut energy, mut turned) = (0.0, 0.0);
        for pair in 0..half {
            let (a, b) = match rope.interleaved {
                true => (2 * pair, 2 * pair + 1),
                false => (pair, pair + half),
            };
            let mut sums = vec![(0.0, 0.0); seq]; // per position: sine, cosine of its angle
            for (position, row) in &rows {
                let (xa, xb, ya, yb) = (x[row + a], x[row + b], y[row + a], y[row + b]);
                sums[*position].0 += xa * yb - xb * ya;
                sums[*position].1 += xa * ya + xb * yb;
                energy += xa * xa + xb * xb;
                turned += ya * ya + yb * yb;
            }
            each.push(frequency(&sums)?);
        }
        Some(Frequencies { each, magnitude: (turned / energy).sqrt() })
    }
}

impl Frequencies {
    /// The base that makes them, if one does.
    pub(super) fn theta(&self, rope: &Rope) -> Option<f64> {
        // The pair that turned furthest below one turn is measured best, and names the base best.
        let pair = self.each.iter().rposition(|f| *f > 1e-3).filter(|pair| *pair > 0)?;
        let power = rope.rotary_dim as f64 / (2.0 * pair as f64);
        Some(plain(self.each[pair].powf(-power)))
    }

    /// Does some base make them, without any scaling?
    pub(super) fn are_a_base(&self, rope: &Rope) -> bool {
        let Some(theta) = self.theta(rope) else { return false };
        let base = |pair: usize| theta.powf(-2.0 * pair as f64 / rope.rotary_dim as f64);
        let near = |(pair, f): (usize, &f64)| (f / base(pair) - 1.0).abs() < 1e-2;
        (self.magnitude - 1.0).abs() < 1e-4 && self.each.iter().enumerate().all(near)
    }

    /// The scaling that makes them of the base, whatever it is: a divisor for every pair.
    pub(super) fn scaling(&self, rope: &Rope) -> (RopeScaling, Vec<f64>) {
        let base = |pair: usize| rope.theta.powf(-2.0 * pair as f64 / rope.rotary_dim as f64);
        let divisor = |(pair, f): (usize, &f64)| plain((base(pair) / f).abs().clamp(1e-6, 1e9));
        let divisors: Vec<f64> = self.each.iter().enumerate().map(divisor).collect();
        let linear = divisors.iter().all(|d| (d / divisors[0] - 1.0).abs() < 2e-3);
        if linear && (self.magnitude - 1.0).abs() < 1e-4 {
            return (RopeScaling::Linear { factor: divisors[0] }, divisors);
        }
        let exact = (0..divisors.len()).map(|pair| (base(pair) / self.each[pair]).abs().max(1e-6));
        let exact: Vec<f64> = exact.collect();
        let scaling = RopeScaling::LongRope {
            short: exact.clone(),
            long: exact,
            attention_factors: [self.magnitude; 2],
            original_max_seq_len: usize::MAX >> 1,
        };
        (scaling, divisors)
    }
}

/// The frequency that gives these angles, sine and cosine at every position. Short distances say
/// how often the long ones went round, and the long ones say it exactly.
fn frequency(sums: &[(f64, f64)]) -> Option<f64> {
    let angle = |position: usize| sums[position].0.atan2(sums[position].1);
    let mut f = angle(1);
    for position in 2..sums.len() {
        let turns = ((f * position as f64 - angle(position)) / TAU).round();
        f = (angle(position) + turns * TAU) / position as f64;
    }
    (f.is_finite() && f != 0.0).then_some(f)
}

/// A number that someone might have written into a configuration, where it is near one.
pub(super) fn plain(x: f64) -> f64 {
    for digits in 1..=4 {
        let rounded = format!("{x:.*e}", digits - 1).parse().unwrap_or(x);
        let near = if digits == 4 { 5e-4 } else { 2e-3 };
        if x != 0.0 && ((rounded - x) / x).abs() < near {
            return rounded;
        }
    }
    x
}

/// The root of a whole number, where `x` is near one, as scales are; else as [`plain`].
pub(super) fn root_of(x: f64) -> f64 {
    let square = x * x;
    let near = square > 1.5 && (square / square.round() - 1.0).abs() < 1e-3;
    if near { square.round().sqrt().copysign(x) } else { plain(x) }
}

/// The factor that brings `a` nearest to `b`.
pub(super) fn fit(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let pairs = || a.iter().zip(b).filter(|(a, b)| a.is_finite() && b.is_finite());
    let (over, under): (f64, f64) =
        pairs().fold((0.0, 0.0), |(over, under), (a, b)| (over + a * b, under + a * a));
    (under > 0.0).then_some(over / under).filter(|factor| factor.is_finite() && *factor != 0.0)
}

/// The cap that turns `plain` into `capped`, by the number that it changes most.
pub(super) fn cap(plain: &[f64], capped: &[f64]) -> Option<f64> {
    let pairs = plain.iter().zip(capped).filter(|(a, b)| a.is_finite() && b.is_finite());
    let (plain, capped) = pairs.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
    let (plain, capped) = (plain.abs(), capped.abs());
    if !(capped < plain * (1.0 - 1e-6) && capped > 0.0) {
        return None;
    }
    let (mut low, mut high) = (capped, 1e6 * plain);
    for _ in 0..200 {
        let middle = (low * high).sqrt();
        match middle * (plain / middle).tanh() < capped {
            true => low = middle,
            false => high = middle,
        }
    }
    Some((low * high).sqrt())
}

/// q·kᵀ, (batch, heads, seq, keys), the heads of a group with their key head.
fn products(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (batch, heads, seq, dim) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    let q = q.reshape((batch, kv_heads, heads / kv_heads.max(1) * seq, dim))?;
    Ok(q.matmul(&k.t()?.contiguous()?)?.reshape((batch, heads, seq, keys))?)
}

fn numbers(x: &Tensor) -> Option<Vec<f64>> {
    let values = x.to_device(&Device::Cpu).ok()?.flatten_all().ok()?.to_vec1::<f32>().ok()?;
    Some(values.into_iter().map(f64::from).collect())
}
