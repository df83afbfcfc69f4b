//! Does looking inside show what is there? Patterns, statistics, lens, head scores and edits against
//! transformers (`scripts/golden_inspect.py`) and against the plain pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod built;
mod commands;
mod hands;
mod kinds;
mod lessons;
mod long;
mod pictures;
mod real;
mod viewer;

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use common::{golden, golden_cases};
use serde_json::Value;
use taper::generate::{Request, Sampling, generate};
use taper::inspect::{
    Bench, HeadView, Instead, Map, Of, Plan, attend, lens, moved, score, shuffled,
};
use taper::model::{LoadOptions, Model};
use taper::nn::{At, HeadEdits, HeadScale, Run, Site};
use taper::parity::{Trace, record};

/// The largest difference from PyTorch, f32 on both sides.
const TOLERANCE: f64 = 1e-5;

fn load(case: &str) -> Model {
    Model::load(golden(case), &LoadOptions::default()).unwrap()
}

fn cases() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(golden("inspect.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().clone()
}

fn ids(case: &Value) -> Vec<u32> {
    case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[track_caller]
fn near(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= TOLERANCE, "{what}: {ours} instead of {theirs}");
}

/// Exact maps of every head.
fn maps(model: &Model, ids: &[u32]) -> (Vec<HeadView>, Vec<(Of, Map)>) {
    let plan = Plan { map: Some(ids.len()), top: 3, ..Plan::default() };
    let mut maps = Vec::new();
    let seen = attend(&model.decoder, ids, &plan, None, &mut |of, map| {
        maps.push((of, map));
        Ok(())
    });
    (seen.unwrap().heads, maps)
}

#[test]
fn patterns_queries_keys_values_and_sums_are_pytorchs() {
    let mut checked = 0;
    for case in golden_cases() {
        let theirs = Trace::read(&case.path.join("reference.safetensors")).unwrap();
        let model = Model::load(&case.path, &LoadOptions::default()).unwrap();
        let wanted = [Site::Q, Site::K, Site::V, Site::Pattern, Site::Z];
        let ours = record(&model.decoder, &theirs.ids, |at| wanted.contains(&at.site)).unwrap();
        let (_, maps) = maps(&model, &theirs.ids[0]);
        for (at, ours) in &ours.sites {
            let theirs = &theirs.sites[at];
            let apart = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap();
            let sum = apart.sum(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(sum.is_finite(), "a maximum passes over what is no number");
            let apart = apart.max(0).unwrap().to_scalar::<f32>().unwrap();
            let size = theirs.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let size = size.to_scalar::<f32>().unwrap().max(1.0);
            assert!(apart <= 1e-5 * size, "{}/{} {at}: {apart} of {size}", case.family, case.name);
        }
        // The rows computed again are the pattern, head for head.
        for (of, map) in &maps {
            let Of::Head(layer, head) = *of else { continue };
            let theirs = &theirs.sites[&At { layer: Some(layer), site: Site::Pattern }];
            let theirs = theirs.get(0).unwrap().get(head).unwrap().to_vec2::<f32>().unwrap();
            for (query, row) in theirs.iter().enumerate() {
                for (key, weight) in row.iter().enumerate() {
                    near(map.at(query, key).into(), (*weight).into(), &case.name);
                }
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} heads");
}

#[test]
fn scores_statistics_and_lens_are_pytorchs() {
    for (name, case) in cases() {
        let (model, ids) = (load(&name), ids(&case));
        let period = case["period"].as_u64().unwrap() as usize;
        let scored = score(&model.decoder, std::slice::from_ref(&ids), period).unwrap();
        let (heads, _) = maps(&model, &ids);
        let theirs = case["heads"].as_array().unwrap();
        assert_eq!(scored.len(), theirs.len(), "{name}");
        for ((ours, view), theirs) in scored.iter().zip(&heads).zip(theirs) {
            assert_eq!(ours.layer as u64, theirs["layer"].as_u64().unwrap());
            for (which, value) in ours.scores.named() {
                near(value, theirs["scores"][which].as_f64().unwrap(), which);
            }
            let view = serde_json::to_value(view).unwrap();
            for (which, value) in theirs["statistics"].as_object().unwrap() {
                near(view[which].as_f64().unwrap(), value.as_f64().unwrap(), which);
            }
        }
        let last = ids.len() - 1;
        let vocab = model.spec().vocab_size;
        let reading = &lens(&model.decoder, &ids, last..last + 1, vocab).unwrap()[0];
        let finals = lens_logits(&model, &ids, reading.depths.len() - 1);
        for (depth, theirs) in reading.depths.iter().zip(case["lens"].as_array().unwrap()) {
            let kl = theirs["kl"].as_f64().unwrap();
            let (ours, theirs) = (lens_logits(&model, &ids, depth.layers), &theirs["logits"]);
            let theirs = numbers(theirs);
            let size = theirs.iter().fold(1f64, |size, x| size.max(x.abs()));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                near(ours / size, theirs / size, "logits");
            }
            // Nothing is lost on the way from our logits to the divergence; it is as exact as
            // they are, a mean of differences of theirs.
            let exact: f64 = softmax(&finals)
                .iter()
                .zip(softmax(&ours))
                .map(|(p, q)| p * (p.ln() - q.ln()))
                .sum();
            assert!((depth.kl - exact).abs() < 1e-12, "{name}: {} of {exact}", depth.kl);
            near(depth.kl / size, kl / size, "kl");
            let theirs = softmax(&theirs);
            assert_eq!(depth.top.len(), vocab);
            for guess in &depth.top {
                near(guess.probability, theirs[guess.id as usize], "lens");
            }
        }
        assert_eq!(reading.depths.len(), model.spec().layers.len() + 1);
    }
}

/// Logits after so many layers, of the last position.
fn lens_logits(model: &Model, ids: &[u32], layers: usize) -> Vec<f64> {
    let at = match layers {
        0 => At { layer: Some(0), site: Site::ResidPre },
        layers => At { layer: Some(layers - 1), site: Site::ResidPost },
    };
    let seen = record(&model.decoder, &[ids.to_vec()], |there| there == at).unwrap();
    let last = seen.sites[&at].narrow(1, ids.len() - 1, 1).unwrap().contiguous().unwrap();
    let logits = model.decoder.read_out(&last).unwrap().flatten_all().unwrap();
    logits.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = logits.iter().map(|x| (x - max).exp()).sum();
    logits.iter().map(|x| (x - max).exp() / sum).collect()
}

#[test]
fn switching_a_head_off_is_zeroing_its_columns() {
    for (name, case) in cases() {
        let (model, ids) = (load(&name), ids(&case));
        let input = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let heads = case["heads"].as_array().unwrap().iter();
        for (head, theirs) in heads.zip(case["ablated"].as_array().unwrap()) {
            let number = |key: &str| head[key].as_u64().unwrap() as usize;
            let scale = HeadScale { layer: number("layer"), head: number("head"), factor: 0.0 };
            let edits = HeadEdits::scaled(model.spec(), &[scale]).unwrap();
            let run = Run { probe: Some(&mut &edits), last_only: true, ..Run::default() };
            let ours = model.decoder.run(&input, run).unwrap().flatten_all().unwrap();
            let ours = ours.to_vec1::<f32>().unwrap();
            let theirs = numbers(theirs);
            let size = theirs.iter().fold(1f64, |size, x| size.max(x.abs()));
            for (ours, theirs) in ours.iter().zip(theirs) {
                near(f64::from(*ours) / size, theirs / size, &name);
            }
        }
    }
}

#[test]
fn an_edit_while_generating_with_the_cache_is_the_edit_without() {
    for case in ["llama/tied_gqa", "gpt2/small", "gemma2/capped_window"] {
        let model = load(case);
        let scales = [
            HeadScale { layer: 0, head: 1, factor: 0.0 },
            HeadScale { layer: 1, head: 2, factor: 0.3 },
        ];
        let request = Request {
            prompts: vec![vec![1, 9, 30].into(), vec![5].into()],
            max_tokens: 8,
            sampling: Sampling { greedy: true, ..Sampling::default() },
            logprobs: Some(1),
            heads: scales.to_vec(),
            ..Request::default()
        };
        let said = generate(&model.decoder, None, &request, &mut |_| ControlFlow::Continue(()));
        let edits = HeadEdits::scaled(model.spec(), &scales).unwrap();
        for completion in said.unwrap() {
            let whole: Vec<u32> =
                completion.prompt_ids.iter().chain(&completion.token_ids).copied().collect();
            let input = Tensor::new(whole.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let run = Run { probe: Some(&mut &edits), ..Run::default() };
            let logits = model.decoder.run(&input, run).unwrap();
            let logits = logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
            for (at, scored) in completion.logprobs.unwrap().iter().enumerate() {
                let row: Vec<f64> = logits[completion.prompt_ids.len() - 1 + at]
                    .iter()
                    .map(|x| f64::from(*x))
                    .collect();
                let logprob = softmax(&row)[scored.said.id as usize].ln();
                near(scored.said.logprob, logprob, case);
            }
            // And it does something.
            let moved = moved(&model.decoder, &whole, &edits).unwrap();
            assert!(moved.iter().any(|kl| *kl > 1e-4), "{case}: {moved:?}");
        }
    }
}

#[test]
fn blocks_of_a_long_text_add_up_to_the_whole() {
    // Longer than one piece of a cached pass, with a window, on random weights.
    for seed in 0..6 {
        let mut random = common::random::Random::new(seed);
        let mut spec = random.spec();
        spec.max_seq_len = 640;
        let decoder = common::random::decoder(&spec, &random.tensors(&spec));
        let ids = random.ids(spec.vocab_size, 600);
        let whole =
            record(&decoder, std::slice::from_ref(&ids), |at| at.site == Site::Pattern).unwrap();
        let plan = Plan { map: Some(600), top: 2, ..Plan::default() };
        attend(&decoder, &ids, &plan, None, &mut |of, map| {
            let Of::Head(layer, head) = of else { return Ok(()) };
            let theirs = &whole.sites[&At { layer: Some(layer), site: Site::Pattern }];
            let theirs = theirs.get(0)?.get(head)?.flatten_all()?.to_vec1::<f32>()?;
            let apart = map.values.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0f32, f32::max);
            assert!(apart < 1e-5, "seed {seed}, head {layer}.{head}: {apart}");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn rows_of_queries_add_up() {
    let model = load("gemma2/capped_window");
    let ids: Vec<u32> = (1..30).collect();
    let plan = Plan { layers: vec![0], heads: vec![2], top: ids.len(), ..Plan::default() };
    let seen = attend(&model.decoder, &ids, &plan, None, &mut |_, _| Ok(())).unwrap();
    let head = &seen.heads[0];
    assert_eq!((seen.heads.len(), head.layer, head.head, head.kv_head), (1, 0, 2, 1));
    assert_eq!(seen.layers[0].window, Some(4));
    let total: f64 = head.statistics.histogram.iter().sum();
    near(total, 1.0, "histogram");
    for row in &head.queries {
        let sum: f64 = row.top.iter().map(|look| f64::from(look.weight)).sum();
        near(sum, 1.0, "row");
        assert!(row.top.len() <= 4, "the window is 4");
        assert!(row.top.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
        let entropy: f64 = row.top.iter().map(|l| f64::from(l.weight)).map(|p| -p * p.ln()).sum();
        near(row.spread.entropy, entropy, "entropy");
    }
}

#[test]
fn every_head_gone_is_the_end_of_its_curve() {
    let model = load("llama/tied_gqa");
    let ids: Vec<u32> = (0..60).map(|at| at * 7 % 61).collect();
    let bench = Bench::new(&model.decoder, &ids).unwrap();
    assert_eq!(bench.tokens(), 59);
    let zero = bench.worths(Instead::Zero, &mut || Ok(())).unwrap();
    let heads: Vec<(usize, usize)> = zero.iter().map(|worth| (worth.layer, worth.head)).collect();
    assert_eq!(heads.len(), 8);
    let (a, b) = (shuffled(&heads, 1), taper::inspect::least_first(&zero));
    let last = |order: &[(usize, usize)]| {
        let curve = bench.curve(order, Instead::Zero, 4, &mut || Ok(())).unwrap();
        assert_eq!((curve[0], curve.len()), ((0, bench.loss), 5));
        *curve.last().unwrap()
    };
    assert_eq!(last(&a).0, 8);
    near(last(&a).1, last(&b).1, "all heads gone");
    // A mean in a head's place is another thing than nothing.
    let mean = bench.worths(Instead::Mean, &mut || Ok(())).unwrap();
    assert!(zero.iter().zip(&mean).any(|(a, b)| (a.loss - b.loss).abs() > 1e-4));
    assert!(Bench::new(&model.decoder, &[3]).is_err());
}

#[test]
fn what_does_not_exist_is_named() {
    let model = load("llama/tied_gqa");
    let wrong = |plan: Plan| {
        attend(&model.decoder, &[1, 2], &plan, None, &mut |_, _| Ok(())).unwrap_err().to_string()
    };
    let layer = wrong(Plan { layers: vec![2], ..Plan::default() });
    assert!(layer.contains("2 is none of the model's 0 to 1"), "{layer}");
    let head = wrong(Plan { heads: vec![4], ..Plan::default() });
    assert!(head.contains("4 is none of layer 0's 0 to 3"), "{head}");
    for (layer, head, says) in [(9, 0, "0 to 1"), (0, 9, "heads 0 to 3")] {
        let scale = HeadScale { layer, head, factor: 0.0 };
        let error = HeadEdits::scaled(model.spec(), &[scale]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // One token is a text.
    let plan = Plan { top: 3, map: Some(8), ..Plan::default() };
    let seen = attend(&model.decoder, &[1], &plan, None, &mut |_, _| Ok(())).unwrap();
    assert!(seen.heads.iter().all(|head| (head.statistics.first - 1.0).abs() < 1e-6));
}
