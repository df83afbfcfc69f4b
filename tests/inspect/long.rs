//! At 16,384 tokens: what is streamed and computed again equals the plain softmax in f64.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;
use taper::inspect::{Attended, Map, Of, Plan, attend};
use taper::model::{LoadOptions, Model};
use taper::nn::{At, Decoder, Probe, Site};
use taper::spec::*;

use crate::common::fetched;
use crate::common::random::{Random, decoder};
use crate::near;

const TOKENS: usize = 16_384;
const TOP: usize = 3;

/// Queries and keys with their positions, piece after piece.
#[derive(Default)]
struct Kept(BTreeMap<At, Tensor>);

impl Probe for Kept {
    fn wants(&self, at: At) -> bool {
        matches!(at.site, Site::QPos | Site::KPos)
    }

    fn visit(&mut self, at: At, x: &Tensor) -> taper::Result<Option<Tensor>> {
        let whole = match self.0.get(&at) {
            Some(before) => Tensor::cat(&[before, x], 2)?,
            None => x.clone(),
        };
        self.0.insert(at, whole);
        Ok(None)
    }
}

/// What attend says, and what it says it of.
struct Long {
    spec: Spec,
    seen: Attended,
    maps: BTreeMap<(usize, usize), Map>,
    kept: Kept,
    sinks: BTreeMap<usize, Vec<f64>>,
}

/// One row by the definition.
struct Row {
    log_sum_exp: f64,
    weights: Vec<f64>, // of all keys up to the query
}

impl Long {
    fn of(decoder: &Decoder, ids: &[u32], layers: &[usize]) -> Self {
        let plan = Plan { layers: layers.to_vec(), top: TOP, map: Some(1024), ..Plan::default() };
        let (mut kept, mut maps) = (Kept::default(), BTreeMap::new());
        let seen = attend(decoder, ids, &plan, Some(&mut kept), &mut |of, map| {
            if let Of::Head(layer, head) = of {
                maps.insert((layer, head), map);
            }
            Ok(())
        });
        let spec = decoder.spec().clone();
        Self { spec, seen: seen.unwrap(), maps, kept, sinks: BTreeMap::new() }
    }

    /// Queries and keys of a head, in f64.
    fn vectors(&self, layer: usize, head: usize) -> [Vec<Vec<f64>>; 2] {
        let attention = &self.spec.layers[layer].attention;
        let group = attention.n_heads / attention.n_kv_heads;
        [(Site::QPos, head), (Site::KPos, head / group)].map(|(site, head)| {
            let x = self.kept.0[&At { layer: Some(layer), site }].get(0).unwrap().get(head);
            let rows = x.unwrap().to_vec2::<f32>().unwrap();
            rows.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect()
        })
    }

    fn row(&self, layer: usize, head: usize, query: usize, q: &[f64], k: &[Vec<f64>]) -> Row {
        let attention = &self.spec.layers[layer].attention;
        let first = attention.window.map_or(0, |window| (query + 1).saturating_sub(window));
        let mut weights = vec![f64::NEG_INFINITY; query + 1];
        for (weight, key) in weights[first..].iter_mut().zip(&k[first..]) {
            let score = q.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() * attention.scale;
            *weight = attention.softcap.map_or(score, |cap| cap * (score / cap).tanh());
        }
        let sink = self.sinks.get(&layer).map(|sinks| sinks[head]);
        let max = weights.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = weights.iter().copied().chain(sink).map(|x| (x - max).exp()).sum();
        let log_sum_exp = max + sum.ln();
        weights.iter_mut().for_each(|x| *x = (*x - log_sum_exp).exp());
        Row { log_sum_exp, weights }
    }

    /// These queries of every head looked at: spread, most looked at, and the map's cells, of
    /// which each whole one is the largest weight of its tile.
    fn rows_agree(&self, queries: &[Range<usize>]) {
        for view in &self.seen.heads {
            let (layer, head) = (view.layer, view.head);
            let [q, k] = self.vectors(layer, head);
            let map = &self.maps[&(layer, head)];
            assert_eq!(view.queries.len(), q.len());
            for range in queries {
                let mut tiles = vec![0f64; map.side];
                for query in range.clone() {
                    let what = format!("head {layer}.{head}, query {query}");
                    let row = self.row(layer, head, query, &q[query], &k);
                    let ours = &view.queries[query];
                    near(ours.spread.log_sum_exp, row.log_sum_exp, &what);
                    near(ours.spread.entropy, entropy(&row.weights), &what);
                    let mut sorted: Vec<f64> = row.weights.clone();
                    sorted.sort_by(|a, b| b.total_cmp(a));
                    for (look, theirs) in ours.top.iter().zip(&sorted) {
                        near(look.weight.into(), *theirs, &what);
                        near(look.weight.into(), row.weights[look.key], &what);
                    }
                    assert_eq!(ours.top.len(), TOP.min(query + 1));
                    for (key, weight) in row.weights.iter().enumerate() {
                        let tile = &mut tiles[key / map.pool];
                        *tile = tile.max(*weight);
                    }
                }
                assert!(range.start % map.pool == 0 && range.len() == map.pool);
                for (column, theirs) in tiles.iter().enumerate() {
                    let ours = map.at(range.start / map.pool, column);
                    near(ours.into(), *theirs, &format!("map {layer}.{head}"));
                }
            }
        }
    }

    /// The means over all queries, of one head.
    fn means_agree(&self, layer: usize, head: usize) {
        let [q, k] = self.vectors(layer, head);
        let mut theirs = BTreeMap::<&str, f64>::new();
        let mut histogram = vec![0f64; (TOKENS - 1).ilog2() as usize + 2];
        let share = 1.0 / (TOKENS - 1) as f64;
        for query in 1..TOKENS {
            let row = self.row(layer, head, query, &q[query], &k).weights;
            let mut add = |name, value: f64| *theirs.entry(name).or_default() += value * share;
            add("entropy", entropy(&row));
            add("first", row[0]);
            add("previous", row[query - 1]);
            add("self", row[query]);
            add("sink", 1.0 - row.iter().sum::<f64>());
            for (distance, weight) in row.iter().rev().enumerate() {
                histogram[distance.checked_ilog2().map_or(0, |bin| bin as usize + 1)] +=
                    weight * share;
            }
            let distance = row.iter().rev().enumerate().map(|(at, weight)| at as f64 * weight);
            add("distance", distance.sum::<f64>() / TOKENS as f64);
        }
        let view = self.seen.heads.iter().find(|view| (view.layer, view.head) == (layer, head));
        let ours = serde_json::to_value(&view.unwrap().statistics).unwrap();
        for (name, theirs) in theirs {
            let size = if name == "distance" { TOKENS as f64 } else { 1.0 };
            near(ours[name].as_f64().unwrap() / size, theirs, &format!("{layer}.{head} {name}"));
        }
        let bins = &view.unwrap().statistics.histogram;
        for (at, theirs) in histogram.iter().enumerate() {
            near(bins.get(at).copied().unwrap_or(0.0), *theirs, &format!("bin {at}"));
        }
    }
}

/// In nats, what is not the keys' counted as one more.
fn entropy(weights: &[f64]) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    let beside = 1.0 - weights.iter().sum::<f64>();
    weights.iter().copied().map(term).sum::<f64>() + if beside > 1e-5 { term(beside) } else { 0.0 }
}

#[test]
fn sixteen_thousand_tokens_are_the_plain_softmax() {
    let norm = Norm::Rms { eps: 1e-6, weight: false, offset: 0.0 };
    let layer = |attention: Attention| Layer {
        wiring: Wiring::Pre,
        norm,
        attention,
        feed_forward: FeedForward::Plain {
            hidden_dim: 4,
            activation: Activation::Relu,
            bias: false,
        },
        residual_scale: 1.0,
    };
    let rope = Position::Rope(Rope {
        theta: 10_000.0,
        rotary_dim: 4,
        reversed: false,
        interleaved: false,
        scaling: RopeScaling::None,
    });
    // Sharp enough that something stands out of so many keys.
    let full =
        Attention { position: rope, scale: 1.5, softcap: Some(12.0), ..Attention::new(2, 1, 4) };
    let local = Attention { window: Some(600), sinks: true, scale: 1.0, ..Attention::new(2, 2, 4) };
    let spec = Spec {
        vocab_size: 32,
        dim: 12,
        max_seq_len: TOKENS,
        embedding: Embedding {
            scale: 1.0,
            width: 12,
            norm: None,
            position: AbsolutePosition::None,
        },
        layers: vec![layer(full), layer(local)],
        final_norm: Some(norm),
        head: Head { tied: true, bias: false, scale: 1.0, softcap: None },
    };
    let mut random = Random::new(16);
    let (tensors, ids) = (random.tensors(&spec), random.ids(spec.vocab_size, TOKENS));
    let mut long = Long::of(&decoder(&spec, &tensors), &ids, &[]);
    let sinks = tensors["1.sinks.weight"].to_vec1::<f32>().unwrap();
    long.sinks.insert(1, sinks.into_iter().map(f64::from).collect());
    long.rows_agree(&[0..16, 592..608, 8192..8208, TOKENS - 16..TOKENS]);
    long.means_agree(0, 1);
    long.means_agree(1, 0);
}

#[test]
#[ignore = "minutes: 16,384 tokens through a model of 135 million parameters"]
fn smollm2_at_sixteen_thousand_tokens_is_the_plain_softmax() {
    let Some(path) = fetched("SmolLM2-135M-Instruct-f32") else { return };
    let options = LoadOptions { max_seq_len: Some(TOKENS), ..LoadOptions::default() };
    let model = Model::load(path, &options).unwrap();
    // Runs of words with some order in them, so that heads have something to find.
    let mut random = Random::new(5);
    let words = random.ids(40_000, 97);
    let ids: Vec<u32> = (0..TOKENS).map(|at| words[(at + random.below(3)) % 97]).collect();
    let long = Long::of(&model.decoder, &ids, &[13]);
    assert_eq!(long.seen.heads.len(), 9);
    long.rows_agree(&[0..16, 4096..4112, 8192..8208, 12_000..12_016, TOKENS - 16..TOKENS]);
}
