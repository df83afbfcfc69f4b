//! Real checkpoints and their known truths: exact text, exact activations. They lie beside the
//! repository, never in it; where one is missing its test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use common::shared;
use taper::model::{LoadOptions, Model};
use taper::nn::{At, Cache, Site};
use taper::parity::record;

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
