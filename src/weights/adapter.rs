//! PEFT's LoRA adapters (Hu et al. 2021, 2106.09685): W + α/r·B·A in the place of W, added at the
//! door, before layouts, packing and rounding. Nothing is trained here.

mod config;
mod keys;
mod name;
mod overlay;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::checkpoint::Checkpoint;
use super::file::Stored;
use super::nearest::nearest;
use super::param::{Names, Param};
use crate::error::{Error, Result};
use config::Config;
pub use name::Module;
use name::{Piece, entry, is_turned, split};
use overlay::LowRank;
pub(super) use overlay::Overlay;

/// What an adapter did to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adaptation {
    /// Its folder.
    pub folder: PathBuf,
    /// The model that it was trained on, as its maker called it.
    pub base: Option<String>,
    /// The rank of matrices without one of their own.
    pub rank: usize,
    /// Matrices that a difference is added to.
    pub adapted: usize,
    /// Tensors that came in another's place.
    pub replaced: usize,
    /// Numbers in the adapter.
    pub parameters: u64,
    /// The head and the embedding are no longer one matrix.
    pub untied: bool,
}

impl Adaptation {
    /// What is odd about it where the model goes by `name`: the adapter was trained on another.
    pub fn notice(&self, name: &str) -> Option<String> {
        let short = |name: &str| {
            let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            last.split('@').next().unwrap_or_default().to_lowercase()
        };
        let base = self.base.as_deref().filter(|base| short(base) != short(name))?;
        let folder = self.folder.display();
        Some(format!("{folder} was trained on `{base}`; it is used with {name}, which fits it"))
    }
}

impl fmt::Display for Adaptation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, adapted, replaced, parameters, .. } = self;
        write!(f, "{}: rank {rank} on {adapted} matrices", self.folder.display())?;
        if *replaced > 0 {
            write!(f, ", {replaced} tensors replaced")?;
        }
        write!(f, ", {parameters} numbers")?;
        match self.untied {
            true => write!(f, "; head and embedding are two matrices now"),
            false => Ok(()),
        }
    }
}

/// An adapter that is open, and what of it belongs to which module.
struct Adapter<'a> {
    names: &'a Names,
    config: Config,
    source: Checkpoint,
    modules: BTreeMap<String, BTreeMap<Piece, usize>>,
}

impl Checkpoint {
    /// Adds the differences of the adapter in `folder` to what is read from here on; those of
    /// several adapters add up. With `allow_unknown`, keys of its configuration that nobody decided
    /// about are let pass.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::ConfigKey`], [`Error::UnknownKeys`] or [`Error::TensorShape`],
    /// naming what of the adapter cannot be used: all of it is, or none.
    pub fn adapt(
        &mut self,
        folder: &Path,
        names: &Names,
        allow_unknown: bool,
    ) -> Result<Adaptation> {
        if self.gguf().is_some() {
            let problem = "adapters fit checkpoints in the Hugging Face layout, and this is a GGUF; \
                           load the model that it was made from (--quantize rounds it), or merge \
                           and convert that";
            return Err(Error::request("--adapter", problem));
        }
        let adapter = Adapter::open(folder, names, allow_unknown)?;
        let untied = adapter.untie(self)?;
        let parameters = adapter.source.tensors().map(|t| t.shape.iter().product::<usize>());
        let mut adaptation = Adaptation {
            folder: folder.to_path_buf(),
            base: adapter.config.base.clone(),
            rank: adapter.config.rank,
            adapted: 0,
            replaced: 0,
            parameters: parameters.sum::<usize>() as u64,
            untied,
        };
        let mut terms = Vec::new();
        for (module, pieces) in &adapter.modules {
            for (at, stored) in adapter.replacements(self, module, pieces)? {
                self.redirect(at, stored);
                adaptation.replaced += 1;
            }
            if let Some(term) = adapter.term(self, module, pieces)? {
                terms.push(term);
                adaptation.adapted += 1;
            }
        }
        terms.into_iter().for_each(|(at, term)| self.add_term(at, term));
        self.files.extend(adapter.source.files);
        Ok(adaptation)
    }
}

impl<'a> Adapter<'a> {
    fn open(folder: &Path, names: &'a Names, allow_unknown: bool) -> Result<Self> {
        let config = Config::read(folder, allow_unknown)?;
        let files = ["adapter_model.safetensors", "adapter_model.bin"];
        let file = files.iter().map(|name| folder.join(name)).find(|file| file.is_file());
        let file = file.ok_or_else(|| {
            Error::file(folder, format!("holds no adapter: looked for {}", files.join(" and ")))
        })?;
        let source = Checkpoint::open(&file)?;
        let mut modules: BTreeMap<String, BTreeMap<Piece, usize>> = BTreeMap::new();
        for (index, tensor) in source.tensors.iter().enumerate() {
            let (module, piece) = split(&tensor.info.name).ok_or_else(|| {
                let problem = format!(
                    "tensor `{}` is none that a LoRA adapter has for a module of its base",
                    tensor.info.name
                );
                Error::file(&file, problem)
            })?;
            modules.entry(module.into()).or_default().insert(piece, index);
        }
        if modules.is_empty() {
            return Err(Error::file(&file, "holds no tensors"));
        }
        Ok(Self { names, config, source, modules })
    }

    /// Where embedding and head are one matrix and either is adapted, PEFT adapts it in that role
    /// alone: here they become two.
    fn untie(&self, base: &mut Checkpoint) -> Result<bool> {
        let role = |module: &str| entry(self.names, module).map(|(entry, _)| entry.param);
        let ends = [Some(Param::TokenEmbedding), Some(Param::Head)];
        if !self.modules.keys().any(|module| ends.contains(&role(module))) {
            return Ok(false);
        }
        let mut heads = self.names.entries.iter().filter(|entry| entry.param == Param::Head);
        let Some(head) = heads.next() else { return Ok(false) };
        let embedding = self.names.entries.iter().find(|e| e.param == Param::TokenEmbedding);
        let stored = |entry: &super::param::Entry| {
            let name = |prefix: &&str| format!("{prefix}{}{}", entry.name, entry.weight);
            self.names.prefixes.iter().find_map(|prefix| base.position(&name(prefix)))
        };
        if stored(head).is_some() || heads.any(|head| stored(head).is_some()) {
            return Ok(true);
        }
        if let Some(index) = embedding.and_then(stored) {
            let mut copy = base.tensors[index].clone();
            copy.info.name = format!("{}{}", head.name, head.weight);
            base.list(copy).map_err(|problem| Error::file(base.origin(), problem))?;
        }
        Ok(true)
    }

    /// The base's tensor of a module.
    fn home(&self, base: &Checkpoint, module: &str, suffix: &str) -> Result<usize> {
        let rest = entry(self.names, module).map_or(module, |(_, rest)| rest);
        let mut tried = vec![format!("{module}{suffix}")];
        tried.extend(self.names.prefixes.iter().map(|prefix| format!("{prefix}{rest}{suffix}")));
        if let Some(index) = tried.iter().find_map(|name| base.position(name)) {
            return Ok(index);
        }
        let present = nearest(&tried, base.tensors().map(|t| t.name.as_str()));
        let problem = format!(
            "adapts `{module}`, and {} has no tensor `{rest}{suffix}` for it; nearest present: {}",
            base.origin(),
            present.join(", ")
        );
        Err(Error::file(self.source.origin(), problem))
    }

    /// The module's tensors that come in the place of the base's, and of which.
    fn replacements(
        &self,
        base: &Checkpoint,
        module: &str,
        pieces: &BTreeMap<Piece, usize>,
    ) -> Result<Vec<(usize, Stored)>> {
        let suffixes = [(Piece::Weight, ".weight"), (Piece::Bias, ".bias")];
        let found = suffixes.iter().filter_map(|(piece, end)| Some((pieces.get(piece)?, end)));
        found
            .map(|(index, suffix)| {
                let at = self.home(base, module, suffix)?;
                let (ours, theirs) = (&base.tensors[at], &self.source.tensors[*index]);
                self.expect(theirs, &ours.info.shape)?;
                let mut stored = theirs.clone();
                stored.info.name = ours.info.name.clone();
                stored.file += base.files.len();
                Ok((at, stored))
            })
            .collect()
    }

    /// What the module's A and B add, and to which tensor.
    fn term(
        &self,
        base: &Checkpoint,
        module: &str,
        pieces: &BTreeMap<Piece, usize>,
    ) -> Result<Option<(usize, LowRank)>> {
        let embeds = [Piece::EmbeddingA, Piece::EmbeddingB].iter().any(|p| pieces.contains_key(p));
        let both =
            if embeds { [Piece::EmbeddingA, Piece::EmbeddingB] } else { [Piece::A, Piece::B] };
        let (a, b) = match both.map(|piece| pieces.get(&piece).copied()) {
            [Some(a), Some(b)] => (a, b),
            [None, None] => return Ok(None),
            _ => {
                let problem = format!("has one of A and B for `{module}`, and not the other");
                return Err(Error::file(self.source.origin(), problem));
            }
        };
        self.config.check_target(module)?;
        let at = self.home(base, module, ".weight")?;
        let turned = entry(self.names, module).is_some_and(|(entry, _)| is_turned(entry.layout));
        let (rows, columns) = match base.tensors[at].info.shape.as_slice() {
            [rows, columns] => (*rows, *columns),
            other => {
                let problem = format!("adapts `{module}`, whose tensor has the shape {other:?}");
                return Err(Error::file(self.source.origin(), problem));
            }
        };
        // An embedding is looked up, which is a product with its transpose.
        let (out, input) = if turned || embeds { (columns, rows) } else { (rows, columns) };
        let rank = self.config.rank(module)?;
        let (a, b) = (self.numbers(a, [rank, input])?, self.numbers(b, [out, rank])?);
        let b = (b * self.config.scale(module)?)?;
        let term = match turned || embeds {
            true => LowRank::new(a.t()?, b.t()?)?,
            false => LowRank::new(b, a)?,
        };
        Ok(Some((at, term)))
    }

    /// A matrix of the adapter, in f32.
    fn numbers(&self, index: usize, shape: [usize; 2]) -> Result<Tensor> {
        let stored = &self.source.tensors[index];
        self.expect(stored, &shape)?;
        self.source.whole(&stored.info.name, DType::F32, &Device::Cpu)
    }

    fn expect(&self, stored: &Stored, shape: &[usize]) -> Result<()> {
        if stored.info.shape == shape {
            return Ok(());
        }
        Err(Error::TensorShape {
            origin: self.source.origin().into(),
            name: stored.info.name.clone(),
            expected: shape.to_vec(),
            found: stored.info.shape.clone(),
        })
    }
}
