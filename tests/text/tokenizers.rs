//! Ids and decoded text equal transformers'.

use std::path::Path;

use taper::text::Tokenizer;

use super::{fetched, golden, ids, json, shared};

/// Compares a folder with its `cases.json`; how many texts.
fn compare(folder: &Path) -> usize {
    let tokenizer = Tokenizer::from_folder(folder).unwrap().unwrap();
    let reference = json(&folder.join("cases.json"));
    let cases = reference["cases"].as_array().unwrap();
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let plain = tokenizer.encode(text, false).unwrap();
        assert_eq!(plain, ids(&case["ids"]), "{}: {text:?}", folder.display());
        let special = tokenizer.encode(text, true).unwrap();
        let begun = tokenizer.bos_id().and_then(|id| plain.first().map(|first| id == *first));
        if begun != Some(true) {
            assert_eq!(special, ids(&case["special"]), "{}: {text:?}", folder.display());
        }
        let decoded = tokenizer.decode(&plain, false).unwrap();
        assert_eq!(decoded, case["decoded"].as_str().unwrap(), "{}: {text:?}", folder.display());
    }
    if let Some(bos) = reference["bos"].as_u64() {
        assert_eq!(tokenizer.bos_id(), Some(bos as u32));
    }
    if let Some(eos) = reference["eos"].as_u64() {
        assert_eq!(tokenizer.eos_ids(), [eos as u32]);
    }
    cases.len()
}

#[test]
fn tiny_tokenizers_give_the_reference_ids() {
    for name in ["byte_level", "sentence_piece"] {
        compare(&golden(name));
    }
}

#[test]
fn published_tokenizers_give_the_reference_ids() {
    let Some(folder) = fetched("tokenizers") else { return };
    let mut folders: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let inner = folder.join("models");
        let folder = if inner.is_dir() { inner } else { folder };
        if folder.join("cases.json").is_file() {
            eprintln!("{}: {} texts equal", folder.display(), compare(&folder));
        }
    }
}

#[test]
fn bos_is_never_doubled() {
    let tokenizer = Tokenizer::from_folder(&golden("sentence_piece")).unwrap().unwrap();
    let bos = tokenizer.bos_id().unwrap();
    assert!(tokenizer.adds_bos());
    for text in ["Once", "<s>Once"] {
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(ids.iter().filter(|id| **id == bos).count(), 1, "{text}");
    }
    assert_eq!(
        tokenizer.encode("<s>Once", true).unwrap(),
        tokenizer.encode("<s>Once", false).unwrap()
    );
}

#[test]
fn a_real_checkpoint_reads_its_published_text() {
    let Some(folder) = shared("stories260K") else { return };
    let tokenizer = Tokenizer::from_folder(&folder).unwrap().unwrap();
    let text = std::fs::read_to_string(folder.join("expected.txt")).unwrap();
    let ids = tokenizer.encode(&text, true).unwrap();
    assert_eq!((ids[0], tokenizer.vocab_size()), (1, 512));
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
}
