//! A tokenizer from what a GGUF file carries. How byte-level BPE cuts text into words is in
//! `pre.rs`; reading the file is not done here.

use std::collections::HashMap;

use serde_json::json;
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper};

use super::bpe::{self, BpeParts};
use super::pre::{self, Pre};
use super::tokenizer::{Specials, Tokenizer};
use crate::error::{Error, Result};

/// The `tokenizer.ggml.*` keys of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE), `llama` (SentencePiece) or `gemma4`.
    pub model: String,
    /// `tokenizer.ggml.pre`: the name of the pre-tokenizer, for byte-level BPE.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`: the id of a token is its place.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`: for SentencePiece, higher is merged first.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
    /// 6 byte. May be empty.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`: `left right`, first is merged first.
    pub merges: Vec<String>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos_id: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos_id: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unknown_id: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub add_space_prefix: Option<bool>,
}

const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Tokens that end a turn, by name: a GGUF file names only one `eos` (llama.cpp,
/// `llama-vocab.cpp`).
const ENDS: [&str; 14] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<turn|>",
];

impl Tokenizer {
    /// Builds the tokenizer that a GGUF file carries.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the kind or the pre-tokenizer is unknown, or the parts
    /// contradict each other.
    pub fn from_gguf(vocab: &GgufVocab) -> Result<Self> {
        vocab.check()?;
        let built = match vocab.model.as_str() {
            "gpt2" => byte_level(vocab)?,
            "llama" => sentence_piece(vocab)?,
            "gemma4" => escaped(vocab, true, &[pre::LINES], merges(vocab)?)?,
            other => {
                return Err(wrong(format!(
                    "tokenizer.ggml.model is `{other}`; known: gpt2, llama, gemma4"
                )));
            }
        };
        let Built { mut inner, adds_bos, notices } = built;
        bpe::add_tokens(&mut inner, vocab.whole_tokens())?;
        let bos = vocab.bos_id.filter(|_| vocab.add_bos.unwrap_or(adds_bos));
        let eos = vocab.eos_id.filter(|_| vocab.add_eos == Some(true));
        bpe::surround(&mut inner, bos, eos)?;
        let specials = Specials { bos: vocab.bos_id, eos: vocab.ends(), notices };
        Self::assemble(inner, specials, "GGUF")
    }
}

struct Built {
    inner: tokenizers::Tokenizer,
    /// Whether a BOS goes in front where the file does not say.
    adds_bos: bool,
    notices: Vec<String>,
}

fn wrong(problem: impl Into<String>) -> Error {
    Error::Tokenizer(format!("GGUF: {}", problem.into()))
}

fn byte_level(vocab: &GgufVocab) -> Result<Built> {
    let mut notices = Vec::new();
    let name = vocab.pre.as_deref().unwrap_or_else(|| {
        notices.push(
            "the GGUF file does not name its pre-tokenizer (it is older than that key); \
                      llama.cpp's `default` is used, which may cut words differently than the \
                      model was trained with"
                .into(),
        );
        "default"
    });
    let Pre { patterns, adds_bos, ignore_merges, nfc, escaped: is_escaped } =
        pre::find(name).ok_or_else(|| {
            wrong(format!(
                "tokenizer.ggml.pre is `{name}`, a pre-tokenizer that nobody described here; known: {}",
                pre::names().join(", ")
            ))
        })?;
    if is_escaped {
        return escaped(vocab, true, patterns, merges(vocab)?);
    }
    let parts = BpeParts {
        vocab: vocab.ids()?,
        merges: merges(vocab)?,
        ignore_merges,
        ..Default::default()
    };
    let mut inner = tokenizers::Tokenizer::new(parts.build("GGUF")?);
    if nfc {
        let normalizer: NormalizerWrapper = bpe::stage(json!({"type": "NFC"}))?;
        inner.with_normalizer(Some(normalizer)).map_err(|e| wrong(e.to_string()))?;
    }
    let pre: PreTokenizerWrapper = bpe::stage(bpe::byte_level_after(patterns))?;
    inner.with_pre_tokenizer(Some(pre));
    inner.with_decoder(Some(bpe::stage::<DecoderWrapper>(bpe::byte_level(false, true))?));
    Ok(Built { inner, adds_bos, notices })
}

/// SentencePiece's BPE (Kudo and Richardson 2018, arXiv 1808.06226): of all neighbours whose
/// concatenation is a token, the one with the highest score is merged first. As merges, that is
/// every way to split every token, ranked by the token's score (transformers' `generate_merges`).
fn sentence_piece(vocab: &GgufVocab) -> Result<Built> {
    let ids = vocab.ids()?;
    let mut ranked: Vec<(f32, u32, u32, String, String)> = Vec::new();
    for (id, token) in vocab.tokens.iter().enumerate() {
        if [UNKNOWN, CONTROL, BYTE].contains(&vocab.token_type(id)) {
            continue;
        }
        for (cut, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(cut);
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                ranked.push((vocab.scores[id], l, r, left.into(), right.into()));
            }
        }
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let merges = ranked.into_iter().map(|(_, _, _, left, right)| (left, right)).collect();
    escaped(vocab, vocab.add_space_prefix == Some(false), &[], merges)
}

/// BPE over characters with spaces written `▁` and bytes as `<0xE4>`.
fn escaped(
    vocab: &GgufVocab,
    bare: bool,
    patterns: &[&str],
    merges: Vec<(String, String)>,
) -> Result<Built> {
    let parts = BpeParts {
        vocab: vocab.ids()?,
        merges,
        unknown: unknown(vocab),
        byte_fallback: true,
        ..Default::default()
    };
    let mut inner = tokenizers::Tokenizer::new(parts.build("GGUF")?);
    let mut normalizers =
        vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if !bare {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let normalizer: NormalizerWrapper =
        bpe::stage(json!({"type": "Sequence", "normalizers": normalizers}))?;
    inner.with_normalizer(Some(normalizer)).map_err(|e| wrong(e.to_string()))?;
    if !patterns.is_empty() {
        let pre = json!({"type": "Sequence", "pretokenizers": bpe::splits(patterns)});
        inner.with_pre_tokenizer(Some(bpe::stage::<PreTokenizerWrapper>(pre)?));
    }
    let decoder = json!({"type": "Sequence", "decoders": decoders});
    inner.with_decoder(Some(bpe::stage::<DecoderWrapper>(decoder)?));
    Ok(Built { inner, adds_bos: true, notices: Vec::new() })
}

/// The token that stands for what no other does.
fn unknown(vocab: &GgufVocab) -> Option<String> {
    let by_type = || vocab.token_types.iter().position(|&kind| kind == UNKNOWN);
    let id = vocab.unknown_id.map(|id| id as usize).or_else(by_type)?;
    vocab.tokens.get(id).cloned()
}

fn merges(vocab: &GgufVocab) -> Result<Vec<(String, String)>> {
    if vocab.merges.is_empty() {
        return Err(wrong("byte-level BPE without tokenizer.ggml.merges"));
    }
    let split = |line: &String| {
        bpe::split_merge(line)
            .ok_or_else(|| wrong(format!("`{line}` in tokenizer.ggml.merges is no merge")))
    };
    vocab.merges.iter().map(split).collect()
}

impl GgufVocab {
    fn check(&self) -> Result<()> {
        let n = self.tokens.len();
        if n == 0 {
            return Err(wrong("tokenizer.ggml.tokens is empty"));
        }
        if !self.token_types.is_empty() && self.token_types.len() != n {
            return Err(wrong(format!("{} token types for {n} tokens", self.token_types.len())));
        }
        if self.model == "llama" && self.scores.len() != n {
            return Err(wrong(format!("{} scores for {n} tokens", self.scores.len())));
        }
        let ids = [("bos", self.bos_id), ("eos", self.eos_id), ("unknown", self.unknown_id)];
        for (name, id) in ids {
            if let Some(id) = id.filter(|&id| id as usize >= n) {
                return Err(wrong(format!(
                    "the {name} token has id {id}, the vocabulary {n} tokens"
                )));
            }
        }
        Ok(())
    }

    fn token_type(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(1)
    }

    /// Token to id. An empty token gets a name that no text has, as in llama.cpp.
    fn ids(&self) -> Result<HashMap<String, u32>> {
        let mut ids = HashMap::with_capacity(self.tokens.len());
        for (id, token) in (0u32..).zip(&self.tokens) {
            let token = if token.is_empty() { format!("[EMPTY_{id}]") } else { token.clone() };
            if let Some(first) = ids.insert(token, id) {
                return Err(wrong(format!("the tokens {first} and {id} are the same")));
            }
        }
        Ok(ids)
    }

    /// Control and user-defined tokens: matched whole, in the text as it is.
    fn whole_tokens(&self) -> Vec<AddedToken> {
        let token = |(id, token): (usize, &String)| {
            let special = match self.token_type(id) {
                CONTROL | UNKNOWN => true,
                USER_DEFINED => ENDS.contains(&token.as_str()),
                _ => return None,
            };
            Some(AddedToken::from(token.clone(), special).normalized(false))
        };
        self.tokens.iter().enumerate().filter(|(_, t)| !t.is_empty()).filter_map(token).collect()
    }

    fn ends(&self) -> Vec<u32> {
        let named = (0u32..).zip(&self.tokens).filter(|(id, token)| {
            ENDS.contains(&token.as_str())
                && [CONTROL, USER_DEFINED].contains(&self.token_type(*id as usize))
        });
        let mut ends: Vec<u32> = self.eos_id.into_iter().collect();
        ends.extend(named.map(|(id, _)| id).filter(|id| Some(*id) != self.eos_id));
        ends
    }
}
