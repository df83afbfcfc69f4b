//! What is done to logits before a token is chosen from them, greedily or not: transformers'
//! logits processors, in its order and with its formulas. Which tokens remain to draw from is
//! `candidates.rs`'s affair.

use super::history::History;
use super::sampling::Sampling;

/// Applies every processor of `sampling` to the next token's logits, (vocab).
pub(crate) fn process(logits: &mut [f32], sampling: &Sampling, history: &History, eos: &[u32]) {
    bias(logits, &sampling.bias, history.ids());
    penalise(logits, sampling, history);
    forbid(logits, history.repeating());
    for words in &sampling.bad_words {
        // transformers drops an end-of-text token from this list; as part of a sequence it stays.
        let ends = matches!(words.as_slice(), [id] if eos.contains(id));
        if !ends && completes(words, history.ids()) {
            forbid(logits, &words[words.len() - 1..]);
        }
    }
    let generated = history.generated().len();
    if history.ids().len() < sampling.min_length || generated < sampling.min_new_tokens {
        forbid(logits, eos);
    }
    forbid(logits, &sampling.suppress);
    if generated == 0 {
        forbid(logits, &sampling.begin_suppress);
    }
}

fn bias(logits: &mut [f32], bias: &[(Vec<u32>, f32)], ids: &[u32]) {
    for (sequence, value) in bias {
        if let Some(id) = sequence.last()
            && completes(sequence, ids)
            && let Some(logit) = logits.get_mut(*id as usize)
        {
            *logit += value;
        }
    }
}

/// Did all tokens of `sequence` but the last just occur?
fn completes(sequence: &[u32], ids: &[u32]) -> bool {
    match sequence.split_last() {
        Some((_, before)) => ids.ends_with(before),
        None => false,
    }
}

/// The repetition penalty; then OpenAI's two, which transformers lacks: they count what was
/// generated and not the prompt, and `logit −= presence + frequency · count`.
fn penalise(logits: &mut [f32], sampling: &Sampling, history: &History) {
    let repetition = sampling.repetition_penalty as f32;
    let (presence, frequency) =
        (sampling.presence_penalty as f32, sampling.frequency_penalty as f32);
    if repetition == 1.0 && presence == 0.0 && frequency == 0.0 {
        return;
    }
    for (id, count) in history.seen() {
        let Some(logit) = logits.get_mut(id as usize) else { continue };
        *logit = if *logit < 0.0 { *logit * repetition } else { *logit / repetition };
        if count > 0 {
            *logit -= presence + frequency * count as f32;
        }
    }
}

fn forbid(logits: &mut [f32], ids: &[u32]) {
    for id in ids {
        if let Some(logit) = logits.get_mut(*id as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}
