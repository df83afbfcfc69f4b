//! Which of a repository's files are needed to run it. They are chosen by name, unread.

use super::id::{HubId, is_word};
use crate::error::{Error, Result};

/// The files to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// By path in the repository, small ones first.
    pub(super) files: Vec<String>,
    /// An index, whose shards are needed as well.
    pub(super) index: Option<String>,
    /// The one file that is the model, where it is not the folder.
    pub(super) file: Option<String>,
}

/// Configuration and text; a repository has some of them.
const SMALL: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// GPT-2's tokenizer, where there is no `tokenizer.json`.
const VOCABULARY: [&str; 2] = ["vocab.json", "merges.txt"];

/// Chooses among the files of a repository: safetensors before `.bin`, never both; a GGUF where
/// it is asked for or the only one.
pub(super) fn wanted(id: &HubId, files: &[String]) -> Result<Wanted> {
    if id.file.is_some() || id.quantisation.is_some() {
        return gguf(id, files);
    }
    let has = |name: &str| files.iter().any(|file| file == name);
    let some = |names: &[&str]| -> Vec<String> {
        names.iter().filter(|name| has(name)).map(|name| name.to_string()).collect()
    };
    let mut small = some(&SMALL);
    if !has("tokenizer.json") {
        small.extend(some(&VOCABULARY));
    }
    if has("config.json") {
        for stem in ["model.safetensors", "pytorch_model.bin"] {
            let index = format!("{stem}.index.json");
            if has(stem) {
                small.push(stem.into());
                return Ok(Wanted { files: small, index: None, file: None });
            }
            if has(&index) {
                return Ok(Wanted { files: small, index: Some(index), file: None });
            }
        }
    }
    gguf(id, files)
}

/// The one GGUF that is meant.
fn gguf(id: &HubId, files: &[String]) -> Result<Wanted> {
    let all: Vec<&String> = files.iter().filter(|file| is_gguf(file)).collect();
    let lower = |text: &str| text.to_ascii_lowercase();
    let fits = |file: &&&String| match (&id.file, &id.quantisation) {
        (Some(path), _) => **file == path,
        (None, Some(part)) => words(&lower(file)).any(|word| word == lower(part)),
        (None, None) => true,
    };
    let found: Vec<&&String> = all.iter().filter(fits).collect();
    if let [file] = found.as_slice() {
        let file = Some(file.to_string());
        return Ok(Wanted { files: file.clone().into_iter().collect(), index: None, file });
    }
    let names = all.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", ");
    let problem = match (all.as_slice(), found.as_slice()) {
        ([], _) => "has no weights that are read here: neither config.json with model.safetensors \
                    or pytorch_model.bin, nor a .gguf"
            .to_string(),
        (_, []) => format!("has no such GGUF; it has {names}"),
        _ => format!("has several GGUF files; name one as {}/FILE: {names}", id.repo),
    };
    Err(Error::Hub { repo: id.to_string(), problem })
}

/// A GGUF with a path that is safe here too.
fn is_gguf(file: &str) -> bool {
    file.to_ascii_lowercase().ends_with(".gguf") && file.split('/').all(is_word)
}

/// The parts of a file's name that a quantisation may be: `Q4_K_M` in `model-Q4_K_M.gguf`.
fn words(file: &str) -> impl Iterator<Item = &str> {
    file.trim_end_matches(".gguf").split(['-', '.', '/'])
}
