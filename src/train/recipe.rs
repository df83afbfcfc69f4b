//! What is to be trained, on what, and how: a TOML file of plain keys. It is checked here as far
//! as it can be without its data.

mod set;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::lora::Lora;
use crate::error::{Error, Result};

/// One path or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// One.
    One(PathBuf),
    /// Several, read one after another.
    Several(Vec<PathBuf>),
}

impl Paths {
    /// All of them.
    pub fn list(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

/// What the exported weights are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Export {
    /// As they were trained.
    #[default]
    F32,
    /// Rounded: half the size.
    Bf16,
}

/// A training recipe. Paths are relative to the folder that the command is run in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The shape of a new model: a `config.json` of any family. Without `vocab_size` there, the
    /// tokenizer's is taken.
    pub model: Option<PathBuf>,
    /// Or the model to go on with: a folder, a file or a hub id.
    pub from: Option<String>,
    /// Train an adapter of that model, in place of all its weights.
    pub lora: Option<Lora>,
    /// What to learn from: `.txt` (a text each), `.jsonl` (a line each: `text`, or `prompt` and
    /// `completion`, or `messages`; of the last two only what the model says is learned).
    pub train: Paths,
    /// What to measure with, never learned from.
    pub valid: Option<Paths>,
    /// Without `valid`, this share of the training data's end is held back for it.
    #[serde(default = "tenth")]
    pub valid_share: f64,
    /// At most so many texts of the training data.
    pub documents: Option<usize>,
    /// `bpe` or `characters`, made of the training data; or a folder that has one. With `from`,
    /// that model's.
    pub tokenizer: Option<String>,
    /// Tokens of a new `bpe`.
    pub vocab_size: Option<usize>,
    /// The folder of the run.
    pub out: PathBuf,
    /// What exported weights are stored as.
    #[serde(default)]
    pub dtype: Export,
    /// `bf16` lets products round their factors to bf16 where the processor is faster so (AMX);
    /// weights, sums and the optimizer stay f32. `f32` is exact.
    #[serde(default)]
    pub products: Export,
    /// Changes of the weights.
    pub steps: usize,
    /// Rows that a change is computed from.
    pub batch: usize,
    /// Rows that go through the model together on one thread; the gradients of a batch's pieces
    /// are added in their order, so that threads change no number.
    #[serde(default = "one")]
    pub micro_batch: usize,
    /// Tokens of a row.
    pub seq_len: usize,
    /// The greatest learning rate.
    pub learning_rate: f64,
    /// What it falls to; a tenth of `learning_rate` where not given.
    pub min_learning_rate: Option<f64>,
    /// Steps in which it rises from 0.
    #[serde(default)]
    pub warmup: usize,
    /// Decoupled decay of matrices; norms and biases have none.
    #[serde(default = "tenth")]
    pub weight_decay: f64,
    /// AdamW's memory of gradients.
    #[serde(default = "beta1")]
    pub beta1: f64,
    /// AdamW's memory of their squares.
    #[serde(default = "beta2")]
    pub beta2: f64,
    /// AdamW's ε.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
    /// The greatest norm of all gradients together; 0: any.
    #[serde(default = "unit")]
    pub clip: f64,
    /// The share of embeddings and of both branches' outputs that is dropped while learning.
    #[serde(default)]
    pub dropout: f64,
    /// The same seed gives the same run.
    #[serde(default)]
    pub seed: u64,
    /// Steps between two measurements of the validation loss.
    #[serde(default = "hundreds")]
    pub evaluate_every: usize,
    /// Rows that it is measured on.
    #[serde(default = "rows")]
    pub evaluate_rows: usize,
    /// Steps between two checkpoints.
    #[serde(default = "thousand")]
    pub save_every: usize,
    /// Steps between two lines of the log.
    #[serde(default = "ten")]
    pub log_every: usize,
    /// Prompts that are continued at every checkpoint.
    #[serde(default)]
    pub samples: Vec<String>,
    /// What goes into `generation_config.json` besides the tokens that end a text.
    #[serde(default)]
    pub generation: Map<String, Value>,
}

/// A recipe for going on with a model.
const TUNING: &str = "
steps = 200
batch = 8
seq_len = 256
warmup = 10
weight_decay = 0.0
beta2 = 0.999
evaluate_every = 50
";

fn tenth() -> f64 {
    0.1
}
fn one() -> usize {
    1
}
fn ten() -> usize {
    10
}
fn rows() -> usize {
    64
}
fn hundreds() -> usize {
    200
}
fn thousand() -> usize {
    1000
}
fn beta1() -> f64 {
    0.9
}
fn beta2() -> f64 {
    0.95
}
fn epsilon() -> f64 {
    1e-8
}
fn unit() -> f64 {
    1.0
}

impl Recipe {
    /// Reads a recipe, and puts `sets` (`key=value`, the value as TOML writes it, or a bare word)
    /// in place of what it says.
    ///
    /// # Errors
    /// [`Error::File`] for what is no recipe, unknown keys by name; [`Error::Request`] for a value
    /// that is out of range.
    pub fn read(path: &Path, sets: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        Self::of(&text, path, sets)
    }

    /// What going on with a model begins from where there is no recipe: everything but `from`,
    /// `train` and `out`. An adapter bears a greater learning rate.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn tuning(lora: bool, sets: &[String]) -> Result<Self> {
        let text = format!("{TUNING}learning_rate = {}\n", if lora { 2e-4 } else { 2e-5 });
        Self::of(&text, Path::new("the command line"), sets)
    }

    fn of(text: &str, path: &Path, sets: &[String]) -> Result<Self> {
        let wrong = |e: toml::de::Error| Error::file(path, e.to_string().trim_end());
        let mut table: toml::Table = toml::from_str(text).map_err(wrong)?;
        for set in sets {
            set::put(&mut table, set)?;
        }
        let recipe: Self = table.try_into().map_err(wrong)?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        let wrong = |key: &str, problem: &str| Err(Error::request(key, problem));
        self.check_model()?;
        for (key, count) in [
            ("steps", self.steps),
            ("batch", self.batch),
            ("micro_batch", self.micro_batch),
            ("seq_len", self.seq_len),
            ("evaluate_every", self.evaluate_every),
            ("evaluate_rows", self.evaluate_rows),
            ("save_every", self.save_every),
            ("log_every", self.log_every),
        ] {
            if count == 0 {
                return wrong(key, "must be at least 1");
            }
        }
        self.check_numbers()
    }

    fn check_numbers(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x >= 0.0;
        for (key, number, most) in [
            ("learning_rate", self.learning_rate, f64::MAX),
            ("min_learning_rate", self.floor(), self.learning_rate),
            ("weight_decay", self.weight_decay, f64::MAX),
            ("epsilon", self.epsilon, 1.0),
            ("clip", self.clip, f64::MAX),
            ("beta1", self.beta1, 0.999_999),
            ("beta2", self.beta2, 0.999_999),
            ("valid_share", self.valid_share, 0.9),
            ("dropout", self.dropout, 0.9),
        ] {
            if !positive(number) || number > most {
                let range =
                    if most == f64::MAX { String::new() } else { format!(" and at most {most}") };
                return Err(Error::request(
                    key,
                    format!("{number} is out of range: at least 0{range}"),
                ));
            }
        }
        Ok(())
    }

    /// A new model or one that is there.
    fn check_model(&self) -> Result<()> {
        let wrong = |key: &str, problem: &str| Err(Error::request(key, problem));
        match (&self.model, &self.from) {
            (None, None) => {
                return wrong("model", "name a shape (`model`) or a checkpoint (`from`)");
            }
            (Some(_), Some(_)) => return wrong("model", "goes without `from`, which has a shape"),
            (Some(_), None) if self.lora.is_some() => {
                return wrong("lora", "adapts a model that is there already: name it with `from`");
            }
            _ => {}
        }
        self.lora.as_ref().map_or(Ok(()), Lora::check)
    }

    /// What the learning rate falls to.
    pub fn floor(&self) -> f64 {
        self.min_learning_rate.unwrap_or(self.learning_rate / 10.0)
    }

    /// The learning rate of a step, from 0: up in a line, down in half a cosine (Loshchilov &
    /// Hutter 2017, 1608.03983).
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.learning_rate * (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let rest = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / rest).min(1.0);
        let share = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.floor() + (self.learning_rate - self.floor()) * share
    }
}
