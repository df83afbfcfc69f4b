//! What a caller asks for, over what the checkpoint asks for, over transformers' defaults; and
//! which of them it was, in words.

use super::defaults::Defaults;
use super::sampling::Sampling;
use crate::error::{Error, Result};

/// What a caller asks for; `None` leaves it to the checkpoint.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choices {
    /// The likeliest token, and no penalty but those asked for here.
    pub greedy: bool,
    /// As in [`Sampling`]; 0 means greedy. This and those to `eta_cutoff` ask for sampling.
    pub temperature: Option<f64>,
    /// As in [`Sampling`].
    pub top_k: Option<usize>,
    /// As in [`Sampling`].
    pub top_p: Option<f64>,
    /// As in [`Sampling`].
    pub min_p: Option<f64>,
    /// As in [`Sampling`].
    pub typical_p: Option<f64>,
    /// As in [`Sampling`].
    pub epsilon_cutoff: Option<f64>,
    /// As in [`Sampling`].
    pub eta_cutoff: Option<f64>,
    /// As in [`Sampling`].
    pub repetition_penalty: Option<f64>,
    /// As in [`Sampling`].
    pub presence_penalty: Option<f64>,
    /// As in [`Sampling`].
    pub frequency_penalty: Option<f64>,
    /// As in [`Sampling`].
    pub no_repeat_ngram_size: Option<usize>,
    /// As in [`Sampling`].
    pub min_new_tokens: Option<usize>,
    /// Added to the checkpoint's.
    pub bias: Vec<(Vec<u32>, f32)>,
}

impl Choices {
    /// Changes one of them by its name, as it is written on the command line or after `/set`.
    ///
    /// # Errors
    /// [`Error::Request`] for a name or a value that is none, with what there is.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = name.replace('-', "_");
        let wrong = || Error::request(&name, format!("`{value}` is no number"));
        let number = || value.parse::<f64>().map(Some).map_err(|_| wrong());
        let count = || value.parse::<usize>().map(Some).map_err(|_| wrong());
        match name.as_str() {
            "greedy" => {
                let greedy = value.parse().map_err(|_| Error::request(&name, "true or false"))?;
                *self = Self { greedy, bias: std::mem::take(&mut self.bias), ..Self::default() };
            }
            "temperature" => (self.temperature, self.greedy) = (number()?, false),
            "top_k" => self.top_k = count()?,
            "top_p" => self.top_p = number()?,
            "min_p" => self.min_p = number()?,
            "typical_p" => self.typical_p = number()?,
            "epsilon_cutoff" => self.epsilon_cutoff = number()?,
            "eta_cutoff" => self.eta_cutoff = number()?,
            "repetition_penalty" => self.repetition_penalty = number()?,
            "presence_penalty" => self.presence_penalty = number()?,
            "frequency_penalty" => self.frequency_penalty = number()?,
            "no_repeat_ngram_size" => self.no_repeat_ngram_size = count()?,
            "min_new_tokens" => self.min_new_tokens = count()?,
            _ => return Err(Error::request(&name, format!("unknown; {}", NAMES.join(", ")))),
        }
        Ok(())
    }

    /// The numbers that ask for sampling by being given.
    fn draws(&self) -> [(&'static str, bool); 6] {
        [
            ("top_k", self.top_k.is_some()),
            ("top_p", self.top_p.is_some()),
            ("min_p", self.min_p.is_some()),
            ("typical_p", self.typical_p.is_some()),
            ("epsilon_cutoff", self.epsilon_cutoff.is_some()),
            ("eta_cutoff", self.eta_cutoff.is_some()),
        ]
    }

    /// Greedy, sampling, or as the checkpoint says.
    fn mode(&self) -> Result<Option<bool>> {
        let draws = self.draws().into_iter().find(|(_, given)| *given).map(|(name, _)| name);
        let zero = self.temperature == Some(0.0);
        let heated = self.temperature.filter(|_| !zero).map(|_| "temperature");
        match (self.greedy || zero, heated.or(draws)) {
            (true, Some(name)) if self.greedy => {
                Err(Error::request(name, "does nothing to a greedy choice; leave one of them out"))
            }
            (true, _) => Ok(Some(true)),
            (false, Some(_)) => Ok(Some(false)),
            (false, None) => Ok(None),
        }
    }
}

const NAMES: &[&str] = &[
    "greedy",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "no_repeat_ngram_size",
    "min_new_tokens",
];

impl Defaults {
    /// The caller's choices over the checkpoint's wishes, and a line that says what came out and
    /// whence.
    ///
    /// # Errors
    /// [`Error::Request`] for choices that contradict each other.
    pub fn resolve(&self, choices: &Choices) -> Result<(Sampling, String)> {
        let mode = choices.mode()?;
        let asked = mode == Some(true);
        let mut sampling = self.sampling.clone();
        sampling.greedy = mode.unwrap_or(self.sampling.greedy || self.sampling.temperature == 0.0);
        if asked {
            // Greedy by name is greedy: a penalty would have to be asked for as well.
            (sampling.repetition_penalty, sampling.no_repeat_ngram_size) = (1.0, 0);
        }
        let heat = choices.temperature.filter(|_| !sampling.greedy);
        over(&mut sampling.temperature, heat);
        over(&mut sampling.top_k, choices.top_k);
        over(&mut sampling.top_p, choices.top_p);
        over(&mut sampling.min_p, choices.min_p);
        over(&mut sampling.typical_p, choices.typical_p);
        over(&mut sampling.epsilon_cutoff, choices.epsilon_cutoff);
        over(&mut sampling.eta_cutoff, choices.eta_cutoff);
        over(&mut sampling.repetition_penalty, choices.repetition_penalty);
        over(&mut sampling.presence_penalty, choices.presence_penalty);
        over(&mut sampling.frequency_penalty, choices.frequency_penalty);
        over(&mut sampling.no_repeat_ngram_size, choices.no_repeat_ngram_size);
        over(&mut sampling.min_new_tokens, choices.min_new_tokens);
        sampling.bias.extend(choices.bias.iter().cloned());
        let line = self.describe(&sampling, choices, mode.is_some());
        Ok((sampling, line))
    }

    fn describe(&self, sampling: &Sampling, choices: &Choices, asked: bool) -> String {
        let mode = if sampling.greedy { "greedy" } else { "sampling" };
        let mut parts = vec![format!("{mode}{}", self.whence("do_sample", asked))];
        let (draws, penalties) = (drawing(sampling, choices), penalising(sampling, choices));
        let draws = draws.into_iter().filter(|_| !sampling.greedy);
        for (key, value, neutral, asked) in draws.chain(penalties) {
            if value != neutral {
                parts.push(format!("{key} {value}{}", self.whence(key, asked)));
            }
        }
        for (key, count) in [
            ("sequence_bias", sampling.bias.len()),
            ("bad_words_ids", sampling.bad_words.len()),
            ("suppress_tokens", sampling.suppress.len()),
            ("begin_suppress_tokens", sampling.begin_suppress.len()),
        ] {
            if count > 0 {
                let asked = !self.used.iter().any(|used| used == key);
                parts.push(format!("{key} of {count}{}", self.whence(key, asked)));
            }
        }
        parts.join(", ")
    }

    fn whence(&self, key: &str, asked: bool) -> &'static str {
        match (asked, self.used.iter().any(|used| used == key)) {
            (true, _) => "",
            (false, true) => " (generation_config.json)",
            (false, false) => " (default)",
        }
    }
}

/// A number's name, its value, the value that does nothing, and whether the caller asked for it.
type Line = (&'static str, f64, f64, bool);

fn drawing(s: &Sampling, c: &Choices) -> [Line; 7] {
    [
        ("temperature", s.temperature, f64::NAN, c.temperature.is_some()),
        ("top_k", s.top_k as f64, 0.0, c.top_k.is_some()),
        ("top_p", s.top_p, 1.0, c.top_p.is_some()),
        ("min_p", s.min_p, 0.0, c.min_p.is_some()),
        ("typical_p", s.typical_p, 1.0, c.typical_p.is_some()),
        ("epsilon_cutoff", s.epsilon_cutoff, 0.0, c.epsilon_cutoff.is_some()),
        ("eta_cutoff", s.eta_cutoff, 0.0, c.eta_cutoff.is_some()),
    ]
}

fn penalising(s: &Sampling, c: &Choices) -> [Line; 5] {
    let ngram = s.no_repeat_ngram_size as f64;
    [
        ("repetition_penalty", s.repetition_penalty, 1.0, c.repetition_penalty.is_some()),
        ("presence_penalty", s.presence_penalty, 0.0, c.presence_penalty.is_some()),
        ("frequency_penalty", s.frequency_penalty, 0.0, c.frequency_penalty.is_some()),
        ("no_repeat_ngram_size", ngram, 0.0, c.no_repeat_ngram_size.is_some()),
        ("min_new_tokens", s.min_new_tokens as f64, 0.0, c.min_new_tokens.is_some()),
    ]
}

fn over<T: Copy>(value: &mut T, choice: Option<T>) {
    if let Some(choice) = choice {
        *value = choice;
    }
}
