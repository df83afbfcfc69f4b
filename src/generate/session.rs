//! A conversation with one decoder: what was processed stays, and only what is new is processed.

use std::time::Instant;

use candle_core::{DType, Tensor};

use super::completion::Completion;
use super::finite::{diagnose, wrong};
use super::request::{Request, Voice};
use super::row::{Clock, Row};
use super::run::{Listener, Rows, pass};
use crate::error::{Error, Result};
use crate::nn::{Cache, Decoder, HeadEdits};

/// A decoder, and what it has seen.
///
/// Where rotations depend on the length in use (`dynamic`, `longrope`), keys stay as they were
/// turned when they came, as in transformers' cache: past the original length a kept conversation
/// has other numbers than the same one processed anew.
#[derive(Debug)]
pub struct Session<'m> {
    decoder: &'m Decoder,
    cache: Cache,
    ids: Vec<u32>, // as many as the cache holds
}

impl<'m> Session<'m> {
    /// A session that has seen nothing, with room for `reserve` tokens from the start.
    pub fn new(decoder: &'m Decoder, reserve: usize) -> Self {
        Self { decoder, cache: decoder.cache(&[0], reserve), ids: Vec::new() }
    }

    /// The tokens whose keys and values are held.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Makes what is held be `ids`, and gives the logits that follow, (vocab). What `ids` and the
    /// tokens held have in common at their start stays; only the rest is processed.
    ///
    /// # Errors
    /// No ids, an id outside the vocabulary, more ids than positions, logits that are not finite.
    pub fn feed(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        self.process(ids, &HeadEdits::default())
    }

    fn process(&mut self, ids: &[u32], edits: &HeadEdits) -> Result<Vec<f32>> {
        let kept = self.common(ids);
        let Some(rest) = ids.get(kept..).filter(|rest| !rest.is_empty()) else {
            return Err(Error::request("ids", "there is no token to compute"));
        };
        self.cut(kept);
        let rest = Tensor::new(rest, self.decoder.device())?.unsqueeze(0)?;
        let logits = pass(self.decoder, &rest, edits, &mut self.cache, true);
        if logits.is_err() {
            // A pass that failed midway has left some layers longer than others.
            self.cut(kept);
        }
        let logits = logits?.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        self.ids = ids.to_vec();
        match wrong(&logits) {
            Some(what) => Err(diagnose(self.decoder, ids, what)),
            None => Ok(logits),
        }
    }

    /// Continues the request's one prompt; what it and this session have in common is not
    /// processed again, and what is said stays for the next turn. (Turns with other `heads` share
    /// what was processed with the old ones; [`Session::clear`] forgets it.)
    ///
    /// # Errors
    /// As [`super::generate`]; more than one prompt or sample.
    pub fn generate(
        &mut self,
        voice: Option<&dyn Voice>,
        request: &Request,
        listener: &mut Listener<'_>,
    ) -> Result<Completion> {
        request.validate(self.decoder.spec(), voice.is_some())?;
        let ([prompt], 1) = (request.prompts.as_slice(), request.samples) else {
            return Err(Error::request("prompts", "a session continues one prompt, once"));
        };
        let started = Instant::now();
        let cached = self.common(&prompt.ids);
        let edits = HeadEdits::scaled(self.decoder.spec(), &request.heads)?;
        let logits = self.process(&prompt.ids, &edits)?;
        let rows = vec![Row::new(0, prompt, request, voice, Clock::new(started, cached))?];
        let mut rows = Rows {
            decoder: self.decoder,
            request,
            prompts: &request.prompts,
            edits,
            rows,
            ids: Vec::new(),
            done: Vec::new(),
        };
        let ran = rows.run(&mut self.cache, logits, listener);
        let said = rows.done.pop();
        if let Some((_, completion)) = &said {
            self.ids.extend(&completion.token_ids);
        }
        // The last token said was not processed yet; and after an error nothing said is trusted.
        self.cut(self.cache.len().min(self.ids.len()));
        ran?;
        let lost = || Error::request("session", "the run ended without a result");
        said.map(|(_, completion)| completion).ok_or_else(lost)
    }

    /// Forgets everything; the room stays.
    pub fn clear(&mut self) {
        self.cut(0);
    }

    /// Tokens that need not be processed again: one always is, its logits are not held.
    fn common(&self, ids: &[u32]) -> usize {
        let common = self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count();
        common.min(ids.len().saturating_sub(1))
    }

    fn cut(&mut self, len: usize) {
        self.cache.truncate(len);
        self.ids.truncate(len);
    }
}
