//! How likely a model finds a text: the log-probability of every token, and the perplexity. It
//! reads no file.

use serde::Serialize;

use super::logits::{log_sum_exp, rows};
use super::windows::{Plan, Reader, Window};
use crate::error::{Error, Result};
use crate::nn::Decoder;

/// A token and how likely it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenScore {
    /// Its place in the text, from 0.
    pub position: usize,
    /// The token.
    pub id: u32,
    /// Its text, where there is a tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The natural logarithm of its probability; none for a token with nothing before it.
    pub logprob: Option<f64>,
}

/// How likely a text is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Every token.
    pub tokens: Vec<TokenScore>,
    /// How many of them were predicted.
    pub predicted: usize,
    /// The mean negative log-probability of those, nats.
    pub nll: f64,
    /// Its standard error, as if tokens were independent.
    pub nll_error: f64,
    /// exp of the mean.
    pub perplexity: f64,
    /// Its standard error, by the slope of exp.
    pub perplexity_error: f64,
    /// The perplexity as Hugging Face's guide sums it up: a mean of the windows' means, each
    /// weighed with one token less than the window has left to predict.
    pub guide_perplexity: f64,
}

/// Scores a text; `progress` hears how many tokens were predicted since it last heard.
///
/// # Errors
/// A plan that the model cannot follow, a text of one token, whatever stops a forward pass.
pub fn score(
    decoder: &Decoder,
    ids: &[u32],
    plan: Plan,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Scores> {
    plan.check(decoder)?;
    if ids.len() < 2 {
        let problem = format!("has {} token(s); the first is never predicted", ids.len());
        return Err(Error::request("the text", problem));
    }
    let mut logprobs: Vec<Option<f64>> = vec![None; ids.len()];
    let mut reader = Reader::new(decoder, plan.window);
    let windows = plan.windows(ids.len());
    for window in &windows {
        reader.clear();
        // The last token predicts nothing in here.
        let mut at = window.begin;
        while at + 1 < window.end {
            let next = (window.end - 1).min(at.saturating_add(reader.piece()));
            let logits = reader.read(&ids[at..next])?;
            let from = (window.first - 1).clamp(at, next);
            let predicting = logits.narrow(0, from - at, next - from)?;
            if next > from {
                for (row, target) in rows(&predicting)?.iter().zip(from + 1..) {
                    let logit = row.get(ids[target] as usize).copied().unwrap_or(f32::NAN);
                    logprobs[target] = Some(f64::from(logit) - log_sum_exp(row));
                }
                progress(next - from)?;
            }
            at = next;
        }
    }
    let guide_perplexity = as_the_guide(&windows, &logprobs);
    Ok(Scores { guide_perplexity, ..summed(ids, logprobs) })
}

/// The perplexity by the guide's weights.
fn as_the_guide(windows: &[Window], logprobs: &[Option<f64>]) -> f64 {
    let (mut sum, mut weights, mut done) = (0.0, 0.0, 0);
    for window in windows {
        let found = logprobs[window.first..window.end].iter().flatten().map(|logprob| -logprob);
        let (nll, _, _) = mean(found);
        let weight = (window.end - done - 1) as f64;
        sum += nll * weight;
        weights += weight;
        done = window.end;
    }
    // A text of which every window predicts one token has no such weights.
    if weights > 0.0 { (sum / weights).exp() } else { f64::NAN }
}

fn summed(ids: &[u32], logprobs: Vec<Option<f64>>) -> Scores {
    let (nll, nll_error, predicted) = mean(logprobs.iter().flatten().map(|logprob| -logprob));
    let tokens = ids.iter().zip(logprobs).enumerate();
    let tokens = tokens.map(|(position, (id, logprob))| TokenScore {
        position,
        id: *id,
        token: None,
        logprob,
    });
    let perplexity = nll.exp();
    Scores {
        tokens: tokens.collect(),
        predicted,
        nll,
        nll_error,
        perplexity,
        perplexity_error: perplexity * nll_error,
        guide_perplexity: f64::NAN,
    }
}

/// Mean, standard error of the mean, and count.
pub(super) fn mean(values: impl Iterator<Item = f64> + Clone) -> (f64, f64, usize) {
    let count = values.clone().count();
    let n = count.max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt(), count)
}
