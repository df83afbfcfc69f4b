//! A trace: the activations of one forward pass, by name, and its file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::nn::{At, Decoder, Recorder, Run};

/// The activations of one forward pass.
///
/// In its file (safetensors) the keys are `ids`, `embed`, `final_norm`, `logits` and
/// `<layer>.<site>`, each with its batch axis first.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Token ids, row after row.
    pub ids: Vec<Vec<u32>>,
    /// Activations, f32 on the CPU.
    pub sites: BTreeMap<At, Tensor>,
    /// What the file says about itself.
    pub metadata: HashMap<String, String>,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`Error::File`] where it is no trace.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)
            .map_err(|e| Error::file(path, format!("is no safetensors file: {e}")))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
        let ids = tensors.remove("ids").ok_or_else(|| Error::file(path, "has no `ids`"))?;
        let ids = ids.to_dtype(DType::U32)?.to_vec2::<u32>()?;
        let mut sites = BTreeMap::new();
        for (name, tensor) in tensors {
            let at = At::parse(&name)
                .ok_or_else(|| Error::file(path, format!("`{name}` is no site")))?;
            sites.insert(at, tensor.to_dtype(DType::F32)?);
        }
        Ok(Self { ids, sites, metadata })
    }

    /// Writes the trace.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut tensors: HashMap<String, Tensor> =
            self.sites.iter().map(|(at, tensor)| (at.to_string(), tensor.clone())).collect();
        tensors.insert("ids".into(), Tensor::new(self.ids.clone(), &Device::Cpu)?);
        safetensors::serialize_to_file(tensors, Some(self.metadata.clone()), path)
            .map_err(|e| Error::file(path, e))
    }
}

/// Records the sites that `wants` answers yes for, of one pass over `ids` without a cache.
///
/// # Errors
/// As [`Decoder::run`].
pub fn record(decoder: &Decoder, ids: &[Vec<u32>], wants: impl Fn(At) -> bool) -> Result<Trace> {
    let mut recorder = Recorder::new(wants);
    let input = Tensor::new(ids.to_vec(), decoder.device())?;
    let run = Run { cache: None, probe: Some(&mut recorder), last_only: false };
    decoder.run(&input, run)?;
    Ok(Trace { ids: ids.to_vec(), sites: recorder.sites, metadata: HashMap::new() })
}
