//! A checkpoint read through a name table: parameters in, matrices out, and an account of what
//! was read. Storage layouts end here; what the parameters are for is not known.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};

use super::account::Taken;
use super::checkpoint::Checkpoint;
use super::file::Stored;
use super::layout::{Place, place};
use super::packing::Packing;
use super::param::{Layout, MXFP4_BLOCKS, MXFP4_SCALES, Names, Owner, Param, Stack};
use super::part::Part;
use super::plan::Plan;
use super::read::Choice;
use crate::error::{Error, Result};
use crate::kernels::Packed;
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

/// A checkpoint, read through a name table. Where a method takes an [`Owner`], a layer (or `None`
/// for the whole decoder) will do.
#[derive(Debug)]
pub struct Weights<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) names: &'a Names,
    pub(super) taken: Taken,
    spec: &'a Spec,
    device: Device,
    dtype: DType,
    dequantise: bool,
    packing: Option<Packing>,
    pub(super) part: Part,
    pub(super) plan: Option<Plan>,
}

/// What of a parameter is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The matrix of a projection.
    Matrix,
    /// The factor of a norm, or another vector that stands where a matrix would.
    Factor,
    /// The bias of either.
    Bias,
}

/// A tensor that was found, checked and accounted for.
struct Found<'a> {
    stored: &'a Stored,
    choice: Choice,
    layout: Layout,
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
        let (taken, part, plan) = Default::default();
        let packing = None;
        Self { checkpoint, names, taken, spec, device, dtype, dequantise, packing, part, plan }
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

    pub(super) fn layer(&self, layer: usize) -> Option<&'a Layer> {
        self.spec.layers.get(layer)
    }

    /// Whether the checkpoint has the parameter's matrix (or factor).
    pub fn has(&self, param: Param, owner: impl Into<Owner>) -> bool {
        self.find(param, owner.into(), false).is_some()
    }

    /// Whether the checkpoint has the parameter's bias.
    pub fn has_bias(&self, param: Param, owner: impl Into<Owner>) -> bool {
        self.find(param, owner.into(), true).is_some()
    }

    /// The matrix of a projection, `shape` = (out, in), whatever way it is stored.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], or [`Error::File`] where it cannot be read.
    pub fn matrix(
        &self,
        param: Param,
        owner: impl Into<Owner>,
        shape: (usize, usize),
    ) -> Result<Matrix> {
        let owner = owner.into();
        if let Some(zeros) = self.plan(param, owner, Kind::Matrix, shape)? {
            return Ok(Matrix::Dense(zeros));
        }
        let Found { stored, choice, layout } = self.take(param, owner, Kind::Matrix, shape)?;
        if let Layout::Stacked(Stack::Mxfp4 | Stack::AlternatingMxfp4) = layout {
            let scales = self.scales(param, owner, stored, choice.n_rows())?;
            let numbers = self.checkpoint.microscaled(stored, scales, &choice.rows)?;
            let matrix = Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(self.dtype)?;
            return Ok(Matrix::Dense(matrix.to_device(&self.device)?));
        }
        let packed_as = self.packing.and_then(|p| p.of(param, stored.info.dtype, self.dequantise));
        if let Some((format, rounded)) = packed_as {
            let packed = self.checkpoint.packed(stored, &choice, format)?;
            return Ok(Matrix::Packed(Arc::new(match rounded {
                true => packed.rounded(),
                false => packed,
            })));
        }
        if !self.dequantise
            && let Some(data) = self.checkpoint.quantised(stored, &choice, &self.device)?
        {
            return Ok(Matrix::Quantised(data));
        }
        Ok(Matrix::Dense(self.checkpoint.dense(stored, &choice, self.dtype, &self.device)?))
    }

    /// An embedding table, `shape` = (rows, dim); a quantised one stays so, see
    /// [`gather_rows`](super::gather_rows).
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn table(&self, param: Param, shape: (usize, usize)) -> Result<Matrix> {
        self.matrix(param, None, shape)
    }

    /// The bias of a projection or norm, `len` elements in the run's dtype.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn bias(&self, param: Param, owner: impl Into<Owner>, len: usize) -> Result<Tensor> {
        let owner = owner.into();
        if let Some(zeros) = self.plan(param, owner, Kind::Bias, (len, 1))? {
            return Ok(zeros.flatten_all()?);
        }
        let found = self.take(param, owner, Kind::Bias, (len, 1))?;
        self.line(&found, self.dtype)
    }

    /// The factor of a norm, `len` elements, in f32 whatever the run's dtype is, for norms compute
    /// in it; a factor stored with 1 added comes without it.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn vector(&self, param: Param, owner: impl Into<Owner>, len: usize) -> Result<Tensor> {
        let owner = owner.into();
        if let Some(number) = self.keyed(param, owner) {
            return Ok(Tensor::full(number as f32, len, &self.device)?);
        }
        if let Some(zeros) = self.plan(param, owner, Kind::Factor, (len, 1))? {
            return Ok(zeros.flatten_all()?);
        }
        let found = self.take(param, owner, Kind::Factor, (len, 1))?;
        let line = self.line(&found, DType::F32)?;
        match found.layout {
            Layout::PlusOne => Ok((line - 1.0)?),
            _ => Ok(line),
        }
    }

    /// The factor of a norm that has `len` elements of its own for every head, (heads, len) in f32:
    /// stored as that matrix, or as a vector a head.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn head_vectors(
        &self,
        param: Param,
        owner: impl Into<Owner>,
        (heads, len): (usize, usize),
    ) -> Result<Tensor> {
        let owner = owner.into();
        if self.plans_whole(param)
            && let Some(zeros) = self.plan(param, owner, Kind::Factor, (heads, len))?
        {
            return Ok(zeros);
        }
        if self.has(param, owner) {
            let Found { stored, choice, .. } =
                self.take(param, owner, Kind::Matrix, (heads, len))?;
            return self.checkpoint.dense(stored, &choice, DType::F32, &self.device);
        }
        let own = |head| self.vector(param, Owner { head: Some(head), ..owner }, len);
        Ok(Tensor::stack(&(0..heads).map(own).collect::<Result<Vec<_>>>()?, 0)?)
    }

    fn line(&self, found: &Found<'_>, dtype: DType) -> Result<Tensor> {
        let line = self.checkpoint.dense(found.stored, &found.choice, dtype, &self.device)?;
        Ok(line.flatten_all()?)
    }

    /// Finds, checks and accounts for a tensor.
    fn take(
        &self,
        param: Param,
        owner: Owner,
        kind: Kind,
        shape: (usize, usize),
    ) -> Result<Found<'a>> {
        let bias = kind == Kind::Bias;
        let found = self.find(param, owner, bias);
        let (index, layout) = found.ok_or_else(|| self.missing(param, owner, bias))?;
        let stored = &self.checkpoint.tensors[index];
        let vector = kind != Kind::Matrix;
        let layer = owner.layer.and_then(|layer| self.layer(layer));
        let mut place = place(layout, param, layer, owner.expert, shape, vector)?;
        if shape.0 == 1 && stored.info.shape == [shape.1] {
            place = Place::row(shape.1); // a matrix of one row, written as a vector
        }
        if stored.info.shape.is_empty() && place.shape == [1] {
            place.shape.clear(); // a vector of one number, written as a number
        }
        if stored.info.shape != place.shape {
            return Err(Error::TensorShape {
                origin: self.checkpoint.origin().into(),
                name: stored.info.name.clone(),
                expected: place.shape,
                found: stored.info.shape.clone(),
            });
        }
        self.taken.take(index, param, owner, place.elements);
        Ok(Found { stored, choice: place.choice, layout })
    }

    /// The scales that belong to a tensor of packed 4-bit numbers, `rows` rows of which are read.
    fn scales(
        &self,
        param: Param,
        owner: Owner,
        blocks: &Stored,
        rows: usize,
    ) -> Result<&'a Stored> {
        let name = blocks.info.name.trim_end_matches(MXFP4_BLOCKS).to_string() + MXFP4_SCALES;
        let index = self.checkpoint.position(&name).ok_or_else(|| Error::MissingTensor {
            origin: self.checkpoint.origin().into(),
            param: format!("the scales of {param}{owner}"),
            nearest: vec![blocks.info.name.clone()],
            tried: vec![name],
        })?;
        let scales = &self.checkpoint.tensors[index];
        self.taken.take(index, param, owner, rows * scales.row_len());
        Ok(scales)
    }
}
