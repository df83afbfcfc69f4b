//! A `tokenizer.json` with a BPE model, read in one pass: the `tokenizers` crate reads its model
//! four times over, through values of every type that it might be. What is unusual in any way is
//! left to that crate (`precheck.rs`), as are all complaints.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PaddingParams, PostProcessorWrapper,
    PreTokenizerWrapper, Tokenizer, TruncationParams,
};

/// The tokenizer, just as the crate would read it; `None` where the crate has to be asked.
pub(super) fn read(bytes: &[u8]) -> Option<Tokenizer> {
    let file: File = serde_json::from_slice(bytes).ok()?;
    if file.version.is_some_and(|version| version != "1.0") {
        return None;
    }
    let added = file.added_tokens.into_iter().map(added).collect::<Option<Vec<_>>>()?;
    let mut tokenizer = Tokenizer::new(file.model.build()?);
    tokenizer.with_normalizer(file.normalizer).ok()?;
    tokenizer.with_pre_tokenizer(file.pre_tokenizer);
    tokenizer.with_post_processor(file.post_processor);
    tokenizer.with_decoder(file.decoder);
    tokenizer.with_padding(file.padding);
    tokenizer.with_truncation(file.truncation).ok()?;
    tokenizer.add_tokens(added).ok()?;
    Some(tokenizer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Option<String>,
    truncation: Option<TruncationParams>,
    padding: Option<PaddingParams>,
    #[serde(default)]
    added_tokens: Vec<Map<String, Value>>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    model: Model,
}

/// An added token; its id is what the model says.
fn added(mut entry: Map<String, Value>) -> Option<AddedToken> {
    u32::try_from(entry.remove("id")?.as_u64()?).ok()?;
    serde_json::from_value(Value::Object(entry)).ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    #[serde(rename = "type")]
    kind: Kind,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: Ids,
    merges: Pairs,
}

#[derive(Deserialize)]
enum Kind {
    #[serde(rename = "BPE")]
    Bpe,
}

impl Model {
    fn build(self) -> Option<BPE> {
        let Kind::Bpe = self.kind;
        // The crate would panic on merges longer than any token.
        let longest = self.vocab.0.keys().map(String::len).max().unwrap_or(0);
        let prefix = self.continuing_subword_prefix.as_deref().map_or(0, str::len);
        let fits = |(left, right): &(String, String)| {
            right.len().checked_sub(prefix).is_some_and(|rest| left.len() + rest <= longest)
        };
        if !self.merges.0.iter().all(fits) {
            return None;
        }
        let mut builder = BPE::builder()
            .vocab_and_merges(self.vocab.0, self.merges.0)
            .fuse_unk(self.fuse_unk)
            .byte_fallback(self.byte_fallback)
            .ignore_merges(self.ignore_merges);
        if let Some(dropout) = self.dropout {
            builder = builder.dropout(dropout);
        }
        if let Some(token) = self.unk_token {
            builder = builder.unk_token(token);
        }
        if let Some(prefix) = self.continuing_subword_prefix {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            builder = builder.end_of_word_suffix(suffix);
        }
        builder.build().ok()
    }
}

/// Tokens and their ids.
struct Ids(Vocab);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Ids;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a vocabulary")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ids, A::Error> {
                let mut vocab = Vocab::default();
                vocab.reserve(1 << 15);
                while let Some((token, id)) = map.next_entry()? {
                    vocab.insert(token, id);
                }
                Ok(Ids(vocab))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// Merges, each a list of two tokens, or both with a space between.
struct Pairs(Merges);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
                let mut pairs = Merges::with_capacity(1 << 15);
                while let Some(Pair(left, right)) = seq.next_element()? {
                    pairs.push((left, right));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_seq(Visit)
    }
}

struct Pair(String, String);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Pair;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pair, E> {
                match text.split_once(' ') {
                    Some((left, right))
                        if !right.contains(' ') && !text.starts_with("#version") =>
                    {
                        Ok(Pair(left.into(), right.into()))
                    }
                    _ => Err(E::custom("not two tokens")),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pair, A::Error> {
                match (seq.next_element()?, seq.next_element()?, seq.next_element::<String>()?) {
                    (Some(left), Some(right), None) => Ok(Pair(left, right)),
                    _ => Err(serde::de::Error::custom("not two tokens")),
                }
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

#[cfg(test)]
mod tests;
