//! Log-probabilities of tokens: the log-softmax of the decoder's own logits, before any penalty,
//! temperature or filter touches them.

use std::cmp::Ordering;

use serde::Serialize;

/// A token and the natural logarithm of its probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Logprob {
    /// The token.
    pub id: u32,
    /// Its text, where there is a tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// ln p, of the softmax of the raw logits.
    pub logprob: f64,
}

/// A token that was said, and the likeliest in its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored {
    /// The token that was said.
    #[serde(flatten)]
    pub said: Logprob,
    /// The K likeliest, first to last; empty where K is 0.
    pub top: Vec<Logprob>,
}

/// ln Σ exp of logits.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + logits.iter().map(|logit| (f64::from(*logit) - top).exp()).sum::<f64>().ln()
}

/// The log-probability of `id` and the `count` likeliest tokens by `logits`, (vocab).
pub(crate) fn score(logits: &[f32], id: u32, count: usize, token: &Tokens<'_>) -> Scored {
    let total = log_sum_exp(logits);
    let of = |id: u32| {
        let logit = logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
        Logprob { id, token: token(id), logprob: f64::from(logit) - total }
    };
    Scored { said: of(id), top: likeliest(logits, count).into_iter().map(of).collect() }
}

/// The text of a token, where there is any.
pub(crate) type Tokens<'a> = dyn Fn(u32) -> Option<String> + 'a;

fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let order = |a: &u32, b: &u32| {
        let (x, y) = (logits[*a as usize], logits[*b as usize]);
        y.partial_cmp(&x).unwrap_or(Ordering::Equal).then(a.cmp(b))
    };
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let count = count.min(ids.len());
    if count > 0 && count < ids.len() {
        ids.select_nth_unstable_by(count - 1, order);
    }
    ids.truncate(count);
    ids.sort_unstable_by(order);
    ids
}
