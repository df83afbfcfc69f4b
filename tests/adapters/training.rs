//! Adapters that are trained here: gradients are PEFT's, and what is written is what was trained.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use taper::model::{LoadOptions, Model, Opened};
use taper::text::Tokenizer;
use taper::train::{Batch, Event, Lora, Observer, Recipe, Variables, begin, loss, train};
use taper::weights::hub::Silent;

use super::{adapter, apart, base, copy, golden, logits, stored, tensors, with};

/// Relative to the largest of a gradient's numbers.
const RELATIVE: f32 = 1e-4;

#[test]
fn gradients_are_pefts() {
    // Case, α where it is not the adapter's (α/√r written as α/r), and targets.
    let cases: [(&str, f64, &[&str]); 3] = [
        ("gpt2", 5.0, &["c_attn", "mlp.c_proj"]),
        ("llama", 3.0 * 2f64.sqrt(), &["q", "k", "up", "mlp.down_proj"]),
        ("phi3", 8.0, &["qkv_proj", "gate"]),
    ];
    for (case, alpha, targets) in cases {
        let theirs = tensors(&adapter(case));
        let variables = variables(case, alpha, targets);
        let ids = theirs["ids"].to_dtype(DType::U32).unwrap();
        let n = ids.dim(1).unwrap();
        let batch = Batch {
            labels: ids.narrow(1, 1, n - 1).unwrap().flatten_all().unwrap().to_vec1().unwrap(),
            ids: ids.narrow(1, 0, n - 1).unwrap().contiguous().unwrap(),
            count: n - 1,
        };
        let mean = loss(&variables.decoder().unwrap(), &batch).unwrap();
        let mean = (mean * (1.0 / (n - 1) as f64)).unwrap();
        let off = apart(&mean, &theirs["loss"]);
        assert!(off < 1e-4, "{case}: the loss is off by {off}");
        let mut found = mean.backward().unwrap();
        let mut compared = 0;
        for (name, var) in variables.iter() {
            let gradient = found.remove(var).unwrap_or_else(|| panic!("{case}: {name} has none"));
            let Some(expected) = theirs.get(name) else { continue };
            let most = apart(&expected.zeros_like().unwrap(), expected);
            let off = apart(&gradient, expected);
            assert!(off <= RELATIVE * most, "{case}: {name} is off by {off}, of {most}");
            compared += 1;
        }
        assert_eq!(compared, theirs.keys().filter(|name| name.contains("lora_")).count(), "{case}");
    }
}

/// Variables with an adapter's numbers, and B zero where it has none; what else it replaces is in
/// the base.
fn variables(case: &str, alpha: f64, targets: &[&str]) -> Variables {
    let adapter = adapter(case);
    let (mut rest, given): (HashMap<_, _>, HashMap<_, _>) =
        stored(&adapter).into_iter().partition(|(name, _)| !name.contains("lora_"));
    let folder = copy(&adapter);
    if rest.is_empty() {
        // An adapter that does nothing.
        rest = given.iter().map(|(n, t)| (n.clone(), t.zeros_like().unwrap())).collect();
    }
    candle_core::safetensors::save(&rest, folder.path().join("adapter_model.safetensors")).unwrap();
    let opened = Opened::at(&base(&adapter), case, &with(folder.path())).unwrap();
    let targets = targets.iter().map(ToString::to_string).collect();
    let lora = Lora { rank: 2, alpha: Some(alpha), targets };
    let variables = Variables::adapter(&opened, &lora, 1).unwrap();
    let mut set = 0;
    for (name, var) in variables.iter() {
        if let Some(tensor) = given.get(name) {
            var.set(tensor).unwrap();
            set += 1;
        }
    }
    assert_eq!(set, given.len(), "{case}: {:?}", variables.iter().map(|v| v.0).collect::<Vec<_>>());
    variables
}

/// A tiny model with a tokenizer of characters, and examples to learn.
fn prepared(folder: &Path) {
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden("llama/tied_gqa").join(file), folder.join(file)).unwrap();
    }
    Tokenizer::of_characters(["abcdefgh ."].into_iter(), true).unwrap().save(folder).unwrap();
    let line = |i: usize| {
        let word = ["abc", "bcd", "cde", "def"][i % 4];
        format!("{{\"prompt\": \"{word} \", \"completion\": \"{word}.\"}}\n")
    };
    std::fs::write(folder.join("notes.jsonl"), (0..24).map(line).collect::<String>()).unwrap();
}

fn recipe(folder: &Path, out: &str, lora: bool) -> Recipe {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let mut sets = vec![
        format!("from={}", path("")),
        format!("train={}", path("notes.jsonl")),
        format!("out={}", path(out)),
        "steps=12".into(),
        "batch=4".into(),
        "seq_len=16".into(),
        "learning_rate=0.02".into(),
        "evaluate_every=6".into(),
    ];
    if lora {
        sets.extend(["lora.rank=4".into(), "lora.targets=[\"q\", \"v\", \"down\"]".into()]);
    }
    Recipe::tuning(lora, &sets).unwrap()
}

/// Keeps the losses.
#[derive(Default)]
struct Losses(Vec<f64>);

impl Observer for Losses {
    fn hear(&mut self, event: Event<'_>) -> taper::Result<()> {
        if let Event::Evaluated(line) = event {
            self.0.extend(line.valid_loss);
        }
        Ok(())
    }

    fn stops(&mut self) -> bool {
        false
    }
}

#[test]
fn what_is_trained_is_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    prepared(folder.path());
    let before = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let ids = Tensor::new(&[[1u32, 5, 3, 2]], &Device::Cpu).unwrap();
    let untrained = Model::load(folder.path(), &LoadOptions::default()).unwrap();
    for lora in [true, false] {
        let out = if lora { "adapted" } else { "tuned" };
        let recipe = recipe(folder.path(), out, lora);
        let start = begin(&recipe, 1, &mut Silent).unwrap();
        let as_it_was = start.variables.detached().unwrap().logits(&ids).unwrap();
        let off = apart(&as_it_was, &logits(&untrained, &ids));
        assert!(off < 1e-4, "{out}: before the first step it differs by {off}");
        let mut losses = Losses::default();
        let outcome = train(&recipe, &start, false, 1, &mut losses).unwrap();
        assert!(losses.0[1] < losses.0[0], "{out}: nothing was learned: {:?}", losses.0);
        let options = if lora { with(&outcome.folder) } else { LoadOptions::default() };
        let read = if lora { folder.path() } else { &outcome.folder };
        let written = logits(&Model::load(read, &options).unwrap(), &ids);
        let off = apart(&written, &start.variables.detached().unwrap().logits(&ids).unwrap());
        assert!(off < 1e-4, "{out}: what is written differs by {off}");
        assert!(apart(&written, &as_it_was) > 0.01, "{out}: nothing has changed");
        // The same run again, with two threads.
        let again = Recipe { out: folder.path().join("again").join(out), ..recipe.clone() };
        let start = begin(&again, 2, &mut Silent).unwrap();
        let second = train(&again, &start, false, 2, &mut Losses::default()).unwrap();
        let name = if lora { "adapter_model.safetensors" } else { "model.safetensors" };
        let bytes = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert!(bytes(&outcome.folder) == bytes(&second.folder), "{out}: another result");
    }
    assert!(std::fs::read(folder.path().join("model.safetensors")).unwrap() == before);
}

#[test]
fn an_adapter_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    prepared(folder.path());
    let whole = recipe(folder.path(), "whole", true);
    let start = begin(&whole, 1, &mut Silent).unwrap();
    let all = train(&whole, &start, false, 1, &mut Losses::default()).unwrap();
    let parts = Recipe { out: folder.path().join("parts"), save_every: 5, ..whole.clone() };
    struct Until(usize);
    impl Observer for Until {
        fn hear(&mut self, event: Event<'_>) -> taper::Result<()> {
            if matches!(event, Event::Step(_)) {
                self.0 -= 1;
            }
            Ok(())
        }
        fn stops(&mut self) -> bool {
            self.0 == 0
        }
    }
    let start = begin(&parts, 1, &mut Silent).unwrap();
    assert!(train(&parts, &start, false, 1, &mut Until(5)).unwrap().stopped);
    let start = begin(&parts, 1, &mut Silent).unwrap();
    let rest = train(&parts, &start, true, 1, &mut Losses::default()).unwrap();
    let bytes = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert!(bytes(&all.folder) == bytes(&rest.folder), "going on gives another adapter");
}

#[test]
fn adapters_begin_as_pefts_do() {
    let opened = Opened::at(&golden("gpt2/switches"), "gpt2", &LoadOptions::default()).unwrap();
    let lora = Lora { rank: 8, alpha: None, targets: vec!["all-linear".into()] };
    let variables = Variables::adapter(&opened, &lora, 3).unwrap();
    let names: Vec<&str> = variables.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 16, "{names:?}");
    assert!(names.contains(&"base_model.model.transformer.h.1.attn.c_attn.lora_A.weight"));
    for (name, var) in variables.iter() {
        let numbers: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
        let (rows, columns) = var.dims2().unwrap();
        if name.contains("lora_B") {
            assert_eq!(columns, 8, "{name}");
            assert!(numbers.iter().all(|x| *x == 0.0), "{name}");
            continue;
        }
        assert_eq!(rows, 8, "{name}");
        let (bound, n) = (1.0 / (columns as f32).sqrt(), numbers.len() as f32);
        assert!(numbers.iter().all(|x| x.abs() <= bound), "{name}");
        let square = numbers.iter().map(|x| x * x).sum::<f32>() / n;
        assert!((square * 3.0 / (bound * bound) - 1.0).abs() < 0.25, "{name}: not uniform");
    }
    let config = variables.adapter_config("a/base").unwrap();
    let expected = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
    assert_eq!(config["target_modules"], serde_json::json!(expected));
    assert_eq!(config["fan_in_fan_out"], true);
    assert_eq!(config["lora_alpha"], 16.0);
    for (targets, word) in
        [(vec!["q_proj"], "attn.c_attn"), (vec![], "none"), (vec!["gate"], "`gate`")]
    {
        let targets = targets.into_iter().map(String::from).collect();
        let lora = Lora { rank: 8, alpha: None, targets };
        let error = Variables::adapter(&opened, &lora, 3).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn what_cannot_be_tuned_is_told() {
    let folder = tempfile::tempdir().unwrap();
    prepared(folder.path());
    let lines = std::fs::read_to_string(folder.path().join("notes.jsonl")).unwrap();
    let one = folder.path().join("one.jsonl");
    std::fs::write(&one, lines.lines().next().unwrap()).unwrap();
    let train = taper::train::Paths::One(one);
    let recipe = Recipe { train, ..recipe(folder.path(), "out", true) };
    let error = begin(&recipe, 1, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("one example"), "{error}");
    // Few examples, shorter than a row, are enough.
    let few = folder.path().join("few.jsonl");
    std::fs::write(&few, lines.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    let train = taper::train::Paths::One(few);
    begin(&Recipe { train, seq_len: 64, ..recipe.clone() }, 1, &mut Silent).unwrap();
    for (set, word) in
        [("lora.rank=0", "lora.rank"), ("lora.alpha=-1", "lora.alpha"), ("lora.rang=3", "rang")]
    {
        let sets = ["from=\"x\"", "train=\"y\"", "out=\"z\"", "lora.rank=2", set].map(String::from);
        let error = Recipe::tuning(true, &sets).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
