//! One forward pass in which chosen layers' attention is looked at, block of queries by block of
//! queries, so that memory grows with the prompt and not with its square. It keeps nothing.

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::nn::{At, Cache, Decoder, Probe, Run, Site};

/// Scores looked at together, over all heads: 16 MiB of them.
const TOGETHER: usize = 4 << 20;

/// The attention of some neighbouring queries, in all heads of a layer.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) layer: usize,
    /// The first query's position.
    pub(super) first: usize,
    pub(super) queries: usize,
    first_key: usize,
    keys: usize,
    scores: Vec<f32>,  // (heads, queries, keys)
    pattern: Vec<f32>, // (heads, queries, keys)
}

/// What one query sees: weights of the keys from `first_key` to itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) query: usize,
    pub(super) first_key: usize,
    pub(super) scores: &'a [f32],
    pub(super) weights: &'a [f32],
}

impl Block {
    fn new(decoder: &Decoder, layer: usize, q: &Tensor, k: &Tensor, first: usize) -> Result<Self> {
        let rows = decoder.look(layer, q, k, first)?;
        let (_, _, queries, keys) = rows.pattern.dims4()?;
        let numbers = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        Ok(Self {
            layer,
            first,
            queries,
            first_key: rows.first_key,
            keys,
            scores: numbers(&rows.scores)?,
            pattern: numbers(&rows.pattern)?,
        })
    }

    /// What the query at position `first + row` sees in `head`.
    pub(super) fn sight(&self, head: usize, row: usize) -> Sight<'_> {
        let query = self.first + row;
        let start = (head * self.queries + row) * self.keys;
        let seen = start..start + (query + 1 - self.first_key).min(self.keys);
        Sight {
            query,
            first_key: self.first_key,
            scores: &self.scores[seen.clone()],
            weights: &self.pattern[seen],
        }
    }
}

impl Sight<'_> {
    /// The weight of the key at this position; 0 where it is not seen.
    pub(super) fn at(&self, key: usize) -> f32 {
        key.checked_sub(self.first_key).and_then(|at| self.weights.get(at)).copied().unwrap_or(0.0)
    }
}

/// Runs `ids` once and hands every block of the layers that `layers` answers yes for to `tell`,
/// each layer's in order of positions. `also` listens too, where `whole` to all of `ids` at once.
pub(super) fn watch(
    decoder: &Decoder,
    ids: &[u32],
    whole: bool,
    layers: &dyn Fn(usize) -> bool,
    also: Option<&mut dyn Probe>,
    tell: &mut dyn FnMut(&Block) -> Result<()>,
) -> Result<Tensor> {
    let kept = (0..decoder.spec().layers.len()).map(|_| None).collect();
    let mut watch = Watch { decoder, layers, query: None, kept, also, tell };
    let mut cache = (!whole).then(|| Cache::new(decoder.spec(), &[0], ids.len()));
    let ids = Tensor::new(ids, decoder.device())?.unsqueeze(0)?;
    let run = Run { cache: cache.as_mut(), probe: Some(&mut watch), last_only: true };
    decoder.run(&ids, run)
}

struct Watch<'a, 'p> {
    decoder: &'a Decoder,
    layers: &'a dyn Fn(usize) -> bool,
    /// The piece's queries, which come before its keys.
    query: Option<Tensor>,
    /// Each layer's keys so far, (1, kv_heads, keys, head_dim).
    kept: Vec<Option<Tensor>>,
    also: Option<&'a mut (dyn Probe + 'p)>,
    tell: &'a mut (dyn FnMut(&Block) -> Result<()> + 'a),
}

impl Watch<'_, '_> {
    fn keys(&mut self, layer: usize, new: &Tensor) -> Result<()> {
        let Some(query) = self.query.take() else {
            return Err(Error::request("probe", "keys came without their queries"));
        };
        let (keys, first) = match self.kept[layer].take() {
            Some(before) => (Tensor::cat(&[&before, new], 2)?, before.dim(2)?),
            None => (new.contiguous()?, 0),
        };
        let (_, heads, queries, _) = query.dims4()?;
        let at_once = (TOGETHER / (heads * (first + queries))).max(1);
        for start in (0..queries).step_by(at_once) {
            let count = at_once.min(queries - start);
            let rows = query.narrow(2, start, count)?;
            let seen = keys.narrow(2, 0, first + start + count)?;
            (self.tell)(&Block::new(self.decoder, layer, &rows, &seen, first + start)?)?;
        }
        self.kept[layer] = Some(keys);
        Ok(())
    }
}

impl Probe for Watch<'_, '_> {
    fn wants(&self, at: At) -> bool {
        let ours = matches!(at.site, Site::QPos | Site::KPos);
        let ours = ours && at.layer.is_some_and(|layer| (self.layers)(layer));
        ours || self.also.as_ref().is_some_and(|also| also.wants(at))
    }

    fn visit(&mut self, at: At, x: &Tensor) -> Result<Option<Tensor>> {
        let replaced = match &mut self.also {
            Some(also) if also.wants(at) => also.visit(at, x)?,
            _ => None,
        };
        let x = replaced.as_ref().unwrap_or(x);
        match (at.site, at.layer) {
            (Site::QPos, Some(layer)) if (self.layers)(layer) => self.query = Some(x.clone()),
            (Site::KPos, Some(layer)) if (self.layers)(layer) => self.keys(layer, x)?,
            _ => {}
        }
        Ok(replaced)
    }
}
