//! Are adapters PEFT's? What it computes with tiny LoRA adapters of the golden checkpoints
//! (`scripts/golden_adapters.py`), and what of an adapter is refused.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

#[path = "adapters/commands.rs"]
mod commands;
#[path = "adapters/training.rs"]
mod training;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use common::golden;
use serde_json::{Value, json};
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

#[test]
fn a_merged_folder_needs_no_adapter() {
    for case in CASES {
        let adapter = adapter(case);
        let (base, theirs) = (base(&adapter), tensors(&adapter));
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("merged");
        let opened = Opened::at(&base, case, &with(&adapter)).unwrap();
        let mut bytes = 0;
        opened.save(&out, &mut |more| bytes += more).unwrap();
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{case}: something half written stayed");
        let merged = Opened::at(&out, case, &LoadOptions::default()).unwrap();
        let dtypes = |opened: &Opened| opened.checkpoint.stored_dtype();
        assert_eq!(dtypes(&merged), dtypes(&opened), "{case}");
        assert_eq!(bytes, merged.checkpoint.total_bytes(), "{case}");
        for tensor in merged.checkpoint.tensors() {
            let whole = |opened: &Opened| {
                let whole = opened.checkpoint.whole(&tensor.name, DType::F32, &Device::Cpu);
                whole.unwrap()
            };
            let stored = tensor.dtype.dtype().unwrap();
            let expected = whole(&opened).to_dtype(stored).unwrap();
            let what = format!("{case}: {}", tensor.name);
            assert_eq!(
                apart(&whole(&merged), &expected.to_dtype(DType::F32).unwrap()),
                0.0,
                "{what}"
            );
        }
        let ours = logits(&merged.load(&LoadOptions::default()).unwrap(), &theirs["ids"]);
        if dtypes(&opened) == Some(DType::F32) {
            let off = apart(&ours, &theirs["logits"]);
            assert!(off < TOLERANCE, "{case}: differs from PEFT's by {off}");
        }
        // Nothing is ever written over.
        let again = opened.save(&out, &mut |_| ()).unwrap_err();
        assert!(again.to_string().contains("holds something already"), "{again}");
    }
}

#[test]
fn what_could_change_the_numbers_is_refused_by_name() {
    let changes: [(&str, Value, &[&str]); 14] = [
        ("use_dora", json!(true), &["`use_dora`"]),
        ("init_lora_weights", json!("pissa_niter_4"), &["`init_lora_weights`", "pissa"]),
        ("peft_type", json!("LOHA"), &["`peft_type`", "LOHA"]),
        ("r", json!(3), &["lora_embedding_A", "[2, 61]", "[3, 61]"]),
        ("r", json!(0), &["`r`", "at least 1"]),
        ("layer_replication", json!([[0, 2]]), &["`layer_replication`"]),
        ("something_new", json!(1), &["`something_new`"]),
        ("target_modules", json!(["v_proj"]), &["`target_modules`", "embed_tokens"]),
        ("target_modules", json!("["), &["`target_modules`", "pattern"]),
        ("target_modules", Value::Null, &["`target_modules`", "missing"]),
        ("exclude_modules", json!(["v_proj"]), &["layers.0.self_attn.v_proj"]),
        ("layers_to_transform", json!([1]), &["`target_modules`"]),
        ("rank_pattern", json!({ "v_proj": -1 }), &["`rank_pattern`"]),
        ("lora_alpha", json!("four"), &["`lora_alpha`", "number"]),
    ];
    let case = adapter("tied");
    for (key, value, words) in changes {
        let folder = copy(&case);
        let mut map = config(&case).as_object().unwrap().clone();
        map.insert(key.into(), value);
        let text = serde_json::to_string(&map).unwrap();
        std::fs::write(folder.path().join("adapter_config.json"), text).unwrap();
        let error = Opened::at(&base(&case), "tied", &with(folder.path())).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_by_name() {
    let case = adapter("tied");
    let refused = |base: &Path, folder: &Path, words: &[&str]| {
        let error = Opened::at(base, "a model", &with(folder)).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    };
    // Another shape, another family, and a GGUF.
    refused(&golden("llama/untied_mha"), &case, &["embed_tokens", "[2, 61]", "[2, 41]"]);
    refused(&golden("gpt2/switches"), &case, &["embed_tokens", "nearest present"]);
    refused(&golden("gguf/qwen2/model.gguf"), &case, &["--adapter", "GGUF"]);
    // Files that are missing, cut short, or hold something else.
    let folder = copy(&case);
    let weights = folder.path().join("adapter_model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() - 1]).unwrap();
    refused(&base(&case), folder.path(), &["adapter_model.safetensors"]);
    std::fs::remove_file(&weights).unwrap();
    refused(&base(&case), folder.path(), &["holds no adapter"]);
    refused(&base(&case), &base(&case), &["adapter_config.json"]);
    let tensor =
        |name: &str| (name.to_string(), Tensor::zeros((2, 32), DType::F32, &Device::Cpu).unwrap());
    const V: &str = "base_model.model.model.layers.0.self_attn.v_proj";
    for (names, words) in [
        (vec![format!("{V}.lora_A.weight")], vec!["one of A and B", "v_proj"]),
        (vec![format!("{V}.lora_magnitude_vector")], vec!["lora_magnitude_vector", "none"]),
        (vec![format!("{V}.lora_B.bias")], vec!["lora_B.bias"]),
        (vec!["base_model.model.score.weight".into()], vec!["score"]),
        (vec!["model.layers.0.lora_A.weight".into()], vec!["model.layers.0.lora_A"]),
    ] {
        let tensors: HashMap<String, Tensor> = names.iter().map(|name| tensor(name)).collect();
        candle_core::safetensors::save(&tensors, &weights).unwrap();
        refused(&base(&case), folder.path(), &words);
    }
}

#[test]
fn adapters_add_up_and_go_through_packing_and_rounding() {
    let case = adapter("llama");
    let (base, theirs) = (base(&case), tensors(&case));
    // An adapter and its negative are nothing; a norm in another's place stays.
    let folder = copy(&case);
    let file = folder.path().join("adapter_model.safetensors");
    let mut negative = stored(&case);
    negative.retain(|name, _| name.contains("lora_"));
    for (name, tensor) in &mut negative {
        if name.contains("lora_B") {
            *tensor = tensor.neg().unwrap();
        }
    }
    candle_core::safetensors::save(&negative, &file).unwrap();
    let mut options = with(&case);
    options.adapters.push(folder.path().into());
    let none = logits(&Model::load(&base, &options).unwrap(), &theirs["ids"]);
    let plain = logits(&Model::load(&base, &LoadOptions::default()).unwrap(), &theirs["ids"]);
    assert!(apart(&none, &plain) > 0.01, "the norm is not replaced");
    let mut only_norm = stored(&case);
    only_norm.retain(|name, _| !name.contains("lora_"));
    candle_core::safetensors::save(&only_norm, &file).unwrap();
    let norm = logits(&Model::load(&base, &with(folder.path())).unwrap(), &theirs["ids"]);
    assert!(apart(&none, &norm) < TOLERANCE, "B and -B do not cancel");
    // Rounded to 8 bits, the folded matrix is what is rounded.
    let eight = Some(Quantize::Q8);
    let ours = LoadOptions { quantize: eight, ..with(&case) };
    let ours = logits(&Model::load(&base, &ours).unwrap(), &theirs["ids"]);
    let off = apart(&ours, &theirs["logits"]);
    let theirs_unadapted = LoadOptions { quantize: eight, ..LoadOptions::default() };
    let unadapted = logits(&Model::load(&base, &theirs_unadapted).unwrap(), &theirs["ids"]);
    let rounding = apart(&unadapted, &plain);
    assert!(off > 0.0 && off < 4.0 * rounding, "{off} beside {rounding} without an adapter");
}

/// The adapter's tensors.
fn stored(adapter: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(adapter.join("adapter_model.safetensors"), &Device::Cpu).unwrap()
}

/// A copy of an adapter, to be changed.
fn copy(adapter: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(adapter.join(file), folder.path().join(file)).unwrap();
    }
    folder
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
