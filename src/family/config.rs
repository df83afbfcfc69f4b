//! Reads a `config.json` strictly: every key is used, defaulted, or on a list of those that cannot
//! change the numbers, and what nobody decided about is refused by name. It knows no family.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What became of a configuration's keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KeyReport {
    /// Keys that were read, with their values.
    pub used: Vec<(String, Value)>,
    /// Keys that were absent, with the values taken instead.
    pub defaulted: Vec<(String, Value)>,
    /// Keys that cannot change the numbers.
    pub irrelevant: Vec<String>,
    /// Keys that nobody decided about and that were let pass: strings, nulls, names with a leading
    /// underscore, and with `allow_unknown_keys` any.
    pub unknown: Vec<String>,
}

/// An object that was read, with the prefix of its keys.
type Opened<'a> = (String, &'a Map<String, Value>);

/// A configuration object, and the account of which of its keys were read.
#[derive(Debug, Clone)]
pub struct Config<'a> {
    origin: &'a str,
    prefix: String,
    map: &'a Map<String, Value>,
    report: Rc<RefCell<KeyReport>>,
    opened: Rc<RefCell<Vec<Opened<'a>>>>,
}

impl<'a> Config<'a> {
    /// A reader of `map`, which came from the file `origin`.
    pub fn new(origin: &'a str, map: &'a Map<String, Value>) -> Self {
        let opened = Rc::new(RefCell::new(vec![(String::new(), map)]));
        Self { origin, prefix: String::new(), map, report: Rc::default(), opened }
    }

    /// An error about `key`, ending in `problem`.
    pub fn error(&self, key: &str, problem: impl ToString) -> Error {
        Error::ConfigKey {
            origin: self.origin.into(),
            key: format!("{}{key}", self.prefix),
            problem: problem.to_string(),
        }
    }

    /// A value that is there and not null; it counts as used.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        let value = self.map.get(key)?;
        let name = format!("{}{key}", self.prefix);
        let mut report = self.report.borrow_mut();
        if !report.used.iter().any(|(used, _)| *used == name) {
            report.used.push((name, value.clone()));
        }
        Some(value).filter(|value| !value.is_null())
    }

    /// Is the key there at all, be it null?
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// A whole number that must be there.
    pub fn size(&self, key: &str) -> Result<usize> {
        self.maybe_size(key)?.ok_or_else(|| self.error(key, "is missing"))
    }

    /// A whole number, or `default`.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        match self.maybe_size(key)? {
            Some(size) => Ok(size),
            None => Ok(self.defaulted(key, default)),
        }
    }

    /// A whole number, if there.
    pub fn maybe_size(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        // Some files write whole numbers as 4096.0.
        let whole = value.as_u64().or_else(|| {
            value.as_f64().filter(|v| v.fract() == 0.0 && (0.0..9e15).contains(v)).map(|v| v as u64)
        });
        match whole.and_then(|whole| usize::try_from(whole).ok()) {
            Some(size) => Ok(Some(size)),
            None => Err(self.error(key, format!("is {value}, not a whole number of at least 0"))),
        }
    }

    /// A number, or `default`.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.maybe_number(key)? {
            Some(number) => Ok(number),
            None => Ok(self.defaulted(key, default)),
        }
    }

    /// A number, if there.
    pub fn maybe_number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.error(key, format!("is {value}, not a number"))),
        }
    }

    /// A boolean, or `default`.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.value(key) {
            None => Ok(self.defaulted(key, default)),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.error(key, format!("is {value}, not true or false"))),
        }
    }

    /// A string, if there.
    pub fn maybe_text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.error(key, format!("is {value}, not a string"))),
        }
    }

    /// A string, or `default`.
    pub fn text_or(&self, key: &str, default: &'static str) -> Result<&'a str> {
        match self.maybe_text(key)? {
            Some(text) => Ok(text),
            None => Ok(self.defaulted(key, default)),
        }
    }

    /// A list of numbers, if there.
    pub fn maybe_numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let numbers = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        match numbers {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.error(key, "is not a list of numbers")),
        }
    }

    /// A list of strings, if there.
    pub fn maybe_texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        match texts {
            Some(texts) => Ok(Some(texts)),
            None => Err(self.error(key, "is not a list of strings")),
        }
    }

    /// An object, if there; its keys are accounted for as `key.…`.
    pub fn maybe_object(&self, key: &str) -> Result<Option<Config<'a>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Some(map) = value.as_object() else {
            return Err(self.error(key, format!("is {value}, not an object")));
        };
        let prefix = format!("{}{key}.", self.prefix);
        let mut opened = self.opened.borrow_mut();
        if !opened.iter().any(|(known, _)| *known == prefix) {
            opened.push((prefix.clone(), map));
        }
        drop(opened);
        Ok(Some(Config { prefix, map, ..self.clone() }))
    }

    /// A reader of nothing in this reader's place: every key is absent.
    pub fn nowhere(&self) -> Config<'a> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        Config { map: &EMPTY, ..self.clone() }
    }

    /// Insists that `key`, if there, is `expected`: nothing else is implemented.
    pub fn only(&self, key: &str, expected: &Value) -> Result<()> {
        match self.value(key) {
            Some(value) if value != expected => {
                Err(self.error(key, format!("is {value}; only {expected} is implemented")))
            }
            _ => Ok(()),
        }
    }

    /// Declares keys that cannot change the numbers.
    pub fn irrelevant(&self, keys: &[&str]) {
        let mut report = self.report.borrow_mut();
        for key in keys.iter().filter(|key| self.map.contains_key(**key)) {
            let name = format!("{}{key}", self.prefix);
            if !report.irrelevant.contains(&name) && !report.used.iter().any(|(u, _)| *u == name) {
                report.irrelevant.push(name);
            }
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Error::UnknownKeys`] for keys that nobody decided about and that could change the numbers
    /// (numbers, booleans, lists and objects), unless `allow_unknown`.
    pub fn finish(self, allow_unknown: bool) -> Result<KeyReport> {
        let mut report = self.report.borrow().clone();
        let mut refused = Vec::new();
        for (prefix, map) in self.opened.borrow().iter() {
            for (key, value) in map.iter() {
                let name = format!("{prefix}{key}");
                let decided = report.used.iter().any(|(used, _)| *used == name)
                    || report.irrelevant.contains(&name);
                if decided {
                    continue;
                }
                let harmless = value.is_string() || value.is_null() || key.starts_with('_');
                if !harmless && !allow_unknown {
                    refused.push(name);
                } else {
                    report.unknown.push(name);
                }
            }
        }
        match refused.is_empty() {
            true => Ok(report),
            false => Err(Error::UnknownKeys { origin: self.origin.into(), keys: refused }),
        }
    }

    fn defaulted<T: Copy + Into<Value>>(&self, key: &str, default: T) -> T {
        let name = format!("{}{key}", self.prefix);
        let mut report = self.report.borrow_mut();
        if !report.defaulted.iter().any(|(known, _)| *known == name) {
            report.defaulted.push((name, default.into()));
        }
        default
    }
}
