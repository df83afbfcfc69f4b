//! A checkpoint read through a name table: parameters in, matrices out, and an account of what
//! was read. Storage layouts end here; what the parameters are for is not known.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};

use super::checkpoint::Checkpoint;
use super::dtype::StoredDtype;
use super::file::Stored;
use super::layout::{Place, place};
use super::nearest::nearest;
use super::param::{Layout, Names, Param};
use super::read::Choice;
use crate::error::{Error, Result};
use crate::kernels::{Format, Packed};
use crate::spec::{Layer, Spec};

/// A matrix (out, in), as it was stored or as it is computed with.
#[derive(Debug, Clone)]
pub enum Matrix {
    /// In the run's dtype, on its device.
    Dense(Tensor),
    /// In ggml's blocks, on the run's device.
    Quantised(Arc<QTensor>),
    /// In tiles for the kernels, on the CPU; products take and give f32.
    Packed(Arc<Packed>),
}

/// How matrices are packed for the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// What dense matrices are packed as. Quantised ones keep their blocks' numbers.
    pub dense: Format,
    /// The same for the embedding and the head, which suffer most from rounding.
    pub ends: Format,
    /// Products of many rows may round activations to bf16.
    pub rounded: bool,
}

/// What became of a checkpoint's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Tensors that are in the model now.
    pub read: Vec<String>,
    /// Tensors that are known to be no parameters, or copies of one.
    pub ignored: Vec<String>,
    /// Elements of those read.
    pub parameters: u64,
    /// Bytes of those read, as stored.
    pub bytes: u64,
}

/// A checkpoint, read through a name table.
#[derive(Debug)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    names: &'a Names,
    spec: &'a Spec,
    device: Device,
    dtype: DType,
    dequantise: bool,
    packing: Option<Packing>,
    /// Per tensor, the elements that each parameter took of it.
    taken: RefCell<BTreeMap<usize, BTreeMap<Param, usize>>>,
    duplicates: RefCell<Vec<usize>>,
}

impl<'a> Weights<'a> {
    /// Nothing is read yet. Dense matrices will be in `dtype`, on `device`; with `dequantise`, all
    /// are dense.
    pub fn new(
        checkpoint: &'a Checkpoint,
        names: &'a Names,
        spec: &'a Spec,
        device: Device,
        dtype: DType,
        dequantise: bool,
    ) -> Self {
        let (taken, duplicates) = Default::default();
        let packing = None;
        Self { checkpoint, names, spec, device, dtype, dequantise, packing, taken, duplicates }
    }

    /// Matrices come packed from here on. Only on the CPU, and for what will only be read.
    pub fn packed(mut self, packing: Packing) -> Self {
        self.packing = Some(packing);
        self
    }

    /// Where matrices go.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What dense matrices and vectors are in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether the checkpoint has the parameter's `.weight`.
    pub fn has(&self, param: Param, layer: Option<usize>) -> bool {
        self.find(param, layer, ".weight").is_some()
    }

    /// Whether the checkpoint has the parameter's `.bias`.
    pub fn has_bias(&self, param: Param, layer: Option<usize>) -> bool {
        self.find(param, layer, ".bias").is_some()
    }

    /// The `.weight` of a projection, `shape` = (out, in), whatever way it is stored.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], or [`Error::File`] where it cannot be read.
    pub fn matrix(
        &self,
        param: Param,
        layer: Option<usize>,
        shape: (usize, usize),
    ) -> Result<Matrix> {
        let (stored, choice, _) = self.take(param, layer, ".weight", shape, &[])?;
        if let Some((format, rounded)) = self.pack_as(param, stored.info.dtype) {
            let packed = self.checkpoint.packed(stored, &choice, format)?;
            return Ok(Matrix::Packed(Arc::new(match rounded {
                true => packed.rounded(),
                false => packed,
            })));
        }
        match stored.info.dtype {
            StoredDtype::Quantised(dtype) if !self.dequantise => {
                let data = self.checkpoint.quantised(stored, &choice, dtype, &self.device)?;
                Ok(Matrix::Quantised(data))
            }
            _ => Ok(Matrix::Dense(self.checkpoint.dense(
                stored,
                &choice,
                self.dtype,
                &self.device,
            )?)),
        }
    }

    /// The format that a matrix is packed in, and whether its products may round.
    fn pack_as(&self, param: Param, stored: StoredDtype) -> Option<(Format, bool)> {
        let packing = self.packing?;
        match (stored, param) {
            (_, Param::PositionEmbedding) => None, // rows are added, never multiplied
            (StoredDtype::Quantised(dtype), _) if !self.dequantise => {
                Some((Format::of_ggml(dtype)?, true))
            }
            (_, Param::TokenEmbedding | Param::Head) => Some((packing.ends, packing.rounded)),
            _ => Some((packing.dense, packing.rounded)),
        }
    }

    /// An embedding table, `shape` = (rows, dim); a quantised one stays so, see
    /// [`gather_rows`](super::gather_rows).
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn table(&self, param: Param, shape: (usize, usize)) -> Result<Matrix> {
        self.matrix(param, None, shape)
    }

    /// The `.bias` of a projection or norm, `len` elements in the run's dtype.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn bias(&self, param: Param, layer: Option<usize>, len: usize) -> Result<Tensor> {
        self.line(param, layer, ".bias", len, self.dtype)
    }

    /// The `.weight` of a norm, `len` elements, in f32 whatever the run's dtype is, for norms
    /// compute in it; a factor stored with 1 added comes without it.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn vector(&self, param: Param, layer: Option<usize>, len: usize) -> Result<Tensor> {
        self.line(param, layer, ".weight", len, DType::F32)
    }

    fn line(
        &self,
        param: Param,
        layer: Option<usize>,
        suffix: &str,
        len: usize,
        dtype: DType,
    ) -> Result<Tensor> {
        let (stored, choice, layout) = self.take(param, layer, suffix, (len, 1), &[len])?;
        let line = self.checkpoint.dense(stored, &choice, dtype, &self.device)?.flatten_all()?;
        match layout == Layout::PlusOne && suffix == ".weight" {
            true => Ok((line - 1.0)?),
            false => Ok(line),
        }
    }

    /// A stored head beside a tied embedding: some checkpoints carry a copy. It is accepted, and
    /// counted as ignored, where it is the same to the byte.
    ///
    /// # Errors
    /// [`Error::ConfigKey`] where the two differ, for then the head is not tied.
    pub fn tied_duplicate(&self, copy: Param, of: Param) -> Result<()> {
        let copy = self.find(copy, None, ".weight").map(|(i, _)| i);
        let of = self.find(of, None, ".weight").map(|(i, _)| i);
        let (Some(copy), Some(of)) = (copy, of) else { return Ok(()) };
        if copy == of {
            return Ok(());
        }
        let (a, b) = (&self.checkpoint.tensors[copy], &self.checkpoint.tensors[of]);
        if !self.checkpoint.same_bytes(a, b)? {
            return Err(Error::ConfigKey {
                origin: self.checkpoint.origin().into(),
                key: "tie_word_embeddings".into(),
                problem: format!(
                    "is true, but `{}` is stored and differs from `{}`; with false it is used",
                    a.info.name, b.info.name
                ),
            });
        }
        self.duplicates.borrow_mut().push(copy);
        Ok(())
    }

    /// Counts a tensor as read that was used by other ways (such as a table of frequencies).
    pub fn mark_used(&self, name: &str) {
        if let Some(index) = self.checkpoint.position(name) {
            self.duplicates.borrow_mut().push(index);
        }
    }

    /// The account: every tensor must have been read, all parts of it, or be known as no
    /// parameter.
    ///
    /// # Errors
    /// [`Error::UnreadTensors`].
    pub fn finish(self) -> Result<Account> {
        let mut account = Account { read: vec![], ignored: vec![], parameters: 0, bytes: 0 };
        let mut unread = Vec::new();
        let (taken, duplicates) = (self.taken.borrow(), self.duplicates.borrow());
        for (index, stored) in self.checkpoint.tensors.iter().enumerate() {
            let name = stored.info.name.clone();
            let elements = stored.rows() * stored.row_len();
            let parts = taken.get(&index);
            if parts.is_some_and(|parts| parts.values().sum::<usize>() >= elements) {
                account.parameters += elements as u64;
                account.bytes += stored.info.bytes;
                account.read.push(name);
            } else if parts.is_none()
                && (duplicates.contains(&index) || is_ignored(self.names, &name))
            {
                account.ignored.push(name);
            } else {
                unread.push(name);
            }
        }
        if unread.is_empty() {
            return Ok(account);
        }
        Err(Error::UnreadTensors { origin: self.checkpoint.origin().into(), names: unread })
    }

    /// Finds, checks and accounts for a tensor. `flat` is the shape it must have where it is no
    /// matrix.
    fn take(
        &self,
        param: Param,
        layer: Option<usize>,
        suffix: &str,
        shape: (usize, usize),
        flat: &[usize],
    ) -> Result<(&'a Stored, Choice, Layout)> {
        let found = self.find(param, layer, suffix);
        let (index, layout) = found.ok_or_else(|| self.missing(param, layer, suffix))?;
        let stored = &self.checkpoint.tensors[index];
        let Place { shape: whole, choice } =
            place(layout, param, self.layer(layer), shape, !flat.is_empty())?;
        let expected = if flat.is_empty() { vec![whole.0, whole.1] } else { vec![whole.0] };
        if stored.info.shape != expected {
            return Err(Error::TensorShape {
                origin: self.checkpoint.origin().into(),
                name: stored.info.name.clone(),
                expected,
                found: stored.info.shape.clone(),
            });
        }
        self.taken.borrow_mut().entry(index).or_default().insert(param, shape.0 * shape.1);
        Ok((stored, choice, layout))
    }

    fn layer(&self, layer: Option<usize>) -> Option<&'a Layer> {
        self.spec.layers.get(layer?)
    }

    fn find(&self, param: Param, layer: Option<usize>, suffix: &str) -> Option<(usize, Layout)> {
        self.candidates(param, layer, suffix)
            .find_map(|(name, layout)| Some((self.checkpoint.position(&name)?, layout)))
    }

    /// The names under which a parameter may be stored, most usual first.
    fn candidates(
        &self,
        param: Param,
        layer: Option<usize>,
        suffix: &str,
    ) -> impl Iterator<Item = (String, Layout)> {
        let entries = self.names.entries.iter().filter(move |e| e.param == param);
        let layer = layer.map(|l| l.to_string()).unwrap_or_default();
        entries.flat_map(move |entry| {
            let name = entry.name.replace("{}", &layer);
            let named = move |prefix: &&str| (format!("{prefix}{name}{suffix}"), entry.layout);
            self.names.prefixes.iter().map(named).collect::<Vec<_>>()
        })
    }

    fn missing(&self, param: Param, layer: Option<usize>, suffix: &str) -> Error {
        let tried: Vec<String> = self.candidates(param, layer, suffix).map(|(n, _)| n).collect();
        let present = self.checkpoint.tensors().map(|t| t.name.as_str());
        let what = if suffix == ".bias" { "the bias of " } else { "" };
        let place = layer.map(|l| format!(" of layer {l}")).unwrap_or_default();
        Error::MissingTensor {
            origin: self.checkpoint.origin().into(),
            param: format!("{what}{param}{place}"),
            nearest: nearest(&tried, present),
            tried,
        }
    }
}

/// Whether a name ends in one of the suffixes that are no parameters, at a dot.
fn is_ignored(names: &Names, name: &str) -> bool {
    names.ignored.iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || suffix.starts_with('.'))
    })
}
