//! A folder, file or hub id to a ready model. It generates nothing.

mod built_in;
mod stage;
mod vocabulary;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::family::{self, Described, KeyReport};
use crate::kernels::{self, Format};
use crate::nn::Decoder;
use crate::spec::{AbsolutePosition, Spec};
use crate::text::{ChatTemplate, Tokenizer};
use crate::weights::hub::{Hub, Progress, resolve};
use crate::weights::{Account, Checkpoint, Names, Packing, Param, Weights};
use vocabulary::vocabulary;

/// How a model is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where it computes.
    pub device: Device,
    /// What it computes in. `None`: elsewhere than on the CPU the dtype the weights are stored in;
    /// on the CPU f32, with weights stored as bf16 kept so, which changes no number; quantised
    /// weights stay quantised. A dtype given by name dequantises them; bf16 on the CPU means weights
    /// in bf16, and products of many rows that round activations to it.
    pub dtype: Option<DType>,
    /// Rounds dense weights to so many bits, on the CPU.
    pub quantize: Option<Quantize>,
    /// Dense weights in candle's own form, to be trained, or to compare kernels with.
    pub plain: bool,
    /// Go on when the configuration has keys nobody decided about.
    pub allow_unknown_keys: bool,
    /// Use only files that are on this machine already.
    pub offline: bool,
    /// More (or fewer) positions than the configuration says.
    pub max_seq_len: Option<usize>,
}

/// What dense weights are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantize {
    /// ggml's Q8_0.
    Q8,
    /// ggml's Q4_0; embedding and head Q8_0.
    Q4,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: None,
            quantize: None,
            plain: false,
            allow_unknown_keys: false,
            offline: false,
            max_seq_len: None,
        }
    }
}

/// A checkpoint that is found and described, none of its tensors read.
#[derive(Debug)]
pub struct Opened {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// What its configuration describes.
    pub described: Described,
    /// `config.json`, or what a GGUF says in its place.
    pub config: Map<String, Value>,
    /// `generation_config.json`; empty where there is none.
    pub generation_config: Map<String, Value>,
    /// What it was asked for by.
    pub name: String,
    names: &'static Names,
    built_in: Option<built_in::Files>,
}

/// A model, ready to run.
#[derive(Debug)]
pub struct Model {
    /// The decoder, its weights loaded.
    pub decoder: Decoder,
    /// Its tokenizer; without one it takes and gives ids.
    pub tokenizer: Option<Tokenizer>,
    /// How a conversation is written down for it.
    pub chat_template: Option<ChatTemplate>,
    /// `generation_config.json`; empty where there is none.
    pub generation_config: Map<String, Value>,
    /// Ids that end a text.
    pub eos_ids: Vec<u32>,
    /// What it was asked for by.
    pub name: String,
    /// Its family.
    pub family: String,
    /// What became of the configuration's keys.
    pub keys: KeyReport,
    /// What became of the tensors.
    pub account: Account,
    /// Whether it is the one inside the binary.
    pub built_in: bool,
    checkpoint: Checkpoint,
    names: &'static Names,
    dequantise: bool,
}

impl Opened {
    /// Finds a checkpoint: a folder or file on this machine, or a hub id, which is downloaded
    /// where it is not in the cache.
    ///
    /// # Errors
    /// As [`Opened::at`]; [`Error::Hub`] where the hub cannot deliver.
    pub fn find(name: &str, options: &LoadOptions, progress: &mut dyn Progress) -> Result<Self> {
        let mut hub = Hub::from_env();
        hub.offline |= options.offline;
        let path = resolve(name, &hub, progress)?;
        Self::at(&path, name, options)
    }

    /// Finds a checkpoint on this machine, a folder or a file, and reads its configuration.
    ///
    /// # Errors
    /// Whatever is wrong with the files or the configuration, by name.
    pub fn at(path: &Path, name: &str, options: &LoadOptions) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let folder = checkpoint.folder().to_path_buf();
        let (mut described, names, config) = match checkpoint.gguf() {
            Some(metadata) => {
                let (described, names) = family::describe_gguf(&checkpoint, metadata)?;
                (described, names, Map::new())
            }
            None => {
                let file = folder.join("config.json");
                let config = read_json(&file)?.ok_or_else(|| {
                    Error::file(&file, "is missing; it says what the weights are")
                })?;
                let origin = file.display().to_string();
                let described = family::describe(&config, &origin, options.allow_unknown_keys)?;
                let names = described.family.names;
                (described, names, config)
            }
        };
        let generation_config = match checkpoint.gguf() {
            Some(_) => Map::new(),
            None => read_json(&folder.join("generation_config.json"))?.unwrap_or_default(),
        };
        tie(&mut described.spec, &checkpoint, names);
        extend(&mut described.spec, options.max_seq_len)?;
        let (name, built_in) = (name.into(), None);
        Ok(Self { checkpoint, described, config, generation_config, name, names, built_in })
    }

    /// Which tensor is which parameter.
    pub fn names(&self) -> &'static Names {
        self.names
    }

    /// The dtype to compute in, and whether quantised weights are dequantised.
    pub fn dtype(&self, options: &LoadOptions) -> (DType, bool) {
        match options.dtype {
            Some(DType::BF16) if self.packing(options).is_some() => (DType::F32, true),
            Some(dtype) => (dtype, true),
            None if options.device.is_cpu() => (DType::F32, false),
            None => (self.checkpoint.stored_dtype().unwrap_or(DType::F32), false),
        }
    }

    /// How the kernels will have the weights; `None` where they have no say.
    fn packing(&self, options: &LoadOptions) -> Option<Packing> {
        if !options.device.is_cpu() || options.plain || !kernels::offering() {
            return None;
        }
        let rounded = options.dtype == Some(DType::BF16);
        let (dense, ends) = match (options.quantize, options.dtype) {
            (Some(Quantize::Q8), _) => (Format::Q8_0, Format::Q8_0),
            (Some(Quantize::Q4), _) => (Format::Q4_0, Format::Q8_0),
            (None, Some(DType::BF16)) => (Format::Bf16, Format::Bf16),
            (None, Some(DType::F32)) => (Format::F32, Format::F32),
            (None, Some(_)) => return None,
            (None, None) if self.checkpoint.stored_dtype() == Some(DType::BF16) => {
                (Format::Bf16, Format::Bf16)
            }
            (None, None) => (Format::F32, Format::F32),
        };
        Some(Packing { dense, ends, rounded })
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// A missing, mis-shaped or unread tensor, by name.
    pub fn load(self, options: &LoadOptions) -> Result<Model> {
        let (dtype, dequantise) = self.dtype(options);
        let spec = &self.described.spec;
        let device = options.device.clone();
        let weights = Weights::new(&self.checkpoint, self.names, spec, device, dtype, dequantise);
        let weights = match self.packing(options) {
            Some(packing) => weights.packed(packing),
            None => weights,
        };
        // A large tokenizer takes as long as the weights: it is read beside them.
        let (decoder, tokenizer) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| self.tokenizer());
            let decoder = Decoder::load(spec, &weights);
            (decoder, tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (decoder, account, tokenizer) = (decoder?, weights.finish()?, tokenizer?);
        Ok(Model {
            decoder,
            eos_ids: self.eos_ids(tokenizer.as_ref()),
            chat_template: self.chat_template()?,
            tokenizer,
            generation_config: self.generation_config,
            name: self.name,
            family: self.described.family.name.into(),
            keys: self.described.keys,
            account,
            built_in: self.built_in.is_some(),
            checkpoint: self.checkpoint,
            names: self.names,
            dequantise,
        })
    }

    /// The checkpoint's tokenizer, if it has one.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] or [`Error::File`] where it cannot be read.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>> {
        let mut tokenizer = match (self.checkpoint.gguf(), &self.built_in) {
            (_, Some(files)) => Some(files.tokenizer()?),
            (Some(metadata), None) => match vocabulary(metadata) {
                Some(vocabulary) => Some(Tokenizer::from_gguf(&vocabulary)?),
                None => None,
            },
            (None, None) => Tokenizer::from_folder(self.checkpoint.folder())?,
        };
        if let Some(tokenizer) = &mut tokenizer {
            tokenizer.widen(self.described.spec.vocab_size);
        }
        Ok(tokenizer)
    }

    /// `tokenizer_config.json`, empty where there is none, and whether a `tokenizer.json` is beside
    /// it.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read.
    pub fn tokenizer_config(&self) -> Result<(Map<String, Value>, bool)> {
        if let Some(files) = &self.built_in {
            return Ok((files.tokenizer_config()?, true));
        }
        let folder = self.checkpoint.folder();
        let whole_file = folder.join("tokenizer.json").is_file();
        match self.checkpoint.gguf() {
            Some(_) => Ok((Map::new(), false)),
            None => {
                let config = read_json(&folder.join("tokenizer_config.json"))?;
                Ok((config.unwrap_or_default(), whole_file))
            }
        }
    }

    /// The checkpoint's chat template, if it has one.
    ///
    /// # Errors
    /// [`Error::Template`] or [`Error::File`] where it cannot be read.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        if let Some(files) = &self.built_in {
            return files.chat_template().map(Some);
        }
        let Some(metadata) = self.checkpoint.gguf() else {
            return ChatTemplate::from_folder(self.checkpoint.folder());
        };
        let Some(source) = metadata.str("tokenizer.chat_template") else { return Ok(None) };
        let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap_or_default();
        let token = |kind: &str| {
            let id = metadata.u64(&format!("tokenizer.ggml.{kind}_token_id"))?;
            let token = tokens.get(usize::try_from(id).ok()?)?;
            Some((format!("{kind}_token"), (*token).to_string()))
        };
        let tokens = ["bos", "eos", "unk", "pad"].into_iter().filter_map(token);
        Ok(Some(ChatTemplate::new(source, tokens)?))
    }

    /// Ids that end a text: the generation's, else the model's, and where neither says, the
    /// tokenizer's.
    fn eos_ids(&self, tokenizer: Option<&Tokenizer>) -> Vec<u32> {
        for map in [&self.generation_config, &self.config] {
            let found = ids(map.get("eos_token_id"));
            if !found.is_empty() {
                return found;
            }
        }
        tokenizer.map(|tokenizer| tokenizer.eos_ids().to_vec()).unwrap_or_default()
    }
}

impl Model {
    /// Loads a model from this machine.
    ///
    /// # Errors
    /// As [`Opened::at`] and [`Opened::load`].
    pub fn load(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let path = path.as_ref();
        Opened::at(path, &path.display().to_string(), options)?.load(options)
    }

    /// What the decoder is.
    pub fn spec(&self) -> &Spec {
        self.decoder.spec()
    }

    /// The checkpoint it came from.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// A head that is not stored is the embedding's matrix, whatever the configuration says.
fn tie(spec: &mut Spec, checkpoint: &Checkpoint, names: &Names) {
    let heads = names.entries.iter().filter(|entry| entry.param == Param::Head);
    let mut stored = heads.flat_map(|entry| {
        names.prefixes.iter().map(move |prefix| format!("{prefix}{}.weight", entry.name))
    });
    if !stored.any(|name| checkpoint.tensor(&name).is_some()) {
        spec.head.tied = true;
    }
}

/// Other positions than the configuration says, where the model is not bound to a table.
fn extend(spec: &mut Spec, max_seq_len: Option<usize>) -> Result<()> {
    let Some(wanted) = max_seq_len else { return Ok(()) };
    let learned = matches!(spec.embedding.position, AbsolutePosition::Learned { .. });
    if learned && wanted != spec.max_seq_len {
        let problem = format!("the model's table of positions has {} rows", spec.max_seq_len);
        return Err(Error::request("context", problem));
    }
    if wanted == 0 {
        return Err(Error::request("context", "0 positions hold no token"));
    }
    spec.max_seq_len = wanted;
    Ok(())
}

/// One id or several.
fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A JSON object in a file; `None` where the file is not there.
fn read_json(path: &PathBuf) -> Result<Option<Map<String, Value>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file(path, error)),
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(_) => Err(Error::file(path, "is no JSON object")),
        Err(error) => Err(Error::file(path, format!("is not JSON: {error}"))),
    }
}
