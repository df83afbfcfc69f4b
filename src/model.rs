//! A folder, file or hub id to a ready model. It generates nothing.

mod built_in;
mod fit;
mod json;
mod merge;
mod options;
mod stage;
mod vocabulary;

use std::path::Path;

use candle_core::DType;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::family::{self, Described, KeyReport};
use crate::kernels::{self, Format};
use crate::nn::Decoder;
use crate::spec::Spec;
use crate::text::{ChatTemplate, Tokenizer};
use crate::weights::hub::{Hub, Progress, resolve};
use crate::weights::{Account, Adaptation, Checkpoint, Names, Packing, Weights};
use json::{ids, read_json};
pub use options::{LoadOptions, Quantize};
use vocabulary::vocabulary;

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
    /// What adapters made of it, in their order.
    pub adaptations: Vec<Adaptation>,
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
        let (described, names, config) = match checkpoint.gguf() {
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
        Self {
            checkpoint,
            described,
            config,
            generation_config,
            name: name.into(),
            adaptations: Vec::new(),
            names,
            built_in: None,
        }
        .fitted(options)
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
        options.check()?;
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
            decoder: decoder.keeping(options.kv_dtype),
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
