//! What is asked of a run, and what it tells while it runs.

use super::completion::Completion;
use super::sampling::Sampling;
use crate::error::{Error, Result};
use crate::nn::{HeadEdits, HeadScale};
use crate::spec::Spec;

/// Turns one row's tokens into text as they come, never half a character.
pub trait Detokenize {
    /// Takes a token; gives the text that is complete with it, if any.
    ///
    /// # Errors
    /// A tokenizer that cannot decode.
    fn push(&mut self, id: u32) -> Result<Option<String>>;

    /// The text that is left when nothing more comes.
    ///
    /// # Errors
    /// A tokenizer that cannot decode.
    fn finish(&mut self) -> Result<Option<String>>;
}

/// What a run needs of a tokenizer.
pub trait Voice {
    /// A row's text from its first new token on: `prompt` is not part of it, but decides whether
    /// that token begins a text or goes on with a word.
    ///
    /// # Errors
    /// A tokenizer that cannot decode.
    fn stream(&self, prompt: &[u32]) -> Result<Box<dyn Detokenize + '_>>;

    /// The text of a whole prompt.
    ///
    /// # Errors
    /// A tokenizer that cannot decode.
    fn decode(&self, ids: &[u32]) -> Result<String>;

    /// The text of one token, for lists of log-probabilities.
    fn token(&self, id: u32) -> String;
}

/// One prompt of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prompt {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Its text as it was written, for `echo`; decoded from the ids where it is `None`.
    pub text: Option<String>,
    /// How many tokens to say at most, where it differs from the request's.
    pub max_tokens: Option<usize>,
    /// A seed of its own.
    pub seed: Option<u64>,
}

impl From<Vec<u32>> for Prompt {
    fn from(ids: Vec<u32>) -> Self {
        Self { ids, ..Self::default() }
    }
}

/// What is asked of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The prompts, continued together.
    pub prompts: Vec<Prompt>,
    /// Continuations of each prompt; their prompt is processed once.
    pub samples: usize,
    /// How many tokens to say at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The same seed gives the same text, whatever else is in the batch.
    pub seed: u64,
    /// Tokens that end a row.
    pub eos_ids: Vec<u32>,
    /// Texts that end a row.
    pub stop: Vec<String>,
    /// Log-probabilities, with so many of the likeliest tokens.
    pub logprobs: Option<usize>,
    /// The prompt's text comes first, and its log-probabilities where those are asked for (its
    /// logits are then held all at once: 4 bytes · tokens · vocabulary).
    pub echo: bool,
    /// Heads that are turned down or off, in every pass.
    pub heads: Vec<HeadScale>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompts: Vec::new(),
            samples: 1,
            max_tokens: 256,
            sampling: Sampling::default(),
            seed: 0,
            eos_ids: Vec::new(),
            stop: Vec::new(),
            logprobs: None,
            echo: false,
            heads: Vec::new(),
        }
    }
}

/// What a run tells while it runs. Rows are prompts times samples: row = prompt · samples + sample.
#[derive(Debug)]
pub enum Event<'a> {
    /// A row says a token; its text may come with a later one.
    Token {
        /// The row.
        row: usize,
        /// The token.
        id: u32,
    },
    /// A row's text goes on.
    Text {
        /// The row.
        row: usize,
        /// What is added.
        text: &'a str,
    },
    /// A row has ended.
    Finished {
        /// The row.
        row: usize,
        /// All of it.
        completion: &'a Completion,
    },
}

impl Event<'_> {
    /// The row it is about.
    pub fn row(&self) -> usize {
        match self {
            Self::Token { row, .. } | Self::Text { row, .. } | Self::Finished { row, .. } => *row,
        }
    }

    /// The same of a row that is so many later.
    pub(crate) fn moved(mut self, by: usize) -> Self {
        match &mut self {
            Self::Token { row, .. } | Self::Text { row, .. } | Self::Finished { row, .. } => {
                *row += by;
            }
        }
        self
    }
}

impl Request {
    /// Checks everything that can be checked before anything is computed.
    ///
    /// # Errors
    /// [`Error::Request`] naming the field and what would work; [`Error::TokenId`];
    /// [`Error::ContextFull`] for a prompt longer than the context.
    pub fn validate(&self, spec: &Spec, has_voice: bool) -> Result<()> {
        self.sampling.validate(spec.vocab_size)?;
        HeadEdits::scaled(spec, &self.heads)?;
        if self.samples == 0 {
            return Err(Error::request("samples", "0 is nothing; at least 1"));
        }
        if self.samples > 1 && self.sampling.greedy {
            let problem =
                "greedy choice gives the same text every time; set a temperature, or samples to 1";
            return Err(Error::request("samples", problem));
        }
        if !self.stop.is_empty() && !has_voice {
            return Err(Error::request(
                "stop",
                "a text can end nothing where there is no tokenizer",
            ));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(Error::request("stop", "an empty text occurs everywhere; leave it out"));
        }
        if self.logprobs.is_some_and(|count| count > spec.vocab_size) {
            let problem = format!("at most the vocabulary's {} tokens", spec.vocab_size);
            return Err(Error::request("logprobs", problem));
        }
        self.prompts.iter().try_for_each(|prompt| prompt.validate(self.max_tokens, spec))
    }
}

impl Prompt {
    fn validate(&self, max_tokens: usize, spec: &Spec) -> Result<()> {
        if self.ids.is_empty() {
            return Err(Error::request("prompt", "it has no token, and the model no first one"));
        }
        if self.max_tokens.unwrap_or(max_tokens) == 0 {
            return Err(Error::request("max_tokens", "0 is nothing; at least 1"));
        }
        if self.ids.len() > spec.max_seq_len {
            return Err(Error::ContextFull {
                needed: self.ids.len(),
                max_seq_len: spec.max_seq_len,
            });
        }
        match self.ids.iter().find(|id| **id as usize >= spec.vocab_size) {
            Some(id) => Err(Error::TokenId { id: *id, vocab_size: spec.vocab_size }),
            None => Ok(()),
        }
    }
}
