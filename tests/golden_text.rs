//! Real checkpoints and their known truths: exact text, exact activations. They lie beside the
//! repository, never in it; where one is missing its test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use common::{fetched, golden, shared};
use taper::model::{LoadOptions, Model};
use taper::nn::{At, Cache, Site};
use taper::parity::record;
use taper::text::{Message, RenderOptions};

/// A real GPT-2, trained to sort six letters; activations published with it.
#[test]
fn nano_sort_computes_its_published_activations() {
    let Some(folder) = shared("nano-sort-gpt") else { return };
    let model = Model::load(&folder, &LoadOptions::default()).unwrap();
    let partials: HashMap<String, Tensor> =
        candle_core::safetensors::load(folder.join("partials.safetensors"), &Device::Cpu).unwrap();
    let ids = partials["idx"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let trace = record(&model.decoder, &ids, |_| true).unwrap();
    let block = |layer: usize, site| trace.sites[&At { layer: Some(layer), site }].clone();
    let whole = |site| trace.sites[&At { layer: None, site }].clone();
    let pairs = [
        ("x", whole(Site::Embed)),
        ("ln1", block(0, Site::AttnIn)),
        ("q", block(0, Site::Q)),
        ("k", block(0, Site::K)),
        ("v", block(0, Site::V)),
        ("attSm", block(0, Site::Pattern)),
        ("yProj", block(0, Site::AttnOut)),
        ("attnResid", block(0, Site::ResidMid)),
        ("ln2", block(0, Site::MlpIn)),
        ("mlp", block(0, Site::MlpOut)),
        ("mlpResid", block(0, Site::ResidPost)),
        ("block0", block(0, Site::ResidPost)),
        ("block1", block(1, Site::ResidPost)),
        ("block2", block(2, Site::ResidPost)),
        ("ln_f", whole(Site::FinalNorm)),
        ("lm_head", whole(Site::Logits)),
    ];
    for (name, ours) in pairs {
        let theirs = &partials[name];
        assert_eq!(ours.dims(), theirs.dims(), "{name}");
        let apart = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap();
        let sum = apart.sum(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(sum.is_finite(), "a maximum passes over what is no number");
        let apart = apart.max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(apart <= 1e-4, "{name} differs by {apart}");
    }
}

#[test]
fn nano_sort_sorts_all_729_inputs() {
    let Some(folder) = shared("nano-sort-gpt") else { return };
    let model = Model::load(&folder, &LoadOptions::default()).unwrap();
    let inputs: Vec<Vec<u32>> =
        (0..729u32).map(|n| (0..6).map(|i| n / 3u32.pow(i) % 3).collect()).collect();
    // All at once: one row each, six greedy tokens.
    let mut cache = Cache::new(model.spec(), &vec![0; inputs.len()], 11);
    let mut input = Tensor::new(inputs.clone(), &Device::Cpu).unwrap();
    let mut sorted = vec![Vec::new(); inputs.len()];
    for _ in 0..6 {
        let logits = model.decoder.next(&input, &mut cache).unwrap();
        let ids = logits.argmax(2).unwrap(); // (batch, 1)
        for (row, id) in sorted.iter_mut().zip(ids.flatten_all().unwrap().to_vec1::<u32>().unwrap())
        {
            row.push(id);
        }
        input = ids;
    }
    for (input, output) in inputs.into_iter().zip(sorted) {
        let mut expected = input.clone();
        expected.sort_unstable();
        assert_eq!(output, expected, "of {input:?}");
    }
}

/// A real Llama, trained on TinyStories; the greedy text that is published for it, to the byte.
#[test]
fn stories_tell_the_published_story() {
    let Some(folder) = shared("stories260K") else { return };
    let model = Model::load(&folder, &LoadOptions::default()).unwrap();
    let tokenizer = model.tokenizer.as_ref().unwrap();
    let expected = std::fs::read_to_string(folder.join("expected.txt")).unwrap();
    let mut cache = Cache::new(model.spec(), &[0], 64);
    let mut ids = tokenizer.encode("", true).unwrap();
    assert_eq!(ids, [tokenizer.bos_id().unwrap()], "an empty prompt is the BOS alone");
    let mut stream = tokenizer.stream(true);
    let mut text = String::new();
    while text.len() < expected.len() {
        let input = Tensor::new(vec![ids], &Device::Cpu).unwrap();
        let logits = model.decoder.next(&input, &mut cache).unwrap();
        ids = logits.argmax(2).unwrap().flatten_all().unwrap().to_vec1::<u32>().unwrap();
        text.extend(stream.push(ids[0]).unwrap());
    }
    text.extend(stream.finish().unwrap());
    assert_eq!(text, expected);
}

/// SmolLM2-135M-Instruct: what transformers tokenizes and continues, greedily, in f32.
struct Told {
    prompt: serde_json::Value,
    prompt_ids: Vec<u32>,
    token_ids: Vec<u32>,
    margins: Vec<f64>,
}

fn told() -> Vec<Told> {
    let file = std::fs::read(golden("real/smollm2.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let ids = |value: &serde_json::Value| serde_json::from_value(value.clone()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let told = |case: &serde_json::Value| Told {
        prompt: case["prompt"].clone(),
        prompt_ids: ids(&case["prompt_ids"]),
        token_ids: ids(&case["token_ids"]),
        margins: serde_json::from_value(case["margins"].clone()).unwrap(),
    };
    cases.iter().map(told).collect()
}

/// The prompt's ids, by the model's own tokenizer and chat template.
fn prompt_ids(model: &Model, prompt: &serde_json::Value) -> Vec<u32> {
    let tokenizer = model.tokenizer.as_ref().unwrap();
    let Some(text) = prompt.as_str() else {
        let messages: Vec<Message> = serde_json::from_value(prompt.clone()).unwrap();
        let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
        let text = model.chat_template.as_ref().unwrap().render(&messages, &options).unwrap();
        return tokenizer.encode(&text, false).unwrap();
    };
    tokenizer.encode(text, true).unwrap()
}

/// As many greedy ids as `n`, all rows of one batch.
fn greedy(model: &Model, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut cache = Cache::new(model.spec(), &[0], prompt.len() + n);
    let mut input = prompt.to_vec();
    let mut ids = Vec::new();
    while ids.len() < n {
        let tensor = Tensor::new(vec![input], &Device::Cpu).unwrap();
        let logits = model.decoder.next(&tensor, &mut cache).unwrap();
        let id = logits.flatten_all().unwrap().argmax(0).unwrap().to_scalar::<u32>().unwrap();
        ids.push(id);
        input = vec![id];
    }
    ids
}

#[test]
fn smollm2_says_what_transformers_says() {
    let Some(folder) = fetched("SmolLM2-135M-Instruct-f32") else { return };
    let model = Model::load(&folder, &LoadOptions::default()).unwrap();
    let cases = told();
    assert!(cases.len() >= 6);
    for case in cases {
        assert_eq!(prompt_ids(&model, &case.prompt), case.prompt_ids, "ids of {}", case.prompt);
        assert_eq!(case.token_ids.len(), 64);
        let ours = greedy(&model, &case.prompt_ids, 64);
        assert_eq!(ours, case.token_ids, "after {}", case.prompt);
    }
}

/// The same weights as stored, in blocks: products round activations to 8 bits, so that only a
/// choice that was near a tie may fall otherwise.
#[test]
fn smollm2_in_blocks_says_what_its_weights_dequantised_say() {
    let Some(file) = fetched("SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    let options = LoadOptions { dtype: Some(DType::F32), ..LoadOptions::default() };
    let dense = Model::load(&file, &options).unwrap();
    let blocks = Model::load(&file, &LoadOptions::default()).unwrap();
    let (mut same, mut all) = (0, 0);
    for case in told() {
        assert_eq!(prompt_ids(&blocks, &case.prompt), case.prompt_ids, "ids of {}", case.prompt);
        assert_eq!(greedy(&dense, &case.prompt_ids, 64), case.token_ids, "after {}", case.prompt);
        let ours = greedy(&blocks, &case.prompt_ids, 64);
        let parted = ours.iter().zip(&case.token_ids).position(|(a, b)| a != b);
        same += usize::from(parted.is_none());
        all += 1;
        if let Some(at) = parted {
            let margin = case.margins[at];
            assert!(margin < 0.5, "parted at {at} by {margin} after {}", case.prompt);
        }
    }
    eprintln!("{same} of {all} texts are the same to the last token");
}
