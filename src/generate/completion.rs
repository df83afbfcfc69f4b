//! What came out: plain data, ready to be written as JSON.

use serde::Serialize;

use super::logprobs::Scored;

/// Why a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model said an end-of-text token.
    Eos,
    /// A stop string came.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// No position is left for another token.
    Context,
    /// The caller ended the run.
    Interrupted,
}

impl FinishReason {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One continued prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Completion {
    /// What was said, without special tokens, a stop string or what follows one; with the prompt
    /// first under `echo`. Empty where there is no tokenizer.
    pub text: String,
    /// The prompt.
    pub prompt_ids: Vec<u32>,
    /// What was said, an end-of-text token included.
    pub token_ids: Vec<u32>,
    /// One entry a token said, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<Scored>>,
    /// One entry a token of the prompt, none for the first, where asked for with `echo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_logprobs: Option<Vec<Option<Scored>>>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The seed that gives the same text again.
    pub seed: u64,
    /// Which of a prompt's samples this is, from 0.
    pub sample: usize,
    /// How long it took.
    pub timings: Timings,
}

/// How long a row took, in a batch together with the other rows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Timings {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that a kept cache spared.
    pub cached_tokens: usize,
    /// Seconds until the prompt was processed.
    pub prompt_s: f64,
    /// Tokens of the prompt a second.
    pub prompt_tokens_per_s: f64,
    /// Seconds until the first token was chosen.
    pub first_token_s: f64,
    /// Tokens said.
    pub generated_tokens: usize,
    /// Seconds from the first token to the last.
    pub generation_s: f64,
    /// Tokens a second after the first; 0 where there is no second.
    pub generation_tokens_per_s: f64,
}

impl Timings {
    pub(crate) fn rates(mut self) -> Self {
        let rate = |count: usize, seconds: f64| match seconds > 0.0 {
            true => count as f64 / seconds,
            false => 0.0,
        };
        let processed = self.prompt_tokens.saturating_sub(self.cached_tokens);
        self.prompt_tokens_per_s = rate(processed, self.prompt_s);
        let after_first = self.generated_tokens.saturating_sub(1);
        self.generation_tokens_per_s = rate(after_first, self.generation_s);
        self
    }
}
