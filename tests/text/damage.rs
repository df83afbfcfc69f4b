//! Damaged files end in an error that names the file; never in a panic.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use taper::text::{ChatTemplate, GgufVocab, Tokenizer};

use super::golden;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn problem(files: &[(&str, &str)]) -> String {
    Tokenizer::from_folder(folder(files).path()).unwrap_err().to_string()
}

#[test]
fn a_folder_without_a_tokenizer_has_none() {
    assert!(Tokenizer::from_folder(folder(&[]).path()).unwrap().is_none());
    assert!(Tokenizer::from_folder(Path::new("/nowhere")).unwrap().is_none());
    assert!(ChatTemplate::from_folder(folder(&[]).path()).unwrap().is_none());
}

#[test]
fn the_file_is_named() {
    for text in ["", "{", "[]", "{}", "{\"model\": 3}", "{\"model\": {\"type\": \"BPE\"}}"] {
        let error = problem(&[("tokenizer.json", text)]);
        assert!(error.contains("tokenizer.json"), "{text}: {error}");
    }
    let error = problem(&[("vocab.json", "{\"a\": 0}"), ("merges.txt", "#version\na b\n")]);
    assert!(error.contains("merges.txt") && error.contains("`a b`"), "{error}");
    let error = problem(&[("vocab.json", "{\"a\": -1}"), ("merges.txt", "")]);
    assert!(error.contains("vocab.json"), "{error}");
    let error = problem(&[("tokenizer_config.json", "nonsense")]);
    assert!(error.contains("tokenizer_config.json"), "{error}");
    let templates =
        ChatTemplate::from_folder(folder(&[("chat_template.jinja", "{% for %}")]).path());
    assert!(templates.unwrap_err().to_string().contains("line 1"));
}

#[test]
fn merges_longer_than_any_token_are_refused() {
    // The tokenizers crate panics on these.
    let model = json!({"type": "BPE", "vocab": {"ab": 0, "cd": 1}, "merges": [["ab", "cd"]]});
    let error = problem(&[("tokenizer.json", &json!({"model": model}).to_string())]);
    assert!(error.contains("a merge makes a token of 4 bytes"), "{error}");
}

#[test]
fn an_absurd_id_allocates_nothing() {
    let model = json!({"type": "BPE", "vocab": {"a": 4294967295u32, "b": 1}, "merges": []});
    let dir = folder(&[("tokenizer.json", &json!({"model": model}).to_string())]);
    let tokenizer = Tokenizer::from_folder(dir.path()).unwrap().unwrap();
    assert_eq!(tokenizer.vocab_size(), 1 << 32);
    assert_eq!(tokenizer.encode("ba", false).unwrap(), [1, 4294967295]);
}

#[test]
fn a_gguf_vocabulary_that_contradicts_itself_is_refused() {
    let base = GgufVocab {
        model: "gpt2".into(),
        pre: Some("gpt-2".into()),
        tokens: vec!["a".into(), "b".into(), "ab".into()],
        merges: vec!["a b".into()],
        ..GgufVocab::default()
    };
    Tokenizer::from_gguf(&base).unwrap();
    let broken: [(&str, GgufVocab); 8] = [
        ("empty", GgufVocab { tokens: vec![], ..base.clone() }),
        ("`bert`", GgufVocab { model: "bert".into(), ..base.clone() }),
        ("no merge", GgufVocab { merges: vec!["ab".into()], ..base.clone() }),
        ("`zz`", GgufVocab { merges: vec!["a zz".into()], ..base.clone() }),
        ("without", GgufVocab { merges: vec![], ..base.clone() }),
        ("bos token", GgufVocab { bos_id: Some(3), ..base.clone() }),
        ("token types", GgufVocab { token_types: vec![1], ..base.clone() }),
        ("scores", GgufVocab { model: "llama".into(), ..base.clone() }),
    ];
    for (word, vocab) in broken {
        let error = Tokenizer::from_gguf(&vocab).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn a_template_cannot_run_forever() {
    let endless =
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
    let started = std::time::Instant::now();
    let template = ChatTemplate::new(endless, [("bos_token", "<s>")]).unwrap();
    let error = template.render(&[], &Default::default()).unwrap_err();
    eprintln!("{error} after {:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cut or overwritten in a tokenizer: an error or a tokenizer, never a panic.
    #[test]
    fn bytes_changed_at_random(at in 0usize..8000, with: u8, cut: bool) {
        let good = std::fs::read(golden("sentence_piece/tokenizer.json")).unwrap();
        let mut bad = good.clone();
        let at = at % bad.len();
        if cut { bad.truncate(at) } else { bad[at] = with }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), bad).unwrap();
        if let Ok(Some(tokenizer)) = Tokenizer::from_folder(dir.path())
            && let Ok(ids) = tokenizer.encode("Once upon 🦙", true)
        {
            let _ = tokenizer.decode(&ids, false);
        }
    }

    /// A value anywhere in the file replaced by another kind of value.
    #[test]
    fn values_changed_at_random(place in 0usize..64, kind in 0usize..6) {
        let mut file: Value = super::json(&golden("byte_level/tokenizer.json"));
        let with = [json!(null), json!(-1), json!("x"), json!([]), json!({}), json!(1e300)][kind].clone();
        let mut spots = Vec::new();
        collect(&file, String::new(), &mut spots);
        if let Some(spot) = file.pointer_mut(&spots[place % spots.len()]) {
            *spot = with;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), file.to_string()).unwrap();
        if let Ok(Some(tokenizer)) = Tokenizer::from_folder(dir.path()) {
            let _ = tokenizer.encode("Once upon 🦙", true);
        }
    }
}

/// Pointers to everything but the vocabulary's and merges' own entries.
fn collect(value: &Value, at: String, spots: &mut Vec<String>) {
    spots.push(at.clone());
    if at.ends_with("/vocab") || at.ends_with("/merges") {
        return;
    }
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| collect(v, format!("{at}/{k}"), spots)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, v)| collect(v, format!("{at}/{i}"), spots));
        }
        _ => {}
    }
}
