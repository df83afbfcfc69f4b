//! Does the command line keep its word? stdout carries the product and nothing else, stderr the
//! rest; exit 0 done, 1 failed, 2 wrong usage; a closed pipe and Ctrl-C are no failure.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "cli/built_in.rs"]
mod built_in;
#[path = "cli/chat.rs"]
mod chat;
mod common;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A golden checkpoint with a tokenizer of single letters and a chat template beside it.
struct Lettered(TempDir);

impl Lettered {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = common::golden("llama/tied_gqa");
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(source.join(file), folder.path().join(file)).unwrap();
        }
        let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,!?'"; // 58
        let special = ["<unk>", "<s>", "</s>"].map(String::from);
        let tokens = special.into_iter().chain(letters.chars().map(String::from));
        let vocab: serde_json::Map<String, Value> =
            tokens.enumerate().map(|(id, token)| (token, json!(id))).collect();
        assert_eq!(vocab.len(), 61);
        let added = |id: u32, content: &str| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true
            })
        };
        let bos = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
        let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [bos, sequence("A")],
                "pair": [bos, sequence("A"), sequence("B")],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
            },
            "decoder": {"type": "Fuse"},
            "model": {"type": "BPE", "unk_token": "<unk>", "vocab": vocab, "merges": []}
        });
        let config = json!({
            "bos_token": "<s>", "eos_token": "</s>",
            "chat_template": "<s>{% for m in messages %}{{ m.role[0] }} {{ m.content }}.{% endfor %}",
        });
        let write = |file: &str, value: Value| {
            std::fs::write(folder.path().join(file), value.to_string()).unwrap();
        };
        write("tokenizer.json", tokenizer);
        write("tokenizer_config.json", config);
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn taper() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("taper"))
}

fn run(model: &Path, args: &[&str]) -> Output {
    let (command, rest) = args.split_first().unwrap();
    taper().arg(command).arg("-m").arg(model).args(rest).output().unwrap()
}

/// The result of a command that succeeds.
fn stdout(model: &Path, args: &[&str]) -> String {
    let output = run(model, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids_only() -> PathBuf {
    common::golden("llama/tied_gqa")
}

#[test]
fn stdout_carries_the_text_and_nothing_else() {
    let model = Lettered::new();
    let args = ["generate", "Once", "-n", "9", "--ignore-eos"];
    let output = run(model.path(), &args);
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    for part in
        ["greedy (default)", "prompt 5 tokens", "generated 9 tokens", "first token", "memory"]
    {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let quiet = run(model.path(), &[&args[..], &["-q"]].concat());
    assert_eq!(String::from_utf8(quiet.stdout).unwrap(), text);
    assert_eq!(String::from_utf8(quiet.stderr).unwrap(), "");
    let whole = stdout(model.path(), &[&args[..], &["--format", "json"]].concat());
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["text"], text);
    let echoed = stdout(model.path(), &[&args[..], &["--echo"]].concat());
    assert_eq!(echoed, format!("Once{text}"));
}

#[test]
fn a_json_result_says_what_it_is() {
    let model = Lettered::new();
    let args = ["generate", "Once", "-n", "6", "--format", "json", "--seed", "7"];
    let plain: Value = serde_json::from_str(&stdout(model.path(), &args)).unwrap();
    for key in ["text", "prompt_ids", "token_ids", "finish_reason", "seed", "model", "timings"] {
        assert!(!plain[key].is_null(), "{key}");
    }
    assert!(plain["logprobs"].is_null());
    assert_eq!((&plain["seed"], &plain["finish_reason"]), (&json!(7), &json!("length")));
    assert_eq!(plain["prompt_ids"], json!([1, 43, 16, 5, 7]));
    assert_eq!(plain["model"]["fingerprint"].as_str().unwrap().len(), 64);
    let scored = stdout(model.path(), &[&args[..], &["--logprobs", "2"]].concat());
    let scored: Value = serde_json::from_str(&scored).unwrap();
    let first = &scored["logprobs"][0];
    assert_eq!(first["id"], scored["token_ids"][0]);
    assert_eq!(first["top"].as_array().unwrap().len(), 2);
    assert_eq!(first["top"][0]["token"], first["token"]);
    assert_eq!(scored["logprobs"].as_array().unwrap().len(), 6);
}

#[test]
fn an_empty_prompt_is_the_first_token_alone() {
    let model = Lettered::new();
    let args = ["generate", "", "-n", "2", "--format", "json"];
    let result: Value = serde_json::from_str(&stdout(model.path(), &args)).unwrap();
    assert_eq!(result["prompt_ids"], json!([1]));
}

#[test]
fn a_model_without_a_tokenizer_speaks_in_ids() {
    let args = ["generate", "--prompt-ids", "3,1,2", "-n", "4"];
    let text = stdout(&ids_only(), &args);
    let said: Vec<u32> = text.split(',').map(|id| id.parse().unwrap()).collect();
    let whole = stdout(&ids_only(), &[&args[..], &["--format", "jsonl"]].concat());
    assert_eq!(lines(&whole)[0]["token_ids"], json!(said));
    let refused = run(&ids_only(), &["generate", "hello"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--prompt-ids"));
}

#[test]
fn rows_of_a_batch_file_are_what_each_is_alone() {
    let model = Lettered::new();
    let file = model.path().join("batch.jsonl");
    let batch = [
        json!({"prompt": "Once upon", "id": "first"}),
        json!({"prompt_ids": [1, 9, 30], "max_tokens": 3, "seed": 5}),
        json!({"messages": [{"role": "user", "content": "Why?"}], "id": 3}),
    ];
    let text: String = batch.iter().map(|line| format!("{line}\n\n")).collect();
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let drawn = ["--temperature", "0.9", "--seed", "5", "-n", "6", "--format", "jsonl"];
    let all = |more: &[&str]| {
        let args = [&["generate", "--batch", path], &drawn[..], more].concat();
        let mut rows = lines(&stdout(model.path(), &args));
        rows.sort_by_key(|row| row["prompt_index"].as_u64());
        rows
    };
    let rows = all(&[]);
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0]["id"], &rows[2]["id"]), (&json!("first"), &json!(3)));
    assert_eq!(rows[1]["token_ids"].as_array().unwrap().len(), 3);
    assert_eq!(all(&["--batch-size", "2"])[2]["token_ids"], rows[2]["token_ids"]);
    let chat = ["--chat", "Why?"];
    for (row, prompt) in rows.iter().zip([&["Once upon"][..], &["--prompt-ids=1,9,30"], &chat]) {
        let alone = stdout(model.path(), &[&["generate"], prompt, &drawn[..]].concat());
        let alone = &lines(&alone)[0];
        assert_eq!(alone["prompt_ids"], row["prompt_ids"]);
        let said = row["token_ids"].as_array().unwrap();
        assert_eq!(alone["token_ids"].as_array().unwrap()[..said.len()], said[..]);
    }
    std::fs::write(&file, "{\"prompt\": \"x\"}\n{\"promt\": \"y\"}\n").unwrap();
    let refused = run(model.path(), &["generate", "--batch", path]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("line 2"));
}

#[test]
fn several_texts_come_one_after_another() {
    let model = Lettered::new();
    let args =
        ["generate", "Once", "--samples", "3", "--temperature", "1", "--seed", "1", "-n", "5"];
    let rows = lines(&stdout(model.path(), &[&args[..], &["--format", "jsonl"]].concat()));
    let mut texts: Vec<(u64, &str)> = rows
        .iter()
        .map(|row| (row["sample"].as_u64().unwrap(), row["text"].as_str().unwrap()))
        .collect();
    texts.sort_unstable();
    let texts: Vec<&str> = texts.into_iter().map(|(_, text)| text).collect();
    assert_eq!(stdout(model.path(), &args), texts.join("\n---\n"));
}

#[test]
fn what_fails_exits_with_1_and_what_is_no_command_with_2() {
    let model = Lettered::new();
    let cases: [(&[&str], i32, &str); 13] = [
        (&["generate"], 1, "PROMPT"),
        (&["generate", "x", "--temperature", "-1"], 1, "temperature"),
        (&["generate", "x", "--top-p", "1.5"], 1, "top_p"),
        (&["generate", "x", "--samples", "2"], 1, "greedy"),
        (&["generate", "x", "--logprobs", "2"], 1, "--format json"),
        (&["generate", "--prompt-ids", "61"], 1, "outside the vocabulary"),
        (&["generate", "--prompt-file", "no/such/file"], 1, "no/such/file"),
        (&["generate", "x", "--logit-bias", "x"], 1, "TOKEN=V"),
        (&["generate", "x", "--kv-dtype", "q9"], 1, "--kv-dtype"),
        (&["generate", "x", "--device", "tpu"], 1, "auto, cpu, cuda"),
        (&["generate", "x", "--threads", "0"], 1, "--threads"),
        (&["generate", "x", "--prompt-ids", "1"], 2, "cannot be used with"),
        (&["generate", "x", "--no-such-option"], 2, "--no-such-option"),
    ];
    for (args, code, part) in cases {
        let output = run(model.path(), args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    if !candle_core::utils::cuda_is_available() {
        let output = run(model.path(), &["generate", "x", "--device", "cuda:0"]);
        assert!(String::from_utf8(output.stderr).unwrap().contains("--features cuda"));
    }
}

/// A text that would go on for minutes.
fn endless(model: &Path) -> std::process::Child {
    let args = ["generate", "x", "--ignore-eos", "-n", "200000", "--context", "200000"];
    let mut command = taper();
    command.args(args).arg("-m").arg(model);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let model = Lettered::new();
    let mut child = endless(model.path());
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 3]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8(output.stderr).unwrap().contains("error"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_what_there_is() {
    let model = Lettered::new();
    let mut child = endless(model.path());
    let mut first = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let sent =
        Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("; generated "), "{stderr}");
}

#[test]
fn a_prompt_comes_from_stdin_or_a_file_as_well() {
    let model = Lettered::new();
    let expected = stdout(model.path(), &["generate", "Once", "-n", "4"]);
    let file = model.path().join("prompt.txt");
    std::fs::write(&file, "Once").unwrap();
    let path = file.to_str().unwrap();
    let read = stdout(model.path(), &["generate", "--prompt-file", path, "-n", "4"]);
    assert_eq!(read, expected);
    let mut command = taper();
    command.args(["generate", "-", "-n", "4", "-m"]).arg(model.path());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(b"Once").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn bench_measures_what_it_is_told() {
    let args = [
        "bench",
        "--prompt-tokens",
        "8",
        "--generate-tokens",
        "4",
        "--depth",
        "2",
        "--threads",
        "2",
        "--repeat",
        "3",
        "--batch",
        "2",
        "--roofline",
        "--json",
    ];
    let report: Value = serde_json::from_str(&stdout(&ids_only(), &args)).unwrap();
    for kind in ["prefill", "decode"] {
        let rate = |key: &str| report[kind][key].as_f64().unwrap();
        assert!(rate("min") <= rate("tokens_per_s") && rate("tokens_per_s") <= rate("max"));
        assert_eq!(report[kind]["runs"].as_array().unwrap().len(), 3);
    }
    assert_eq!((&report["threads"], &report["depth"]), (&json!(2), &json!(2)));
    let number = |value: &Value| value.as_f64().unwrap();
    let steps = number(&report["decode"]["tokens_per_s"]) / 2.0;
    let read = number(&report["bytes_per_step"]) * steps;
    assert!((number(&report["bytes_per_s"]) / read - 1.0).abs() < 1e-9);
    let share = read / number(&report["roofline"]["bytes_per_s"]);
    assert!((number(&report["roofline"]["decode_share"]) / share - 1.0).abs() < 1e-9);
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 1_000_000);
    // 16 bits a number of the cache, and no weight less.
    let narrow = [&args[..], &["--kv-dtype", "bf16"]].concat();
    let narrow: Value = serde_json::from_str(&stdout(&ids_only(), &narrow)).unwrap();
    assert_eq!((&report["kv_dtype"], &narrow["kv_dtype"]), (&json!("f32"), &json!("bf16")));
    assert!(number(&narrow["bytes_per_step"]) < number(&report["bytes_per_step"]));
    // Codes take less again.
    let codes = [&args[..], &["--kv-dtype", "q8"]].concat();
    let codes: Value = serde_json::from_str(&stdout(&ids_only(), &codes)).unwrap();
    assert_eq!(codes["kv_dtype"], json!("q8"));
    assert!(number(&codes["bytes_per_step"]) < number(&narrow["bytes_per_step"]));
    let refused = run(&ids_only(), &["bench", "--prompt-tokens", "65"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn inspect_accounts_for_every_key_of_every_file() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(common::golden("llama/tied_gqa")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let generation = r#"{"temperature": 0.7, "top_k": null, "use_cache": true, "novelty": 3}"#;
    std::fs::write(folder.path().join("generation_config.json"), generation).unwrap();
    let tokenizer = r#"{"bos_token": "<s>", "eos_token": null, "legacy": true, "add_bos_token": true, "novelty": 3}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), tokenizer).unwrap();
    let mut command = assert_cmd::Command::cargo_bin("taper").unwrap();
    let ran = command.args(["inspect", "--json", "-m"]).arg(folder.path()).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let keys = &found["generation_keys"];
    assert_eq!(keys["used"], serde_json::json!([["temperature", 0.7]]));
    assert_eq!(keys["defaulted"], serde_json::json!([["top_k", null]]));
    assert_eq!(keys["irrelevant"], serde_json::json!(["use_cache"]));
    assert_eq!(keys["unknown"], serde_json::json!(["novelty"]));
    let keys = &found["tokenizer_keys"];
    assert_eq!(keys["used"], serde_json::json!([["bos_token", "<s>"], ["add_bos_token", true]]));
    assert_eq!(keys["defaulted"], serde_json::json!([["eos_token", null]]));
    assert_eq!(keys["irrelevant"], serde_json::json!(["legacy"]));
    assert_eq!(keys["unknown"], serde_json::json!(["novelty"]));
}
