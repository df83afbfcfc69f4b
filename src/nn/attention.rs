//! Multi-head attention: project, split into heads, place, attend, merge, project. This is the file
//! to read; the definition of `attend` is in `attend.rs`.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::attend::{Scoring, attend, pattern, scores};
use super::linear::Linear;
use super::look::Rows;
use super::norm::Norm;
use super::position::{AlibiBias, Rotary};
use super::probe::Site;
use super::step::Step;
use crate::error::Result;
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
    place: Place,
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
            place,
            spec: spec.clone(),
        })
    }

    /// # Shapes
    /// (batch, seq, dim) → (batch, seq, dim)
    pub(crate) fn forward(&self, x: &Tensor, layer: usize, step: &mut Step<'_>) -> Result<Tensor> {
        let (batch, seq, _) = x.dims3()?;
        let q = self.heads(self.query.forward(x)?, self.spec.n_heads, &self.query_norm)?; // (batch, heads, seq, head_dim)
        let k = self.heads(self.key.forward(x)?, self.spec.n_kv_heads, &self.key_norm)?; // (batch, kv_heads, seq, head_dim)
        let v = self.heads(self.value.forward(x)?, self.spec.n_kv_heads, &None)?; // (batch, kv_heads, seq, head_dim)
        let q = step.listener.see(Site::Q, q)?;
        let k = step.listener.see(Site::K, k)?;
        let v = step.listener.see(Site::V, v)?;
        let q = step.listener.see(Site::QPos, self.place(q, step)?)?;
        let k = step.listener.see(Site::KPos, self.place(k, step)?)?;
        let (k, v) = match &mut step.cache {
            Some(cache) => cache.append(layer, &k, &v)?, // (batch, kv_heads, keys, head_dim)
            None => (k.contiguous()?, v.contiguous()?),
        };
        let (first, keys) = step.masks.reach(self.spec.window);
        let (k, v) = (k.narrow(2, first, keys)?, v.narrow(2, first, keys)?);
        let scoring = self.scoring(seq, keys, x.device(), step)?;
        let z = attend(&q, &k, &v, &scoring, &mut step.listener)?;
        let z = step.listener.see(Site::Z, z)?; // (batch, heads, seq, head_dim)
        let merged = z.transpose(1, 2)?.reshape((batch, seq, ()))?; // (batch, seq, heads · head_dim)
        self.out.forward(&merged)
    }

    /// The scores and weights of some queries once more, see [`Rows`].
    pub(super) fn look(&self, q: &Tensor, k: &Tensor, first: usize) -> Result<Rows> {
        let seq = q.dim(2)?;
        let mut step = Step::without_cache(first, seq, q.device())?;
        let (first_key, keys) = step.masks.reach(self.spec.window);
        let scoring = self.scoring(seq, keys, q.device(), &mut step)?;
        let scores = scores(&q.contiguous()?, &k.narrow(2, first_key, keys)?, &scoring)?;
        Ok(Rows { first, first_key, pattern: pattern(&scores)?, scores })
    }

    /// # Shapes
    /// (batch, seq, n · head_dim) → (batch, n, seq, head_dim)
    fn heads(&self, x: Tensor, n: usize, norm: &Option<HeadNorm>) -> Result<Tensor> {
        let (batch, seq, _) = x.dims3()?;
        let split = (batch, seq, n, self.spec.head_dim);
        let x = match norm {
            Some(HeadNorm::Full(norm)) => norm.forward(&x)?.reshape(split)?,
            Some(HeadNorm::PerHead(norm)) => norm.forward(&x.reshape(split)?)?,
            None => x.reshape(split)?,
        };
        Ok(x.transpose(1, 2)?)
    }

    fn place(&self, x: Tensor, step: &Step<'_>) -> Result<Tensor> {
        match &self.place {
            Place::Rotary(rotary) => rotary.rotate(&x, &step.positions),
            Place::Alibi(_) | Place::Nowhere => Ok(x),
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
                Place::Alibi(alibi) => Some(alibi.bias(seq, keys, device)?),
                Place::Rotary(_) | Place::Nowhere => None,
            },
            mask: step.masks.mask(self.spec.window)?,
        })
    }
}

/// A norm on queries or keys.
#[derive(Debug)]
enum HeadNorm {
    PerHead(Norm),
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
            Some(QkNorm::Full(norm)) => Some(Self::Full(load(norm, heads * spec.head_dim)?)),
        })
    }
}
