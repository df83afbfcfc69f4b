//! Is the perplexity PyTorch's? The same windows over the same text, to four digits; and `taper
//! score` prints what it measured.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::path::Path;

use assert_cmd::Command;
use common::{fetched, golden, shared};
use serde_json::Value;
use taper::model::{LoadOptions, Model};
use taper::parity::{Plan, score};

fn expected(name: &str) -> Value {
    let file =
        std::fs::read(golden("real/scores.json")).expect("scripts/score_reference.py makes it");
    let all: Value = serde_json::from_slice(&file).unwrap();
    all[name].clone()
}

/// Scores the text as PyTorch did, and compares.
fn agrees(name: &str, folder: &Path, most: usize) {
    let Some(text) = shared("text/wiki.test.raw") else { return };
    let expected = expected(name);
    let number = |key: &str| expected[key].as_f64().unwrap();
    let model = Model::load(folder, &LoadOptions::default()).unwrap();
    let text = std::fs::read_to_string(text).unwrap();
    // Far more of the text than there are tokens wanted, for a token is a byte at least.
    let text: String = text.chars().take(8 * most).collect();
    let mut ids = model.tokenizer.as_ref().unwrap().encode(&text, true).unwrap();
    ids.truncate(number("tokens") as usize);
    assert_eq!(ids.len(), most);
    let plan = Plan { window: number("window") as usize, stride: number("stride") as usize };
    let scores = score(&model.decoder, &ids, plan, &mut |_| Ok(())).unwrap();
    assert_eq!(scores.predicted, number("predicted") as usize);
    for (what, ours) in [
        ("perplexity", scores.perplexity),
        ("nll", scores.nll),
        ("nll_error", scores.nll_error),
        ("guide", scores.guide_perplexity),
    ] {
        let off = (ours / number(what) - 1.0).abs();
        assert!(off < 5e-5, "{name}: {what} is {ours}, PyTorch's {}", number(what));
    }
    let first = scores.tokens.iter().filter_map(|token| token.logprob);
    for (ours, theirs) in first.zip(expected["first"].as_array().unwrap()) {
        assert!((ours - theirs.as_f64().unwrap()).abs() < 1e-4, "{name}: {ours}, {theirs}");
    }
}

#[test]
fn stories260k_is_as_surprised_as_in_pytorch() {
    if let Some(folder) = shared("stories260K") {
        agrees("stories260K", &folder, 6000);
    }
}

#[test]
fn smollm2_is_as_surprised_as_in_pytorch() {
    if let Some(folder) = fetched("SmolLM2-135M-Instruct-f32") {
        agrees("SmolLM2-135M", &folder, 2000);
    }
}

#[test]
fn every_token_is_scored_once_whatever_the_windows() {
    let model = Model::load(golden("llama/tied_gqa"), &LoadOptions::default()).unwrap();
    let ids: Vec<u32> = (0..50u32).map(|i| (7 * i * i + 3) % 61).collect();
    let run = |window, stride| {
        score(&model.decoder, &ids, Plan { window, stride }, &mut |_| Ok(())).unwrap()
    };
    let whole = run(64, 32);
    assert_eq!(whole.predicted, 49);
    for (window, stride, predicted) in
        [(10, 5, 49), (10, 1, 49), (10, 10, 45), (2, 1, 49), (50, 7, 49)]
    {
        let scores = run(window, stride);
        assert_eq!(scores.predicted, predicted, "window {window}, stride {stride}");
        // Up to the end of the first window, nothing is different.
        for (a, b) in scores.tokens.iter().zip(&whole.tokens).take(window) {
            let (Some(a), Some(b)) = (a.logprob, b.logprob) else { continue };
            assert!((a - b).abs() < 1e-4, "window {window}: {a} and {b}");
        }
    }
    for (window, stride) in [(65, 32), (1, 1), (10, 11), (10, 0)] {
        assert!(score(&model.decoder, &ids, Plan { window, stride }, &mut |_| Ok(())).is_err());
    }
}

#[test]
fn the_command_prints_tokens_and_the_perplexity() {
    let run = |text: &'static str, more: &[&str]| {
        let mut command = Command::cargo_bin("taper").unwrap();
        command.args(["score", "-q", "-", "-m"]).arg(golden("gguf/llama_half/model.gguf"));
        command.args(more).write_stdin(text).output().unwrap()
    };
    let text = "abc abc abc";
    let ran = run(text, &[]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.lines().last().unwrap().starts_with("perplexity "), "{said}");
    let json: Value = serde_json::from_slice(&run(text, &["--format", "json"]).stdout).unwrap();
    let tokens = json["tokens"].as_array().unwrap();
    assert_eq!(tokens.len() as u64, json["predicted"].as_u64().unwrap() + 1);
    assert_eq!(tokens[0]["logprob"], Value::Null);
    let lines = run(text, &["--format", "jsonl"]).stdout;
    let lines: Vec<Value> = String::from_utf8(lines)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), tokens.len() + 1);
    assert_eq!(lines.last().unwrap()["perplexity"], json["perplexity"]);
    let brief = String::from_utf8(run(text, &["--summary"]).stdout).unwrap();
    assert_eq!(brief.lines().count(), 1);
    assert_eq!(run("", &[]).status.code(), Some(1));
}
