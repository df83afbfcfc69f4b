//! Where a run stands: weights, what the optimizer remembers, and the step, from which the data's
//! position and every random number follow. Written with each checkpoint, read to go on exactly.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::corpus::Corpus;
use super::export;
use super::recipe::Recipe;
use super::variables::Variables;
use crate::error::{Error, Result};
use crate::weights::Checkpoint;

/// The numbers of a run's state.
const TENSORS: &str = "training.safetensors";
/// And what they belong to.
const FACTS: &str = "training.json";

/// What must be the same for a run to go on as if it had never ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Steps taken.
    pub(super) step: usize,
    /// The smallest validation loss so far.
    pub(super) best: Option<f64>,
    seed: u64,
    batch: usize,
    micro_batch: usize,
    seq_len: usize,
    data: u64,
}

impl Facts {
    pub(super) fn new(recipe: &Recipe, corpus: &Corpus) -> Self {
        let Recipe { seed, batch, micro_batch, seq_len, .. } = *recipe;
        let (step, best, data) = (0, None, corpus.fingerprint());
        Self { step, best, seed, batch, micro_batch, seq_len, data }
    }

    /// What differs, for a run that should go on.
    fn other(&self, now: &Self) -> Option<String> {
        let pairs = [
            ("seed", self.seed, now.seed),
            ("batch", self.batch as u64, now.batch as u64),
            ("micro_batch", self.micro_batch as u64, now.micro_batch as u64),
            ("seq_len", self.seq_len as u64, now.seq_len as u64),
        ];
        let changed = pairs.iter().find(|(_, then, now)| then != now);
        match changed {
            Some((key, then, now)) => Some(format!("was begun with {key} = {then}, not {now}")),
            None if self.data != now.data => Some("was begun with other data".into()),
            None => None,
        }
    }
}

/// Writes the state into a checkpoint's folder.
pub(super) fn write(
    folder: &Path,
    variables: &Variables,
    optimizer: &AdamW,
    facts: &Facts,
) -> Result<()> {
    let mut tensors = Vec::new();
    let moments = optimizer.first.iter().zip(&optimizer.second);
    for ((name, var), (first, second)) in variables.iter().zip(moments) {
        let moment = |numbers: &[f32]| Tensor::from_slice(numbers, var.dims(), &Device::Cpu);
        tensors.push((format!("weight.{name}"), var.as_detached_tensor()));
        tensors.push((format!("first.{name}"), moment(first)?));
        tensors.push((format!("second.{name}"), moment(second)?));
    }
    export::safetensors(&folder.join(TENSORS), tensors)?;
    let path = folder.join(FACTS);
    let text = serde_json::to_string_pretty(facts).map_err(|e| Error::file(&path, e))?;
    std::fs::write(&path, text + "\n").map_err(|e| Error::file(&path, e))
}

/// Puts the state of a checkpoint's folder in the place of what `variables` and `optimizer` hold.
pub(super) fn read(
    folder: &Path,
    variables: &Variables,
    optimizer: &mut AdamW,
    facts: &mut Facts,
) -> Result<()> {
    let path = folder.join(FACTS);
    let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
    let then: Facts = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))?;
    if let Some(problem) = then.other(facts) {
        let hint = "and cannot go on exactly; begin another run in another folder (`out`)";
        return Err(Error::file(folder, format!("{problem}, {hint}")));
    }
    let checkpoint = Checkpoint::open(&folder.join(TENSORS))?;
    let whole = |kind: &str, name: &str, shape: &[usize]| -> Result<Tensor> {
        let name = format!("{kind}.{name}");
        let tensor = checkpoint.whole(&name, DType::F32, &Device::Cpu)?;
        if tensor.dims() != shape {
            return Err(Error::TensorShape {
                origin: checkpoint.origin().into(),
                name,
                expected: shape.to_vec(),
                found: tensor.dims().to_vec(),
            });
        }
        Ok(tensor)
    };
    let moments = optimizer.first.iter_mut().zip(&mut optimizer.second);
    for ((name, var), (first, second)) in variables.iter().zip(moments) {
        var.set(&whole("weight", name, var.dims())?)?;
        *first = whole("first", name, var.dims())?.flatten_all()?.to_vec1()?;
        *second = whole("second", name, var.dims())?.flatten_all()?.to_vec1()?;
    }
    optimizer.steps = then.step;
    *facts = then;
    Ok(())
}
