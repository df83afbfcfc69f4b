//! Multi-head attention: project, split into heads, place, attend, merge, project. This is the file
//! to read; the definition of `attend` is in `attend.rs`.

mod token;

pub(super) use token::Room;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::alibi::AlibiBias;
use super::attend::{Scoring, attend, pattern, scores};
use super::cache::wide;
use super::linear::Linear;
use super::look::Rows;
use super::norm::Norm;
use super::position::{Growth, Rotary};
use super::probe::Site;
use super::step::Step;
use crate::error::Result;
use crate::kernels;
use crate::spec::{self, QkNorm};
use crate::weights::{Param, Weights};

/// Multi-head attention (Vaswani et al. 2017, 1706.03762, section 3.2.2): every head looks at the
/// whole past with queries, keys and values of its own. With fewer key heads than query heads it
/// is grouped-query attention (Ainslie et al. 2023, 2305.13245), with one multi-query attention
/// (Shazeer 2019, 1911.02150): only the cache becomes smaller.
#[derive(Debug)]
pub struct Attention {
    query: Linear, // dim → n_heads · head_dim
    key: Linear,   // dim → n_kv_heads · head_dim
    value: Linear, // dim → n_kv_heads · head_dim
    out: Linear,   // n_heads · head_dim → dim
    query_norm: Option<HeadNorm>,
    key_norm: Option<HeadNorm>,
    sinks: Option<Tensor>, // (1, heads, 1, 1), f32
    place: Place,
    growth: Option<Growth>,
    spec: spec::Attention,
}

/// What queries and keys get their positions from.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Nowhere,
    Rotary(Arc<Rotary>),
    Alibi(Arc<AlibiBias>),
}

impl Attention {
    pub(crate) fn load(
        spec: &spec::Attention,
        dim: usize,
        layer: usize,
        place: Place,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let (q_width, kv_width) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        let project =
            |param, width| Linear::load(weights, param, Some(layer), (width, dim), spec.qkv_bias);
        Ok(Self {
            query: project(Param::Query, q_width)?,
            key: project(Param::Key, kv_width)?,
            value: project(Param::Value, kv_width)?,
            out: Linear::load(
                weights,
                Param::AttentionOut,
                Some(layer),
                (dim, q_width),
                spec.out_bias,
            )?,
            query_norm: HeadNorm::load(spec, Param::QueryNorm, spec.n_heads, layer, weights)?,
            key_norm: HeadNorm::load(spec, Param::KeyNorm, spec.n_kv_heads, layer, weights)?,
            sinks: match spec.sinks {
                true => {
                    let sinks = weights.vector(Param::Sinks, Some(layer), spec.n_heads)?;
                    Some(sinks.reshape((1, spec.n_heads, 1, 1))?)
                }
                false => None,
            },
            place,
            growth: spec.query_growth.map(Growth::new),
            spec: spec.clone(),
        })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: &Tensor, layer: usize, step: &mut Step<'_>) -> Result<Tensor> {
        let [q, k, v] = Linear::forward_all([&self.query, &self.key, &self.value], x)?; // (batch, seq, heads · head_dim)
        let q = self.heads(q, self.spec.n_heads, &self.query_norm)?; // (batch, heads, seq, head_dim)
        let k = self.heads(k, self.spec.n_kv_heads, &self.key_norm)?; // (batch, kv_heads, seq, head_dim)
        let v = self.heads(v, self.spec.n_kv_heads, &None)?; // (batch, kv_heads, seq, head_dim)
        let q = step.listener.see(Site::Q, q)?;
        let k = step.listener.see(Site::K, k)?;
        let v = step.listener.see(Site::V, v)?;
        let mut q = self.place(q, &self.query_norm, step)?;
        if let Some(growth) = &self.growth {
            q = growth.grow(&q, &step.positions)?;
        }
        let q = step.listener.see(Site::QPos, q)?;
        let k = step.listener.see(Site::KPos, self.place(k, &self.key_norm, step)?)?;
        let (k, v) = match &mut step.cache {
            Some(cache) => cache.append(layer, &k, &v)?, // (batch, kv_heads, keys, head_dim)
            None => (k.contiguous()?, v.contiguous()?),
        };
        let z = match self.offered(&q, &k, &v, step)? {
            Some(z) => z,
            None => self.attended(&q, &k, &v, step)?,
        };
        let z = step.listener.see(Site::Z, z)?; // (batch, heads, seq, head_dim)
        self.merge(&z)
    }

    /// Heads side by side, projected.
    ///
    /// # Shapes
    /// (batch, heads, seq, head_dim) → (batch, seq, dim)
    pub(super) fn merge(&self, z: &Tensor) -> Result<Tensor> {
        let (batch, _, seq, _) = z.dims4()?;
        let merged = z.transpose(1, 2)?.reshape((batch, seq, ()))?; // (batch, seq, heads · head_dim)
        self.out.forward(&merged)
    }

    /// By the definition.
    fn attended(&self, q: &Tensor, k: &Tensor, v: &Tensor, step: &mut Step<'_>) -> Result<Tensor> {
        let (first, keys) = step.masks.reach(self.spec.window);
        let wide = |x: &Tensor| wide(&x.narrow(2, first, keys)?, self.spec.head_dim, q.dtype());
        let (k, v) = (wide(k)?, wide(v)?);
        let scoring = self.scoring(q.dim(2)?, keys, q.device(), step)?;
        attend(q, &k, &v, &scoring, &mut step.listener)
    }

    /// Without scores that anyone could see, where nobody wants to.
    fn offered(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        step: &Step<'_>,
    ) -> Result<Option<Tensor>> {
        if step.listener.hears(Site::Scores) || step.listener.hears(Site::Pattern) {
            return Ok(None);
        }
        match self.attending(step.masks.padding()) {
            Some(how) => kernels::attend(q, k, v, &how),
            None => Ok(None),
        }
    }

    /// What the kernels are to do; `None` where they cannot.
    fn attending<'a>(&'a self, padding: &'a [usize]) -> Option<kernels::Attending<'a>> {
        let slopes = match &self.place {
            Place::Alibi(alibi) => Some(alibi.slopes()?), // there are none of a staircase
            Place::Rotary(_) | Place::Nowhere => None,
        };
        Some(kernels::Attending {
            scale: self.spec.scale,
            softcap: self.spec.softcap,
            slopes,
            sinks: self.sinks.as_ref(),
            window: self.spec.window,
            padding,
            rounds: self.query.rounds(),
        })
    }

    /// The scores and weights of some queries once more, see [`Rows`].
    pub(super) fn look(&self, q: &Tensor, k: &Tensor, first: usize) -> Result<Rows> {
        let seq = q.dim(2)?;
        let mut step = Step::without_cache(first, seq, q.device())?;
        let (first_key, keys) = step.masks.reach(self.spec.window);
        let scoring = self.scoring(seq, keys, q.device(), &mut step)?;
        let scores = scores(&q.contiguous()?, &k.narrow(2, first_key, keys)?, &scoring)?;
        Ok(Rows { first, first_key, pattern: pattern(&scores, &scoring)?, scores })
    }

    /// # Shapes
    /// (batch, seq, n · head_dim) → (batch, n, seq, head_dim)
    fn heads(&self, x: Tensor, n: usize, norm: &Option<HeadNorm>) -> Result<Tensor> {
        let (batch, seq, _) = x.dims3()?;
        let split = (batch, seq, n, self.spec.head_dim);
        let x = match norm {
            Some(HeadNorm::Full(norm)) => norm.forward(&x)?.reshape(split)?,
            Some(HeadNorm::PerHead(norm)) => norm.forward(&x.reshape(split)?)?,
            Some(HeadNorm::Placed(_)) | None => x.reshape(split)?,
        };
        let x = match self.spec.clip {
            Some(clip) => x.clamp(-clip, clip)?,
            None => x,
        };
        Ok(x.transpose(1, 2)?)
    }

    fn place(&self, x: Tensor, norm: &Option<HeadNorm>, step: &Step<'_>) -> Result<Tensor> {
        let x = match &self.place {
            Place::Rotary(rotary) => rotary.rotate(&x, &step.positions)?,
            Place::Alibi(_) | Place::Nowhere => x,
        };
        match norm {
            Some(HeadNorm::Placed(norm)) => norm.forward(&x),
            _ => Ok(x),
        }
    }

    /// How `seq` queries score `keys` keys, the last query at the last key.
    fn scoring(
        &self,
        seq: usize,
        keys: usize,
        device: &Device,
        step: &mut Step<'_>,
    ) -> Result<Scoring> {
        Ok(Scoring {
            scale: self.spec.scale,
            softcap: self.spec.softcap,
            bias: match &self.place {
                Place::Alibi(alibi) => Some(alibi.bias(seq, keys, &step.positions, device)?),
                Place::Rotary(_) | Place::Nowhere => None,
            },
            mask: step.masks.mask(self.spec.window)?,
            sinks: self.sinks.clone(),
        })
    }
}

/// A norm on queries or keys.
#[derive(Debug)]
enum HeadNorm {
    /// On (…, heads, head_dim), before positions.
    PerHead(Norm),
    /// On (…, head_dim), after positions.
    Placed(Norm),
    /// On (…, heads · head_dim), before positions.
    Full(Norm),
}

impl HeadNorm {
    fn load(
        spec: &spec::Attention,
        param: Param,
        heads: usize,
        layer: usize,
        weights: &Weights<'_>,
    ) -> Result<Option<Self>> {
        let load = |norm, width| Norm::load(weights, param, Some(layer), norm, width);
        Ok(match spec.qk_norm {
            None => None,
            Some(QkNorm::PerHead(norm)) => Some(Self::PerHead(load(norm, spec.head_dim)?)),
            Some(QkNorm::PerHeadPlaced(norm)) => Some(Self::Placed(load(norm, spec.head_dim)?)),
            Some(QkNorm::OwnPerHead(norm)) => {
                let shape = (heads, spec.head_dim);
                Some(Self::PerHead(Norm::load_per_head(weights, param, layer, norm, shape)?))
            }
            Some(QkNorm::Full(norm)) => Some(Self::Full(load(norm, heads * spec.head_dim)?)),
        })
    }
}
