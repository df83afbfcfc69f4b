//! One row's choice of tokens: processors, then the likeliest token or a draw. It knows no decoder.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::candidates::Candidates;
use super::history::History;
use super::process::process;
use super::sampling::Sampling;
use crate::error::{Error, Result};

/// Chooses one row's tokens. What it draws depends on the logits, the seed and the stream, and on
/// nothing else: not on what other rows of a batch do.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    eos_ids: Vec<u32>,
    random: ChaCha12Rng,
    candidates: Candidates,
    pub(crate) history: History,
}

impl Sampler {
    /// A row that begins with `prompt`. `stream` tells the samples of one prompt apart.
    pub fn new(
        sampling: Sampling,
        prompt: &[u32],
        eos_ids: &[u32],
        seed: u64,
        stream: u64,
    ) -> Self {
        // The key is spelled out: how a library spreads a small seed may change, this may not.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = ChaCha12Rng::from_seed(key);
        random.set_stream(stream);
        Self {
            history: History::new(prompt, sampling.no_repeat_ngram_size),
            eos_ids: eos_ids.to_vec(),
            candidates: Candidates::default(),
            random,
            sampling,
        }
    }

    /// The next token by its logits, (vocab), which are changed on the way. It counts as said.
    ///
    /// # Errors
    /// [`Error::Request`] where the rules forbid every token.
    pub fn next(&mut self, logits: &mut [f32]) -> Result<u32> {
        process(logits, &self.sampling, &self.history, &self.eos_ids);
        let id = match self.sampling.greedy {
            true => likeliest(logits),
            false => self.draw(logits),
        };
        let id = id.ok_or_else(|| {
            Error::request(
                "sampling",
                "bias, n-grams and suppressed tokens together forbid every token",
            )
        })?;
        self.history.push(id);
        Ok(id)
    }

    /// The tokens that may come next, and their probabilities, as drawn from.
    ///
    /// # Shapes
    /// (vocab) → at most vocab pairs, in the order of ids
    pub fn probabilities(&mut self, logits: &mut [f32]) -> Vec<(u32, f64)> {
        process(logits, &self.sampling, &self.history, &self.eos_ids);
        let chosen = self.candidates.choose(logits, &self.sampling);
        chosen.iter().map(|c| (c.id, c.probability)).collect()
    }

    fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        let candidates = self.candidates.choose(logits, &self.sampling);
        // 53 random bits: a double in [0, 1).
        let point = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut mass = 0.0;
        for candidate in candidates {
            mass += candidate.probability;
            if point < mass {
                return Some(candidate.id);
            }
        }
        candidates.last().map(|c| c.id) // the sum fell short of 1 by a rounding
    }
}

/// The first of the highest logits.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > best.map_or(f32::NEG_INFINITY, |(_, logit)| logit) {
            best = Some((id, *logit));
        }
    }
    best.map(|(id, _)| id as u32)
}

#[cfg(test)]
mod tests;
