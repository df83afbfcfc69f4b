//! Ids one at a time give the text of the whole, and never half a character.

use proptest::prelude::*;
use taper::Error;
use taper::text::Tokenizer;

use super::{fetched, golden};

fn streamed(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let mut stream = tokenizer.stream(skip_special);
    let mut text = String::new();
    for &id in ids {
        text.push_str(&stream.push(id).unwrap().unwrap_or_default());
    }
    text.push_str(&stream.finish().unwrap().unwrap_or_default());
    text
}

fn tiny(name: &str) -> Tokenizer {
    Tokenizer::from_folder(&golden(name)).unwrap().unwrap()
}

proptest! {
    #[test]
    fn any_ids_stream_as_they_decode(ids in prop::collection::vec(0u32..330, 0..60), skip: bool) {
        for name in ["byte_level", "sentence_piece"] {
            let tokenizer = tiny(name);
            prop_assert_eq!(streamed(&tokenizer, &ids, skip), tokenizer.decode(&ids, skip).unwrap());
        }
    }

    #[test]
    fn text_comes_back(text in "[a-zé漢🦙 \n]{0,30}") {
        for name in ["byte_level", "sentence_piece"] {
            let tokenizer = tiny(name);
            let ids = tokenizer.encode(&text, false).unwrap();
            prop_assert_eq!(streamed(&tokenizer, &ids, false), text.clone());
        }
    }
}

#[test]
fn a_character_comes_whole() {
    let tokenizer = tiny("byte_level");
    let ids = tokenizer.encode("a漢b", false).unwrap();
    let mut stream = tokenizer.stream(false);
    let pieces: Vec<String> = ids.iter().filter_map(|&id| stream.push(id).unwrap()).collect();
    assert!(ids.len() > 3);
    assert_eq!(pieces.concat(), "a漢b");
    assert!(pieces.iter().all(|piece| !piece.contains('\u{FFFD}')));
    // An end in the middle shows that something is missing.
    let mut stream = tokenizer.stream(false);
    assert_eq!(stream.push(ids[1]).unwrap(), None);
    assert_eq!(stream.finish().unwrap().as_deref(), Some("\u{FFFD}"));
}

#[test]
fn published_tokenizers_stream_as_they_decode() {
    let Some(folder) = fetched("tokenizers") else { return };
    for name in ["llama3/models", "qwen3/models", "gemma3/models", "deepseek_v3/models"] {
        let Some(tokenizer) = Tokenizer::from_folder(&folder.join(name)).unwrap() else { continue };
        // A fixed walk through the vocabulary.
        let mut state = 7u32;
        for skip in [false, true] {
            let ids: Vec<u32> = (0..3000)
                .map(|_| {
                    state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                    (state >> 8) % tokenizer.vocab_size() as u32
                })
                .collect();
            assert_eq!(streamed(&tokenizer, &ids, skip), tokenizer.decode(&ids, skip).unwrap());
        }
    }
}

#[test]
fn an_id_outside_the_vocabulary_is_an_error() {
    let mut tokenizer = tiny("byte_level");
    let size = tokenizer.vocab_size();
    let beyond = size as u32;
    let error = tokenizer.decode(&[beyond], false).unwrap_err();
    assert!(
        matches!(error, Error::TokenId { id, vocab_size } if id == beyond && vocab_size == size)
    );
    assert!(tokenizer.stream(false).push(beyond).is_err());
    // A model that pads its vocabulary may say so; such an id is no text.
    tokenizer.widen(size + 8);
    assert_eq!(tokenizer.decode(&[beyond], false).unwrap(), "");
    assert_eq!(tokenizer.stream(false).push(beyond).unwrap(), None);
}

#[test]
fn single_tokens_are_readable() {
    let tokenizer = tiny("byte_level");
    let llama = tokenizer.encode("漢", false).unwrap();
    let shown: String = llama.iter().map(|&id| tokenizer.token_text(id)).collect();
    assert!(shown.starts_with("\\xE6"), "{shown}");
    let pieces = tiny("sentence_piece");
    let ids = pieces.encode("Once upon", false).unwrap();
    let shown: String = ids.iter().map(|&id| pieces.token_text(id)).collect();
    assert_eq!(shown, " Once upon");
    assert_eq!(pieces.token_text(pieces.bos_id().unwrap()), "<s>");
    assert_eq!(pieces.token_text(99_999), "<99999>");
}
