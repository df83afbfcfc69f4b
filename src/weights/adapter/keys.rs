//! The keys of `adapter_config.json`, one kind of value at a time. What they mean is not known here.

use std::path::Path;

use fancy_regex::Regex;
use serde_json::{Map, Value};

use super::config::Targets;
use crate::error::{Error, Result};

/// Keys that only say how it was trained or set up: with the trained numbers at hand, they change
/// nothing. (`fan_in_fan_out` follows from how the base stores the matrix.)
const IRRELEVANT: &[&str] = &[
    "auto_mapping",
    "revision",
    "task_type",
    "inference_mode",
    "peft_version",
    "lora_dropout",
    "fan_in_fan_out",
    "bias",
    "megatron_config",
    "megatron_core",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "qalora_group_size",
    "runtime_config",
    "modules_to_save",
];

pub(super) fn error(path: &Path, key: &str, problem: impl ToString) -> Error {
    let origin = path.display().to_string();
    Error::ConfigKey { origin, key: key.into(), problem: problem.to_string() }
}

/// The object's keys, and which of them were asked for.
pub(super) struct Keys<'a> {
    pub(super) path: &'a Path,
    map: Map<String, Value>,
    used: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(path: &'a Path, map: Map<String, Value>) -> Self {
        Self { path, map, used: Vec::new() }
    }

    pub(super) fn error(&self, key: &str, problem: impl ToString) -> Error {
        error(self.path, key, problem)
    }

    /// A value that is there and not null.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&Value> {
        self.used.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A value of one kind, where it is there.
    fn as_kind<T>(
        &mut self,
        key: &'static str,
        kind: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => {
                let problem = format!("is {value}, not {kind}");
                Err(self.error(key, problem))
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.as_kind(key, "a text", |value| Some(value.as_str()?.to_string()))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool> {
        Ok(self.as_kind(key, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<usize>> {
        let size = |value: &Value| usize::try_from(value.as_u64()?).ok().filter(|size| *size > 0);
        self.as_kind(key, "a whole number of at least 1", size)
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>> {
        self.as_kind(key, "a number", Value::as_f64)
    }

    /// A regular expression, `all-linear`, or names.
    pub(super) fn modules(&mut self, key: &'static str) -> Result<Option<Targets>> {
        let text = |value: &Value| Some(value.as_str()?.to_string());
        let Some(names) = self.as_kind(key, "a text or a list of them", |value| match value {
            Value::Array(names) => Some(Err(names.iter().map(text).collect::<Option<Vec<_>>>()?)),
            one => Some(Ok(text(one)?)),
        })?
        else {
            return Ok(None);
        };
        Ok(Some(match names {
            Err(names) => Targets::Listed(names),
            Ok(all) if all.eq_ignore_ascii_case("all-linear") => Targets::All,
            Ok(pattern) => Targets::Matching(self.regex(key, format!("^(?:{pattern})$"))?),
        }))
    }

    /// Values by the ends of modules' names, in their order.
    pub(super) fn patterns<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<(Regex, T)>> {
        let values = self.as_kind(key, "an object of numbers of at least 1", |value| {
            let entries = value.as_object()?.iter();
            let usable = |value: &&Value| value.as_f64().is_some_and(|number| number > 0.0);
            let entry = |(name, value): (&String, &Value)| {
                Some((name.clone(), read(Some(value).filter(usable)?)?))
            };
            entries.map(entry).collect::<Option<Vec<_>>>()
        })?;
        let values = values.unwrap_or_default().into_iter();
        let regex = |name: String| self.regex(key, format!(r"^(?:.*\.)?(?:{name})$"));
        values.map(|(name, value)| Ok((regex(name)?, value))).collect()
    }

    pub(super) fn layers(&mut self) -> Result<Vec<u64>> {
        let layers = |value: &Value| match value {
            Value::Array(list) => list.iter().map(Value::as_u64).collect(),
            one => Some(vec![one.as_u64()?]),
        };
        Ok(self.as_kind("layers_to_transform", "layers' numbers", layers)?.unwrap_or_default())
    }

    /// Where a layer's number stands in a module's name.
    pub(super) fn layers_patterns(&mut self) -> Result<Vec<Regex>> {
        const KEY: &str = "layers_pattern";
        let text = |value: &Value| Some(value.as_str()?.to_string());
        let names = self.as_kind(KEY, "a text or a list of them", |value| match value {
            Value::Array(names) => names.iter().map(text).collect(),
            one => Some(vec![text(one)?]),
        })?;
        let names: Vec<String> = names.into_iter().flatten().filter(|n| !n.is_empty()).collect();
        if names.is_empty() {
            return Ok(vec![self.regex(KEY, r"^.*?\.[^.]*\.(\d+)\.".into())?]);
        }
        names.iter().map(|n| self.regex(KEY, format!(r"^(?:|.*?\.)(?:{n})\.(\d+)\."))).collect()
    }

    fn regex(&self, key: &str, pattern: String) -> Result<Regex> {
        Regex::new(&pattern)
            .map_err(|e| self.error(key, format!("has a pattern that is none: {e}")))
    }

    /// Refuses what nobody decided about, where it is on.
    pub(super) fn finish(self, allow_unknown: bool) -> Result<()> {
        let is_off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let open = self.map.iter().filter(|(key, value)| {
            let known = self.used.contains(&key.as_str()) || IRRELEVANT.contains(&key.as_str());
            !known && !is_off(value)
        });
        let keys: Vec<String> = open.map(|(key, _)| key.clone()).collect();
        match keys.is_empty() || allow_unknown {
            true => Ok(()),
            false => Err(Error::UnknownKeys { origin: self.path.display().to_string(), keys }),
        }
    }
}
