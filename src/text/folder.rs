//! A tokenizer from a folder in the Hugging Face layout: `tokenizer.json`, or GPT-2's
//! `vocab.json` with `merges.txt`, and the small files beside them. It reads no weights.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::bpe::{self, BpeParts};
use super::pre::QWEN2;
use super::precheck;
use super::tokenizer::{Specials, Tokenizer};
use crate::error::{Error, Result};

/// The files that may belong to a tokenizer.
pub const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
];

impl Tokenizer {
    /// Reads the tokenizer of a folder in the Hugging Face layout: `tokenizer.json`, else
    /// `vocab.json` with `merges.txt`; special tokens from `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json`. `None` where the folder has none.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Tokenizer`], naming the file and what is wrong with it.
    pub fn from_folder(dir: &Path) -> Result<Option<Self>> {
        let config = Config::read(dir)?;
        let whole = dir.join("tokenizer.json");
        let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
        let (mut inner, origin) = if whole.is_file() {
            (precheck::load(&whole)?, whole)
        } else if vocab.is_file() && merges.is_file() {
            (from_vocab_and_merges(&vocab, &merges, &config)?, vocab)
        } else {
            return Ok(None);
        };
        let named = |e: Error| match e {
            Error::Tokenizer(problem) => Error::file(&origin, problem),
            other => other,
        };
        config.add_tokens(&mut inner).map_err(named)?;
        let specials = config.specials(&inner);
        config.surround(&mut inner, &specials).map_err(named)?;
        Self::assemble(inner, specials, &origin.display().to_string()).map(Some)
    }
}

impl Tokenizer {
    /// A `tokenizer.json` that is in memory, and what its `tokenizer_config.json` says.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Tokenizer`], naming `origin`.
    pub fn from_bytes(bytes: &[u8], config: Map<String, Value>, origin: &str) -> Result<Self> {
        let (special_map, added) = Default::default();
        let config = Config { main: config, special_map, added, whole_file: true };
        let mut inner = precheck::parse(bytes, Path::new(origin))?;
        config.add_tokens(&mut inner)?;
        let specials = config.specials(&inner);
        Self::assemble(inner, specials, origin)
    }
}

/// GPT-2's layout. Without `tokenizer.json` the class decides how text is cut into words.
fn from_vocab_and_merges(
    vocab_path: &Path,
    merges_path: &Path,
    config: &Config,
) -> Result<tokenizers::Tokenizer> {
    let vocab: HashMap<String, u32> = serde_json::from_slice(&read(vocab_path)?)
        .map_err(|e| Error::file(vocab_path, format!("is no vocabulary: {e}")))?;
    let merges = read_merges(merges_path)?;
    let class = config.string("tokenizer_class").unwrap_or("GPT2Tokenizer").to_string();
    let prefix_space = config.bool("add_prefix_space").unwrap_or(false);
    let (pre, nfc) = match class.trim_end_matches("Fast") {
        "GPT2Tokenizer" | "PreTrainedTokenizer" | "TokenizersBackend" => {
            (bpe::byte_level(prefix_space, true), false)
        }
        "Qwen2Tokenizer" => (bpe::byte_level_after(&[QWEN2]), true),
        _ => {
            let problem = format!(
                "tokenizer_class {class} needs a tokenizer.json; from vocab.json and merges.txt \
                 alone only GPT2Tokenizer and Qwen2Tokenizer can be built"
            );
            return Err(Error::file(vocab_path, problem));
        }
    };
    let parts = BpeParts { vocab, merges, ..BpeParts::default() };
    let model = parts.build(&merges_path.display().to_string())?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    if nfc {
        let normalizer: tokenizers::NormalizerWrapper =
            bpe::stage(serde_json::json!({"type": "NFC"}))?;
        tokenizer.with_normalizer(Some(normalizer)).map_err(|e| Error::file(vocab_path, e))?;
    }
    let pre: tokenizers::PreTokenizerWrapper = bpe::stage(pre)?;
    tokenizer.with_pre_tokenizer(Some(pre));
    tokenizer.with_decoder(Some(bpe::stage::<tokenizers::DecoderWrapper>(bpe::byte_level(
        false, true,
    ))?));
    Ok(tokenizer)
}

/// `merges.txt`: a merge a line, the first of them perhaps a version.
fn read_merges(path: &Path) -> Result<Vec<(String, String)>> {
    let text = String::from_utf8(read(path)?)
        .map_err(|e| Error::file(path, format!("is not UTF-8: {e}")))?;
    let mut merges = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if (number == 0 && line.starts_with("#version")) || line.is_empty() {
            continue;
        }
        let merge = bpe::split_merge(line).ok_or_else(|| {
            Error::file(path, format!("line {}: `{line}` is no merge", number + 1))
        })?;
        merges.push(merge);
    }
    Ok(merges)
}

/// `tokenizer_config.json` and the two older files that say some of the same.
struct Config {
    main: Map<String, Value>,
    special_map: Map<String, Value>,
    added: Map<String, Value>,
    /// GPT-2's folders may name no special token at all.
    whole_file: bool,
}

impl Config {
    fn read(dir: &Path) -> Result<Self> {
        Ok(Self {
            main: read_object(&dir.join("tokenizer_config.json"))?,
            special_map: read_object(&dir.join("special_tokens_map.json"))?,
            added: read_object(&dir.join("added_tokens.json"))?,
            whole_file: dir.join("tokenizer.json").is_file(),
        })
    }

    fn string(&self, key: &str) -> Option<&str> {
        self.main.get(key).and_then(Value::as_str)
    }

    fn bool(&self, key: &str) -> Option<bool> {
        self.main.get(key).and_then(Value::as_bool)
    }

    /// The tokens under a key such as `eos_token`: a string, an object with `content`, a list.
    fn tokens(&self, key: &str) -> Vec<&str> {
        let value = match self.main.get(key) {
            None | Some(Value::Null) => self.special_map.get(key),
            value => value,
        };
        match value {
            Some(Value::Array(list)) => list.iter().filter_map(content).collect(),
            Some(value) => content(value).into_iter().collect(),
            // transformers' GPT2Tokenizer has this default for all three.
            None if !self.whole_file && ["bos_token", "eos_token", "unk_token"].contains(&key) => {
                vec!["<|endoftext|>"]
            }
            None => Vec::new(),
        }
    }

    /// Adds the tokens that these files name and the tokenizer does not treat as whole yet.
    fn add_tokens(&self, tokenizer: &mut tokenizers::Tokenizer) -> Result<()> {
        let mut listed: Vec<(u32, AddedToken)> = Vec::new();
        for (token, id) in &self.added {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            listed.extend(id.map(|id| (id, AddedToken::from(token.clone(), false))));
        }
        if let Some(Value::Object(entries)) = self.main.get("added_tokens_decoder") {
            for (id, entry) in entries {
                let token: AddedToken = bpe::stage(entry.clone())?;
                listed.extend(id.parse().ok().map(|id| (id, token)));
            }
        }
        listed.sort_by_key(|(id, _)| *id);
        let known = tokenizer.get_added_tokens_decoder();
        listed.retain(|(id, _)| !known.contains_key(id));
        bpe::add_tokens(tokenizer, listed.iter().map(|(_, token)| token.clone()).collect())?;
        for (id, token) in &listed {
            if tokenizer.token_to_id(&token.content) != Some(*id) {
                return Err(Error::Tokenizer(format!(
                    "the added token `{}` should have id {id}, which leaves a gap in the vocabulary or is taken",
                    token.content
                )));
            }
        }
        let keys =
            ["bos_token", "eos_token", "unk_token", "pad_token", "additional_special_tokens"];
        let special = keys.iter().flat_map(|key| self.tokens(key)).filter(|token| {
            let added = tokenizer.get_added_vocabulary();
            tokenizer.token_to_id(token).is_some() && !added.is_special_token(token)
        });
        let special =
            special.map(|token| AddedToken::from(token, true).normalized(false)).collect();
        bpe::add_tokens(tokenizer, special)
    }

    fn specials(&self, tokenizer: &tokenizers::Tokenizer) -> Specials {
        let ids = |key| -> Vec<u32> {
            self.tokens(key).iter().filter_map(|token| tokenizer.token_to_id(token)).collect()
        };
        Specials { bos: ids("bos_token").first().copied(), eos: ids("eos_token"), notices: vec![] }
    }

    /// Without a `tokenizer.json`, whose post-processor rules (in transformers 5 at least),
    /// `add_bos_token` and `add_eos_token` say what goes around a text.
    fn surround(&self, tokenizer: &mut tokenizers::Tokenizer, specials: &Specials) -> Result<()> {
        if self.whole_file {
            return Ok(());
        }
        let (bos, eos) = (self.bool("add_bos_token"), self.bool("add_eos_token"));
        let bos = specials.bos.filter(|_| bos == Some(true));
        let eos = specials.eos.first().copied().filter(|_| eos == Some(true));
        bpe::surround(tokenizer, bos, eos)
    }
}

fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content").and_then(Value::as_str))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::file(path, e))
}

/// A JSON object from a file; an empty one where there is no such file.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>> {
    if !path.is_file() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&read(path)?)
        .map_err(|e| Error::file(path, format!("is no JSON object: {e}")))
}
