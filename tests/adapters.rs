//! Are adapters PEFT's? What it computes with tiny LoRA adapters of the golden checkpoints
//! (`scripts/golden_adapters.py`), and what of an adapter is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use common::golden;
use serde_json::{Value, json};
use taper::Error;
use taper::kernels::plainly;
use taper::model::{LoadOptions, Model, Opened, Quantize};
use taper::parity::TOLERANCE;

const CASES: [&str; 5] = ["gpt2", "gpt_neox", "llama", "phi3", "tied"];

#[test]
fn every_adapter_gives_pefts_logits() {
    for case in CASES {
        let adapter = adapter(case);
        let (base, theirs) = (base(&adapter), tensors(&adapter));
        for plain in [true, false] {
            let options = LoadOptions { plain, ..with(&adapter) };
            let compute = || logits(&Model::load(&base, &options).unwrap(), &theirs["ids"]);
            let ours = if plain { plainly(compute) } else { compute() };
            let off = apart(&ours, &theirs["logits"]);
            assert!(off < TOLERANCE, "{case}: differs from PEFT's by {off}");
        }
        let unadapted = Model::load(&base, &LoadOptions::default()).unwrap();
        let off = apart(&logits(&unadapted, &theirs["ids"]), &theirs["logits"]);
        assert!(off > 0.1, "{case}: without the adapter it is the same to {off}");
    }
}

fn adapter(case: &str) -> PathBuf {
    golden("adapters").join(case)
}

fn config(adapter: &Path) -> Value {
    let text = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The base that a golden adapter names.
fn base(adapter: &Path) -> PathBuf {
    golden(config(adapter)["base_model_name_or_path"].as_str().unwrap())
}

fn with(adapter: &Path) -> LoadOptions {
    LoadOptions { adapters: vec![adapter.to_path_buf()], ..LoadOptions::default() }
}

fn tensors(adapter: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(adapter.join("logits.safetensors"), &Device::Cpu).unwrap()
}

fn logits(model: &Model, ids: &Tensor) -> Tensor {
    model.decoder.logits(&ids.to_dtype(DType::U32).unwrap()).unwrap()
}

/// The largest difference.
fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let off = (a.to_dtype(DType::F32).unwrap() - b).unwrap().abs().unwrap().flatten_all().unwrap();
    let worst = |most: f32, off: f32| if off > most || off.is_nan() { off } else { most };
    off.to_vec1::<f32>().unwrap().into_iter().fold(0.0, worst)
}
