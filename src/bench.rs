//! How fast a decoder is: tokens a second through a prompt and one at a time. It compares nothing.

use std::time::Instant;

use candle_core::{DType, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::kernels::streamed;
use crate::nn::{Cache, Decoder};

/// What is measured. Both measurements begin with `depth` tokens in the cache, as llama-bench's do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Tokens of the prompt, which go through together; 0 leaves that out.
    pub prompt_tokens: usize,
    /// Tokens that go through one at a time; 0 leaves that out.
    pub generate_tokens: usize,
    /// Tokens in the cache before either.
    pub depth: usize,
    /// Rows that go side by side; tokens are counted in all of them.
    pub batch: usize,
    /// Runs of each, after one that does not count.
    pub repeat: usize,
    /// For the tokens, which are random.
    pub seed: u64,
}

/// Tokens a second, of several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rate {
    /// Tokens of one run.
    pub tokens: usize,
    /// The median.
    pub tokens_per_s: f64,
    /// The slowest run.
    pub min: f64,
    /// The fastest run.
    pub max: f64,
    /// Every run, in order.
    pub runs: Vec<f64>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// A prompt's tokens, together.
    pub prefill: Option<Rate>,
    /// Tokens one at a time.
    pub decode: Option<Rate>,
    /// Bytes of weights, keys and values that a step of `decode` reads, at the middle of a run;
    /// `None` where the weights are not the kernels'.
    pub bytes_per_step: Option<u64>,
}

impl Plan {
    fn validate(&self, max_seq_len: usize) -> Result<()> {
        if self.repeat == 0 {
            return Err(Error::request("repeat", "0 runs measure nothing; at least 1"));
        }
        if self.batch == 0 {
            return Err(Error::request("batch", "0 rows measure nothing; at least 1"));
        }
        if self.prompt_tokens == 0 && self.generate_tokens == 0 {
            let problem = "is 0 and so is generate-tokens: nothing is left to measure";
            return Err(Error::request("prompt-tokens", problem));
        }
        let longest = self.prompt_tokens.max(self.generate_tokens);
        match self.depth.checked_add(longest) {
            Some(needed) if needed <= max_seq_len => Ok(()),
            needed => Err(Error::ContextFull { needed: needed.unwrap_or(usize::MAX), max_seq_len }),
        }
    }
}

/// Measures `decoder`; `progress` hears of each run, the ones that do not count included.
///
/// # Errors
/// A plan without runs or tokens, or with more tokens than positions.
pub fn measure(decoder: &Decoder, plan: &Plan, progress: &mut dyn FnMut()) -> Result<Measured> {
    let spec = decoder.spec();
    plan.validate(spec.max_seq_len)?;
    let longest = plan.prompt_tokens.max(plan.generate_tokens);
    let mut random = ChaCha12Rng::seed_from_u64(plan.seed);
    let ids: Vec<u32> = (0..plan.depth + longest)
        .map(|_| (random.next_u64() % spec.vocab_size as u64) as u32)
        .collect();
    let (before, after) = ids.split_at(plan.depth);
    let mut cache = decoder.cache(&vec![0; plan.batch], ids.len());
    let mut logits = Vec::new();
    if plan.depth > 0 {
        pass(decoder, before, &mut cache, &mut logits)?;
    }
    let mut runs = |tokens: usize, at_once: usize| -> Result<Option<Rate>> {
        let mut rates = Vec::new();
        for run in 0..=plan.repeat {
            cache.truncate(plan.depth);
            let started = Instant::now();
            for ids in after[..tokens].chunks(at_once.max(1)) {
                pass(decoder, ids, &mut cache, &mut logits)?;
            }
            if run > 0 {
                rates.push((tokens * plan.batch) as f64 / started.elapsed().as_secs_f64());
            }
            progress();
        }
        Ok(Some(Rate::of(tokens, rates)).filter(|_| tokens > 0))
    };
    let prefill = runs(plan.prompt_tokens, plan.prompt_tokens)?;
    let before = streamed();
    let decode = runs(plan.generate_tokens, 1)?;
    let steps = plan.generate_tokens * (plan.repeat + 1);
    let weights = (streamed() - before).checked_div(steps as u64).filter(|bytes| *bytes > 0);
    let seen = plan.depth + plan.generate_tokens / 2; // of the slots that the cache has room for
    let cached = (cache.bytes() * seen / ids.len()) as u64;
    Ok(Measured { prefill, decode, bytes_per_step: weights.map(|bytes| bytes + cached) })
}

/// One pass, until its logits are here: a device that works on its own is waited for.
fn pass(decoder: &Decoder, ids: &[u32], cache: &mut Cache, logits: &mut Vec<f32>) -> Result<()> {
    if let [id] = ids {
        return decoder.decode(&vec![*id; cache.batch()], cache, logits);
    }
    let ids = Tensor::new(ids, decoder.device())?.unsqueeze(0)?.repeat((cache.batch(), 1))?;
    decoder.next(&ids, cache)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(())
}

impl Rate {
    fn of(tokens: usize, runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        Self {
            tokens,
            tokens_per_s: f64::midpoint(at(low), at(high)),
            min: at(0),
            max: at(sorted.len().saturating_sub(1)),
            runs,
        }
    }
}
