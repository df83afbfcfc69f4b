//! What `generation_config.json` asks for. Every key is used, known to change nothing here, warned
//! about, or refused; where the file is silent, transformers' defaults hold.

use serde_json::{Map, Value};

use super::sampling::Sampling;
use crate::error::{Error, Result};
use crate::family::KeyReport;

/// A checkpoint's wishes for its generation, and what became of each key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// New tokens at most.
    pub max_new_tokens: Option<usize>,
    /// Tokens at most, the prompt's included; `max_new_tokens` comes first.
    pub max_length: Option<usize>,
    /// Texts that end the generation.
    pub stop: Vec<String>,
    /// Keys that were used.
    pub used: Vec<String>,
    /// Keys that change nothing here.
    pub irrelevant: Vec<String>,
    /// What is ignored though it means something to transformers, each as a sentence.
    pub warnings: Vec<String>,
}

/// Keys that choose no token: ids used elsewhere, speed, output forms, other kinds of model, and
/// numbers that act in beam search alone.
const IRRELEVANT: &[&str] = &[
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_ensemble_weight",
    "assistant_lookbehind",
    "bos_token_id",
    "cache_config",
    "cache_implementation",
    "compile_config",
    "continuous_batching_config",
    "decoder_start_token_id",
    "disable_compile",
    "diversity_penalty",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "is_assistant",
    "length_penalty",
    "low_memory",
    "max_cache_len",
    "max_matching_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "prefill_chunk_size",
    "prompt_lookup_num_tokens",
    "remove_invalid_values",
    "renormalize_logits",
    "return_dict_in_generate",
    "speculation_type",
    "target_lookbehind",
    "transformers_version",
    "use_cache",
    "use_mtp",
];

/// Searches and limits that are not here: whoever asks for them gets plain decoding, and hears so.
const IGNORED: &[&str] = &[
    "dola_layers",
    "max_time",
    "num_beams",
    "num_return_sequences",
    "penalty_alpha",
    "token_healing",
    "top_h",
];

/// What changes the logits themselves, and is not here.
const REFUSED: &[&str] = &[
    "constraints",
    "exponential_decay_length_penalty",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "guidance_scale",
    "watermarking_config",
];

impl Defaults {
    /// Reads a `generation_config.json`.
    ///
    /// # Errors
    /// [`Error::ConfigKey`] for a value of the wrong type, and for what changes logits and is not
    /// supported.
    pub fn read(config: &Map<String, Value>, origin: &str) -> Result<Self> {
        let mut defaults = Self::default();
        for (key, value) in config.iter().filter(|(_, value)| !value.is_null()) {
            let read = Key { origin, key, value };
            if defaults.take(&read)? {
                defaults.used.push(key.clone());
            } else {
                defaults.leave(&read)?;
            }
        }
        Ok(defaults)
    }

    /// Takes a key that means something here.
    fn take(&mut self, read: &Key<'_>) -> Result<bool> {
        let sampling = &mut self.sampling;
        match read.key {
            "do_sample" => sampling.greedy = !read.boolean()?,
            "temperature" => sampling.temperature = read.number()?,
            "top_k" => sampling.top_k = read.count()?,
            "top_p" => sampling.top_p = read.number()?,
            "min_p" => sampling.min_p = read.number()?,
            "typical_p" => sampling.typical_p = read.number()?,
            "epsilon_cutoff" => sampling.epsilon_cutoff = read.number()?,
            "eta_cutoff" => sampling.eta_cutoff = read.number()?,
            "repetition_penalty" => sampling.repetition_penalty = read.number()?,
            "no_repeat_ngram_size" => sampling.no_repeat_ngram_size = read.count()?,
            "bad_words_ids" => sampling.bad_words = read.parse("lists of token ids")?,
            "sequence_bias" => sampling.bias = read.parse("pairs of token ids and a number")?,
            "suppress_tokens" => sampling.suppress = read.parse("token ids")?,
            "begin_suppress_tokens" => sampling.begin_suppress = read.parse("token ids")?,
            "min_length" => sampling.min_length = read.count()?,
            "min_new_tokens" => sampling.min_new_tokens = read.count()?,
            "max_new_tokens" => self.max_new_tokens = Some(read.count()?),
            "max_length" => self.max_length = Some(read.count()?),
            "stop_strings" => self.stop = read.texts()?,
            "eos_token_id" => read.ids()?, // whoever loads the model takes them
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Decides about a key that means nothing here.
    fn leave(&mut self, read: &Key<'_>) -> Result<()> {
        let Key { origin, key, value } = *read;
        let neutral = match value {
            Value::Bool(on) => !on,
            Value::Number(number) => {
                let nothing = if key == "penalty_alpha" { 0.0 } else { 1.0 };
                number.as_f64() == Some(nothing)
            }
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        let names = |list: &[&str]| list.contains(&key);
        if names(REFUSED) && !(neutral && key == "guidance_scale") {
            let problem = format!(
                "= {value} changes every token and is not supported; \
                 --no-generation-config goes on without the file"
            );
            return Err(read.wrong(&problem));
        }
        if key.starts_with('_') || neutral || value.is_string() || names(IRRELEVANT) {
            self.irrelevant.push(key.into());
        } else if names(IGNORED) || names(REFUSED) {
            self.warnings.push(format!("{origin}: `{key}` = {value} is not supported and ignored"));
        } else {
            self.warnings.push(format!("{origin}: `{key}` is unknown and ignored"));
        }
        Ok(())
    }

    /// What became of each key of the file: what is null is defaulted, what is warned about unknown.
    ///
    /// # Errors
    /// As [`Defaults::read`].
    pub fn keys(config: &Map<String, Value>, origin: &str) -> Result<KeyReport> {
        let read = Self::read(config, origin)?;
        let mut report = KeyReport { irrelevant: read.irrelevant, ..KeyReport::default() };
        for (key, value) in config {
            if value.is_null() {
                report.defaulted.push((key.clone(), Value::Null));
            } else if read.used.contains(key) {
                report.used.push((key.clone(), value.clone()));
            } else if !report.irrelevant.contains(key) {
                report.unknown.push(key.clone());
            }
        }
        Ok(report)
    }

    /// New tokens at most after a prompt of so many tokens; `None` where the file does not say.
    pub fn max_tokens(&self, prompt: usize) -> Option<usize> {
        let rest = |length: usize| length.saturating_sub(prompt).max(1);
        self.max_new_tokens.or(self.max_length.map(rest))
    }
}

/// A key and its value.
struct Key<'a> {
    origin: &'a str,
    key: &'a str,
    value: &'a Value,
}

impl Key<'_> {
    fn wrong(&self, problem: &str) -> Error {
        let (origin, key) = (self.origin.into(), self.key.into());
        Error::ConfigKey { origin, key, problem: problem.into() }
    }

    fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("must be true or false"))
    }

    fn number(&self) -> Result<f64> {
        self.value.as_f64().ok_or_else(|| self.wrong("must be a number"))
    }

    fn count(&self) -> Result<usize> {
        // 50.0 is what some writers make of 50.
        let whole = self.value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..1e15).contains(x));
        whole.map(|x| x as usize).ok_or_else(|| self.wrong("must be a whole number, 0 or more"))
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T> {
        let parsed = serde_json::from_value(self.value.clone());
        parsed.map_err(|_| self.wrong(&format!("must be a list of {what}")))
    }

    fn texts(&self) -> Result<Vec<String>> {
        match self.value {
            Value::String(one) => Ok(vec![one.clone()]),
            _ => self.parse("texts"),
        }
    }

    fn ids(&self) -> Result<()> {
        match self.value {
            Value::Number(_) => self.count().map(|_| ()),
            _ => self.parse::<Vec<u32>>("token ids").map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests;
