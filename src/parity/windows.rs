//! How a text longer than a model's context is read: in windows that overlap, each predicting what
//! the one before has not. Hugging Face's guide on perplexity, "fixed-length models".

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::nn::{Cache, Decoder, Run};

/// Tokens whose logits are held at once.
const PIECE: usize = 128;

/// How a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Tokens that the model sees at once.
    pub window: usize,
    /// Tokens by which one window lies after the other: so many are predicted, the rest is context.
    pub stride: usize,
}

/// A window of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) begin: usize,
    pub(super) end: usize,
    /// The first token predicted, which is never the first of the window.
    pub(super) first: usize,
}

impl Plan {
    /// Checks the plan against a model.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn check(&self, decoder: &Decoder) -> Result<()> {
        let most = decoder.spec().max_seq_len;
        if !(2..=most).contains(&self.window) {
            let problem = format!("{} is not between 2 and the model's {most}", self.window);
            return Err(Error::request("window", problem));
        }
        if !(1..=self.window).contains(&self.stride) {
            let problem =
                format!("{} is not between 1 and the window's {}", self.stride, self.window);
            return Err(Error::request("stride", problem));
        }
        Ok(())
    }

    /// The windows of a text of `length` tokens. Every token is predicted once, but for the first
    /// of the text and, where windows do not overlap, the first of each: nothing is before it.
    pub(super) fn windows(&self, length: usize) -> Vec<Window> {
        let (mut windows, mut done) = (Vec::new(), 0);
        for begin in (0..length).step_by(self.stride) {
            let end = (begin + self.window).min(length);
            windows.push(Window { begin, end, first: done.max(begin + 1) });
            done = end;
            if end == length {
                break;
            }
        }
        windows
    }
}

/// Logits of a window, a piece at a time: as many as are asked for follow the token before.
pub(super) struct Reader<'a> {
    decoder: &'a Decoder,
    cache: Option<Cache>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(decoder: &'a Decoder, window: usize) -> Self {
        // Where rotations depend on the length in use, pieces are not what the whole is.
        let whole = decoder.spec().depends_on_length();
        let cache = (!whole).then(|| decoder.cache(&[0], window));
        Self { decoder, cache }
    }

    /// How many tokens to give at once.
    pub(super) fn piece(&self) -> usize {
        if self.cache.is_some() { PIECE } else { usize::MAX }
    }

    /// Forgets the window.
    pub(super) fn clear(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.truncate(0);
        }
    }

    /// Logits of the next tokens of the window, (seq, vocab).
    pub(super) fn read(&mut self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, self.decoder.device())?.unsqueeze(0)?;
        let run = Run { cache: self.cache.as_mut(), probe: None, last_only: false };
        Ok(self.decoder.run(&ids, run)?.squeeze(0)?)
    }
}
