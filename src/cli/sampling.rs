//! Options that say how tokens are chosen, for every command that chooses some.

use clap::Args;

use crate::error::{Error, Result};
use crate::generate::{Choices, Defaults};
use crate::model::Model;

/// How tokens are chosen. What is not given comes from the checkpoint's generation_config.json,
/// and where that is silent is as transformers has it: greedy, no penalty.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Choice of tokens")]
pub(crate) struct SamplingArgs {
    /// Always the likeliest token, with no penalty but those given here
    #[arg(long)]
    pub greedy: bool,
    /// Divide logits by T and draw; 0 is greedy
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draw from the K likeliest tokens; 0 from all [default when drawing: 50]
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Draw from the likeliest tokens that have mass P together
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Draw from tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub min_p: Option<f64>,
    /// Draw from the tokens of most typical surprise that have mass P together
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub typical_p: Option<f64>,
    /// Draw from tokens of at least this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub epsilon_cutoff: Option<f64>,
    /// As --epsilon-cutoff, lower where the distribution is flat
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub eta_cutoff: Option<f64>,
    /// Divide the logits of tokens that occurred, prompt included, by X (multiply negative ones)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub repetition_penalty: Option<f64>,
    /// Take X off the logits of tokens that were generated
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f64>,
    /// Take X off a token's logit each time it was generated
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f64>,
    /// No sequence of N tokens occurs twice
    #[arg(long, value_name = "N")]
    pub no_repeat_ngram_size: Option<usize>,
    /// No end of text before N new tokens
    #[arg(long, value_name = "N")]
    pub min_new_tokens: Option<usize>,
    /// Add V to a token's logit; the token is an id or a text, V may be -inf (repeatable)
    #[arg(long, value_name = "TOKEN=V", allow_hyphen_values = true)]
    pub logit_bias: Vec<String>,
    /// Leave the checkpoint's generation_config.json aside (its end-of-text tokens still count)
    #[arg(long)]
    pub no_generation_config: bool,
}

impl SamplingArgs {
    /// What the checkpoint asks for.
    ///
    /// # Errors
    /// As [`Defaults::read`].
    pub(crate) fn defaults(&self, model: &Model) -> Result<Defaults> {
        match self.no_generation_config {
            true => Ok(Defaults::default()),
            false => Defaults::read(&model.generation_config, "generation_config.json"),
        }
    }

    /// What the caller asks for.
    ///
    /// # Errors
    /// A bias that names no token or no number.
    pub(crate) fn choices(&self, model: &Model) -> Result<Choices> {
        let bias = self.logit_bias.iter().map(|bias| parse_bias(bias, model));
        Ok(Choices {
            greedy: self.greedy,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical_p,
            epsilon_cutoff: self.epsilon_cutoff,
            eta_cutoff: self.eta_cutoff,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            no_repeat_ngram_size: self.no_repeat_ngram_size,
            min_new_tokens: self.min_new_tokens,
            bias: bias.collect::<Result<_>>()?,
        })
    }
}

/// `ID=V` or `TEXT=V`; a text of several tokens biases the last where the others just occurred.
fn parse_bias(bias: &str, model: &Model) -> Result<(Vec<u32>, f32)> {
    let wrong = |problem: &str| Error::request("--logit-bias", format!("`{bias}` {problem}"));
    let (token, value) = bias.rsplit_once('=').ok_or_else(|| wrong("is not TOKEN=V"))?;
    let value = value.parse().map_err(|_| wrong("ends in no number"))?;
    if let Ok(id) = token.parse() {
        return Ok((vec![id], value));
    }
    let Some(tokenizer) = &model.tokenizer else {
        return Err(wrong("names a token by its text, and the model has no tokenizer"));
    };
    let ids = match tokenizer.token_id(token) {
        Some(id) => vec![id],
        None => tokenizer.encode(token, false)?,
    };
    match ids.is_empty() {
        true => Err(wrong("names no token")),
        false => Ok((ids, value)),
    }
}
