//! One token of one row through the blocks, its numbers in slices that are kept from token to token:
//! decoding so takes nothing from the allocator, and between products no time passes. It is offered
//! where the kernels have every step; the same steps on tensors are the reference, and give the same
//! numbers. What the steps are is not decided here.

use candle_core::Tensor;

use super::attention;
use super::cache::Cache;
use super::decoder::Decoder;
use super::step::Step;
use crate::error::Result;
use crate::kernels;
use crate::spec::{FeedForward, Layer, Spec};

/// What one token needs besides its numbers.
pub(super) struct Token<'a> {
    /// How many were before it.
    pub(super) position: usize,
    /// Each layer's keys and values.
    pub(super) layers: &'a [[Tensor; 2]],
    /// The memory that they are in.
    pub(super) slots: kernels::Slots<'a>,
}

/// Where a token's numbers lie, as wide as the widest layer needs.
#[derive(Debug)]
pub(super) struct Scratch {
    /// The residual stream, (dim).
    pub(super) x: Vec<f32>,
    /// What a branch reads, (dim).
    pub(super) input: Vec<f32>,
    /// What a branch gives, and another one, (dim) each.
    pub(super) branch: [Vec<f32>; 2],
    pub(super) heads: attention::Room,
    /// Between up and down, (hidden) each.
    pub(super) hidden: [Vec<f32>; 3],
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
    fn new(spec: &Spec) -> Self {
        let widest =
            |width: &dyn Fn(&Layer) -> usize| spec.layers.iter().map(width).max().unwrap_or(0);
        let room = |width: usize| vec![0f32; width];
        let q = widest(&|layer| layer.attention.n_heads * layer.attention.head_dim);
        let kv = widest(&|layer| layer.attention.n_kv_heads * layer.attention.head_dim);
        let hidden = widest(&|layer| match layer.feed_forward {
            FeedForward::Plain { hidden_dim, .. } | FeedForward::Gated { hidden_dim, .. } => {
                hidden_dim
            }
            FeedForward::Experts(_) => 0,
        });
        Self {
            x: room(spec.dim),
            input: room(spec.dim),
            branch: [room(spec.dim), room(spec.dim)],
            heads: [q, kv, kv, q, kv].map(room),
            hidden: [hidden; 3].map(room),
        }
    }
}

impl Decoder {
    /// All blocks, for one token after what one row's cache holds, where nobody listens.
    ///
    /// # Shapes
    /// (1, 1, dim) → (1, 1, dim)
    pub(super) fn token(&self, x: &Tensor, step: &mut Step<'_>) -> Result<Option<Tensor>> {
        let (batch, seq, dim) = x.dims3()?;
        if (batch, seq) != (1, 1) || !step.listener.is_silent() || !kernels::offering() {
            return Ok(None);
        }
        let Some(cache) = step.cache.as_deref_mut() else { return Ok(None) };
        if cache.padding() != [0] {
            return Ok(None);
        }
        let mut scratch = match cache.take_way() {
            Way::Open(scratch) => scratch,
            Way::Untried => Box::new(Scratch::new(self.spec())),
            Way::Closed => {
                cache.put_way(Way::Closed);
                return Ok(None);
            }
        };
        cache.ensure(cache.len() + 1, x)?;
        let done = kernels::copy_row(x, &mut scratch.x)
            .and_then(|()| self.through_blocks(cache, &mut scratch));
        if done.is_none() {
            cache.put_way(Way::Closed);
            return Ok(None);
        }
        let x = Tensor::from_slice(&scratch.x, (1, 1, dim), x.device())?;
        cache.put_way(Way::Open(scratch));
        Ok(Some(x))
    }

    fn through_blocks(&self, cache: &mut Cache, scratch: &mut Scratch) -> Option<()> {
        let mut token = cache.token()?;
        for (layer, block) in self.blocks().iter().enumerate() {
            block.token(layer, &mut token, scratch)?;
        }
        Some(())
    }
}
