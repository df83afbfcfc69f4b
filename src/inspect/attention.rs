//! Where heads look: statistics of every head asked for, what each query looks at most, and maps,
//! from one pass in memory that grows with the prompt and not with its square.

use serde::Serialize;

use super::layer::LayerView;
use super::map::Map;
use super::statistics::{Spread, Statistics, Sums};
use super::watch::{Block, Sight, watch};
use crate::error::{Error, Result};
use crate::kernels;
use crate::nn::{Decoder, Probe};
use crate::spec::Spec;

/// Blocks of fewer queries are one thread's affair.
const ALONE: usize = 64;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// These layers; all where none is named.
    pub layers: Vec<usize>,
    /// These heads of each; all where none is named.
    pub heads: Vec<usize>,
    /// Keys that each query looks at most, so many; 0 leaves queries out.
    pub top: usize,
    /// Maps of at most so many cells along a side; none where it is `None`.
    pub map: Option<usize>,
    /// All tokens at once, where `also` keeps activations; otherwise a long prompt comes piece by
    /// piece.
    pub whole: bool,
}

/// What a map is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// One head.
    Head(usize, usize),
    /// The mean of a layer's heads.
    Layer(usize),
    /// The mean of all layers' heads.
    All,
}

/// How one head attends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadView {
    /// Its layer.
    pub layer: usize,
    /// Its number in the layer.
    pub head: usize,
    /// The key-value head that it shares with its group.
    pub kv_head: usize,
    /// Means over the queries.
    #[serde(flatten)]
    pub statistics: Statistics,
    /// Each query, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<QueryView>,
}

/// What one query looks at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryView {
    /// Its position.
    pub query: usize,
    /// Its softmax's denominator and entropy.
    #[serde(flatten)]
    pub spread: Spread,
    /// The keys of the largest weights, the largest first.
    pub top: Vec<Look>,
}

/// A key, and how much a query looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Look {
    /// The key's position.
    pub key: usize,
    /// Its weight.
    pub weight: f32,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attended {
    /// The layers looked at.
    pub layers: Vec<LayerView>,
    /// The heads looked at, layer after layer.
    pub heads: Vec<HeadView>,
}

impl Plan {
    /// Checks that the layers and heads exist.
    ///
    /// # Errors
    /// [`Error::Request`] naming the range that does.
    pub fn validate(&self, spec: &Spec) -> Result<()> {
        let fits = |name: &str, number: usize, count: usize, of: String| match number < count {
            true => Ok(()),
            false => {
                let problem = format!("{number} is none of {of}'s 0 to {}", count - 1);
                Err(Error::request(name, problem))
            }
        };
        for layer in &self.layers {
            fits("layer", *layer, spec.layers.len(), "the model".into())?;
        }
        for (index, layer) in spec.layers.iter().enumerate().filter(|(at, _)| self.has_layer(*at)) {
            for head in &self.heads {
                fits("head", *head, layer.attention.n_heads, format!("layer {index}"))?;
            }
        }
        Ok(())
    }

    fn has_layer(&self, layer: usize) -> bool {
        self.layers.is_empty() || self.layers.contains(&layer)
    }

    fn has_head(&self, head: usize) -> bool {
        self.heads.is_empty() || self.heads.contains(&head)
    }
}

/// Runs `ids` once and looks at what `plan` names. Each map goes to `keep` as soon as it is whole;
/// `also` listens to the same pass.
///
/// # Errors
/// A layer or head that does not exist; as [`Decoder::run`]; what `keep` or `also` return.
pub fn attend(
    decoder: &Decoder,
    ids: &[u32],
    plan: &Plan,
    also: Option<&mut dyn Probe>,
    keep: &mut dyn FnMut(Of, Map) -> Result<()>,
) -> Result<Attended> {
    let spec = decoder.spec();
    plan.validate(spec)?;
    let layers: Vec<usize> = (0..spec.layers.len()).filter(|at| plan.has_layer(*at)).collect();
    let mut collected: Vec<Vec<Head>> = vec![Vec::new(); spec.layers.len()];
    for layer in &layers {
        let heads = (0..spec.layers[*layer].attention.n_heads).filter(|head| plan.has_head(*head));
        collected[*layer] = heads.map(|head| Head::new(head, ids.len(), plan.map)).collect();
    }
    let mut all = plan.map.map(|most| Map::new(ids.len(), most));
    let heads: usize = collected.iter().map(Vec::len).sum();
    let chosen = |layer| plan.has_layer(layer);
    watch(decoder, ids, plan.whole, &chosen, also, &mut |block| {
        let heads_here = &mut collected[block.layer];
        all_add(heads_here, block, plan.top);
        if block.first + block.queries == ids.len() {
            hand_on(block.layer, heads_here, heads, &mut all, keep)?;
        }
        Ok(())
    })?;
    if let Some(all) = all {
        keep(Of::All, all)?;
    }
    let views = layers.iter().flat_map(|layer| {
        let group =
            spec.layers[*layer].attention.n_heads / spec.layers[*layer].attention.n_kv_heads;
        collected[*layer].iter().map(move |head| head.view(*layer, group))
    });
    Ok(Attended {
        heads: views.collect(),
        layers: layers.iter().map(|layer| LayerView::of(spec, *layer)).collect(),
    })
}

/// Hands on the maps of a layer that is done, and their mean.
fn hand_on(
    layer: usize,
    heads: &mut [Head],
    of_all: usize,
    all: &mut Option<Map>,
    keep: &mut dyn FnMut(Of, Map) -> Result<()>,
) -> Result<()> {
    let Some(all) = all else { return Ok(()) };
    let mut mean = Map { values: vec![0.0; all.values.len()], ..*all };
    let share = 1.0 / heads.len() as f32;
    for head in heads {
        if let Some(map) = head.map.take() {
            mean.accumulate(&map, share);
            all.accumulate(&map, 1.0 / of_all as f32);
            keep(Of::Head(layer, head.head), map)?;
        }
    }
    keep(Of::Layer(layer), mean)
}

/// Every head takes the block, side by side where it is worth a thread.
fn all_add(heads: &mut [Head], block: &Block, top: usize) {
    match block.queries < ALONE {
        true => heads.iter_mut().for_each(|head| head.add(block, top)),
        false => kernels::each(heads, |head| head.add(block, top)),
    }
}

/// One head while the pass runs.
#[derive(Debug, Clone)]
struct Head {
    head: usize,
    sums: Sums,
    queries: Vec<QueryView>,
    map: Option<Map>,
}

impl Head {
    fn new(head: usize, tokens: usize, map: Option<usize>) -> Self {
        let map = map.map(|most| Map::new(tokens, most));
        Self { head, sums: Sums::default(), queries: Vec::new(), map }
    }

    fn add(&mut self, block: &Block, top: usize) {
        for row in 0..block.queries {
            let sight = block.sight(self.head, row);
            let spread = Spread::of(&sight);
            self.sums.add(&sight, &spread);
            if top > 0 {
                let top = most(&sight, top);
                self.queries.push(QueryView { query: sight.query, spread, top });
            }
            if let Some(map) = &mut self.map {
                map.add(&sight);
            }
        }
    }

    fn view(&self, layer: usize, group: usize) -> HeadView {
        HeadView {
            layer,
            head: self.head,
            kv_head: self.head / group.max(1),
            statistics: self.sums.statistics(),
            queries: self.queries.clone(),
        }
    }
}

/// The `count` keys of the largest weights, the largest first, the earlier one of equals.
fn most(sight: &Sight<'_>, count: usize) -> Vec<Look> {
    let mut top: Vec<Look> = Vec::with_capacity(count + 1);
    for (at, weight) in sight.weights.iter().enumerate() {
        let place = top.partition_point(|look| look.weight >= *weight);
        if place < count && *weight > 0.0 {
            top.insert(place, Look { key: sight.first_key + at, weight: *weight });
            top.truncate(count);
        }
    }
    top
}
