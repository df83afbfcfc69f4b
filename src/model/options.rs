//! How a model is loaded, as data.

use std::path::PathBuf;

use candle_core::{DType, Device};

use crate::error::{Error, Result};

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
    /// What caches keep keys and values in, whatever is computed in: f32, f16, bf16, or u8, codes of 8
    /// bits, of which 32 share a scale. `None`: in what is computed in. 16 bits halve the cache, and
    /// what long contexts cost, codes halve it again; numbers are rounded.
    pub kv_dtype: Option<DType>,
    /// More (or fewer) positions than the configuration says.
    pub max_seq_len: Option<usize>,
    /// Folders of PEFT's LoRA adapters, whose differences are added to the weights in f32 before
    /// anything else is made of these. Where the weights are stored in 16 bits and no dtype is
    /// named, adapted matrices are f32 on the CPU.
    pub adapters: Vec<PathBuf>,
}

/// What dense weights are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantize {
    /// ggml's Q8_0.
    Q8,
    /// ggml's Q4_0; embedding and head Q8_0.
    Q4,
}

impl LoadOptions {
    /// Refuses what no cache keeps.
    pub(super) fn check(&self) -> Result<()> {
        match self.kv_dtype {
            None | Some(DType::F32 | DType::F16 | DType::BF16 | DType::U8) => Ok(()),
            Some(other) => {
                let problem =
                    format!("{} is no dtype to keep; f32, f16, bf16 or u8", other.as_str());
                Err(Error::request("kv_dtype", problem))
            }
        }
    }
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
            kv_dtype: None,
            max_seq_len: None,
            adapters: Vec::new(),
        }
    }
}
