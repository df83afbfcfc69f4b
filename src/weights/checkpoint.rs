//! A checkpoint on this machine: found, opened, its tensors listed. No tensor is read here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};

use super::adapter::Overlay;
use super::dtype::StoredDtype;
use super::file::{DataFile, Stored, TensorInfo};
use super::gguf::{self, GgufMetadata};
use super::{index, safetensors, torch};
use crate::error::{Error, Result};

/// The container that a checkpoint's tensors lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `model.safetensors`, in one piece or in shards.
    Safetensors,
    /// llama.cpp's, with configuration and tokenizer inside.
    Gguf,
    /// `pytorch_model.bin`, in one piece or in shards.
    Torch,
    /// No file: tensors in memory, see [`Checkpoint::of_tensors`].
    Memory,
}

/// A checkpoint that is open, nothing of it read but headers.
#[derive(Debug)]
pub struct Checkpoint {
    origin: String,
    folder: PathBuf,
    format: Format,
    pub(super) files: Vec<DataFile>,
    pub(super) tensors: Vec<Stored>,
    /// The tensors themselves, where they are in memory and not in files.
    pub(super) held: Vec<Tensor>,
    /// Tensors that are read otherwise than they are stored.
    pub(super) overlay: Overlay,
    names: HashMap<String, usize>,
    gguf: Option<GgufMetadata>,
}

impl Checkpoint {
    /// Opens a folder or a file.
    ///
    /// In a folder it takes the first that is there of `model.safetensors`,
    /// `model.safetensors.index.json`, `pytorch_model.bin`, `pytorch_model.bin.index.json` and the
    /// only `.gguf`. A file may be any of these, whatever it is called.
    ///
    /// # Errors
    /// [`Error::File`], naming file and field, where nothing is found, or where a header lies.
    pub fn open(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { find(path)? } else { path.to_path_buf() };
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_path_buf();
        let mut this = Self::empty(file.display().to_string(), folder, Format::Safetensors);
        if file.extension().is_some_and(|e| e == "json") {
            this.add_shards(&file)?;
        } else {
            this.add(&file)?;
        }
        Ok(this)
    }

    pub(super) fn empty(origin: String, folder: PathBuf, format: Format) -> Self {
        let (files, tensors, held, overlay, names, gguf) = Default::default();
        Self { origin, folder, format, files, tensors, held, overlay, names, gguf }
    }

    /// The container.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where it was opened: the file, or the index of its shards.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The folder it lies in, where `config.json` and the tokenizer are looked for.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files that hold tensors, in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|f| f.path.as_path())
    }

    /// What is in it, in the order in which it lies there.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().map(|t| &t.info)
    }

    /// The tensor of this very name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.position(name).map(|i| &self.tensors[i].info)
    }

    /// What a GGUF says beside its tensors; `None` for the other formats.
    pub fn gguf(&self) -> Option<&GgufMetadata> {
        self.gguf.as_ref()
    }

    /// Bytes of all tensors.
    pub fn total_bytes(&self) -> u64 {
        self.tensors().map(|t| t.bytes).sum()
    }

    /// The dtype that most elements are stored in; `None` where most are quantised, or stored as
    /// something that nobody computes in.
    pub fn stored_dtype(&self) -> Option<DType> {
        let mut counts: Vec<(StoredDtype, u64)> = Vec::new();
        for (index, tensor) in self.tensors.iter().enumerate() {
            let stored = self.dtype_of(index);
            let n = (tensor.rows() * tensor.row_len()) as u64;
            match counts.iter_mut().find(|(dtype, _)| *dtype == stored) {
                Some((_, count)) => *count += n,
                None => counts.push((stored, n)),
            }
        }
        let plain = counts.iter().filter(|(dtype, _)| dtype.dtype().is_some());
        let (dtype, n) = plain.max_by_key(|(_, n)| *n)?;
        let quantised = counts
            .iter()
            .filter(|(d, _)| matches!(d, StoredDtype::Quantised(_) | StoredDtype::Mxfp4));
        if quantised.map(|(_, n)| n).sum::<u64>() > *n { None } else { dtype.dtype() }
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Opens one file and adds its tensors.
    fn add(&mut self, path: &Path) -> Result<()> {
        let file = DataFile::open(path)?;
        let tensors = match &file.magic()? {
            b"GGUF" => {
                let (metadata, tensors) = gguf::open(&file)?;
                (self.format, self.gguf) = (Format::Gguf, Some(metadata));
                tensors
            }
            b"PK\x03\x04" => {
                self.format = Format::Torch;
                torch::open(&file)?
            }
            _ if path.extension().is_some_and(|e| e == "bin" || e == "pt" || e == "pth") => {
                return Err(Error::file(
                    path,
                    "is not a PyTorch checkpoint (a zip archive); older ones have to be saved anew \
                     with torch.save or as safetensors",
                ));
            }
            _ => safetensors::open(&file)?,
        };
        for mut tensor in tensors {
            tensor.file = self.files.len();
            self.list(tensor).map_err(|problem| Error::file(path, problem))?;
        }
        self.files.push(file);
        Ok(())
    }

    /// Adds a tensor under its name, or says what is wrong.
    pub(super) fn list(&mut self, tensor: Stored) -> Result<(), String> {
        let name = tensor.info.name.clone();
        if self.names.insert(name.clone(), self.tensors.len()).is_some() {
            return Err(format!("tensor `{name}` is stored twice"));
        }
        self.tensors.push(tensor);
        Ok(())
    }

    /// Opens every shard that an index names, and checks that each tensor is where it says.
    fn add_shards(&mut self, path: &Path) -> Result<()> {
        let index = index::read(path)?;
        for shard in index.shards() {
            self.add(&self.folder.join(shard))?;
        }
        for (name, shard) in index.entries() {
            let found = self.position(name).map(|i| &self.files[self.tensors[i].file].path);
            if found.and_then(|p| p.file_name()) != Some(shard.as_ref()) {
                let problem = format!("places tensor `{name}` in {shard}, which does not hold it");
                return Err(Error::file(path, problem));
            }
        }
        Ok(())
    }
}

/// The file in a folder that stands for its checkpoint.
fn find(folder: &Path) -> Result<PathBuf> {
    const KNOWN: [&str; 4] = [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ];
    if let Some(file) = KNOWN.iter().map(|name| folder.join(name)).find(|file| file.is_file()) {
        return Ok(file);
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    let mut ggufs: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")))
        .collect();
    ggufs.sort();
    match ggufs.as_slice() {
        [file] => Ok(file.clone()),
        [] => Err(Error::file(
            folder,
            format!("holds no weights: looked for {} and *.gguf", KNOWN.join(", ")),
        )),
        [first, ..] => Err(Error::file(
            folder,
            format!("holds {} .gguf files; name one, such as {}", ggufs.len(), first.display()),
        )),
    }
}
