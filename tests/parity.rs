//! Are the numbers PyTorch's? Per family, tiny random checkpoints and what transformers computes
//! for them (`scripts/golden.py`): logits and every probe site, so that a failure says where.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use common::{golden, golden_cases};
use taper::family::FAMILIES;
use taper::kernels::plainly;
use taper::model::{LoadOptions, Model};
use taper::nn::{At, Cache, Decoder, Run};
use taper::parity::{Drift, TOLERANCE, Trace, compare, drifts_no_more, record};
use taper::weights::Checkpoint;

#[test]
fn every_family_equals_pytorch() {
    let mut measured: BTreeMap<String, (usize, f32)> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in golden_cases() {
        let (cases, largest) = measured.entry(case.family.clone()).or_default();
        let check = || check(&case.path, &case.path, &LoadOptions::default());
        // By the definitions alone, and with the fast paths.
        for (way, result) in [("plainly", plainly(check)), ("", check())] {
            match result {
                Ok(error) => *largest = largest.max(error),
                Err(problem) => {
                    failures.push(format!("{}/{} {way}: {problem}", case.family, case.name));
                }
            }
        }
        *cases += 1;
    }
    let expected: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    let found: BTreeSet<&str> = measured.keys().map(String::as_str).collect();
    assert_eq!(found, expected, "families with golden cases");
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
    // For the README's table, which scripts/readme_tables.py makes of it.
    let lines: Vec<String> = measured
        .iter()
        .map(|(family, (cases, largest))| format!("{family}\t{cases}\t{largest:.1e}"))
        .collect();
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("parity.tsv"), lines.join("\n"))
        .unwrap();
}

/// Cases that transformers cannot load as they are stored: there is no run of its own to measure.
const WITHOUT_YARDSTICK: [&str; 2] = ["gpt_oss/mxfp4", "minicpm/granite"];

/// Runs that drift more, at one site each, and why.
const DRIFT_MORE: [(&str, &str); 0] = [];

/// Prompts that a drift is measured over, as scripts/golden_drift.py has it.
const PROMPTS: usize = 48;

/// PyTorch's own drift, by site: the largest of the layers'.
type Drifts = BTreeMap<String, Drift>;

#[test]
fn sixteen_bits_drift_no_more_than_pytorchs() {
    let mut failures = Vec::new();
    for case in golden_cases() {
        let file = case.path.join("drift.json");
        if WITHOUT_YARDSTICK.contains(&format!("{}/{}", case.family, case.name).as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("scripts/golden_drift.py makes it");
        let drifts: BTreeMap<String, Drifts> = serde_json::from_str(&text).unwrap();
        for (name, dtype) in [("bf16", DType::BF16), ("f16", DType::F16)] {
            let what = format!("{}/{} {name}", case.family, case.name);
            let known = DRIFT_MORE.iter().find(|(run, _)| *run == what).map(|(_, site)| *site);
            if let Err(problem) = drift(&case.path, dtype, &drifts[name], known) {
                failures.push(format!("{what}: {problem}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} runs drift:\n{}", failures.len(), failures.join("\n"));
}

/// Holds a 16-bit run to PyTorch's own, over the same prompts. Our f32 run stands for PyTorch's: it
/// is the same, as the test above shows, to a small part of what 16 bits are off.
fn drift(folder: &Path, dtype: DType, theirs: &Drifts, known: Option<&str>) -> Result<(), String> {
    let reference =
        Trace::read(&folder.join("reference.safetensors")).map_err(|e| e.to_string())?;
    let prompt = |turn: usize, vocab: usize| {
        let mut ids = reference.ids[0].clone();
        let places = ids.len();
        ids.rotate_left(turn % places);
        vec![ids.iter().map(|id| (id + turn as u32) % vocab as u32).collect()]
    };
    let run = |dtype| -> taper::Result<Vec<Trace>> {
        let options = LoadOptions { dtype: Some(dtype), plain: true, ..LoadOptions::default() };
        let model = Model::load(folder, &options)?;
        let vocab = model.spec().vocab_size;
        let trace = |turn| record(&model.decoder, &prompt(turn, vocab), |_| true);
        (0..PROMPTS).map(trace).collect()
    };
    let joined = |dtype| -> taper::Result<Trace> {
        let each = run(dtype)?;
        let join = |at: &At| Tensor::cat(&each.iter().map(|t| &t.sites[at]).collect::<Vec<_>>(), 0);
        let sites = each[0].sites.keys().map(|at| Ok((*at, join(at)?)));
        Ok(Trace { sites: sites.collect::<taper::Result<_>>()?, ..Trace::default() })
    };
    let (ours, wide) = (joined(dtype), joined(DType::F32));
    let (ours, wide) = (ours.map_err(|e| e.to_string())?, wide.map_err(|e| e.to_string())?);
    let (differences, _) = compare(&ours, &wide).map_err(|e| e.to_string())?;
    let experts = std::fs::read_to_string(folder.join("config.json")).is_ok_and(|text| {
        ["num_experts", "num_local_experts"].iter().any(|key| text.contains(key))
    });
    let mut off = Vec::new();
    for mut d in differences {
        let Some(drift) = theirs.get(d.at.site.name()) else { continue }; // OPT 350M's final norm
        d.mean = typical(&ours.sites[&d.at], &wide.sites[&d.at]).map_err(|e| e.to_string())?;
        // A token near the border of two experts goes to either, which is far off and no fault.
        d.max = if experts { 0.0 } else { d.max };
        if !drifts_no_more(&d, *drift) && known != Some(d.at.to_string().as_str()) {
            off.push(format!("{} {:.1e}, {:.1e}: {drift:?}", d.at, d.max, d.mean));
        }
    }
    if off.is_empty() { Ok(()) } else { Err(off.join("; ")) }
}

/// The median over positions of the mean difference, as scripts/golden_drift.py has it.
fn typical(a: &Tensor, b: &Tensor) -> candle_core::Result<f32> {
    let rows = |x: &Tensor| match x.rank() {
        4 => x.transpose(1, 2)?.flatten(0, 1)?.flatten_from(1)?.to_vec2::<f32>(),
        _ => x.flatten(0, 1)?.to_vec2::<f32>(),
    };
    let apart = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { f64::from((a - b).abs()) };
    let mean = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        (a.iter().zip(b).map(apart).sum::<f64>() / a.len() as f64) as f32
    };
    let mut means: Vec<f32> = rows(a)?.iter().zip(&rows(b)?).map(mean).collect();
    means.sort_by(f32::total_cmp);
    Ok(means[(means.len() - 1) / 2])
}

#[test]
fn gguf_equals_pytorch_on_the_same_weights() {
    let mut failures = Vec::new();
    let mut seen = 0;
    for file in common::files(&golden("gguf"), "gguf") {
        if !file.ends_with("model.gguf") {
            continue;
        }
        seen += 1;
        let folder = file.parent().expect("a case's folder");
        // f32 means dequantised: the reference has the same numbers.
        let options = LoadOptions { dtype: Some(DType::F32), ..LoadOptions::default() };
        if let Err(problem) = check(&file, folder, &options) {
            failures.push(format!("{}: {problem}", file.display()));
        }
    }
    assert!(seen >= 43, "{seen} GGUF cases");
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_block_type_means_what_it_means_to_ggml() {
    let file = golden("gguf/blocks");
    let ours = Checkpoint::open(&file.join("blocks.gguf")).unwrap();
    let theirs =
        candle_core::safetensors::load(file.join("dequantized.safetensors"), &Device::Cpu).unwrap();
    for (name, values) in &theirs {
        let ours = ours.numbers_of(name).unwrap().unwrap();
        let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(ours.len(), values.len(), "{name}");
        for (a, b) in ours.iter().zip(&values) {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1e-3), "{name}: {a} instead of {b}");
        }
    }
    assert_eq!(theirs.len(), 13, "types of blocks");
}

/// The largest difference from the reference, if it is within the tolerance.
fn check(model: &Path, reference: &Path, options: &LoadOptions) -> Result<f32, String> {
    let model = Model::load(model, options).map_err(|e| e.to_string())?;
    let enough =
        |layers| if model.checkpoint().gguf().is_some() { 2 + 4 * layers } else { 3 + 14 * layers };
    let sites = check_trace(&model.decoder, &reference.join("reference.safetensors"), enough)?;
    let logits = check_logits(&model.decoder, &reference.join("logits.safetensors"))?;
    Ok(sites.max(logits))
}

/// A GGUF's reference has the sites that tell which tensor is read wrongly, the others have all.
fn check_trace(
    decoder: &Decoder,
    file: &Path,
    enough: impl Fn(usize) -> usize,
) -> Result<f32, String> {
    let theirs = Trace::read(file).map_err(|e| e.to_string())?;
    let ours = record(decoder, &theirs.ids, |_| true).map_err(|e| e.to_string())?;
    let (differences, missing) = compare(&ours, &theirs).map_err(|e| e.to_string())?;
    if !missing.is_empty() {
        return Err(format!("sites never announced: {missing:?}"));
    }
    let layers = decoder.spec().layers.len();
    if differences.len() < enough(layers) {
        return Err(format!("the reference has only {} sites", differences.len()));
    }
    match differences.iter().find(|d| d.max > TOLERANCE) {
        Some(d) => Err(format!("first differs at {}: {d:?}", d.at)),
        None => Ok(differences.iter().map(|d| d.max).fold(0.0, f32::max)),
    }
}

fn check_logits(decoder: &Decoder, file: &Path) -> Result<f32, String> {
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).map_err(|e| e.to_string())?;
    let prompts: BTreeMap<usize, &Tensor> = tensors
        .iter()
        .filter_map(|(name, ids)| Some((name.strip_suffix(".ids")?.parse().ok()?, ids)))
        .collect();
    let (mut largest, last) = (0f32, prompts.len().saturating_sub(1));
    for (number, ids) in prompts {
        let ids = ids.to_dtype(DType::U32).map_err(|e| e.to_string())?;
        let whole = decoder.logits(&ids).map_err(|e| e.to_string())?;
        let what = format!("{number}.logits");
        largest = largest.max(same(&whole, &tensors[&what], &what)?);
        if number == last {
            // Where PyTorch's are not the same with a cache, those are there as well.
            let cached = format!("{number}.cached_logits");
            let what = if tensors.contains_key(&cached) { &cached } else { &what };
            let ours = token_by_token(decoder, &ids).map_err(|e| e.to_string())?;
            largest = largest.max(same(&ours, &tensors[what], &format!("cached, {what}"))?);
        }
    }
    if largest > 0.0 { Ok(largest) } else { Err("there is no prompt".into()) }
}

fn token_by_token(decoder: &Decoder, ids: &Tensor) -> taper::Result<Tensor> {
    let mut cache = Cache::new(decoder.spec(), &[0], 3); // too small: it must grow
    let mut logits = Vec::new();
    for at in 0..ids.dim(1)? {
        let run = Run { cache: Some(&mut cache), probe: None, last_only: false };
        logits.push(decoder.run(&ids.narrow(1, at, 1)?, run)?);
    }
    Ok(Tensor::cat(&logits, 1)?)
}

fn same(ours: &Tensor, theirs: &Tensor, what: &str) -> Result<f32, String> {
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    let a: Vec<Vec<f32>> = ours.squeeze(0).unwrap().to_vec2().unwrap();
    let b: Vec<Vec<f32>> = theirs.squeeze(0).unwrap().to_vec2().unwrap();
    let mut largest = 0f32;
    for (position, (a, b)) in a.iter().zip(&b).enumerate() {
        let apart = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() };
        let max =
            a.iter().zip(b).map(apart).fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m });
        if max.is_nan() || max > TOLERANCE {
            return Err(format!("{what} differ by {max} at position {position}"));
        }
        let (ours, theirs) = (argmax(a), argmax(b));
        // An exact tie may fall either way.
        if ours != theirs && b[theirs] - b[ours] > TOLERANCE {
            return Err(format!("{what}: argmax {ours} instead of {theirs} at {position}"));
        }
        largest = largest.max(max);
    }
    Ok(largest)
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0)
}
