//! One row of a run: its sampler, its text, and when it ends. It computes no logits.

use std::time::Instant;

use super::completion::{Completion, FinishReason, Timings};
use super::logprobs::{Scored, Tokens, score};
use super::request::{Detokenize, Prompt, Request, Voice};
use super::sampler::Sampler;
use super::stop::Stop;
use crate::error::Result;

/// A row while it runs.
pub(crate) struct Row<'a> {
    pub(crate) index: usize,
    pub(crate) sampler: Sampler,
    pub(crate) finish: Option<FinishReason>,
    request: &'a Request,
    voice: Option<&'a dyn Voice>,
    stream: Option<Box<dyn Detokenize + 'a>>,
    stop: Stop,
    text: String,
    max_tokens: usize,
    seed: u64,
    logprobs: Vec<Scored>,
    prompt_logprobs: Option<Vec<Option<Scored>>>,
    clock: Clock,
}

/// When things happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) started: Instant,
    pub(crate) prompt_done: Instant,
    pub(crate) cached: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(started: Instant, cached: usize) -> Self {
        Self { started, prompt_done: Instant::now(), cached, first: None, last: None }
    }
}

impl<'a> Row<'a> {
    pub(crate) fn new(
        index: usize,
        prompt: &Prompt,
        request: &'a Request,
        voice: Option<&'a dyn Voice>,
        clock: Clock,
    ) -> Result<Self> {
        let sample = index % request.samples;
        let seed = prompt.seed.unwrap_or(request.seed);
        let sampling = request.sampling.clone();
        Ok(Self {
            index,
            sampler: Sampler::new(sampling, &prompt.ids, &request.eos_ids, seed, sample as u64),
            finish: None,
            stream: voice.map(|voice| voice.stream(&prompt.ids)).transpose()?,
            stop: Stop::new(&request.stop),
            text: String::new(),
            max_tokens: prompt.max_tokens.unwrap_or(request.max_tokens),
            seed,
            logprobs: Vec::new(),
            prompt_logprobs: None,
            clock,
            request,
            voice,
        })
    }

    /// The prompt's text comes first.
    pub(crate) fn echo(&mut self, prompt: &Prompt) -> Result<&str> {
        match (&prompt.text, self.voice) {
            (Some(text), _) => self.text.push_str(text),
            (None, Some(voice)) => self.text.push_str(&voice.decode(&prompt.ids)?),
            (None, None) => {}
        }
        Ok(&self.text)
    }

    /// Scores the prompt by its own logits, one row of them a token.
    pub(crate) fn score_prompt(&mut self, logits: &[Vec<f32>]) {
        let Some(count) = self.request.logprobs else { return };
        let token = tokens(self.voice);
        let next = self.sampler.history.prompt().iter().skip(1);
        let scored = logits.iter().zip(next).map(|(l, id)| Some(score(l, *id, count, &token)));
        self.prompt_logprobs = Some(std::iter::once(None).chain(scored).collect());
    }

    /// Chooses the next token from its logits, (vocab); gives it and the text that it completes.
    pub(crate) fn advance(
        &mut self,
        logits: &mut [f32],
        max_seq_len: usize,
    ) -> Result<(u32, String)> {
        let raw = self.request.logprobs.map(|count| (count, logits.to_vec()));
        let id = self.sampler.next(logits)?;
        if let Some((count, raw)) = raw {
            self.logprobs.push(score(&raw, id, count, &tokens(self.voice)));
        }
        let now = Instant::now();
        self.clock.first.get_or_insert(now);
        self.clock.last = Some(now);
        let mut text = String::new();
        if self.request.eos_ids.contains(&id) {
            self.finish = Some(FinishReason::Eos);
        } else if let Some(stream) = &mut self.stream
            && let Some(piece) = stream.push(id)?
        {
            let (said, found) = self.stop.push(&piece);
            text = said;
            self.finish = found.then_some(FinishReason::Stop);
        }
        // The last token needs no position: nothing comes after it.
        if self.finish.is_none() && self.sampler.history.generated().len() >= self.max_tokens {
            self.finish = Some(FinishReason::Length);
        } else if self.finish.is_none() && self.sampler.history.ids().len() > max_seq_len {
            self.finish = Some(FinishReason::Context);
        }
        if self.finish.is_some() {
            text.push_str(&self.rest()?);
        }
        self.text.push_str(&text);
        Ok((id, text))
    }

    /// The caller ends the run; gives the text that was held back.
    pub(crate) fn interrupt(&mut self) -> Result<String> {
        self.finish = Some(FinishReason::Interrupted);
        let rest = self.rest()?;
        self.text.push_str(&rest);
        Ok(rest)
    }

    /// Text that waited for more. None after a stop string: it comes after the cut.
    fn rest(&mut self) -> Result<String> {
        if self.finish == Some(FinishReason::Stop) {
            return Ok(String::new());
        }
        let piece = match &mut self.stream {
            Some(stream) => stream.finish()?.unwrap_or_default(),
            None => String::new(),
        };
        let (mut text, found) = self.stop.push(&piece);
        if found {
            self.finish = Some(FinishReason::Stop);
        } else {
            text.push_str(&self.stop.finish());
        }
        Ok(text)
    }

    pub(crate) fn complete(self) -> Completion {
        let history = &self.sampler.history;
        let seconds = |from: Instant, to: Option<Instant>| {
            to.map_or(0.0, |to| to.duration_since(from).as_secs_f64())
        };
        let clock = self.clock;
        let timings = Timings {
            prompt_tokens: history.prompt().len(),
            cached_tokens: clock.cached,
            prompt_s: seconds(clock.started, Some(clock.prompt_done)),
            first_token_s: seconds(clock.started, clock.first),
            generated_tokens: history.generated().len(),
            generation_s: clock.first.map_or(0.0, |first| seconds(first, clock.last)),
            ..Timings::default()
        };
        Completion {
            text: self.text,
            prompt_ids: history.prompt().to_vec(),
            token_ids: history.generated().to_vec(),
            logprobs: self.request.logprobs.map(|_| self.logprobs),
            prompt_logprobs: self.prompt_logprobs,
            finish_reason: self.finish.unwrap_or(FinishReason::Interrupted),
            seed: self.seed,
            sample: self.index % self.request.samples,
            timings: timings.rates(),
        }
    }
}

fn tokens(voice: Option<&dyn Voice>) -> Box<Tokens<'_>> {
    Box::new(move |id| voice.map(|voice| voice.token(id)))
}
