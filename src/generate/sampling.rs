//! How tokens are chosen: plain numbers, checked by [`Sampling::validate`]. What they do is in
//! `process.rs` (to logits) and `candidates.rs` (to the set drawn from).

use crate::error::{Error, Result};

/// How tokens are chosen. The default is transformers': greedy, nothing penalised.
///
/// The numbers mean what they mean in transformers' `GenerationConfig`, and act in its order:
/// bias, repetition penalty (then presence and frequency), n-grams, forbidden sequences, minimum
/// lengths, suppressed tokens; and when sampling temperature, top-k, top-p, min-p, typical-p,
/// epsilon, eta.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Take the likeliest token; the numbers from `temperature` to `eta_cutoff` do nothing.
    pub greedy: bool,
    /// Logits are divided by it; above 0.
    pub temperature: f64,
    /// Only the k likeliest tokens, and those as likely as the last of them; 0 = all.
    pub top_k: usize,
    /// The likeliest tokens until their mass reaches p (Holtzman et al. 2019, 1904.09751); 1 = all.
    pub top_p: f64,
    /// Only tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024,
    /// 2407.01082); 0 = all.
    pub min_p: f64,
    /// The tokens whose surprise is nearest the expected one, until their mass reaches p (Meister
    /// et al. 2022, 2202.00666); 1 = all.
    pub typical_p: f64,
    /// Only tokens of at least this probability (Hewitt et al. 2022, 2210.15191); 0 = all.
    pub epsilon_cutoff: f64,
    /// As `epsilon_cutoff`, lower where the distribution is flat (the same paper); 0 = all.
    pub eta_cutoff: f64,
    /// Logits of tokens that occurred, in the prompt too, are divided by it where positive and
    /// multiplied where negative (Keskar et al. 2019, 1909.05858); 1 = none.
    pub repetition_penalty: f64,
    /// Taken off the logit of every token generated so far (OpenAI's formula); 0 = none.
    pub presence_penalty: f64,
    /// Taken off a token's logit as often as it was generated so far (OpenAI's formula); 0 = none.
    pub frequency_penalty: f64,
    /// No sequence of so many tokens occurs twice, the prompt included; 0 = any may.
    pub no_repeat_ngram_size: usize,
    /// Added to the logit of a sequence's last token where the others have just occurred.
    pub bias: Vec<(Vec<u32>, f32)>,
    /// Sequences that never occur: a bias of −∞. An end-of-text token alone is not heeded.
    pub bad_words: Vec<Vec<u32>>,
    /// Tokens that never occur.
    pub suppress: Vec<u32>,
    /// Tokens that do not occur first.
    pub begin_suppress: Vec<u32>,
    /// No end-of-text token before so many tokens, the prompt included.
    pub min_length: usize,
    /// No end-of-text token before so many new tokens.
    pub min_new_tokens: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            greedy: true,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            no_repeat_ngram_size: 0,
            bias: Vec::new(),
            bad_words: Vec::new(),
            suppress: Vec::new(),
            begin_suppress: Vec::new(),
            min_length: 0,
            min_new_tokens: 0,
        }
    }
}

impl Sampling {
    /// Checks every number, and every id against the vocabulary.
    ///
    /// # Errors
    /// [`Error::Request`], naming the number and what would work; [`Error::TokenId`].
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        let above_zero = |name: &str, value: f64, hint: &str| {
            check(name, value, value.is_finite() && value > 0.0, &format!("must be above 0{hint}"))
        };
        let fraction = |name: &str, value: f64| {
            check(name, value, (0.0..=1.0).contains(&value), "must be between 0 and 1")
        };
        let finite = |name: &str, value: f64| check(name, value, value.is_finite(), "is no number");
        if !self.greedy {
            above_zero("temperature", self.temperature, "; 0 means greedy")?;
        }
        for (name, value) in
            [("top_p", self.top_p), ("min_p", self.min_p), ("typical_p", self.typical_p)]
        {
            fraction(name, value)?;
        }
        above_zero("typical_p", self.typical_p, " and at most 1")?;
        let below_one = "must be at least 0 and below 1";
        for (name, value) in
            [("epsilon_cutoff", self.epsilon_cutoff), ("eta_cutoff", self.eta_cutoff)]
        {
            check(name, value, (0.0..1.0).contains(&value), below_one)?;
        }
        above_zero("repetition_penalty", self.repetition_penalty, "; 1 means none")?;
        finite("presence_penalty", self.presence_penalty)?;
        finite("frequency_penalty", self.frequency_penalty)?;
        self.validate_ids(vocab_size)
    }

    fn validate_ids(&self, vocab_size: usize) -> Result<()> {
        for (ids, value) in &self.bias {
            // −∞ forbids, and is fine; +∞ would leave no probabilities.
            let usable = !value.is_nan() && *value != f32::INFINITY;
            check("logit_bias", f64::from(*value), usable, "must be a number (or -inf to forbid)")?;
            check("logit_bias", ids.len() as f64, !ids.is_empty(), "tokens are none to bias")?;
        }
        let empty = self.bad_words.iter().any(Vec::is_empty);
        check("bad_words_ids", 0.0, !empty, "tokens are none to forbid")?;
        let biased = self.bias.iter().flat_map(|(ids, _)| ids);
        let forbidden = self.bad_words.iter().flatten();
        let all = biased.chain(forbidden).chain(&self.suppress).chain(&self.begin_suppress);
        match all.into_iter().find(|id| **id as usize >= vocab_size) {
            Some(id) => Err(Error::TokenId { id: *id, vocab_size }),
            None => Ok(()),
        }
    }
}

fn check(name: &str, value: f64, holds: bool, problem: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::request(name, format!("{value} {problem}"))),
    }
}
