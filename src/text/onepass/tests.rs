//! Reading in one pass gives what the crate gives, or nothing.

use super::*;

const FILES: [&str; 2] = [
    include_str!("../../../tests/golden/text/byte_level/tokenizer.json"),
    include_str!("../../../tests/golden/text/sentence_piece/tokenizer.json"),
];

fn crates(text: &str) -> Tokenizer {
    Tokenizer::from_bytes(text).unwrap()
}

fn written(tokenizer: &Tokenizer) -> String {
    tokenizer.to_string(false).unwrap()
}

/// A file with one of its values changed.
fn with(text: &str, pointer: &str, value: Value) -> String {
    let mut file: Value = serde_json::from_str(text).unwrap();
    *file.pointer_mut(pointer).unwrap() = value;
    file.to_string()
}

#[test]
fn it_reads_what_the_crate_reads() {
    for text in FILES {
        let (ours, theirs) = (read(text.as_bytes()).unwrap(), crates(text));
        assert_eq!(written(&ours), written(&theirs));
        for sample in ["Once upon a time", " <unk>\n", "漢 é 🦙", ""] {
            let ids = |t: &Tokenizer| t.encode(sample, true).unwrap().get_ids().to_vec();
            assert_eq!(ids(&ours), ids(&theirs));
        }
    }
}

#[test]
fn merges_may_be_lines() {
    for text in FILES {
        let mut file: Value = serde_json::from_str(text).unwrap();
        let merges = file.pointer_mut("/model/merges").unwrap().as_array_mut().unwrap();
        assert!(!merges.is_empty());
        for merge in merges {
            let pair = merge.as_array().map(|pair| {
                let token = |i: usize| pair[i].as_str().unwrap();
                format!("{} {}", token(0), token(1))
            });
            *merge = pair.map_or(merge.clone(), Value::String);
        }
        let text = file.to_string();
        assert_eq!(written(&read(text.as_bytes()).unwrap()), written(&crates(&text)));
    }
}

#[test]
fn options_are_kept() {
    let text = FILES[0];
    for (pointer, value) in [
        ("/model/dropout", Value::from(0.5)),
        ("/model/fuse_unk", Value::from(true)),
        ("/model/ignore_merges", Value::from(true)),
        ("/model/byte_fallback", Value::from(true)),
        ("/model/end_of_word_suffix", Value::from("@@")),
        ("/normalizer", serde_json::json!({"type": "Lowercase"})),
        ("/pre_tokenizer", Value::Null),
    ] {
        let text = with(text, pointer, value);
        let (ours, theirs) = (read(text.as_bytes()).unwrap(), crates(&text));
        assert_eq!(written(&ours), written(&theirs), "{pointer}");
    }
}

#[test]
fn what_is_unusual_is_left_to_the_crate() {
    let text = FILES[0];
    for (pointer, value) in [
        ("/version", Value::from("2.0")),
        ("/model/type", Value::from("WordLevel")),
        ("/model/vocab", Value::from(3)),
        ("/model/merges/0", Value::from("three tokens here")),
        ("/model/merges/0", Value::from("#version 0.2")),
        ("/model/merges/0", serde_json::json!(["aaaaaaaaaaaaaaaaaaaaaaaa", "a".repeat(90)])),
        ("/model/merges/0", serde_json::json!(["none such", "x"])),
        ("/model/dropout", Value::from(7)),
        ("/model", serde_json::json!({"vocab": {}, "merges": []})),
        ("/pre_tokenizer", Value::from("odd")),
    ] {
        assert!(read(with(text, pointer, value).as_bytes()).is_none(), "{pointer}");
    }
    let mut file: Value = serde_json::from_str(text).unwrap();
    file["model"]["odd"] = Value::from(1);
    assert!(read(file.to_string().as_bytes()).is_none());
    assert!(read(b"").is_none());
}
