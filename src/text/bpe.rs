//! Parts that every way to a tokenizer shares: a checked BPE model, pipeline stages written as
//! `tokenizer.json` writes them, and special tokens. It reads no files.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, Tokenizer};

use crate::error::{Error, Result};

/// The vocabulary and merges of a BPE model, not yet believed.
#[derive(Debug, Default)]
pub(super) struct BpeParts {
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    pub(super) unknown: Option<String>,
    pub(super) byte_fallback: bool,
    pub(super) ignore_merges: bool,
}

impl BpeParts {
    /// The model. `origin` names the file in errors.
    pub(super) fn build(self, origin: &str) -> Result<BPE> {
        let wrong = |problem: String| Error::Tokenizer(format!("{origin}: {problem}"));
        if self.vocab.is_empty() {
            return Err(wrong("the vocabulary is empty".into()));
        }
        // The crate slices a buffer as long as the longest token by the merge's length: check
        // first.
        for (left, right) in &self.merges {
            let merged = format!("{left}{right}");
            if let Some(unknown) =
                [left, right, &merged].into_iter().find(|t| !self.vocab.contains_key(*t))
            {
                return Err(wrong(format!(
                    "the merge `{left} {right}` needs the token `{unknown}`, which the vocabulary lacks"
                )));
            }
        }
        let mut builder = BPE::builder()
            .vocab_and_merges(self.vocab.into_iter().collect::<Vocab>(), self.merges)
            .fuse_unk(self.byte_fallback)
            .byte_fallback(self.byte_fallback)
            .ignore_merges(self.ignore_merges);
        if let Some(unknown) = self.unknown {
            builder = builder.unk_token(unknown);
        }
        builder.build().map_err(|e| wrong(e.to_string()))
    }
}

/// A merge as `merges.txt` and GGUF write it: two tokens and a space between. A token may itself
/// begin with a space.
pub(super) fn split_merge(line: &str) -> Option<(String, String)> {
    let first = line.chars().next()?.len_utf8();
    let space = line[first..].find(' ')? + first;
    let (left, right) = (&line[..space], &line[space + 1..]);
    if right.is_empty() { None } else { Some((left.to_string(), right.to_string())) }
}

/// A pipeline stage from the form that `tokenizer.json` gives it.
pub(super) fn stage<T: DeserializeOwned>(description: Value) -> Result<T> {
    serde_json::from_value(description.clone())
        .map_err(|e| Error::Tokenizer(format!("{e} in {description}")))
}

/// Byte-level BPE's pre-tokenizer: cut at each pattern in turn, then spell bytes.
pub(super) fn byte_level_after(patterns: &[&str]) -> Value {
    let mut stages = splits(patterns);
    stages.push(byte_level(false, false));
    json!({"type": "Sequence", "pretokenizers": stages})
}

/// Cuts at each pattern in turn; what lies between the matches is kept too.
pub(super) fn splits(patterns: &[&str]) -> Vec<Value> {
    let split = |pattern: &&str| {
        json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
               "invert": false})
    };
    patterns.iter().map(split).collect()
}

/// GPT-2's byte alphabet, as pre-tokenizer or decoder; `use_regex` cuts by GPT-2's pattern too,
/// and `add_prefix_space` lets a text begin like a word in its middle.
pub(super) fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true,
           "use_regex": use_regex})
}

/// Puts `bos` in front and `eos` behind, where given: transformers' `update_post_processor`.
pub(super) fn surround(
    tokenizer: &mut Tokenizer,
    bos: Option<u32>,
    eos: Option<u32>,
) -> Result<()> {
    let mut special = serde_json::Map::new();
    let mut piece = |id: Option<u32>, type_id: u32| -> Option<Value> {
        let id = id?;
        let token = tokenizer.id_to_token(id)?;
        special.insert(token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}));
        Some(json!({"SpecialToken": {"id": token, "type_id": type_id}}))
    };
    let mut around = |name: &str, type_id: u32| -> Vec<Value> {
        let text = json!({"Sequence": {"id": name, "type_id": type_id}});
        [piece(bos, type_id), Some(text), piece(eos, type_id)].into_iter().flatten().collect()
    };
    let (single, second) = (around("A", 0), around("B", 1));
    let pair: Vec<Value> = single.iter().cloned().chain(second).collect();
    let processor: tokenizers::processors::PostProcessorWrapper = stage(json!({
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special,
    }))?;
    tokenizer.with_post_processor(Some(processor));
    Ok(())
}

/// Makes tokens matched whole in the text, before everything else.
pub(super) fn add_tokens(tokenizer: &mut Tokenizer, tokens: Vec<AddedToken>) -> Result<()> {
    match tokenizer.add_tokens(tokens) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::Tokenizer(format!("cannot add the special tokens: {e}"))),
    }
}
