//! The loop: prompts through the decoder once, then one token a row and step until every row has
//! ended. How a token is chosen is `sampler.rs`'s affair.

use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::{DType, Tensor};

use super::completion::Completion;
use super::finite::{diagnose, wrong};
use super::request::{Event, Prompt, Request, Voice};
use super::row::{Clock, Row};
use crate::error::Result;
use crate::nn::{Cache, Decoder, HeadEdits, Probe, Run};

/// Slots reserved for tokens to come: what is asked for, up to this; the cache grows beyond.
const RESERVED: usize = 512;

/// Who hears of a run's events, and may end it: what there is until then is the result.
pub type Listener<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// Continues every prompt of `request`, all of them together. Completions come back in the order
/// of rows.
///
/// # Errors
/// As [`Request::validate`]; [`crate::Error::NotFinite`] where logits are NaN or infinite.
pub fn generate(
    decoder: &Decoder,
    voice: Option<&dyn Voice>,
    request: &Request,
    listener: &mut Listener<'_>,
) -> Result<Vec<Completion>> {
    request.validate(decoder.spec(), voice.is_some())?;
    let mut done = Vec::new();
    let mut flow = ControlFlow::Continue(());
    for prompts in together(decoder, &request.prompts) {
        if flow.is_continue() {
            let first = done.len();
            let mut heard = |event: Event<'_>| {
                flow = listener(event.moved(first));
                flow
            };
            done.extend(batch(decoder, voice, request, prompts, &mut heard)?);
        }
    }
    Ok(done)
}

/// The prompts that go through the decoder together: all of them, unless a row's numbers would
/// depend on the others' lengths.
fn together<'a>(decoder: &Decoder, prompts: &'a [Prompt]) -> Vec<&'a [Prompt]> {
    let same_length =
        |a: &Prompt, b: &Prompt| !decoder.spec().depends_on_length() || a.ids.len() == b.ids.len();
    prompts.chunk_by(same_length).collect()
}

fn batch(
    decoder: &Decoder,
    voice: Option<&dyn Voice>,
    request: &Request,
    prompts: &[Prompt],
    listener: &mut Listener<'_>,
) -> Result<Vec<Completion>> {
    let started = Instant::now();
    let longest = prompts.iter().map(|p| p.ids.len()).max().unwrap_or(0);
    let padding: Vec<usize> = prompts.iter().map(|p| longest - p.ids.len()).collect();
    let lengths = prompts.iter().map(|p| p.max_tokens.unwrap_or(request.max_tokens));
    let room = lengths.max().unwrap_or(0).min(RESERVED);
    let reserve = (longest + room).min(decoder.spec().max_seq_len);
    let mut cache = decoder.cache(&padding, reserve);
    let scored = request.echo && request.logprobs.is_some();
    let edits = HeadEdits::scaled(decoder.spec(), &request.heads)?;
    let logits = prefill(decoder, prompts, &edits, &mut cache, !scored)?;
    let clock = Clock::new(started, 0);
    let mut rows = Vec::new();
    let mut last = Vec::with_capacity(prompts.len() * request.samples * decoder.spec().vocab_size);
    for (index, (prompt, mut logits)) in prompts.iter().zip(logits).enumerate() {
        let next = logits.pop().unwrap_or_default();
        for sample in 0..request.samples {
            let mut row =
                Row::new(index * request.samples + sample, prompt, request, voice, clock)?;
            if scored {
                row.score_prompt(&logits);
            }
            rows.push(row);
            last.extend_from_slice(&next);
        }
    }
    if request.samples > 1 {
        let copies = (0..rows.len()).map(|row| row / request.samples);
        cache.keep_rows(&copies.collect::<Vec<_>>())?;
    }
    let (ids, done) = (Vec::new(), Vec::new());
    let mut rows = Rows { decoder, request, prompts, edits, rows, ids, done };
    rows.run(&mut cache, last, listener)?;
    rows.done.sort_by_key(|(row, _)| *row);
    Ok(rows.done.into_iter().map(|(_, completion)| completion).collect())
}

/// Each prompt's logits: of its last token, or of all of its tokens.
fn prefill(
    decoder: &Decoder,
    prompts: &[Prompt],
    edits: &HeadEdits,
    cache: &mut Cache,
    last_only: bool,
) -> Result<Vec<Vec<Vec<f32>>>> {
    let longest = prompts.iter().map(|p| p.ids.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(prompts.len() * longest);
    for prompt in prompts {
        ids.extend(std::iter::repeat_n(0u32, longest - prompt.ids.len()));
        ids.extend(&prompt.ids);
    }
    let ids = Tensor::from_vec(ids, (prompts.len(), longest), decoder.device())?;
    let logits = pass(decoder, &ids, edits, cache, last_only)?;
    let mut logits = logits.to_dtype(DType::F32)?.to_vec3::<f32>()?; // (batch, seq | 1, vocab)
    for (logits, prompt) in logits.iter_mut().zip(prompts) {
        logits.drain(..logits.len().saturating_sub(prompt.ids.len()));
        if let Some(what) = logits.iter().find_map(|logits| wrong(logits)) {
            return Err(diagnose(decoder, &prompt.ids, what));
        }
    }
    Ok(logits)
}

/// One pass, with the heads that are edited.
pub(crate) fn pass(
    decoder: &Decoder,
    ids: &Tensor,
    mut edits: &HeadEdits,
    cache: &mut Cache,
    last_only: bool,
) -> Result<Tensor> {
    // Where nobody edits, nobody listens.
    let probe = if edits.is_empty() { None } else { Some(&mut edits as &mut dyn Probe) };
    decoder.run(ids, Run { cache: Some(cache), probe, last_only })
}

/// The rows of a run, those that go on and those that have ended.
pub(crate) struct Rows<'a> {
    pub(crate) decoder: &'a Decoder,
    pub(crate) request: &'a Request,
    pub(crate) prompts: &'a [Prompt],
    pub(crate) edits: HeadEdits,
    pub(crate) rows: Vec<Row<'a>>,
    /// What each row has said last.
    pub(crate) ids: Vec<u32>,
    pub(crate) done: Vec<(usize, Completion)>,
}

impl Rows<'_> {
    /// From the logits of the prompts' last tokens, (rows · vocab), to every row's end.
    pub(crate) fn run(
        &mut self,
        cache: &mut Cache,
        mut logits: Vec<f32>,
        listener: &mut Listener<'_>,
    ) -> Result<()> {
        let mut flow = self.echo(listener)?;
        while flow.is_continue() {
            flow = self.advance(&mut logits, listener)?;
            if self.rows.iter().all(|row| row.finish.is_some()) {
                break;
            }
            if flow.is_break() {
                continue;
            }
            if self.rows.iter().any(|row| row.finish.is_some()) {
                let going = self.rows.iter().enumerate().filter(|(_, row)| row.finish.is_none());
                let going: Vec<usize> = going.map(|(at, _)| at).collect();
                cache.keep_rows(&going)?;
                self.ids = going.iter().map(|row| self.ids[*row]).collect();
                self.retire(listener, &mut flow);
            }
            self.step(cache, &mut logits)?;
        }
        self.interrupt(listener)
    }

    fn echo(&mut self, listener: &mut Listener<'_>) -> Result<ControlFlow<()>> {
        if self.request.echo {
            for row in &mut self.rows {
                let prompt = &self.prompts[row.index / self.request.samples];
                let index = row.index;
                let text = row.echo(prompt)?;
                if !text.is_empty() && listener(Event::Text { row: index, text }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Every row chooses its next token.
    fn advance(
        &mut self,
        logits: &mut [f32],
        listener: &mut Listener<'_>,
    ) -> Result<ControlFlow<()>> {
        self.ids.clear();
        let mut flow = ControlFlow::Continue(());
        let spec = self.decoder.spec();
        for (row, logits) in self.rows.iter_mut().zip(logits.chunks_exact_mut(spec.vocab_size)) {
            let (id, text) = row.advance(logits, spec.max_seq_len)?;
            self.ids.push(id);
            let row = row.index;
            hear(&mut flow, listener(Event::Token { row, id }));
            if !text.is_empty() {
                hear(&mut flow, listener(Event::Text { row, text: &text }));
            }
        }
        Ok(flow)
    }

    /// Rows that have ended are told of and put aside.
    fn retire(&mut self, listener: &mut Listener<'_>, flow: &mut ControlFlow<()>) {
        let rows = std::mem::take(&mut self.rows);
        for row in rows {
            if row.finish.is_none() {
                self.rows.push(row);
                continue;
            }
            let index = row.index;
            let completion = row.complete();
            hear(flow, listener(Event::Finished { row: index, completion: &completion }));
            self.done.push((index, completion));
        }
    }

    /// The logits that follow one more token a row, (rows · vocab).
    fn step(&self, cache: &mut Cache, logits: &mut Vec<f32>) -> Result<()> {
        if self.edits.is_empty() {
            self.decoder.decode(&self.ids, cache, logits)?;
        } else {
            let ids = Tensor::new(self.ids.as_slice(), self.decoder.device())?.unsqueeze(1)?;
            let all = pass(self.decoder, &ids, &self.edits, cache, true)?.flatten_all()?;
            *logits = all.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        }
        for (logits, row) in logits.chunks_exact(self.decoder.spec().vocab_size).zip(&self.rows) {
            if let Some(what) = wrong(logits) {
                return Err(diagnose(self.decoder, row.sampler.history.ids(), what));
            }
        }
        Ok(())
    }

    /// Whoever has not ended yet ends now.
    fn interrupt(&mut self, listener: &mut Listener<'_>) -> Result<()> {
        let mut flow = ControlFlow::Continue(());
        for row in self.rows.iter_mut().filter(|row| row.finish.is_none()) {
            let text = row.interrupt()?;
            if !text.is_empty() {
                hear(&mut flow, listener(Event::Text { row: row.index, text: &text }));
            }
        }
        self.retire(listener, &mut flow);
        Ok(())
    }
}

fn hear(flow: &mut ControlFlow<()>, answer: ControlFlow<()>) {
    if answer.is_break() {
        *flow = answer;
    }
}
