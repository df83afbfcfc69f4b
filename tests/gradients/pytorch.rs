//! Gradients of every parameter and ten steps of AdamW against PyTorch's, by the definitions and
//! with the fast paths of every level. `scripts/golden_grad.py` made the files.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use taper::Result;
use taper::kernels::{self, Isa};
use taper::nn::Decoder;
use taper::train::{AdamW, Recipe, Variables};

use super::difference;

const CASES: [&str; 4] = ["gpt2/small", "llama/tied_gqa", "qwen3/tied", "gemma2/capped_window"];
/// How far a gradient may be off, as a share of the largest of its parameter; losses absolutely.
const TOLERANCE: f64 = 1e-4;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What PyTorch computed, by name.
fn truth(case: &str) -> HashMap<String, Tensor> {
    let name = format!("tests/gradients/{}.safetensors", case.replace('/', "-"));
    candle_core::safetensors::load(root().join(name), &Device::Cpu).unwrap()
}

/// The mean cross-entropy of every token after a row's first.
fn loss(decoder: &Decoder, ids: &Tensor) -> Result<Tensor> {
    let (rows, seq) = ids.dims2()?;
    let logits = decoder.logits(ids)?.narrow(1, 0, seq - 1)?;
    let logits = logits.reshape((rows * (seq - 1), ()))?;
    let labels = ids.narrow(1, 1, seq - 1)?.flatten_all()?;
    match kernels::cross_entropy(&logits, &labels.to_vec1::<u32>()?)? {
        Some(losses) => Ok(losses.mean_all()?),
        None => Ok(candle_nn::loss::cross_entropy(&logits, &labels)?),
    }
}

/// The loss, and the gradient of every variable in their order.
fn gradients(variables: &Variables, ids: &Tensor) -> (f64, Vec<Tensor>) {
    let loss = loss(&variables.decoder().unwrap(), ids).unwrap();
    let store = loss.backward().unwrap();
    let gradient = |(name, var): (&str, &Var)| match store.get(var) {
        Some(gradient) => gradient.contiguous().unwrap(),
        None => panic!("{name} has no gradient"),
    };
    (f64::from(loss.to_scalar::<f32>().unwrap()), variables.iter().map(gradient).collect())
}

/// What is off, by name.
fn judge(variables: &Variables, ours: &[Tensor], truth: &HashMap<String, Tensor>) -> Vec<String> {
    let off = |(name, ours): (&str, &Tensor)| {
        let off = difference(ours, &truth[name]);
        (off > TOLERANCE).then(|| format!("the gradient of {name} is off by {off:.1e}"))
    };
    variables.iter().map(|(name, _)| name).zip(ours).filter_map(off).collect()
}

fn recipe() -> Recipe {
    let sets = ["beta1=0.9", "beta2=0.95", "epsilon=1e-8", "weight_decay=0.1"].map(String::from);
    Recipe::read(&root().join("configs/train/shakespeare.toml"), &sets).unwrap()
}

/// Everything that is off in a case: gradients first, then the losses of ten steps.
fn faults(case: &str, recipe: &Recipe) -> Vec<String> {
    let truth = truth(case);
    let variables = Variables::at(&root().join("tests/golden").join(case)).unwrap();
    let judged = variables.iter().filter(|(name, _)| truth.contains_key(*name)).count();
    assert_eq!((judged + 2, judged), (truth.len(), variables.iter().count()), "{case}");
    let ids = truth["ids"].to_dtype(DType::U32).unwrap();
    let losses = truth["losses"].to_vec1::<f32>().unwrap();
    let mut optimizer = AdamW::new(&variables);
    let mut found = Vec::new();
    for (step, theirs) in losses.iter().enumerate() {
        let (loss, ours) = gradients(&variables, &ids);
        if step == 0 {
            found.extend(judge(&variables, &ours, &truth));
        }
        let off = (loss - f64::from(*theirs)).abs();
        if off > TOLERANCE || off.is_nan() {
            found.push(format!("the loss of step {step} is {loss}, not {theirs}"));
        }
        let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let list: Vec<Vec<f32>> = ours.iter().map(numbers).collect();
        optimizer.step(&variables, &list, 1.0, 1e-3, recipe).unwrap();
    }
    found
}

#[test]
fn gradients_and_steps_are_pytorchs() {
    let recipe = recipe();
    let mut all = Vec::new();
    for case in CASES {
        let plainly = kernels::plainly(|| faults(case, &recipe));
        all.extend(plainly.into_iter().map(|fault| format!("{case}, plainly: {fault}")));
        for isa in Isa::available() {
            let found = isa.with(|| faults(case, &recipe));
            all.extend(found.into_iter().map(|fault| format!("{case}, {isa:?}: {fault}")));
        }
    }
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
}

/// A comparison that lets everything through would look just like parity.
#[test]
fn planted_faults_are_seen() {
    let case = CASES[1];
    let truth = truth(case);
    let variables = Variables::at(&root().join("tests/golden").join(case)).unwrap();
    let ids = truth["ids"].to_dtype(DType::U32).unwrap();
    let (_, ours) = gradients(&variables, &ids);
    for (at, (name, _)) in variables.iter().enumerate() {
        let mut wrong = ours.clone();
        let mut numbers = wrong[at].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let greatest = numbers.iter().fold(0f32, |g, x| g.max(x.abs()));
        numbers[0] += 3e-4 * greatest;
        wrong[at] = Tensor::from_vec(numbers, wrong[at].dims(), &Device::Cpu).unwrap();
        let found = judge(&variables, &wrong, &truth);
        assert!(found.len() == 1 && found[0].contains(name), "{name}: {found:?}");
    }
    // Another decay, or moments that forget faster: the losses of later steps tell.
    let reach = |set: &str| {
        let sets = ["beta1=0.9", "beta2=0.95", "epsilon=1e-8", "weight_decay=0.1", set];
        let path = root().join("configs/train/shakespeare.toml");
        faults(case, &Recipe::read(&path, &sets.map(String::from)).unwrap())
    };
    for set in ["weight_decay=0.0", "beta1=0.85", "beta2=0.99"] {
        let found = reach(set);
        assert!(!found.is_empty() && found.iter().all(|f| f.contains("step")), "{set}: {found:?}");
    }
}
