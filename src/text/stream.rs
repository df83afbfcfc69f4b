//! Ids to text one at a time, never half a character, in constant time per token. It mirrors
//! the decoders of the `tokenizers` crate; whole texts go through that crate itself.

use std::collections::HashMap;
use std::sync::LazyLock;

use tokenizers::Decoder;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::strip::Strip;

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// How a tokenizer's decoder joins tokens, as far as streaming needs to know.
#[derive(Debug)]
pub(super) enum Decoding {
    /// Tokens spell bytes (GPT-2's alphabet); the bytes together are UTF-8.
    Bytes,
    /// Tokens spell characters, each on its own after `each`; `<0xE4>` may stand for bytes, and
    /// what begins the whole text may be cut.
    Pieces { each: Vec<DecoderWrapper>, byte_fallback: bool, start: Option<Strip> },
    /// Anything else: decode a window of tokens and hand on what it adds.
    Window,
}

impl Decoding {
    pub(super) fn of(decoder: Option<&DecoderWrapper>) -> Self {
        let steps: &[DecoderWrapper] = match decoder {
            Some(DecoderWrapper::Sequence(sequence)) => sequence.get_decoders(),
            Some(decoder) => std::slice::from_ref(decoder),
            None => return Self::Window,
        };
        match steps {
            [DecoderWrapper::ByteLevel(_)] => Self::Bytes,
            _ => Self::pieces(steps).unwrap_or(Self::Window),
        }
    }

    /// The SentencePiece form: per-token steps, byte fallback, then (fused) a cut at the start.
    fn pieces(steps: &[DecoderWrapper]) -> Option<Self> {
        let mut each = Vec::new();
        let (mut byte_fallback, mut fused, mut start) = (false, false, None);
        for step in steps {
            match step {
                DecoderWrapper::Replace(_) if !byte_fallback && !fused => each.push(step.clone()),
                DecoderWrapper::ByteFallback(_) if !byte_fallback && !fused => byte_fallback = true,
                DecoderWrapper::Fuse(_) => fused = true,
                DecoderWrapper::Strip(strip) if fused && strip.stop == 0 && start.is_none() => {
                    start = Some(strip.clone());
                }
                _ => return None,
            }
        }
        Some(Self::Pieces { each, byte_fallback, start })
    }

    /// One token for a reader.
    pub(super) fn show(&self, token: &str) -> String {
        match self {
            Self::Bytes => show_bytes(&bytes_of(token)),
            Self::Pieces { each, byte_fallback, .. } => match byte_of(token) {
                Some(byte) if *byte_fallback => show_bytes(&[byte]),
                _ => apply(each, token).unwrap_or_else(|_| token.to_string()),
            },
            Self::Window => token.to_string(),
        }
    }
}

/// Decodes a text as its ids come; made by [`Tokenizer::stream`].
#[derive(Debug)]
pub struct Stream {
    tokenizer: Tokenizer,
    skip_special: bool,
    /// Bytes of a character (or of a byte-fallback run) that is not complete yet.
    bytes: Vec<u8>,
    /// How many characters may still be cut from the start of the text.
    cut: usize,
    window: Window,
}

impl Stream {
    pub(super) fn new(tokenizer: Tokenizer, skip_special: bool) -> Self {
        let cut = match &*tokenizer.decoding {
            Decoding::Pieces { start: Some(strip), .. } => strip.start,
            _ => 0,
        };
        Self { tokenizer, skip_special, bytes: Vec::new(), cut, window: Window::default() }
    }

    /// Takes the next id; gives the text that is now certain, if any.
    ///
    /// # Errors
    /// [`Error::TokenId`] for an id outside the vocabulary.
    pub fn push(&mut self, id: u32) -> Result<Option<String>> {
        self.tokenizer.check(id)?;
        let Some(token) = self.tokenizer.piece(id) else { return Ok(None) };
        if self.skip_special && self.tokenizer.inner.get_added_vocabulary().is_special_token(&token)
        {
            return Ok(None);
        }
        let decoding = self.tokenizer.decoding.clone();
        let text = match &*decoding {
            Decoding::Bytes => {
                self.bytes.extend(bytes_of(&token));
                take_utf8(&mut self.bytes, false)
            }
            Decoding::Pieces { each, byte_fallback, .. } => {
                let token = apply(each, &token)?;
                if let Some(byte) = byte_of(&token).filter(|_| *byte_fallback) {
                    self.bytes.push(byte);
                    return Ok(None);
                }
                let text = take_run(&mut self.bytes) + &token;
                self.cut_start(text)
            }
            Decoding::Window => self.window.push(&self.tokenizer, self.skip_special, id)?,
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// What is left when no more ids come: a character that stayed incomplete shows as `�`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the decoder fails.
    pub fn finish(&mut self) -> Result<Option<String>> {
        let decoding = self.tokenizer.decoding.clone();
        let text = match &*decoding {
            Decoding::Bytes => take_utf8(&mut self.bytes, true),
            Decoding::Pieces { .. } => {
                let text = take_run(&mut self.bytes);
                self.cut_start(text)
            }
            Decoding::Window => self.window.finish(&self.tokenizer, self.skip_special)?,
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn cut_start(&mut self, text: String) -> String {
        let Decoding::Pieces { start: Some(strip), .. } = &*self.tokenizer.decoding else {
            return text;
        };
        let mut rest = text.as_str();
        while self.cut > 0 && !rest.is_empty() {
            match rest.strip_prefix(strip.content) {
                Some(shorter) => (rest, self.cut) = (shorter, self.cut - 1),
                None => self.cut = 0,
            }
        }
        rest.to_string()
    }
}

/// A window of ids that decodes to a known text, for decoders of unknown form.
#[derive(Debug, Default)]
struct Window {
    ids: Vec<u32>,
    /// How many of `ids` the text already handed on covers.
    shown: usize,
}

impl Window {
    /// An incomplete character is waited for at most so many tokens.
    const PATIENCE: usize = 16;

    fn push(&mut self, tokenizer: &Tokenizer, skip_special: bool, id: u32) -> Result<String> {
        self.ids.push(id);
        self.advance(tokenizer, skip_special, self.ids.len() - self.shown > Self::PATIENCE)
    }

    fn finish(&mut self, tokenizer: &Tokenizer, skip_special: bool) -> Result<String> {
        let rest = self.advance(tokenizer, skip_special, true)?;
        *self = Self::default();
        Ok(rest)
    }

    fn advance(&mut self, tokenizer: &Tokenizer, skip_special: bool, all: bool) -> Result<String> {
        let before = tokenizer.decode(&self.ids[..self.shown], skip_special)?;
        let after = tokenizer.decode(&self.ids, skip_special)?;
        if !all && after.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        let new = after.strip_prefix(before.as_str()).unwrap_or_default().to_string();
        // The last shown token stays as context: decoders treat the first of a text differently.
        self.ids.drain(..self.shown);
        self.shown = self.ids.len();
        Ok(new)
    }
}

/// Complete characters from the front of `bytes`, wrong ones as `�`; `all` leaves nothing.
/// Together the pieces are `String::from_utf8_lossy` of all the bytes.
fn take_utf8(bytes: &mut Vec<u8>, all: bool) -> String {
    let mut text = String::new();
    let mut used = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        used += chunk.valid().len();
        let wrong = chunk.invalid();
        if wrong.is_empty() {
            break;
        }
        let could_continue = used + wrong.len() == bytes.len()
            && std::str::from_utf8(wrong).is_err_and(|e| e.error_len().is_none());
        if could_continue && !all {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        used += wrong.len();
    }
    bytes.drain(..used);
    text
}

/// A run of byte-fallback tokens as the `ByteFallback` decoder reads it: valid as a whole, or one
/// `�` per byte.
fn take_run(bytes: &mut Vec<u8>) -> String {
    match String::from_utf8(std::mem::take(bytes)) {
        Ok(text) => text,
        Err(e) => String::from(char::REPLACEMENT_CHARACTER).repeat(e.as_bytes().len()),
    }
}

fn apply(steps: &[DecoderWrapper], token: &str) -> Result<String> {
    let mut tokens = vec![token.to_string()];
    for step in steps {
        tokens = step
            .decode_chain(tokens)
            .map_err(|e| Error::Tokenizer(format!("cannot decode `{token}`: {e}")))?;
    }
    Ok(tokens.concat())
}

/// The byte that a byte-fallback token `<0xE4>` stands for.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// The bytes that a token spells in GPT-2's alphabet; its own where it is not written in it.
fn bytes_of(token: &str) -> Vec<u8> {
    let spelled: Option<Vec<u8>> = token.chars().map(|c| ALPHABET.get(&c).copied()).collect();
    spelled.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// GPT-2's alphabet (openai/gpt-2, `encoder.py`): a printable character for every byte.
static ALPHABET: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let mut spare = 0x100..;
    (0..=u8::MAX)
        .filter_map(|byte| {
            let letter = match byte {
                b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => byte as u32,
                _ => spare.next()?,
            };
            Some((char::from_u32(letter)?, byte))
        })
        .collect()
});

fn show_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}
