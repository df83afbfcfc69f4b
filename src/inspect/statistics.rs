//! What a head's weights add up to, over all queries: entropy, mass here and there, distance. Each
//! is defined in docs/inspect.md. It sees one query at a time and keeps no matrix.

use serde::Serialize;

use super::watch::Sight;

/// How one head attends: means over the queries from the second on (the first has no choice), or
/// over the only one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Entropy of the weights, in nats.
    pub entropy: f64,
    /// Weight of the first token.
    pub first: f64,
    /// Weight of the token before the query.
    pub previous: f64,
    /// Weight of the query's own token.
    #[serde(rename = "self")]
    pub own: f64,
    /// Positions between query and key, weighted.
    pub distance: f64,
    /// What a learned sink takes, which is no token's; 0 where the head has none.
    pub sink: f64,
    /// Weight by distance: 0, 1, 2 to 3, 4 to 7, 8 to 15 and so on.
    pub histogram: Vec<f64>,
}

/// Sums on the way to [`Statistics`].
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    queries: usize,
    entropy: f64,
    first: f64,
    previous: f64,
    own: f64,
    distance: f64,
    sink: f64,
    histogram: Vec<f64>,
}

/// One query's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// ln Σ exp(score): the softmax's denominator, a learned sink's share included.
    pub log_sum_exp: f64,
    /// Entropy of the weights, in nats.
    pub entropy: f64,
}

impl Spread {
    /// From the weights and the scores that they came from, so that no weight needs a logarithm:
    /// −Σ p·ln p = Σ p·(lse − s).
    pub(super) fn of(sight: &Sight<'_>) -> Self {
        let mut top = (f32::NEG_INFINITY, 0f32);
        let (mut mass, mut expected) = (0f64, 0f64);
        for (score, weight) in sight.scores.iter().zip(sight.weights) {
            if *weight > 0.0 {
                mass += f64::from(*weight);
                expected += f64::from(*weight) * f64::from(*score);
            }
            if *score > top.0 {
                top = (*score, *weight);
            }
        }
        let log_sum_exp = f64::from(top.0) - f64::from(top.1).ln();
        let beside = (1.0 - mass).max(0.0);
        // Rounding alone leaves about 1e-7; more is a sink's, and has an entropy of its own.
        let beside = if beside > 1e-5 { -beside * beside.ln() } else { 0.0 };
        Self { log_sum_exp, entropy: (log_sum_exp * mass - expected + beside).max(0.0) }
    }
}

impl Sums {
    /// Takes one more query, in order.
    pub(super) fn add(&mut self, sight: &Sight<'_>, spread: &Spread) {
        if sight.query == 1 {
            *self = Self::default();
        }
        self.queries += 1;
        self.entropy += spread.entropy;
        self.first += f64::from(sight.at(0));
        self.previous += sight.query.checked_sub(1).map_or(0.0, |key| f64::from(sight.at(key)));
        self.own += f64::from(sight.at(sight.query));
        let mut mass = 0f64;
        let newest_first = sight.weights.iter().rev();
        // Bin 0 is distance 0, and bin b > 0 ends before distance 2^b.
        let (mut bin, mut within) = (0, 0f64);
        for (distance, weight) in newest_first.enumerate() {
            if distance == 1 << bin {
                self.bin(bin, within);
                (bin, within) = (bin + 1, 0.0);
            }
            let weight = f64::from(*weight);
            mass += weight;
            within += weight;
            self.distance += weight * distance as f64;
        }
        self.bin(bin, within);
        let beside = 1.0 - mass;
        self.sink += if beside > 1e-5 { beside } else { 0.0 };
    }

    fn bin(&mut self, bin: usize, weight: f64) {
        if self.histogram.len() <= bin {
            self.histogram.resize(bin + 1, 0.0);
        }
        self.histogram[bin] += weight;
    }

    pub(super) fn statistics(&self) -> Statistics {
        let mean = |sum: f64| sum / self.queries.max(1) as f64;
        Statistics {
            entropy: mean(self.entropy),
            first: mean(self.first),
            previous: mean(self.previous),
            own: mean(self.own),
            distance: mean(self.distance),
            sink: mean(self.sink),
            histogram: self.histogram.iter().map(|sum| mean(*sum)).collect(),
        }
    }
}
