//! The numbers that are trained, under the names and in the shapes that a checkpoint has for them.
//! How they change is `adamw.rs`'s affair.

use candle_core::{DType, Device, Tensor, Var};

use crate::error::Result;
use crate::model::{LoadOptions, Opened};
use crate::nn::Decoder;
use crate::spec::Spec;
use crate::weights::{Checkpoint, Names, Weights};

/// Trained variables, and the decoder that they are.
#[derive(Debug)]
pub struct Variables {
    spec: Spec,
    names: &'static Names,
    list: Vec<(String, Var)>,
    checkpoint: Checkpoint,
}

impl Variables {
    /// Of these tensors, which are copied.
    ///
    /// # Errors
    /// What [`Checkpoint::of_tensors`] says.
    pub fn new(
        spec: &Spec,
        names: &'static Names,
        tensors: impl IntoIterator<Item = (String, Tensor)>,
    ) -> Result<Self> {
        let var = |(name, tensor): (String, Tensor)| Ok((name, Var::from_tensor(&tensor)?));
        let list = tensors.into_iter().map(var).collect::<Result<Vec<_>>>()?;
        let tensors = list.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
        let checkpoint = Checkpoint::of_tensors("the variables", tensors)?;
        Ok(Self { spec: spec.clone(), names, list, checkpoint })
    }

    /// Those of a checkpoint, in f32, whatever it stores them as; tensors that are no parameters
    /// stay behind.
    ///
    /// # Errors
    /// A missing, mis-shaped or unread tensor, by name.
    pub fn of(opened: &Opened) -> Result<Self> {
        let (spec, checkpoint) = (&opened.described.spec, &opened.checkpoint);
        let (names, cpu) = (opened.names(), Device::Cpu);
        let weights = Weights::new(checkpoint, names, spec, cpu.clone(), DType::F32, true);
        Decoder::load(spec, &weights)?;
        let read = weights.finish()?.read;
        let whole = |name: String| {
            let tensor = checkpoint.whole(&name, DType::F32, &cpu)?;
            Ok((name, tensor))
        };
        Self::new(spec, names, read.into_iter().map(whole).collect::<Result<Vec<_>>>()?)
    }

    /// Those of a folder or file on this machine.
    ///
    /// # Errors
    /// As [`Opened::at`] and [`Variables::of`].
    pub fn at(path: &std::path::Path) -> Result<Self> {
        let name = path.display().to_string();
        Self::of(&Opened::at(path, &name, &LoadOptions::default())?)
    }

    /// The decoder of these variables as they are now; products with it have gradients. Load it
    /// anew after every change.
    ///
    /// # Errors
    /// A missing or mis-shaped tensor.
    pub fn decoder(&self) -> Result<Decoder> {
        self.read(&self.checkpoint)
    }

    /// The same without gradients: what evaluation and samples run with, on every fast path that
    /// plain tensors have.
    ///
    /// # Errors
    /// As [`Variables::decoder`].
    pub fn detached(&self) -> Result<Decoder> {
        let tensors = self.list.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor()));
        self.read(&Checkpoint::of_tensors("the variables", tensors)?)
    }

    fn read(&self, checkpoint: &Checkpoint) -> Result<Decoder> {
        let (spec, cpu) = (&self.spec, Device::Cpu);
        let weights = Weights::new(checkpoint, self.names, spec, cpu, DType::F32, true);
        Decoder::load(spec, &weights)
    }

    /// Name and variable, in the order in which a checkpoint would list them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.list.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// What the decoder is.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How many numbers are trained.
    pub fn count(&self) -> usize {
        self.list.iter().map(|(_, var)| var.elem_count()).sum()
    }
}
