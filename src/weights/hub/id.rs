//! What a user calls a model. Nothing is looked up here but whether a path exists.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder or file on this machine.
    Local(PathBuf),
    /// A repository on the hub.
    Hub(HubId),
}

/// A repository on the hub: `[org/]name[/file.gguf][:quantisation][@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    /// `org/name`, or the name alone for the oldest ones (`gpt2`).
    pub repo: String,
    /// A branch, tag or commit; `None` is `main`.
    pub revision: Option<String>,
    /// The GGUF asked for: its path in the repository.
    pub file: Option<String>,
    /// The GGUF asked for: what its name contains, such as `Q4_K_M`.
    pub quantisation: Option<String>,
}

impl HubId {
    /// The revision, `main` where none was given.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        if let Some(quantisation) = &self.quantisation {
            write!(f, ":{quantisation}")?;
        }
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

impl Source {
    /// Reads what stands after `--model`: a path that exists, or a hub id.
    ///
    /// # Errors
    /// [`Error::File`] for what can only be a path and is not there, [`Error::Request`] for what
    /// is neither.
    pub fn of(name: &str) -> Result<Self> {
        let path = Path::new(name);
        if path.exists() {
            return Ok(Self::Local(path.to_path_buf()));
        }
        let is_path = name.starts_with(['.', '/', '~', '\\'])
            || name.contains('\\')
            || path.is_absolute()
            || (looks_like_file(name) && name.matches('/').count() < 2);
        if is_path {
            return Err(Error::file(path, "no such file or folder"));
        }
        parse(name).map(Self::Hub).ok_or_else(|| {
            let problem = format!(
                "`{name}` is neither a folder or file here nor a hub id like org/name or \
                 org/name@revision"
            );
            Error::request("model", problem)
        })
    }
}

fn looks_like_file(name: &str) -> bool {
    [".gguf", ".safetensors", ".bin"].iter().any(|end| name.to_ascii_lowercase().ends_with(end))
}

fn parse(name: &str) -> Option<HubId> {
    let (name, revision) = match name.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (name, None),
    };
    let (name, quantisation) = match name.split_once(':') {
        Some((name, quantisation)) => (name, Some(quantisation)),
        None => (name, None),
    };
    let parts: Vec<&str> = name.split('/').collect();
    let (repo, file) = match parts.as_slice() {
        [_] | [_, _] => (name.to_string(), None),
        [org, name, file @ ..] => (format!("{org}/{name}"), Some(file.join("/"))),
        [] => return None,
    };
    let is_gguf = |file: &String| file.to_ascii_lowercase().ends_with(".gguf");
    let fine = parts.iter().all(|part| is_word(part))
        && repo.len() <= 96 * 2
        && file.as_ref().is_none_or(is_gguf)
        && quantisation.is_none_or(|q| is_word(q) && file.is_none())
        && revision.is_none_or(is_revision);
    fine.then(|| HubId {
        repo,
        revision: revision.map(Into::into),
        file,
        quantisation: quantisation.map(Into::into),
    })
}

/// A name that is safe as part of a path and of an address.
pub(super) fn is_word(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with(['.', '-'])
        && !word.contains("..")
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}

/// A revision may have slashes: `refs/pr/1`.
fn is_revision(revision: &str) -> bool {
    revision.split('/').all(is_word)
}
