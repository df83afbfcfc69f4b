//! The numbers that are trained, under the names and in the shapes that a checkpoint has for them.
//! How they change is `adamw.rs`'s affair.

use candle_core::{DType, Device, Tensor, Var};

use serde_json::{Map, Value};

use super::lora::{Adapted, Lora};
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
    whole: Whole,
}

/// All that the decoder is loaded from.
#[derive(Debug)]
enum Whole {
    /// The variables are the model's tensors.
    Trained(Checkpoint),
    /// The model's tensors stay, and the variables are added to some.
    Adapted(Adapted),
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
        Ok(Self { spec: spec.clone(), names, list, whole: Whole::Trained(checkpoint) })
    }

    /// Those of a checkpoint, in f32, whatever it stores them as; tensors that are no parameters
    /// stay behind.
    ///
    /// # Errors
    /// A missing, mis-shaped or unread tensor, by name.
    pub fn of(opened: &Opened) -> Result<Self> {
        Self::new(&opened.described.spec, opened.names(), tensors(opened)?)
    }

    /// Those of an adapter of a checkpoint, whose own tensors stay as they are.
    ///
    /// # Errors
    /// As [`Variables::of`]; [`Error::Request`](crate::Error::Request) for a target that is no
    /// matrix of the model.
    pub fn adapter(opened: &Opened, lora: &Lora, seed: u64) -> Result<Self> {
        let (spec, names) = (opened.described.spec.clone(), opened.names());
        let (adapted, list) = Adapted::new(lora, names, tensors(opened)?, seed)?;
        Ok(Self { spec, names, list, whole: Whole::Adapted(adapted) })
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
        match &self.whole {
            Whole::Trained(checkpoint) => self.read(checkpoint),
            Whole::Adapted(adapted) => {
                self.read(&adapted.folded(&self.tensors(|var| var.as_tensor().clone()))?)
            }
        }
    }

    /// The same without gradients: what evaluation and samples run with, on every fast path that
    /// plain tensors have.
    ///
    /// # Errors
    /// As [`Variables::decoder`].
    pub fn detached(&self) -> Result<Decoder> {
        let tensors = self.tensors(Var::as_detached_tensor);
        self.read(&match &self.whole {
            Whole::Trained(_) => Checkpoint::of_tensors("the variables", tensors)?,
            Whole::Adapted(adapted) => adapted.folded(&tensors)?,
        })
    }

    fn tensors(&self, tensor: impl Fn(&Var) -> Tensor) -> Vec<(String, Tensor)> {
        self.list.iter().map(|(name, var)| (name.clone(), tensor(var))).collect()
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

    /// What PEFT is told about them, where they are an adapter of the model called `base`.
    pub fn adapter_config(&self, base: &str) -> Option<Map<String, Value>> {
        match &self.whole {
            Whole::Trained(_) => None,
            Whole::Adapted(adapted) => Some(adapted.config(base)),
        }
    }

    /// How many numbers are trained.
    pub fn count(&self) -> usize {
        self.list.iter().map(|(_, var)| var.elem_count()).sum()
    }
}

/// The parameters of a checkpoint as it names them, in f32.
fn tensors(opened: &Opened) -> Result<Vec<(String, Tensor)>> {
    let (spec, checkpoint) = (&opened.described.spec, &opened.checkpoint);
    let cpu = Device::Cpu;
    let weights = Weights::new(checkpoint, opened.names(), spec, cpu.clone(), DType::F32, true);
    Decoder::load(spec, &weights)?;
    let whole = |name: String| {
        let tensor = checkpoint.whole(&name, DType::F32, &cpu)?;
        Ok((name, tensor))
    };
    weights.finish()?.read.into_iter().map(whole).collect()
}
