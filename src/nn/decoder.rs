//! The decoder: embeddings, blocks, the final norm, the head. It picks no token.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::alibi::AlibiBias;
use super::attention::{Attention, Place};
use super::block::Block;
use super::cache::Cache;
use super::embedding::{Embedding, Head};
use super::norm::Norm;
use super::position::Rotary;
use super::probe::{Probe, Site};
use super::step::Step;
use crate::error::{Error, Result};
use crate::spec::{Position, Spec};
use crate::weights::{Param, Weights};

/// Tokens that one pass takes through the decoder at once: longer prompts are cut, so that scores
/// take memory in proportion to the prompt and not to its square.
const CHUNK: usize = 512;

/// A decoder-only transformer, described by a [`Spec`].
#[derive(Debug)]
pub struct Decoder {
    spec: Spec,
    embedding: Embedding,
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
    head: Head,
    device: Device,
    dtype: DType,
    kept_in: Option<DType>,
}

/// What a forward pass is asked for besides its tokens.
#[derive(Default)]
pub struct Run<'a> {
    /// What was seen before, and where the new tokens' keys and values go.
    pub cache: Option<&'a mut Cache>,
    /// Who listens. With a cache it hears of a long prompt piece by piece; without one the prompt
    /// is one piece.
    pub probe: Option<&'a mut dyn Probe>,
    /// Logits of the last position only.
    pub last_only: bool,
}

impl Decoder {
    /// Builds the decoder that `spec` describes from `weights`.
    ///
    /// # Errors
    /// A spec that contradicts itself; a missing or mis-shaped tensor.
    pub fn load(spec: &Spec, weights: &Weights<'_>) -> Result<Self> {
        spec.validate()?;
        let embedding = Embedding::load(spec, weights)?;
        let mut places = Vec::new();
        let mut blocks = Vec::with_capacity(spec.layers.len());
        for (index, layer) in spec.layers.iter().enumerate() {
            let place = place(&layer.attention.position, &mut places);
            blocks.push(Block::load(layer, spec.dim, index, place, weights)?);
        }
        Ok(Self {
            blocks,
            final_norm: match spec.final_norm {
                Some(norm) => Some(Norm::load(weights, Param::FinalNorm, None, norm, spec.dim)?),
                None => None,
            },
            head: Head::load(spec, &embedding, weights)?,
            embedding,
            spec: spec.clone(),
            device: weights.device().clone(),
            dtype: weights.dtype(),
            kept_in: None,
        })
    }

    /// Its caches keep keys and values in this dtype, see [`Cache::kept_in`].
    pub fn keeping(mut self, dtype: Option<DType>) -> Self {
        self.kept_in = dtype;
        self
    }

    /// What its caches keep keys and values in.
    pub fn kv_dtype(&self) -> DType {
        self.kept_in.unwrap_or(self.dtype)
    }

    /// An empty cache, see [`Cache::new`].
    pub fn cache(&self, padding: &[usize], reserve: usize) -> Cache {
        Cache::new(&self.spec, padding, reserve).kept_in(self.kept_in)
    }

    /// What this decoder is.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What its activations are made of.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Logits of every position, without a cache.
    ///
    /// # Shapes
    /// (batch, seq) of u32 → (batch, seq, vocab)
    ///
    /// # Errors
    /// As [`Decoder::run`].
    pub fn logits(&self, ids: &Tensor) -> Result<Tensor> {
        self.run(ids, Run::default())
    }

    /// Logits of the last position, after what `cache` holds.
    ///
    /// # Shapes
    /// (batch, seq) of u32 → (batch, 1, vocab)
    ///
    /// # Errors
    /// As [`Decoder::run`].
    pub fn next(&self, ids: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        self.run(ids, Run { cache: Some(cache), probe: None, last_only: true })
    }

    /// Logits after one more token of each row, in memory that is used again: this is the way to decode.
    /// Its numbers are those of [`Decoder::next`].
    ///
    /// # Shapes
    /// (batch) → (batch · vocab)
    ///
    /// # Errors
    /// As [`Decoder::run`].
    pub fn decode(&self, ids: &[u32], cache: &mut Cache, logits: &mut Vec<f32>) -> Result<()> {
        let largest = ids.iter().copied().max().unwrap_or(0);
        self.check((ids.len(), 1), largest, Some(cache))?;
        logits.resize(ids.len() * self.spec.vocab_size, 0.0);
        if self.on_slices(ids, cache, logits)?.is_none() {
            let ids = Tensor::new(ids, &self.device)?.unsqueeze(1)?;
            let all = self.next(&ids, cache)?.to_dtype(DType::F32)?.flatten_all()?;
            logits.copy_from_slice(&all.to_vec1::<f32>()?);
        }
        Ok(())
    }

    /// One forward pass.
    ///
    /// # Shapes
    /// (batch, seq) of u32 → (batch, seq, vocab), or (batch, 1, vocab) with `last_only`
    ///
    /// # Errors
    /// [`Error::ContextFull`] before anything is computed, when the positions would not suffice;
    /// [`Error::TokenId`] for an id outside the vocabulary; an error of the probe's.
    pub fn run(&self, ids: &Tensor, run: Run<'_>) -> Result<Tensor> {
        let Run { mut cache, mut probe, last_only } = run;
        let (batch, seq) = ids.dims2()?;
        let largest = match ids.elem_count() {
            0 => 0,
            _ => ids.flatten_all()?.max(0)?.to_scalar::<u32>()?,
        };
        self.check((batch, seq), largest, cache.as_deref())?;
        let length = seq + cache.as_ref().map_or(0, |cache| cache.len());
        let chunk = if cache.is_some() { CHUNK } else { seq };
        if let Some(cache) = &mut cache {
            cache.foresee(length);
        }
        let mut logits = Vec::new();
        for start in (0..seq).step_by(chunk) {
            let count = chunk.min(seq - start);
            let ids = ids.narrow(1, start, count)?;
            let last = start + count == seq;
            let cache = cache.as_deref_mut();
            // (A trait object's lifetime cannot shrink inside an Option, so it is taken apart.)
            let probe = probe.as_mut().map(|probe| &mut **probe as &mut dyn Probe);
            let mut step = Step::new(count, length, cache, probe, &self.device)?;
            let x = self.hidden(&ids, &mut step)?;
            if last || !last_only {
                let x = if last_only { x.narrow(1, count - 1, 1)? } else { x };
                let out = self.head.forward(&x)?;
                logits.push(step.listener.see(Site::Logits, out)?);
            }
        }
        match logits.as_slice() {
            [one] => Ok(one.clone()),
            many => Ok(Tensor::cat(many, 1)?),
        }
    }

    /// (batch, seq) → (batch, seq, dim), after the final norm.
    fn hidden(&self, ids: &Tensor, step: &mut Step<'_>) -> Result<Tensor> {
        let seq = ids.dim(1)?;
        let x = self.embedding.forward(ids, &step.positions)?; // (batch, seq, dim)
        let mut x = step.listener.see(Site::Embed, x)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            step.listener.enter(Some(layer));
            x = block.forward(x, step)?;
        }
        step.listener.enter(None);
        if let Some(cache) = &mut step.cache {
            cache.advance(seq);
        }
        let x = self.normed(&x)?;
        step.listener.see(Site::FinalNorm, x)
    }

    /// The final norm.
    pub(super) fn normed(&self, x: &Tensor) -> Result<Tensor> {
        match &self.final_norm {
            Some(norm) => norm.forward(x),
            None => Ok(x.clone()),
        }
    }

    /// The head.
    pub(super) fn unembed(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(x)
    }

    /// The two ends, and the norm before the last.
    pub(super) fn ends(&self) -> (&Embedding, Option<&Norm>, &Head) {
        (&self.embedding, self.final_norm.as_ref(), &self.head)
    }

    /// Every block, first to last.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// A layer's attention.
    pub(super) fn attention_of(&self, layer: usize) -> Option<&Attention> {
        self.blocks.get(layer).map(Block::attention)
    }

    fn check(
        &self,
        (batch, seq): (usize, usize),
        largest: u32,
        cache: Option<&Cache>,
    ) -> Result<()> {
        if seq == 0 || batch == 0 {
            return Err(Error::request("ids", "there is no token to compute"));
        }
        let (used, rows) = cache.map_or((0, batch), |cache| (cache.len(), cache.batch()));
        if rows != batch {
            return Err(Error::request("ids", format!("{batch} rows for a cache of {rows}")));
        }
        // The padding of the longest row counts too; batches are aligned so that it has none.
        let needed =
            used + seq - cache.map_or(0, |c| c.padding().iter().copied().min().unwrap_or(0));
        if needed > self.spec.max_seq_len {
            return Err(Error::ContextFull { needed, max_seq_len: self.spec.max_seq_len });
        }
        if largest as usize >= self.spec.vocab_size {
            return Err(Error::TokenId { id: largest, vocab_size: self.spec.vocab_size });
        }
        Ok(())
    }
}

/// Layers with equal positions share one table.
fn place(position: &Position, places: &mut Vec<(Position, Place)>) -> Place {
    if let Some((_, place)) = places.iter().find(|(known, _)| known == position) {
        return place.clone();
    }
    let place = match position {
        Position::None => Place::Nowhere,
        Position::Rope(rope) => Place::Rotary(Arc::new(Rotary::new(rope.clone()))),
        Position::Alibi(alibi) => Place::Alibi(Arc::new(AlibiBias::new(alibi))),
    };
    places.push((position.clone(), place.clone()));
    place
}
