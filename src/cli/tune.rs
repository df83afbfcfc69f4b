//! What `taper train` goes on with a model by: options in the place of a recipe, or over one.

use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::train::Recipe;

/// Which model learns what.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Going on with a model")]
pub(crate) struct TuneArgs {
    /// The model: a folder, a file or a hub id
    #[arg(long, value_name = "MODEL")]
    from: Option<String>,
    /// What it learns from: .txt, or .jsonl with `text`, `prompt` and `completion`, or `messages`
    /// (repeatable)
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// The folder of the run [default: runs/NAME-tuned or runs/NAME-lora]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Changes of the weights [default: 200]
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Train a LoRA adapter of this rank, in the form of PEFT's, in place of all weights
    #[arg(long, value_name = "N")]
    lora_rank: Option<usize>,
    /// Its α: B·A is multiplied with α / rank [default: twice the rank]
    #[arg(long, value_name = "X", requires = "lora_rank")]
    lora_alpha: Option<f64>,
    /// Which matrices: q, k, v, o, gate, up, down, names of modules, or all-linear [default:
    /// all-linear]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "lora_rank")]
    lora_targets: Vec<String>,
}

impl TuneArgs {
    /// The recipe that these options, a file and `more` keys make.
    pub(super) fn recipe(&self, file: Option<&PathBuf>, more: &[String]) -> Result<Recipe> {
        let mut sets = self.sets();
        match (file, &self.from) {
            (Some(file), _) => Recipe::read(file, &[sets.as_slice(), more].concat()),
            (None, Some(from)) => {
                if self.out.is_none() {
                    sets.push(set("out", format!("runs/{}", self.run(from)).into()));
                }
                if self.data.is_empty() && !more.iter().any(|set| set.starts_with("train=")) {
                    return Err(Error::request("--data", "says what to learn from; name a file"));
                }
                Recipe::tuning(self.lora_rank.is_some(), &[sets.as_slice(), more].concat())
            }
            (None, None) => {
                let problem = "name one (configs/train/ has some), or go on with a model: --from \
                               MODEL --data FILE";
                Err(Error::request("the recipe", problem))
            }
        }
    }

    /// The name of the run's folder.
    fn run(&self, from: &str) -> String {
        let last = from.trim_end_matches('/').rsplit('/').next().unwrap_or(from);
        let name = last.split('@').next().unwrap_or(last);
        format!("{name}-{}", if self.lora_rank.is_some() { "lora" } else { "tuned" })
    }

    /// The keys of a recipe that options say.
    fn sets(&self) -> Vec<String> {
        let path = |path: &PathBuf| Value::from(path.display().to_string());
        let whole = |count: usize| Value::from(count);
        let list = |list: &[String]| Value::from(list.to_vec());
        let some = |key: &str, value: Option<Value>| value.map(|value| set(key, value));
        let data: Vec<Value> = self.data.iter().map(path).collect();
        let targets = Some(list(&self.lora_targets)).filter(|_| !self.lora_targets.is_empty());
        [
            some("from", self.from.clone().map(Value::from)),
            some("train", Some(Value::from(data)).filter(|_| !self.data.is_empty())),
            some("out", self.out.as_ref().map(path)),
            some("steps", self.steps.map(whole)),
            some("lora.rank", self.lora_rank.map(whole)),
            some("lora.alpha", self.lora_alpha.map(Value::from)),
            some("lora.targets", targets),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn set(key: &str, value: Value) -> String {
    format!("{key}={value}")
}
