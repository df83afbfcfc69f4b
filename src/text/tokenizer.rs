//! The tokenizer: text to ids, ids to text. Where its parts come from is told in `folder.rs` and
//! `gguf.rs`; decoding one id at a time is in `stream.rs`.

use std::sync::Arc;

use super::stream::{Decoding, Stream};
use crate::error::{Error, Result};

/// Turns text into token ids and back, as the checkpoint's own tokenizer does.
///
/// Cheap to clone: clones share the vocabulary.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(super) inner: Arc<tokenizers::Tokenizer>,
    pub(super) decoding: Arc<Decoding>,
    bos: Option<u32>,
    eos: Vec<u32>,
    /// Whether the post-processor itself puts a BOS in front.
    adds_bos: bool,
    pub(super) vocab_size: usize,
    notices: Vec<String>,
}

/// What the files around a tokenizer say about its special tokens.
#[derive(Debug, Default)]
pub(super) struct Specials {
    pub(super) bos: Option<u32>,
    pub(super) eos: Vec<u32>,
    pub(super) notices: Vec<String>,
}

impl Tokenizer {
    /// Wraps a finished `tokenizers` pipeline. `origin` names the file in errors.
    pub(super) fn assemble(
        mut inner: tokenizers::Tokenizer,
        specials: Specials,
        origin: &str,
    ) -> Result<Self> {
        // A file may carry the padding and truncation of its training run; a prompt is neither
        // padded nor cut, as in transformers.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Error::Tokenizer(format!("{origin}: {e}")))?;
        let vocab_size = vocab_size(&inner)
            .ok_or_else(|| Error::Tokenizer(format!("{origin}: the vocabulary is empty")))?;
        let decoding = Decoding::of(inner.get_decoder());
        let mut tokenizer = Self {
            inner: Arc::new(inner),
            decoding: Arc::new(decoding),
            bos: specials.bos,
            eos: specials.eos,
            adds_bos: false,
            vocab_size,
            notices: specials.notices,
        };
        let empty = tokenizer.encode_as_is("", true)?;
        tokenizer.adds_bos = tokenizer.bos.is_some() && empty.first() == tokenizer.bos.as_ref();
        Ok(tokenizer)
    }

    /// The ids of `text`. `add_special` adds what the checkpoint's post-processor adds (a BOS,
    /// for most families) unless the text begins with that BOS already: it is never doubled.
    /// What a chat template renders is encoded with `add_special` false.
    ///
    /// Special tokens written out in the text become their ids, as in transformers.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the vocabulary cannot express the text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let mut ids = self.encode_as_is(text, add_special)?;
        let bos = self.bos;
        if add_special
            && self.adds_bos
            && ids.len() > 1
            && Some(ids[1]) == bos
            && Some(ids[0]) == bos
        {
            ids.remove(0);
        }
        Ok(ids)
    }

    fn encode_as_is(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        match self.inner.encode_fast(text, add_special) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(e) => Err(Error::Tokenizer(format!("cannot encode the text: {e}"))),
        }
    }

    /// The text of `ids`, without the special tokens where `skip_special` says so.
    ///
    /// Unlike transformers it never applies `clean_up_tokenization_spaces`, which would drop the
    /// spaces that the model itself put before punctuation.
    ///
    /// # Errors
    /// [`Error::TokenId`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        for &id in ids {
            self.check(id)?;
        }
        self.inner
            .decode(ids, skip_special)
            .map_err(|e| Error::Tokenizer(format!("cannot decode the ids: {e}")))
    }

    /// Decodes one id at a time; the pieces concatenated are [`Tokenizer::decode`] of the whole.
    pub fn stream(&self, skip_special: bool) -> Stream {
        Stream::new(self.clone(), skip_special)
    }

    /// One token as text for tables and log-probabilities: special tokens by their name, bytes
    /// that are no whole character as `\xE4`. An id without a token reads `<id>`.
    pub fn token_text(&self, id: u32) -> String {
        match self.piece(id) {
            Some(token) => self.decoding.show(&token),
            None => format!("<{id}>"),
        }
    }

    /// Ids run from 0 to this, exclusive. Some of them may have no token.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Lets ids up to `vocab_size` pass: models pad their vocabulary, and a padding id decodes to
    /// nothing, as in transformers.
    pub fn widen(&mut self, vocab_size: usize) {
        self.vocab_size = self.vocab_size.max(vocab_size);
    }

    /// The token that begins a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos
    }

    /// The tokens that end a text or a turn, as far as the tokenizer knows them; the checkpoint's
    /// `generation_config.json` may name more.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos
    }

    /// The id of a token written as the vocabulary writes it.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// Whether `id` is a special token, which `skip_special` leaves out.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|token| added.is_special_token(&token))
    }

    /// Whether [`Tokenizer::encode`] with `add_special` puts a BOS in front.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// What the reader should know about how this tokenizer was put together.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// A token as decoders see it.
    pub(super) fn piece(&self, id: u32) -> Option<String> {
        self.inner
            .get_added_vocabulary()
            .simple_id_to_token(id)
            .or_else(|| self.inner.id_to_token(id))
    }

    /// An error for an id that no token can have.
    pub(super) fn check(&self, id: u32) -> Result<()> {
        if (id as usize) < self.vocab_size {
            Ok(())
        } else {
            Err(Error::TokenId { id, vocab_size: self.vocab_size })
        }
    }
}

/// One more than the greatest id; `None` where there is none.
fn vocab_size(inner: &tokenizers::Tokenizer) -> Option<usize> {
    // As many tokens as ids up to there: no other can be left. (A copy of the vocabulary takes
    // milliseconds.)
    let count = inner.get_vocab_size(true);
    let dense = |id| u32::try_from(id).is_ok_and(|id| inner.id_to_token(id).is_some());
    match count > 0 && (0..count).all(dense) {
        true => Some(count),
        false => inner.get_vocab(true).values().map(|&id| id as usize + 1).max(),
    }
}
