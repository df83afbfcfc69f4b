//! `adapter_config.json` as PEFT writes it: every key is used, or cannot change the numbers, or is
//! off; what nobody decided about is refused by name. It reads no tensor.

use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use serde_json::Value;

use super::keys::{Keys, error};
use crate::error::{Error, Result};

/// The file's name.
pub(super) const FILE: &str = "adapter_config.json";

/// Ways to begin training that leave the base's matrices as they are. (The others, such as PiSSA's,
/// change them; PEFT can convert their adapters when it saves them, and says `true` then.)
const BEGINNINGS: &[&str] = &["gaussian", "eva", "orthogonal", "mica"];

/// What an adapter says about itself.
#[derive(Debug)]
pub(super) struct Config {
    path: PathBuf,
    /// The model that it was trained on, as its maker called it.
    pub(super) base: Option<String>,
    /// The rank of matrices without one of their own.
    pub(super) rank: usize,
    alpha: f64,
    /// Divided by the rank's root.
    rank_stabilised: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    targets: Targets,
    excluded: Targets,
    layers: Vec<u64>,
    layers_patterns: Vec<Regex>,
}

/// Modules by their names.
#[derive(Debug)]
pub(super) enum Targets {
    /// Every one.
    All,
    /// The whole path, or its end.
    Listed(Vec<String>),
    /// All of the path.
    Matching(Regex),
}

impl Targets {
    fn hold(&self, module: &str) -> Result<bool> {
        Ok(match self {
            Self::All => true,
            Self::Listed(names) => names.iter().any(|name| {
                let rest = module.strip_suffix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
            Self::Matching(regex) => matches(regex, module)?,
        })
    }
}

impl Config {
    /// Reads the file in `folder`; keys that nobody decided about may be let pass.
    pub(super) fn read(folder: &Path, allow_unknown: bool) -> Result<Self> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
        let map = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(Error::file(&path, "is no JSON object")),
            Err(error) => return Err(Error::file(&path, format!("is not JSON: {error}"))),
        };
        let mut keys = Keys::new(&path, map);
        let config = Self::of(&mut keys)?;
        keys.finish(allow_unknown)?;
        Ok(config)
    }

    fn of(keys: &mut Keys<'_>) -> Result<Self> {
        match keys.text("peft_type")?.as_deref() {
            Some("LORA") => {}
            Some(other) => return Err(keys.error("peft_type", format!("is {other}, not LORA"))),
            None => return Err(keys.error("peft_type", "is missing")),
        }
        match keys.value("init_lora_weights") {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(way)) if BEGINNINGS.contains(&way.as_str()) => {}
            Some(way) => {
                let problem = format!(
                    "is {way}, which changes the base's matrices too; save the adapter with PEFT's \
                     path_initial_model_for_weight_conversion"
                );
                return Err(keys.error("init_lora_weights", problem));
            }
        }
        let rank = keys.size("r")?.unwrap_or(8);
        let alpha = keys.number("lora_alpha")?.unwrap_or(8.0);
        let targets = match keys.modules("target_modules")? {
            Some(targets) => targets,
            None => return Err(keys.error("target_modules", "is missing")),
        };
        Ok(Self {
            path: keys.path.to_path_buf(),
            base: keys.text("base_model_name_or_path")?.filter(|name| !name.is_empty()),
            rank,
            alpha,
            rank_stabilised: keys.flag("use_rslora")?,
            ranks: keys.patterns("rank_pattern", |value| Some(value.as_u64()? as usize))?,
            alphas: keys.patterns("alpha_pattern", Value::as_f64)?,
            targets,
            excluded: keys.modules("exclude_modules")?.unwrap_or(Targets::Listed(Vec::new())),
            layers: keys.layers()?,
            layers_patterns: keys.layers_patterns()?,
        })
    }

    /// The rank of a module's matrices.
    pub(super) fn rank(&self, module: &str) -> Result<usize> {
        Ok(first(&self.ranks, module)?.unwrap_or(self.rank))
    }

    /// What B·A is multiplied by: α/r, or α/√r.
    pub(super) fn scale(&self, module: &str) -> Result<f64> {
        let rank = self.rank(module)? as f64;
        let alpha = first(&self.alphas, module)?.unwrap_or(self.alpha);
        Ok(alpha / if self.rank_stabilised { rank.sqrt() } else { rank })
    }

    /// Refuses a module that PEFT would not have adapted: its numbers would go unused there.
    pub(super) fn check_target(&self, module: &str) -> Result<()> {
        let found = self.targets.hold(module)? && !self.excluded.hold(module)?;
        if found && self.is_in_layers(module)? {
            return Ok(());
        }
        let problem = format!("does not select `{module}`, for which the adapter has numbers");
        Err(error(&self.path, "target_modules", problem))
    }

    /// `layers_to_transform`, which only a list of modules heeds.
    fn is_in_layers(&self, module: &str) -> Result<bool> {
        if self.layers.is_empty() || matches!(self.targets, Targets::Matching(_)) {
            return Ok(true);
        }
        if matches!(&self.targets, Targets::Listed(names) if names.iter().any(|n| n == module)) {
            return Ok(true);
        }
        for pattern in &self.layers_patterns {
            let captures = pattern.captures(module).map_err(|e| too_hard(pattern, e))?;
            let number = captures.and_then(|c| c.get(1)?.as_str().parse().ok());
            if let Some(number) = number {
                return Ok(self.layers.contains(&number));
            }
        }
        Ok(false)
    }
}

/// The value of the first pattern that a module's name ends in.
fn first<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Result<Option<T>> {
    for (regex, value) in patterns {
        if matches(regex, module)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn matches(regex: &Regex, module: &str) -> Result<bool> {
    regex.is_match(module).map_err(|error| too_hard(regex, error))
}

fn too_hard(regex: &Regex, error: fancy_regex::Error) -> Error {
    Error::request("--adapter", format!("the pattern `{regex}` cannot be followed: {error}"))
}
