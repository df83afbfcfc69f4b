//! Tokenizers that are made of the text that a model is to learn: byte-level BPE (Sennrich et al.
//! 2016, 1508.07909; Radford et al. 2019), or one token a character. Writing them to a folder, too.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde_json::json;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ModelWrapper, Trainer};

use super::bpe;
use super::tokenizer::{Specials, Tokenizer};
use crate::error::{Error, Result};

/// What stands between texts, begins each, and ends a generation.
const END: &str = "<|endoftext|>";

/// What the tokens of all bytes take, and one token that ends a text.
const SMALLEST: usize = 257;

impl Tokenizer {
    /// Byte-level BPE of at most `vocab_size` tokens, those of all 256 bytes among them. With
    /// `end`, texts are divided by a token `<|endoftext|>`, which begins every prompt.
    ///
    /// # Errors
    /// [`Error::Request`] for a vocabulary smaller than the bytes; [`Error::Tokenizer`].
    pub fn learn_bpe<'a>(
        texts: impl Iterator<Item = &'a str> + Send,
        vocab_size: usize,
        end: bool,
    ) -> Result<Self> {
        if vocab_size < SMALLEST {
            let problem =
                format!("{vocab_size} tokens cannot spell every byte; {SMALLEST} at least");
            return Err(Error::request("vocab_size", problem));
        }
        let alphabet: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
        let special = if end { vec![AddedToken::from(END, true)] } else { Vec::new() };
        let trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(alphabet)
            .special_tokens(special)
            .build();
        let mut inner = tokenizers::Tokenizer::new(ModelWrapper::BPE(BPE::default()));
        inner.with_pre_tokenizer(Some(bpe::stage::<tokenizers::PreTokenizerWrapper>(
            bpe::byte_level(false, true),
        )?));
        inner.with_decoder(Some(bpe::stage::<tokenizers::DecoderWrapper>(bpe::byte_level(
            false, true,
        ))?));
        let mut trainer = TrainerWrapper::from(trainer);
        debug_assert!(!trainer.should_show_progress());
        let fail = |e| Error::Tokenizer(format!("cannot be learned: {e}"));
        inner.train(&mut trainer, texts).map_err(fail)?;
        ended(inner, end)
    }

    /// A token for every character that occurs; a text with another cannot be encoded. `end` is
    /// [`Tokenizer::learn_bpe`]'s.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where there is no character.
    pub fn of_characters<'a>(texts: impl Iterator<Item = &'a str>, end: bool) -> Result<Self> {
        let characters: BTreeSet<char> = texts.flat_map(str::chars).collect();
        let vocab = characters.iter().enumerate().map(|(id, c)| (c.to_string(), id as u32));
        let model = WordLevel::builder().vocab(vocab.collect()).build();
        let model = model.map_err(|e| Error::Tokenizer(format!("cannot be made: {e}")))?;
        let mut inner = tokenizers::Tokenizer::new(ModelWrapper::WordLevel(model));
        let each = json!({"type": "Split", "pattern": {"Regex": "[\\s\\S]"},
                          "behavior": "Isolated", "invert": false});
        inner.with_pre_tokenizer(Some(bpe::stage::<tokenizers::PreTokenizerWrapper>(each)?));
        let joined = json!({"type": "Fuse"});
        inner.with_decoder(Some(bpe::stage::<tokenizers::DecoderWrapper>(joined)?));
        ended(inner, end)
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into a folder.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join("tokenizer.json");
        self.inner.save(&path, false).map_err(|e| Error::file(&path, e))?;
        let token = |id: Option<u32>| id.and_then(|id| self.piece(id));
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": token(self.bos_id()),
            "eos_token": token(self.eos_ids().first().copied()),
            "clean_up_tokenization_spaces": false,
        });
        let path = folder.join("tokenizer_config.json");
        std::fs::write(&path, format!("{config:#}\n")).map_err(|e| Error::file(&path, e))
    }
}

/// The finished tokenizer, texts divided by [`END`] where wanted.
fn ended(mut inner: tokenizers::Tokenizer, end: bool) -> Result<Tokenizer> {
    let mut specials = Specials::default();
    if end {
        bpe::add_tokens(&mut inner, vec![AddedToken::from(END, true).normalized(false)])?;
        let id = inner.token_to_id(END);
        bpe::surround(&mut inner, id, None)?;
        specials.bos = id;
        specials.eos = id.into_iter().collect();
    }
    Tokenizer::assemble(inner, specials, "the learned tokenizer")
}
