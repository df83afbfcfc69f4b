//! A model as an ordinary folder in the Hugging Face layout, its adapters folded in. It computes
//! nothing else of it.

use std::path::{Path, PathBuf};

use super::Opened;
use crate::error::{Error, Result};
use crate::text::TOKENIZER_FILES;

/// What is copied as it is, where it is there, besides a tokenizer's files. (`config.json` is written
/// by itself.)
const FILES: [&str; 3] = ["generation_config.json", "chat_template.json", "LICENSE"];

impl Opened {
    /// Writes the model, adapters folded in, as a folder that appears only when it is whole:
    /// configuration, tokenizer and weights in the dtypes they are stored in. `written` is told the
    /// weights' bytes as they go.
    ///
    /// # Errors
    /// [`Error::Request`] where `to` holds something already, or the model is a GGUF;
    /// [`Error::File`] for what cannot be read or written.
    pub fn save(&self, to: &Path, written: &mut dyn FnMut(u64)) -> Result<()> {
        if self.checkpoint.gguf().is_some() {
            let problem = "is a GGUF; a folder in the Hugging Face layout is wanted";
            return Err(Error::request(&self.name, problem));
        }
        let fail =
            |path: &Path, e: std::io::Error| Error::file(path, format!("cannot be written: {e}"));
        let empty = vacant(to)?;
        let partial = beside(to)?;
        std::fs::create_dir_all(&partial).map_err(|e| fail(&partial, e))?;
        let filled = self.fill(&partial, written).and_then(|()| {
            if empty {
                std::fs::remove_dir(to).map_err(|e| fail(to, e))?;
            }
            std::fs::rename(&partial, to).map_err(|e| fail(to, e))
        });
        if filled.is_err() {
            // What is half written is of no use, and may fill the disk.
            let _ = std::fs::remove_dir_all(&partial);
        }
        filled
    }

    fn fill(&self, folder: &Path, written: &mut dyn FnMut(u64)) -> Result<()> {
        let from = self.checkpoint.folder();
        for name in FILES.into_iter().chain(TOKENIZER_FILES) {
            let (from, to) = (from.join(name), folder.join(name));
            if from.is_file() {
                std::fs::copy(&from, &to).map_err(|e| Error::file(&to, e))?;
            }
        }
        let mut config = self.config.clone();
        if self.adaptations.iter().any(|adaptation| adaptation.untied) {
            config.insert("tie_word_embeddings".into(), false.into());
        }
        let path = folder.join("config.json");
        let text = serde_json::to_string_pretty(&config).map_err(|e| Error::file(&path, e))?;
        std::fs::write(&path, text + "\n").map_err(|e| Error::file(&path, e))?;
        self.checkpoint.save(folder, written)
    }
}

/// Whether there is an empty folder already; an error where there is anything else.
fn vacant(to: &Path) -> Result<bool> {
    let refused = |problem: &str| Err(Error::request(to.display(), problem));
    match std::fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(true),
        Ok(false) => refused("holds something already; name a new folder"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(_) if to.is_file() => refused("is a file; name a new folder"),
        Err(e) => Err(Error::file(to, e)),
    }
}

/// A folder of this process beside `to`, which becomes it.
fn beside(to: &Path) -> Result<PathBuf> {
    let name = to
        .file_name()
        .ok_or_else(|| Error::request(to.display(), "is no name for a new folder"))?;
    let name = format!(".{}.partial-{}", name.to_string_lossy(), std::process::id());
    Ok(to.with_file_name(name))
}
