//! Adapters on the command line: taken wherever a model is, merged, and refused with a word.

use std::process::{Command, Output};

use super::{adapter, base, golden};

fn taper(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_taper")).args(args).output().unwrap()
}

/// stdout of a command that has to succeed.
fn said(args: &[&str]) -> String {
    let output = taper(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_adapter_goes_wherever_a_model_does() {
    let (base, adapter) = (base(&adapter("tied")), adapter("tied"));
    let (base, adapter) = (base.to_str().unwrap(), adapter.to_str().unwrap());
    let with = ["-m", base, "--adapter", adapter, "-q"];
    let ids = ["--prompt-ids", "5,9,2"];
    let generated = |rest: &[&str]| said(&[&["generate"], rest, &ids, &["-n", "6"]].concat());
    assert_ne!(generated(&with), generated(&["-m", base, "-q"]));
    let inspected = said(&[&["inspect"], &with[..]].concat());
    assert!(inspected.contains("llama"), "{inspected}");
    let folder = tempfile::tempdir().unwrap();
    let merged = folder.path().join("merged");
    let merged = merged.to_str().unwrap();
    let merge = ["merge", "-m", base, "--adapter", adapter, "-o", merged];
    assert_eq!(said(&merge).trim(), merged);
    // It says on which model it was made, where that is another.
    let other = taper(&["merge", "-m", merged, "--adapter", adapter, "-o", &format!("{merged}2")]);
    let stderr = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.success() && stderr.contains("was trained on"), "{stderr}");
    // Nothing is written over, and an adapter is needed.
    let again = taper(&merge);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds something already"));
    assert_eq!(taper(&["merge", "-m", base, "-o", "x"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_done_with_one_is_told() {
    let adapter = adapter("tied");
    let adapter = adapter.to_str().unwrap();
    let refused = |model: &str, command: &[&str], code: i32, word: &str| {
        let model = golden(model);
        let with = ["-m", model.to_str().unwrap(), "--adapter", adapter];
        let output = taper(&[command, &with].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
    };
    refused("gpt2/switches", &["inspect"], 1, "nearest present");
    refused("gguf/qwen2/model.gguf", &["inspect"], 1, "GGUF");
    refused("llama/tied_gqa", &["compare", "--python"], 2, "taper merge");
    let nothing = taper(&["train"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("--from"));
}
