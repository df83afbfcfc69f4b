//! A decoder of variables: the same numbers as a checkpoint's, and a gradient for each of them.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use taper::model::{LoadOptions, Model, Opened};
use taper::train::{Variables, fresh};

use crate::common::golden_cases;

/// Cases whose weights are not floats that one can train, or which are read by other names.
const NOT_TRAINED: [&str; 1] = ["gpt_oss/mxfp4"];

/// Whose gradient is 0 whatever the loss is, and why.
const WITHOUT_GRADIENT: [(&str, &str); 3] = [
    ("apertus/biases", "act_fn.eps"), // a bound that only tiny arguments meet
    ("apertus/llama3", "act_fn.eps"),
    ("mixtral/one_expert", "block_sparse_moe.gate.weight"), // one expert of one has all of the weight
];

/// Families whose tensors may be stored in several ways, of which a new model takes the first: the
/// numbers are as many.
const STORED_OTHERWISE: [&str; 9] = [
    "apertus",
    "falcon",
    "gpt2/pickled",
    "granitemoe",
    "mixtral/stacked",
    "olmoe",
    "phimoe",
    "qwen2_moe",
    "qwen3_moe",
];

fn ids(vocab: usize) -> Tensor {
    let ids: Vec<u32> = (0..48).map(|i| ((i * i * 7 + i * 3 + 1) % vocab) as u32).collect();
    Tensor::from_vec(ids, (2, 24), &Device::Cpu).unwrap()
}

fn options() -> LoadOptions {
    LoadOptions { plain: true, ..LoadOptions::default() }
}

/// A kernel without a backward pass that took a tracked tensor would cut the graph silently.
#[test]
fn every_variable_has_a_gradient() {
    let (mut faults, mut cases) = (Vec::new(), 0);
    for case in golden_cases() {
        let name = format!("{}/{}", case.family, case.name);
        if NOT_TRAINED.contains(&name.as_str()) {
            continue;
        }
        let variables = Variables::at(&case.path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let ids = ids(variables.spec().vocab_size);
        let logits = variables.decoder().unwrap().logits(&ids).unwrap();
        let plain = Model::load(&case.path, &options()).unwrap().decoder.logits(&ids).unwrap();
        let apart = (&logits - &plain).unwrap().abs().unwrap().max_all().unwrap();
        if apart.to_scalar::<f32>().unwrap() > 1e-4 {
            faults.push(format!("{name}: logits differ by {apart}"));
        }
        // No symmetric function: a sum of softmaxes, say, would hide a bias.
        let loss = logits.sin().unwrap().mean_all().unwrap();
        let gradients = loss.backward().unwrap();
        let zero = |variable: &str| {
            WITHOUT_GRADIENT.iter().any(|(case, end)| *case == name && variable.ends_with(end))
        };
        for (variable, var) in variables.iter() {
            let size = |g: &Tensor| g.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            match gradients.get(var) {
                Some(gradient) if size(gradient) > 0.0 => {}
                Some(_) if zero(variable) => {}
                Some(_) => faults.push(format!("{name}: the gradient of {variable} is 0")),
                None => faults.push(format!("{name}: no gradient for {variable}")),
            }
        }
        cases += 1;
    }
    assert!(cases > 80, "{cases} cases");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A new model has the very tensors that transformers stores for that configuration.
#[test]
fn a_new_model_has_the_tensors_of_a_checkpoint() {
    let mut faults = Vec::new();
    for case in golden_cases() {
        let name = format!("{}/{}", case.family, case.name);
        if NOT_TRAINED.contains(&name.as_str()) {
            continue;
        }
        let opened = Opened::at(&case.path, &name, &options()).unwrap();
        let spec = &opened.described.spec;
        let fresh = match fresh(spec, opened.names(), 0.02, 1) {
            Ok(fresh) => fresh,
            Err(error) => {
                faults.push(format!("{name}: {error}"));
                continue;
            }
        };
        let shapes = |variables: &Variables| -> BTreeMap<String, Vec<usize>> {
            variables.iter().map(|(name, var)| (name.into(), var.dims().to_vec())).collect()
        };
        let (found, expected) = (shapes(&fresh), shapes(&Variables::of(&opened).unwrap()));
        let count = |shapes: &BTreeMap<String, Vec<usize>>| -> usize {
            shapes.values().map(|shape| shape.iter().product::<usize>()).sum()
        };
        let otherwise = STORED_OTHERWISE.iter().any(|prefix| name.starts_with(prefix));
        if found != expected && !(otherwise && count(&found) == count(&expected)) {
            let only = |a: &BTreeMap<String, Vec<usize>>, b: &BTreeMap<_, _>| {
                let only = a.iter().filter(|(name, shape)| b.get(*name) != Some(*shape));
                only.take(4).map(|(name, shape)| format!("{name} {shape:?}")).collect::<Vec<_>>()
            };
            faults.push(format!(
                "{name}: too many {:?}, missing {:?}",
                only(&found, &expected),
                only(&expected, &found)
            ));
        }
        let logits = fresh.detached().unwrap().logits(&ids(spec.vocab_size)).unwrap();
        let largest = logits.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        if largest.is_nan() || largest == 0.0 {
            faults.push(format!("{name}: a new model's largest logit is {largest}"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
