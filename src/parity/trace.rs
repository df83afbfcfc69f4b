//! A trace: the activations of one forward pass, by name, and its file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::header::complaint;
use crate::error::{Error, Result};
use crate::nn::{At, Decoder, Recorder, Run, Site};

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
    /// [`Error::File`] where it is no trace, is cut off or holds NaN, naming the site.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
        let fail = |problem: String| Error::file(path, problem);
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)
            .map_err(|e| fail(complaint(&bytes, e)))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|e| fail(complaint(&bytes, e)))?;
        let ids = tensors.remove("ids").ok_or_else(|| fail("has no `ids`".into()))?;
        let ids = ids
            .to_dtype(DType::U32)
            .and_then(|ids| ids.to_vec2::<u32>())
            .map_err(|e| fail(format!("`ids` are no rows of token ids: {e}")))?;
        if ids.iter().all(Vec::is_empty) {
            return Err(fail("`ids` are empty".into()));
        }
        let mut sites = BTreeMap::new();
        for (name, tensor) in tensors {
            let at = At::parse(&name).ok_or_else(|| fail(format!("`{name}` is no site")))?;
            let tensor = tensor.to_dtype(DType::F32)?;
            if let Some(what) = not_finite(at, &tensor)? {
                return Err(fail(format!("`{name}` holds {what}: the reference is no measure")));
            }
            sites.insert(at, tensor);
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

/// What is wrong with a site's numbers; −∞ is in its place where scores are masked.
fn not_finite(at: At, x: &Tensor) -> Result<Option<&'static str>> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    let masked = |x: f32| at.site == Site::Scores && x == f32::NEG_INFINITY;
    Ok(match values.iter().any(|x| x.is_nan()) {
        true => Some("NaN"),
        false => values.iter().any(|x| x.is_infinite() && !masked(*x)).then_some("infinity"),
    })
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
