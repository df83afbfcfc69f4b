//! The commands: what they print, and what they refuse.

use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{golden, shared};

fn taper(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_taper")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn refused(args: &[&str], says: &str) {
    let output = taper(args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
    assert!(error.contains(says), "{args:?}: {error}");
    assert!(output.stdout.is_empty(), "{args:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let model = golden("llama/tied_gqa");
    let model = model.to_str().unwrap();
    let ids = ["-m", model, "--prompt-ids", "5,9,2"];
    let with = |command: &'static str, more: &[&'static str]| {
        let all: Vec<&str> = [command].into_iter().chain(ids).chain(more.iter().copied()).collect();
        all.iter().map(|text| text.to_string()).collect::<Vec<_>>()
    };
    for (command, more, says) in [
        ("attend", vec!["--layer", "7"], "7 is none of the model's 0 to 1"),
        ("attend", vec!["--head", "9"], "9 is none of layer 0's 0 to 3"),
        ("attend", vec!["--png", "no/such/folder/a.png"], "no/such/folder/a.png"),
        ("attend", vec!["--html", "no/such/folder/a.html"], "no/such/folder/a.html"),
        ("attend", vec!["--svg", "no/such/folder/a.svg"], "no/such/folder/a.svg"),
        ("attend", vec!["--safetensors", "no/such/folder/a"], "no/such/folder/a"),
        ("explain", vec!["--markdown", "no/such/folder/a.md"], "no/such/folder/a.md"),
        ("explain", vec!["--head", "9"], "9 is none of layer 0's 0 to 3"),
        ("generate", vec!["--ablate", "9.0"], "layer 9 is none of 0 to 1"),
        ("generate", vec!["--ablate", "0.9"], "layer 0 has heads 0 to 3"),
        ("generate", vec!["--ablate", "first"], "`first` is no head"),
        ("generate", vec!["--scale", "0.1=loud"], "`loud` is no factor"),
        ("lens", vec!["--html", "no/such/folder/a.html"], "no/such/folder/a.html"),
        ("lens", vec!["--position", "3"], "3 is none of 0 to 2"),
        ("explain", vec!["--layer", "7"], "7 is none of the model's 0 to 1"),
        ("explain", vec!["--token", "3"], "3 is none of 0 to 2"),
        ("explain", vec!["--html", "no/such/folder/a.html"], "no/such/folder/a.html"),
    ] {
        let args = with(command, &more);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), says);
    }
    refused(&["heads", "-m", model, "--sort", "beauty"], "beauty");
    refused(&["heads", "-m", model, "--html", "no/such/folder/a.html"], "no/such/folder");
    refused(&["heads", "-m", model, "--period", "1"], "at least 2 tokens");
    refused(&["attend", "-m", model, "--prompt-ids", &["1"; 10_000].join(",")], "positions");
}

#[test]
fn every_command_writes_what_it_is_asked_for() {
    let Some(stories) = shared("stories260K") else { return };
    let stories = stories.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let said = "Once upon a time";
    let (png, svg, html, maps) =
        (file("a.png"), file("a.svg"), file("a.html"), file("a.safetensors"));
    let output = taper(&[
        "attend",
        "-m",
        stories,
        said,
        "--json",
        "--png",
        &png,
        "--svg",
        &svg,
        "--html",
        &html,
        "--safetensors",
        &maps,
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["heads"].as_array().unwrap().len(), 40);
    for (path, begins) in [(&png, &b"\x89PNG"[..]), (&svg, b"<svg"), (&html, b"<!doctype html>")] {
        assert!(std::fs::read(path).unwrap().starts_with(begins), "{path}");
    }
    assert!(std::fs::metadata(&maps).unwrap().len() > 1000);
    let (page, words) = (file("b.html"), file("b.md"));
    let output =
        taper(&["explain", "-m", stories, said, "--html", &page, "--markdown", &words, "-q"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    assert!(std::fs::read_to_string(&words).unwrap().contains("## 4. Scores"));
    let heads =
        ["heads", "-m", stories, "--texts", "1", "--period", "10", "--curve", "--text", said];
    let output =
        taper(&[&heads[..], &["--json", "-q", "--html", &page, "--against", stories]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checkpoints = found["checkpoints"].as_array().unwrap();
    assert_eq!(checkpoints.len(), 2);
    assert_eq!(checkpoints[0], checkpoints[1]);
    assert_eq!(checkpoints[0]["worths"].as_array().unwrap().len(), 40);
    assert_eq!(checkpoints[0]["curves"].as_array().unwrap().len(), 2);
    // Without a colour where nobody looks.
    let output = taper(&["attend", "-m", stories, said, "--layer", "2", "--head", "1", "-q"]);
    let table = text(&output.stdout);
    assert!(table.contains("head 2.1, each query's keys") && !table.contains('\x1b'), "{table}");
}

#[test]
fn a_hundred_thousand_tokens_are_refused() {
    let Some(stories) = shared("stories260K") else { return };
    let stories = stories.to_str().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "and ".repeat(100_000)).unwrap();
    let path = file.path().to_str().unwrap();
    for command in ["attend", "lens", "explain"] {
        refused(&[command, "-m", stories, "--prompt-file", path], "512");
    }
    // Where there is room for them, what would be too much to write or to read.
    for (command, more, says) in [
        ("attend", &["--html", "no.html"][..], "up to 512 tokens, this text has 10000"),
        ("attend", &["--safetensors", "no.safetensors"], "choose a --layer"),
        ("explain", &[], "this text has 10000"),
    ] {
        let args = [command, "-m", stories, "--prompt-file", path, "--context", "200000", "-q"];
        refused(&[&args[..], more].concat(), says);
        assert!(more.iter().all(|file| !std::path::Path::new(file).exists()));
    }
}

#[test]
fn one_token_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    for case in ["llama/tied_gqa", "gpt2/small", "gpt_oss/defaults", "bloom/three_heads"] {
        let model = golden(case);
        let ids = ["-m", model.to_str().unwrap(), "--prompt-ids", "5", "-q"];
        let files = ["png", "svg", "html", "safetensors"].map(|kind| file(&format!("a.{kind}")));
        let [png, svg, html, maps] = &files;
        let all = ["--png", png, "--svg", svg, "--html", html, "--safetensors", maps, "--json"];
        for (command, more) in
            [("attend", &all[..]), ("lens", &["--json", "--html", html]), ("explain", &[])]
        {
            let args: Vec<&str> =
                [command].into_iter().chain(ids).chain(more.iter().copied()).collect();
            let output = taper(&args);
            assert!(output.status.success(), "{case} {command}: {}", text(&output.stderr));
            assert!(!text(&output.stdout).contains("NaN"), "{case} {command}");
        }
        assert!(files.iter().all(|file| std::fs::metadata(file).unwrap().len() > 60), "{case}");
    }
    let Some(stories) = shared("stories260K") else { return };
    let args = ["heads", "-m", stories.to_str().unwrap(), "--ablate", "--text"];
    refused(&[&args[..], &[""]].concat(), "no second token");
}

#[test]
fn strange_text_stays_text() {
    let Some(stories) = shared("stories260K") else { return };
    let stories = stories.to_str().unwrap();
    let strange = "</script> \u{202e}abc שלום 👩‍👩‍👧 \u{1b}[31m\u{7} ]]> | `x`";
    for command in ["attend", "lens", "explain"] {
        let output = taper(&[command, "-m", stories, strange, "--quiet"]);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        let shown = said.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(shown, None, "{command}");
    }
    // As JSON each token is what the tokenizer has, whatever that is.
    for command in ["attend", "lens"] {
        let output = taper(&[command, "-m", stories, strange, "--json", "--quiet"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tokens = said["tokens"].as_array().unwrap().iter();
        let whole: String = tokens.map(|token| token["text"].as_str().unwrap()).collect();
        assert!(
            whole.contains("</script>") && whole.contains("\\xE2\\x80\\xAE"),
            "{command}: {whole}"
        );
    }
}
