//! A model as an ordinary folder in the Hugging Face layout, written beside the old one and then
//! put in its place, so that there is always a whole one.

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde_json::{Map, Value};

use super::recipe::{Export, Recipe};
use super::variables::Variables;
use crate::error::{Error, Result};
use crate::text::{TOKENIZER_FILES, Tokenizer};

/// Where the tokenizer's files come from.
#[derive(Debug)]
pub(super) enum Lexicon {
    /// From this folder, as they are.
    Folder(PathBuf),
    /// It was made for this run.
    Made(Box<Tokenizer>),
}

impl Lexicon {
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        match self {
            Self::Made(tokenizer) => Ok((**tokenizer).clone()),
            Self::Folder(folder) => Tokenizer::from_folder(folder)?
                .ok_or_else(|| Error::file(folder, "holds no tokenizer (no tokenizer.json)")),
        }
    }

    fn write(&self, to: &Path) -> Result<()> {
        let folder = match self {
            Self::Made(tokenizer) => return tokenizer.save(to),
            Self::Folder(folder) => folder,
        };
        for name in TOKENIZER_FILES {
            let (from, to) = (folder.join(name), to.join(name));
            if from.is_file() {
                std::fs::copy(&from, &to).map_err(|e| Error::file(&to, e))?;
            }
        }
        Ok(())
    }
}

/// What an exported folder holds besides weights.
#[derive(Debug)]
pub struct Files {
    config: Map<String, Value>,
    generation: Map<String, Value>,
    lexicon: Lexicon,
    dtype: Export,
    /// What the model was called that an adapter belongs to.
    base: Option<String>,
}

impl Files {
    pub(super) fn new(
        recipe: &Recipe,
        mut config: Map<String, Value>,
        mut generation: Map<String, Value>,
        tokenizer: &Tokenizer,
        lexicon: Lexicon,
    ) -> Self {
        config.remove("torch_dtype");
        let dtype = match recipe.dtype {
            Export::F32 => "float32",
            Export::Bf16 => "bfloat16",
        };
        config.insert("dtype".into(), dtype.into());
        generation.extend(recipe.generation.clone());
        for (key, id) in [
            ("bos_token_id", tokenizer.bos_id()),
            ("eos_token_id", tokenizer.eos_ids().first().copied()),
        ] {
            if let Some(id) = id {
                generation.entry(key).or_insert_with(|| id.into());
            }
        }
        Self { config, generation, lexicon, dtype: recipe.dtype, base: recipe.from.clone() }
    }

    /// Writes the model, or the adapter that is trained of it, into `folder`, which exists.
    ///
    /// # Errors
    /// [`Error::File`], naming what cannot be written.
    pub fn write(&self, folder: &Path, variables: &Variables) -> Result<()> {
        let dtype = match self.dtype {
            Export::F32 => DType::F32,
            Export::Bf16 => DType::BF16,
        };
        let stored = |(name, var): (&str, &candle_core::Var)| {
            Ok((name.to_string(), var.as_detached_tensor().to_dtype(dtype)?))
        };
        let tensors = variables.iter().map(stored).collect::<Result<Vec<(String, Tensor)>>>()?;
        if let Some(config) = variables.adapter_config(self.base.as_deref().unwrap_or_default()) {
            safetensors(&folder.join("adapter_model.safetensors"), tensors)?;
            return json(&folder.join("adapter_config.json"), &config);
        }
        safetensors(&folder.join("model.safetensors"), tensors)?;
        json(&folder.join("config.json"), &self.config)?;
        json(&folder.join("generation_config.json"), &self.generation)?;
        self.lexicon.write(folder)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// As it was read.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        self.lexicon.tokenizer()
    }
}

/// Writes tensors, marked as transformers wants it.
pub(super) fn safetensors(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<()> {
    let mark = [("format".to_string(), "pt".to_string())];
    let fail = |e: String| Error::file(path, format!("cannot be written: {e}"));
    let bytes =
        safetensors::serialize(tensors, Some(mark.into())).map_err(|e| fail(e.to_string()))?;
    std::fs::write(path, bytes).map_err(|e| fail(e.to_string()))
}

/// Writes an object.
pub(super) fn json(path: &Path, object: &Map<String, Value>) -> Result<()> {
    let text = serde_json::to_string_pretty(object).map_err(|e| Error::file(path, e))?;
    std::fs::write(path, text + "\n").map_err(|e| Error::file(path, e))
}

/// Lets `write` fill a new folder, and then puts it in the place of `to`. Where that fails the old
/// one stays.
pub(super) fn replace(to: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let (new, old) = (beside(to, "new"), beside(to, "old"));
    let fail =
        |path: &Path, e: std::io::Error| Error::file(path, format!("cannot be written: {e}"));
    let clear = |path: &Path| match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(fail(path, e)),
        _ => Ok(()),
    };
    clear(&new)?;
    std::fs::create_dir_all(&new).map_err(|e| fail(&new, e))?;
    if let Err(error) = write(&new) {
        // What is half written is of no use, and may fill the disk.
        let _ = std::fs::remove_dir_all(&new);
        return Err(error);
    }
    if to.exists() {
        clear(&old)?;
        std::fs::rename(to, &old).map_err(|e| fail(to, e))?;
    }
    std::fs::rename(&new, to).map_err(|e| fail(to, e))?;
    clear(&old)
}

/// The folder as it was last written: `to`, or the old one where a run ended between two renames.
pub(super) fn latest(to: &Path) -> Option<PathBuf> {
    [to.to_path_buf(), beside(to, "old")].into_iter().find(|folder| folder.is_dir())
}

fn beside(to: &Path, what: &str) -> PathBuf {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    to.with_file_name(format!(".{name}.{what}"))
}
