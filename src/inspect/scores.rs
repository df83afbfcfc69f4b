//! What heads do, by probes whose right answer is known: random tokens said twice. Each score is
//! defined, with its source, in docs/inspect.md.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

use super::statistics::Spread;
use super::watch::{Sight, watch};
use crate::error::{Error, Result};
use crate::nn::Decoder;

/// Keys that count as local: the query and those right before it.
pub const LOCAL: usize = 8;

/// What a head does: shares of its weight, means over the queries in the second of two equal runs
/// of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Scores {
    /// On the token after the query's earlier self.
    pub induction: f64,
    /// On the token before the query.
    pub previous: f64,
    /// On the query's earlier self.
    pub duplicate: f64,
    /// On the first token of all.
    pub sink: f64,
    /// On the query and the 7 tokens before it.
    pub local: f64,
    /// Entropy of the weights, in nats.
    pub entropy: f64,
}

/// A head with its scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeadScores {
    /// The layer, from 0.
    pub layer: usize,
    /// The head, from 0.
    pub head: usize,
    /// What it does.
    #[serde(flatten)]
    pub scores: Scores,
}

/// The texts that heads are scored on.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What comes first, so that a sink is no part of what is repeated.
    pub start: u32,
    /// Ids to draw from: below this, and not among `without`.
    pub vocab_size: usize,
    /// Ids never drawn: special tokens.
    pub without: Vec<u32>,
    /// Tokens of one run.
    pub period: usize,
    /// Texts.
    pub texts: usize,
    /// The same seed gives the same texts.
    pub seed: u64,
}

impl Trial {
    /// The texts: the start, random tokens, the same tokens again. No token comes twice in a run
    /// where the vocabulary has enough of them.
    ///
    /// # Errors
    /// No tokens to draw from, a period under 2, no text.
    pub fn texts(&self) -> Result<Vec<Vec<u32>>> {
        let mut pool: Vec<u32> = (0..self.vocab_size as u32)
            .filter(|id| *id != self.start && !self.without.contains(id))
            .collect();
        if pool.is_empty() || self.period < 2 || self.texts == 0 {
            let problem = "at least 2 tokens a run, 1 text, and a token to draw are needed";
            return Err(Error::request("period", problem));
        }
        let mut random = ChaCha12Rng::seed_from_u64(self.seed);
        let texts = (0..self.texts).map(|_| {
            let run: Vec<u32> = (0..self.period)
                .map(|at| {
                    let fixed = at % pool.len();
                    let chosen = fixed + (random.next_u64() % (pool.len() - fixed) as u64) as usize;
                    pool.swap(fixed, chosen);
                    pool[fixed]
                })
                .collect();
            std::iter::once(self.start)
                .chain(run.iter().copied())
                .chain(run.iter().copied())
                .collect()
        });
        Ok(texts.collect())
    }
}

/// Scores every head on `texts`, each of which ends with two equal runs of `period` tokens.
///
/// # Errors
/// A text shorter than two runs; as [`Decoder::run`].
pub fn score(decoder: &Decoder, texts: &[Vec<u32>], period: usize) -> Result<Vec<HeadScores>> {
    let layers = &decoder.spec().layers;
    let mut sums: Vec<Vec<Scores>> =
        layers.iter().map(|layer| vec![Scores::default(); layer.attention.n_heads]).collect();
    for text in texts {
        let first = text.len().checked_sub(period).filter(|first| *first >= period);
        let first = first.ok_or_else(|| Error::request("text", "it holds no two runs"))?;
        watch(decoder, text, false, &|_| true, None, &mut |block| {
            for (head, sums) in sums[block.layer].iter_mut().enumerate() {
                for row in 0..block.queries {
                    let sight = block.sight(head, row);
                    if sight.query >= first {
                        sums.add(&sight, period, 1.0 / (texts.len() * period) as f64);
                    }
                }
            }
            Ok(())
        })?;
    }
    let heads = sums.into_iter().enumerate().flat_map(|(layer, heads)| {
        let scored = move |(head, scores)| HeadScores { layer, head, scores };
        heads.into_iter().enumerate().map(scored)
    });
    Ok(heads.collect())
}

impl Scores {
    fn add(&mut self, sight: &Sight<'_>, period: usize, share: f64) {
        let at = |key: usize| f64::from(sight.at(key)) * share;
        let query = sight.query;
        self.induction += at(query + 1 - period);
        self.previous += at(query - 1);
        self.duplicate += at(query - period);
        self.sink += at(0);
        self.local += (query.saturating_sub(LOCAL - 1)..=query).map(at).sum::<f64>();
        self.entropy += Spread::of(sight).entropy * share;
    }

    /// Adds `share` of `other`.
    pub(super) fn add_share(&mut self, other: &Scores, share: f64) {
        self.induction += other.induction * share;
        self.previous += other.previous * share;
        self.duplicate += other.duplicate * share;
        self.sink += other.sink * share;
        self.local += other.local * share;
        self.entropy += other.entropy * share;
    }

    /// Scores by name, as tables and pages show them.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("induction", self.induction),
            ("previous", self.previous),
            ("duplicate", self.duplicate),
            ("sink", self.sink),
            ("local", self.local),
            ("entropy", self.entropy),
        ]
    }
}
