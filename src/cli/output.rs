//! How completions are written: as text while it comes, as one JSON, as a line of JSON a row.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::error::Result;
use crate::generate::{Completion, Event};
use crate::model::Model;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The text alone, as it comes; several are divided by lines of ---
    Text,
    /// One JSON object when all is done; an array of several
    Json,
    /// A JSON object a line, as each row ends
    Jsonl,
}

/// Writes what comes out of a run to stdout.
pub(crate) struct Output {
    out: io::Stdout,
    format: Format,
    has_text: bool,
    several: bool,
    model: Value,
    names: Vec<Option<Value>>,
    samples: usize,
    results: BTreeMap<usize, Value>,
    /// The row whose text is being written, and what the others have said meanwhile.
    current: usize,
    ended: BTreeMap<usize, bool>,
    waiting: BTreeMap<usize, String>,
    last: Option<char>,
}

impl Output {
    /// For the rows of prompts called `names` (where they have a name), each `samples` times.
    pub(crate) fn new(
        model: &Model,
        format: Format,
        names: Vec<Option<Value>>,
        samples: usize,
    ) -> Result<Self> {
        let about = match format {
            Format::Text => Value::Null,
            _ => json!({
                "name": model.name,
                "family": model.family,
                "fingerprint": model.checkpoint().quick_fingerprint()?,
                "dtype": model.decoder.dtype().as_str(),
            }),
        };
        Ok(Self {
            out: io::stdout(),
            format,
            has_text: model.tokenizer.is_some(),
            several: names.len() * samples > 1,
            model: about,
            names,
            samples,
            results: BTreeMap::new(),
            current: 0,
            ended: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last: None,
        })
    }

    /// Hears of a row (counted over the whole output).
    pub(crate) fn hear(&mut self, row: usize, event: &Event<'_>) -> io::Result<()> {
        match (self.format, event) {
            (Format::Text, Event::Text { text, .. }) => self.say(row, text),
            (Format::Text, Event::Token { id, .. }) if !self.has_text => {
                let first = self.waiting.get(&row).is_none_or(String::is_empty)
                    && (row != self.current || self.last.is_none());
                self.say(row, &format!("{}{id}", if first { "" } else { "," }))
            }
            (Format::Text, Event::Finished { .. }) => self.end(row),
            (Format::Json, Event::Finished { completion, .. }) => {
                let result = self.describe(row, completion)?;
                self.results.insert(row, result);
                Ok(())
            }
            (Format::Jsonl, Event::Finished { completion, .. }) => {
                let result = self.describe(row, completion)?;
                serde_json::to_writer(&mut self.out, &result)?;
                self.out.write_all(b"\n")?;
                self.out.flush()
            }
            _ => Ok(()),
        }
    }

    /// All rows have ended.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.format == Format::Json {
            let mut results: Vec<Value> = std::mem::take(&mut self.results).into_values().collect();
            match (self.several, results.pop()) {
                (false, Some(one)) => serde_json::to_writer_pretty(&mut self.out, &one)?,
                (_, last) => {
                    results.extend(last);
                    serde_json::to_writer_pretty(&mut self.out, &results)?;
                }
            }
            self.out.write_all(b"\n")?;
        }
        // A shell's prompt belongs on a line of its own; a pipe gets the text and nothing else.
        if self.format == Format::Text && self.out.is_terminal() && self.last != Some('\n') {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()
    }

    fn say(&mut self, row: usize, text: &str) -> io::Result<()> {
        if row != self.current {
            self.waiting.entry(row).or_default().push_str(text);
            return Ok(());
        }
        self.last = text.chars().last().or(self.last);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// The next row's turn comes when the one being written has ended.
    fn end(&mut self, row: usize) -> io::Result<()> {
        self.ended.insert(row, true);
        while self.ended.remove(&self.current).is_some() {
            if self.current + 1 == self.names.len() * self.samples {
                return Ok(());
            }
            let newline = if self.last == Some('\n') { "" } else { "\n" };
            self.say(self.current, &format!("{newline}---\n"))?;
            self.last = None;
            self.current += 1;
            let text = self.waiting.remove(&self.current).unwrap_or_default();
            self.say(self.current, &text)?;
        }
        Ok(())
    }

    fn describe(&self, row: usize, completion: &Completion) -> io::Result<Value> {
        let mut result = serde_json::to_value(completion)?;
        if let Some(map) = result.as_object_mut() {
            if let Some(Some(id)) = self.names.get(row / self.samples) {
                map.insert("id".into(), id.clone());
            }
            if self.several {
                map.insert("prompt_index".into(), json!(row / self.samples));
            }
            map.insert("model".into(), self.model.clone());
        }
        Ok(result)
    }
}
