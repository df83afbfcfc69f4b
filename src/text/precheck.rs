//! `tokenizer.json`, looked through before the `tokenizers` crate reads it: that crate panics on
//! merges whose token is longer than any in the vocabulary. It builds nothing itself.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::folder::read;
use super::onepass;
use crate::error::{Error, Result};

/// Reads a `tokenizer.json`.
pub(super) fn load(path: &Path) -> Result<tokenizers::Tokenizer> {
    parse(&read(path)?, path)
}

/// The same of bytes; `path` names them in errors.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<tokenizers::Tokenizer> {
    if let Some(tokenizer) = onepass::read(bytes) {
        return Ok(tokenizer);
    }
    let outline: Outline = serde_json::from_slice(bytes)
        .map_err(|e| Error::file(path, format!("is no tokenizer: {e}")))?;
    if let Some(problem) = outline.model.problem() {
        return Err(Error::file(path, problem));
    }
    // The net under the check: other damage that the crate does not expect.
    match catch_unwind(AssertUnwindSafe(|| tokenizers::Tokenizer::from_bytes(bytes))) {
        Ok(Ok(tokenizer)) => Ok(tokenizer),
        Ok(Err(e)) => Err(Error::file(path, format!("is no usable tokenizer: {e}"))),
        Err(_) => Err(Error::file(path, "is damaged in a way that the tokenizer cannot read")),
    }
}

#[derive(Deserialize)]
struct Outline {
    model: Model,
}

/// The lengths that matter, without keeping the strings.
#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    vocab: LongestKey,
    #[serde(default)]
    merges: LongestMerge,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
}

impl Model {
    fn problem(&self) -> Option<String> {
        let prefix = self.continuing_subword_prefix.as_deref().map_or(0, str::len);
        if self.merges.count > 0 && self.merges.shortest_right < prefix {
            return Some("a merge is shorter than continuing_subword_prefix".into());
        }
        (self.merges.longest > self.vocab.0 + prefix).then(|| {
            format!(
                "a merge makes a token of {} bytes, the longest in the vocabulary has {}",
                self.merges.longest, self.vocab.0
            )
        })
    }
}

#[derive(Default)]
struct LongestKey(usize);

impl<'de> Deserialize<'de> for LongestKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = LongestKey;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a vocabulary")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LongestKey, A::Error> {
                let mut longest = 0;
                while let Some((text, IgnoredAny)) = map.next_entry::<Text, _>()? {
                    longest = longest.max(text.0);
                }
                Ok(LongestKey(longest))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<LongestKey, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(LongestKey(usize::MAX / 2)) // Unigram: a list with scores, and no merges
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

#[derive(Default)]
struct LongestMerge {
    count: usize,
    longest: usize,
    shortest_right: usize,
}

impl<'de> Deserialize<'de> for LongestMerge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = LongestMerge;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<LongestMerge, A::Error> {
                let mut found = LongestMerge { shortest_right: usize::MAX, ..Default::default() };
                while let Some(Merge(left, right)) = seq.next_element()? {
                    found.count += 1;
                    found.longest = found.longest.max(left + right);
                    found.shortest_right = found.shortest_right.min(right);
                }
                Ok(found)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// The lengths of a merge's two tokens, which stand in a list or around a space.
struct Merge(usize, usize);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                let (before, after) = text.split_once(' ').unwrap_or((text, ""));
                Ok(Merge(before.len(), after.len()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge, A::Error> {
                let mut token = |index| {
                    let text = seq.next_element::<Text>()?;
                    text.ok_or_else(|| serde::de::Error::invalid_length(index, &"two tokens"))
                };
                let merge = Merge(token(0)?.0, token(1)?.0);
                match seq.next_element::<IgnoredAny>()? {
                    Some(_) => Err(serde::de::Error::invalid_length(3, &"two tokens")),
                    None => Ok(merge),
                }
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// A string's length in bytes.
struct Text(usize);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a token")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.len()))
            }
        }
        deserializer.deserialize_str(Visit)
    }
}
