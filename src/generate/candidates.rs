//! The tokens that may be drawn, and their probabilities: transformers' logits warpers, in its
//! order and with its formulas, without sorting the vocabulary. No randomness is here.

use std::cmp::Ordering;

use super::sampling::Sampling;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    logit: f32,
    /// Normalised over the candidates of the moment.
    pub(crate) probability: f64,
    key: f64, // what a step sorts by
}

/// The candidates, in a buffer that lives from token to token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    list: Vec<Candidate>,
    highest: Vec<f32>,
}

impl Candidates {
    /// What remains of `logits`, (vocab), with probabilities, in the order of ids; empty where
    /// every token is forbidden.
    pub(crate) fn choose(&mut self, logits: &[f32], sampling: &Sampling) -> &[Candidate] {
        self.top_k(logits, sampling.top_k, sampling.temperature as f32);
        self.normalise();
        if sampling.top_p < 1.0 {
            self.top_p(sampling.top_p);
        }
        if sampling.min_p > 0.0 {
            let top = self.top().probability;
            self.cut(|c| c.probability < sampling.min_p * top);
        }
        if sampling.typical_p < 1.0 {
            self.typical(sampling.typical_p);
        }
        if sampling.epsilon_cutoff > 0.0 {
            self.likely(sampling.epsilon_cutoff);
        }
        if sampling.eta_cutoff > 0.0 {
            let epsilon = sampling.eta_cutoff;
            self.likely(epsilon.min(epsilon.sqrt() * (-self.entropy()).exp()));
        }
        self.list.sort_unstable_by_key(|c| c.id);
        &self.list
    }

    /// All tokens, or the k likeliest and those as likely as the last of them.
    fn top_k(&mut self, logits: &[f32], k: usize, temperature: f32) {
        let least = match k {
            0 => f32::NEG_INFINITY,
            k => kth_highest(logits, k, &mut self.highest),
        };
        self.list.clear();
        let kept = logits.iter().enumerate();
        let kept = kept.filter(|(_, logit)| **logit >= least && **logit > f32::NEG_INFINITY);
        self.list.extend(kept.map(|(id, logit)| Candidate {
            id: id as u32,
            logit: logit / temperature,
            probability: 0.0,
            key: 0.0,
        }));
    }

    fn normalise(&mut self) {
        let top = f64::from(self.top().logit);
        let mut sum = 0.0;
        for candidate in &mut self.list {
            candidate.probability = (f64::from(candidate.logit) - top).exp();
            sum += candidate.probability;
        }
        for candidate in &mut self.list {
            candidate.probability /= sum;
        }
    }

    fn top(&self) -> Candidate {
        let nothing = Candidate { id: 0, logit: f32::NEG_INFINITY, probability: 0.0, key: 0.0 };
        self.list.iter().copied().fold(nothing, |a, b| if b.logit > a.logit { b } else { a })
    }

    /// Removes what `gone` says, never the likeliest.
    fn cut(&mut self, gone: impl Fn(&Candidate) -> bool) {
        let top = self.top().logit;
        self.list.retain(|c| c.logit >= top || !gone(c));
        self.normalise();
    }

    fn likely(&mut self, least: f64) {
        self.cut(|c| c.probability < least);
    }

    /// A token stays where the mass of those before it is below p; the likeliest always does.
    fn top_p(&mut self, p: f64) {
        for candidate in &mut self.list {
            candidate.key = -candidate.probability;
        }
        let count = self.until(|before, _| before >= p);
        self.list.truncate(count.max(1));
        self.normalise();
    }

    /// The tokens of surprise nearest the entropy until their mass reaches `mass`, and those as
    /// near as the last of them.
    fn typical(&mut self, mass: f64) {
        let entropy = self.entropy();
        for candidate in &mut self.list {
            candidate.key = (-candidate.probability.ln() - entropy).abs();
        }
        let mut last = None;
        let count = self.until(|before, candidate| {
            if before >= mass && last.is_some_and(|last| candidate.key > last) {
                return true;
            }
            last = Some(candidate.key);
            false
        });
        self.list.truncate(count.max(1));
        self.normalise();
    }

    fn entropy(&self) -> f64 {
        let terms = self.list.iter().filter(|c| c.probability > 0.0);
        -terms.map(|c| c.probability * c.probability.ln()).sum::<f64>()
    }

    /// How many candidates, in the order of their keys, come before `stop` says so; it is told the
    /// mass before each. Only as much is sorted as is looked at.
    fn until(&mut self, mut stop: impl FnMut(f64, &Candidate) -> bool) -> usize {
        let order = |a: &Candidate, b: &Candidate| {
            a.key.partial_cmp(&b.key).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
        };
        let (mut sorted, mut chunk, mut mass) = (0, 256, 0.0);
        while sorted < self.list.len() {
            let rest = &mut self.list[sorted..];
            let count = chunk.min(rest.len());
            if count < rest.len() {
                rest.select_nth_unstable_by(count, order);
            }
            rest[..count].sort_unstable_by(order);
            for (index, candidate) in rest[..count].iter().enumerate() {
                if stop(mass, candidate) {
                    return sorted + index;
                }
                mass += candidate.probability;
            }
            sorted += count;
            chunk *= 4;
        }
        sorted
    }
}

/// The k-th highest of `values` (the lowest of fewer), in one pass with at most 2k of them held.
fn kth_highest(values: &[f32], k: usize, held: &mut Vec<f32>) -> f32 {
    let k = k.min(values.len()).max(1);
    let descending = |a: &f32, b: &f32| b.total_cmp(a);
    held.clear();
    let mut least = f32::NEG_INFINITY;
    for value in values {
        if held.len() >= k && *value <= least {
            continue;
        }
        held.push(*value);
        if held.len() >= 2 * k {
            least = *held.select_nth_unstable_by(k - 1, descending).1;
            held.truncate(k);
        }
    }
    match held.len() >= k {
        true => *held.select_nth_unstable_by(k - 1, descending).1,
        false => f32::NEG_INFINITY,
    }
}
