//! One token of each row through the decoder, from its id to its logits, the numbers in slices that are
//! kept from token to token: decoding so takes nothing from the allocator, and between products no time
//! passes. It is offered where the kernels have every step; the same steps on tensors are the reference,
//! and give the same numbers. What the steps are is not decided here.

use candle_core::{DType, Tensor};

use super::attention;
use super::cache::Cache;
use super::decoder::Decoder;
use super::moe;
use crate::error::Result;
use crate::kernels;
use crate::spec::{Layer, Spec};

/// What one token of each row needs besides its numbers.
pub(super) struct Token<'a> {
    /// The slot that is its own: how many slots are in use.
    pub(super) slot: usize,
    /// Unused slots at each row's start.
    pub(super) padding: &'a [usize],
    /// Each layer's keys and values.
    pub(super) layers: &'a [[Tensor; 2]],
    /// The memory that they are in.
    pub(super) slots: kernels::Slots<'a>,
}

impl Token<'_> {
    /// Rows, each with one token.
    pub(super) fn rows(&self) -> usize {
        self.padding.len()
    }

    /// Slots in use, its own included.
    pub(super) fn length(&self) -> usize {
        self.slot + 1
    }

    /// Where it stands in each row.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.padding.iter().map(|pad| self.slot.saturating_sub(*pad))
    }
}

/// Where the tokens' numbers lie, as wide as the widest layer needs.
#[derive(Debug)]
pub(super) struct Scratch {
    rows: usize,
    /// The residual stream, (rows · dim).
    pub(super) x: Vec<f32>,
    /// What a branch reads, (rows · dim).
    pub(super) input: Vec<f32>,
    /// What a branch gives, and another one, (rows · dim) each.
    pub(super) branch: [Vec<f32>; 2],
    pub(super) heads: attention::Room,
    /// Within a feed-forward.
    pub(super) fed: moe::Room,
    /// Between the residual stream and the table of tokens, (rows · width).
    pub(super) narrow: Vec<f32>,
}

/// The scratch of a cache: whether this way is open shows at the first token.
#[derive(Debug, Default)]
pub(super) enum Way {
    #[default]
    Untried,
    Open(Box<Scratch>),
    Closed,
}

impl Scratch {
    fn new(spec: &Spec, rows: usize) -> Self {
        let widest =
            |width: &dyn Fn(&Layer) -> usize| spec.layers.iter().map(width).max().unwrap_or(0);
        let room = |width: usize| vec![0f32; rows * width];
        let q = widest(&|layer| layer.attention.n_heads * layer.attention.head_dim);
        let kv = widest(&|layer| layer.attention.n_kv_heads * layer.attention.head_dim);
        let fed = spec.layers.iter().map(|layer| &layer.feed_forward);
        Self {
            rows,
            x: room(spec.dim),
            input: room(spec.dim),
            branch: [spec.dim; 2].map(room),
            heads: [q, kv, kv, q, kv].map(room),
            fed: moe::Room::new(fed, rows, spec.dim),
            narrow: room(spec.embedding.width),
        }
    }
}

impl Decoder {
    /// Logits after one more token of each row, where the kernels have all of it; `ids` are checked.
    ///
    /// # Shapes
    /// (rows) → (rows · vocab)
    pub(super) fn on_slices(
        &self,
        ids: &[u32],
        cache: &mut Cache,
        logits: &mut [f32],
    ) -> Result<Option<()>> {
        let here = self.device().is_cpu() && self.dtype() == DType::F32;
        if !here || !kernels::offering() {
            return Ok(None);
        }
        let mut scratch = match cache.take_way() {
            Way::Open(scratch) if scratch.rows == ids.len() => scratch,
            Way::Open(_) | Way::Untried => Box::new(Scratch::new(self.spec(), ids.len())),
            Way::Closed => {
                cache.put_way(Way::Closed);
                return Ok(None);
            }
        };
        cache.ensure(cache.len() + 1, (self.dtype(), self.device()))?;
        if self.through(ids, cache, &mut scratch, logits).is_none() {
            cache.put_way(Way::Closed);
            return Ok(None);
        }
        cache.put_way(Way::Open(scratch));
        cache.advance(1);
        Ok(Some(()))
    }

    fn through(
        &self,
        ids: &[u32],
        cache: &mut Cache,
        scratch: &mut Scratch,
        logits: &mut [f32],
    ) -> Option<()> {
        let mut token = cache.token()?;
        let (embedding, norm, head) = self.ends();
        embedding.token(ids, &token, scratch)?;
        for (layer, block) in self.blocks().iter().enumerate() {
            block.token(layer, &mut token, scratch)?;
        }
        let Scratch { x, input, narrow, .. } = scratch;
        if let Some(norm) = norm {
            norm.rows(x, input)?;
            std::mem::swap(x, input);
        }
        head.rows(x, narrow, logits)
    }
}
