//! Texts to learn from, read from files. What of them becomes which token is `corpus.rs`'s affair.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::text::{ChatTemplate, Message, RenderOptions};

/// A text in parts: what is only read, and what is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// A part, and whether it is learned.
    pub parts: Vec<(String, bool)>,
    /// Whether special tokens go around it: what a template rendered has its own.
    pub bare: bool,
}

impl Document {
    /// All of it, to be learned.
    pub fn of(text: String) -> Self {
        Self { parts: vec![(text, true)], bare: false }
    }

    /// Its texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|(text, _)| text.as_str())
    }
}

/// A line of JSONL.
#[derive(Deserialize)]
struct Line {
    text: Option<String>,
    prompt: Option<String>,
    completion: Option<String>,
    messages: Option<Vec<Message>>,
}

/// Reads files one after another, at most `limit` documents; `template` writes conversations down.
///
/// # Errors
/// [`Error::File`], naming file and line, for what cannot be read or has nothing to learn.
pub(super) fn read(
    paths: &[PathBuf],
    limit: Option<usize>,
    template: Option<&ChatTemplate>,
) -> Result<Vec<Document>> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut documents = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|e| e == "jsonl" || e == "ndjson") {
            lines(path, limit, template, &mut documents)?;
        } else if documents.len() < limit {
            let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
            if !text.trim().is_empty() {
                documents.push(Document::of(text));
            }
        }
    }
    if documents.is_empty() {
        let first = paths.first().map_or(Path::new("train"), PathBuf::as_path);
        return Err(Error::file(first, "holds no text to learn from"));
    }
    Ok(documents)
}

fn lines(
    path: &Path,
    limit: usize,
    template: Option<&ChatTemplate>,
    documents: &mut Vec<Document>,
) -> Result<()> {
    let file = File::open(path).map_err(|e| Error::file(path, e))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        if documents.len() >= limit {
            break;
        }
        let wrong = |problem: String| Error::file(path, format!("line {}: {problem}", number + 1));
        let line = line.map_err(|e| wrong(e.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let document = document(&line, template).map_err(wrong)?;
        if document.texts().any(|text| !text.is_empty()) {
            documents.push(document);
        }
    }
    Ok(())
}

/// The document in a line, or what is wrong with it.
fn document(line: &str, template: Option<&ChatTemplate>) -> Result<Document, String> {
    match serde_json::from_str(line).map_err(|e| e.to_string())? {
        Line { text: Some(text), .. } => Ok(Document::of(text)),
        Line { prompt: Some(prompt), completion: Some(completion), .. } => {
            Ok(Document { parts: vec![(prompt, false), (completion, true)], bare: false })
        }
        Line { messages: Some(messages), .. } => {
            let template = template
                .ok_or("`messages` need a tokenizer with a chat template to be written down")?;
            conversation(&messages, template).map_err(|e| e.to_string())
        }
        _ => Err("has neither `text`, nor `prompt` and `completion`, nor `messages`".into()),
    }
}

/// A conversation as its template writes it; what the assistant says is learned, the template's
/// end of its turn with it.
fn conversation(messages: &[Message], template: &ChatTemplate) -> Result<Document> {
    let render = |messages: &[Message], add_generation_prompt: bool| {
        template.render(messages, &RenderOptions { add_generation_prompt, ..Default::default() })
    };
    let (mut parts, mut written) = (Vec::new(), String::new());
    for (index, message) in messages.iter().enumerate().filter(|(_, m)| m.role == "assistant") {
        let asked = render(&messages[..index], true)?;
        let answered = render(&messages[..=index], false)?;
        let before = asked.strip_prefix(written.as_str());
        let (Some(before), Some(said)) = (before, answered.strip_prefix(asked.as_str())) else {
            let problem = "does not write a turn after what it wrote before, so that nothing says \
                           which tokens are the model's";
            return Err(Error::Template(problem.into()));
        };
        debug_assert_eq!(message.role, "assistant");
        parts.push((before.to_string(), false));
        parts.push((said.to_string(), true));
        written = answered;
    }
    match parts.is_empty() {
        true => Err(Error::Template("no message is the assistant's: nothing to learn".into())),
        false => Ok(Document { parts, bare: true }),
    }
}

#[cfg(test)]
mod tests;
