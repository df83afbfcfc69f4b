//! The tokenizer inside a GGUF, handed from its metadata to the text room; neither knows the other.

use crate::text::GgufVocab;
use crate::weights::GgufMetadata;

/// What a GGUF says about its tokenizer; `None` where it has none.
pub(super) fn vocabulary(metadata: &GgufMetadata) -> Option<GgufVocab> {
    let key = |key: &str| format!("tokenizer.ggml.{key}");
    let owned = |list: Vec<&str>| list.into_iter().map(String::from).collect();
    let id = |name: &str| metadata.u64(&key(name)).and_then(|id| u32::try_from(id).ok());
    let numbers = |name: &str| metadata.i64s(&key(name)).unwrap_or_default();
    Some(GgufVocab {
        // llama.cpp writes "none" where a checkpoint came without one.
        model: metadata.str(&key("model")).filter(|model| *model != "none")?.into(),
        pre: metadata.str(&key("pre")).map(String::from),
        tokens: owned(metadata.strings(&key("tokens"))?),
        scores: metadata
            .f64s(&key("scores"))
            .unwrap_or_default()
            .iter()
            .map(|s| *s as f32)
            .collect(),
        token_types: numbers("token_type").iter().map(|kind| *kind as i32).collect(),
        merges: owned(metadata.strings(&key("merges")).unwrap_or_default()),
        bos_id: id("bos_token_id"),
        eos_id: id("eos_token_id"),
        unknown_id: id("unknown_token_id"),
        add_bos: metadata.bool(&key("add_bos_token")),
        add_eos: metadata.bool(&key("add_eos_token")),
        add_space_prefix: metadata.bool(&key("add_space_prefix")),
    })
}
