//! Laws that hold for every decoder, tried on random specs: all axes, any way.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use common::codes::{decoded, encoded};
use common::random::{Random, Tensors, decoder};
use taper::nn::{At, Cache, Decoder, Probe, Run, Site};
use taper::parity::record;
use taper::spec::*;

/// Largest difference between two ways to compute the same f32 logits.
const TOLERANCE: f32 = 2e-4;
const SPECS: u64 = 150;

/// Runs a law on many random decoders, and says on which it failed.
fn for_random_decoders(law: impl Fn(&mut Random, &Decoder)) {
    for seed in 0..SPECS {
        let mut random = Random::new(seed);
        let spec = random.spec();
        let tensors = random.tensors(&spec);
        let decoder = decoder(&spec, &tensors);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Half of them by the definitions alone, half with the fast paths.
            match seed % 2 {
                0 => law(&mut random, &decoder),
                _ => taper::kernels::plainly(|| law(&mut random, &decoder)),
            }
        }));
        if let Err(panic) = caught {
            eprintln!("seed {seed}: {spec:#?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_prompt_at_once_equals_token_by_token() {
    for_random_decoders(|random, decoder| {
        let ids = random.ids(decoder.spec().vocab_size, 13);
        let whole = logits(decoder, &ids);
        let mut cache = Cache::new(decoder.spec(), &[0], random.below(20));
        let mut steps = Vec::new();
        let mut rest = &ids[..];
        while !rest.is_empty() {
            // In pieces of any size, one token among them.
            let (piece, after) = rest.split_at(1 + random.below(3.min(rest.len())));
            let input = Tensor::new(vec![piece.to_vec()], &Device::Cpu).unwrap();
            let run = Run { cache: Some(&mut cache), probe: None, last_only: false };
            steps.extend(rows(&decoder.run(&input, run).unwrap()));
            rest = after;
        }
        assert_eq!(cache.len(), ids.len());
        close(&whole, &steps);
    });
}

/// Rounds keys and values on their way to the cache.
struct Rounded(DType);

impl Probe for Rounded {
    fn wants(&self, at: At) -> bool {
        matches!(at.site, Site::KPos | Site::V)
    }

    fn visit(&mut self, _: At, x: &Tensor) -> taper::Result<Option<Tensor>> {
        Ok(Some(match self.0 {
            DType::U8 => decoded(&encoded(x), x.dim(3)?),
            dtype => x.to_dtype(dtype)?.to_dtype(x.dtype())?,
        }))
    }
}

#[test]
fn a_narrow_cache_is_one_of_rounded_keys_and_values() {
    for_random_decoders(|random, decoder| {
        let ids = random.ids(decoder.spec().vocab_size, 9);
        let dtype = [DType::BF16, DType::F16, DType::U8][random.below(3)];
        let run = |kept_in: Option<DType>, mut rounded: Option<Rounded>| {
            let mut cache = Cache::new(decoder.spec(), &[0], 4).kept_in(kept_in);
            let mut out = Vec::new();
            for piece in [&ids[..5], &ids[5..6], &ids[6..]] {
                let input = Tensor::new(vec![piece.to_vec()], &Device::Cpu).unwrap();
                let probe = rounded.as_mut().map(|probe| probe as &mut dyn Probe);
                let run = Run { cache: Some(&mut cache), probe, last_only: false };
                out.extend(rows(&decoder.run(&input, run).unwrap()));
            }
            (out, cache.bytes())
        };
        let (narrow, bytes) = run(Some(dtype), None);
        let (rounded, wide) = run(None, Some(Rounded(dtype)));
        match dtype {
            DType::U8 => assert!(2 * bytes < wide),
            _ => assert_eq!(2 * bytes, wide),
        }
        close(&rounded, &narrow);
        assert_ne!(run(None, None).0, narrow, "nothing was rounded");
        assert_eq!(run(Some(DType::F32), None), run(None, None));
    });
}

#[test]
fn a_forgotten_tail_leaves_no_trace() {
    for_random_decoders(|random, decoder| {
        let vocab = decoder.spec().vocab_size;
        let (ids, other) = (random.ids(vocab, 9), random.ids(vocab, 6));
        let mut cache = Cache::new(decoder.spec(), &[0], 4);
        let feed = |ids: &[u32], cache: &mut Cache| {
            rows(
                &decoder
                    .next(&Tensor::new(vec![ids.to_vec()], &Device::Cpu).unwrap(), cache)
                    .unwrap(),
            )
        };
        feed(&ids[..4], &mut cache);
        feed(&other, &mut cache);
        cache.truncate(4);
        let after = feed(&ids[4..], &mut cache);
        close(&logits(decoder, &ids)[8..], &after);
    });
}

#[test]
fn a_later_token_never_changes_an_earlier_logit() {
    for_random_decoders(|random, decoder| {
        let vocab = decoder.spec().vocab_size;
        let mut ids = random.ids(vocab, 10);
        let before = logits(decoder, &ids);
        let at = 1 + random.below(9);
        ids[at] = (ids[at] + 1) % vocab as u32;
        let after = logits(decoder, &ids);
        let experts = |layer: &Layer| matches!(layer.feed_forward, FeedForward::Experts(_));
        if decoder.spec().layers.iter().any(experts) {
            // With how many tokens an expert computes depends on all of them, and rounding on that.
            close(&before[..at], &after[..at]);
        } else {
            // Not even in the last bit: the sums are the same sums.
            assert_eq!(before[..at], after[..at], "before position {at}");
        }
        assert_ne!(before[at], after[at], "at position {at} nothing changed");
    });
}

#[test]
fn a_batch_without_a_cache_is_its_rows() {
    for_random_decoders(|random, decoder| {
        let vocab = decoder.spec().vocab_size;
        let prompts = vec![random.ids(vocab, 6), random.ids(vocab, 6), random.ids(vocab, 6)];
        let together =
            decoder.logits(&Tensor::new(prompts.clone(), &Device::Cpu).unwrap()).unwrap();
        for (row, prompt) in prompts.iter().enumerate() {
            close(&together.get(row).unwrap().to_vec2().unwrap(), &logits(decoder, prompt));
        }
    });
}

#[test]
fn rows_of_a_batch_are_independent_and_padding_is_invisible() {
    for_random_decoders(|random, decoder| {
        let vocab = decoder.spec().vocab_size;
        let prompts = [random.ids(vocab, 8), random.ids(vocab, 3), random.ids(vocab, 5)];
        let padding = [0, 5, 3];
        let padded: Vec<Vec<u32>> = prompts
            .iter()
            .zip(padding)
            .map(|(ids, pad)| [vec![0; pad], ids.clone()].concat())
            .collect();
        let mut cache = Cache::new(decoder.spec(), &padding, 0);
        let input = Tensor::new(padded, &Device::Cpu).unwrap();
        let mut together = vec![batch(&decoder.next(&input, &mut cache).unwrap())];
        let next = random.ids(vocab, 3);
        let step = Tensor::new(next.clone(), &Device::Cpu).unwrap().reshape((3, 1)).unwrap();
        together.push(batch(&decoder.next(&step, &mut cache).unwrap()));
        // Then rows go: the rest go on as they were.
        cache.keep_rows(&[2, 1]).unwrap();
        let step = Tensor::new(vec![vec![next[2]], vec![next[1]]], &Device::Cpu).unwrap();
        let kept = batch(&decoder.next(&step, &mut cache).unwrap());
        for (row, prompt) in prompts.iter().enumerate() {
            let last = next[row];
            let alone = logits(decoder, &[&prompt[..], &[last, last]].concat());
            let tail = &alone[prompt.len() - 1..];
            close(&tail[..1], &together[0][row..=row]);
            close(&tail[1..2], &together[1][row..=row]);
            if let Some(place) = [2, 1].iter().position(|kept| *kept == row) {
                close(&tail[2..], &kept[place..=place]);
            }
        }
    });
}

#[test]
fn grouped_queries_equal_all_heads_with_repeated_keys_and_values() {
    let mut tried = 0;
    for seed in 0..SPECS {
        let mut random = Random::new(seed);
        let spec = random.spec();
        if spec.layers.iter().any(|l| matches!(l.attention.qk_norm, Some(QkNorm::Full(_)))) {
            continue; // a norm over the whole width is another with more heads
        }
        let tensors = random.tensors(&spec);
        let (mut all, mut repeated) = (spec.clone(), tensors.clone());
        for (index, layer) in all.layers.iter_mut().enumerate() {
            let groups = layer.attention.n_heads / layer.attention.n_kv_heads;
            tried += usize::from(groups > 1);
            for name in ["key", "value"] {
                repeat_heads(&mut repeated, &format!("{index}.{name}"), groups, &layer.attention);
            }
            let norm = format!("{index}.key_norm.weight");
            let own = matches!(layer.attention.qk_norm, Some(QkNorm::OwnPerHead(_)));
            if let (true, Some(weights)) = (own, repeated.get_mut(&norm)) {
                let rows = (0..layer.attention.n_heads as u32).map(|head| head / groups as u32);
                let rows = Tensor::from_iter(rows, weights.device()).unwrap();
                *weights = weights.index_select(&rows, 0).unwrap();
            }
            layer.attention.n_kv_heads = layer.attention.n_heads;
        }
        let ids = random.ids(spec.vocab_size, 9);
        close(&logits(&decoder(&spec, &tensors), &ids), &logits(&decoder(&all, &repeated), &ids));
    }
    assert!(tried > 50, "{tried} layers had groups");
}

fn repeat_heads(tensors: &mut Tensors, name: &str, groups: usize, attention: &Attention) {
    for suffix in ["weight", "bias"] {
        let Some(tensor) = tensors.get_mut(&format!("{name}.{suffix}")) else { continue };
        let width = tensor.elem_count() / attention.n_kv_heads / attention.head_dim;
        let heads = (attention.n_kv_heads, 1, attention.head_dim, width);
        let whole = (attention.n_kv_heads, groups, attention.head_dim, width);
        let many = tensor.reshape(heads).unwrap().broadcast_as(whole).unwrap();
        let out = attention.n_heads * attention.head_dim;
        *tensor = match suffix {
            "weight" => many.reshape((out, width)).unwrap(),
            _ => many.reshape(out).unwrap(),
        };
    }
}

#[test]
fn a_window_as_long_as_the_text_hides_nothing_and_a_shorter_one_hides() {
    for seed in 0..SPECS {
        let mut random = Random::new(seed);
        let mut spec = random.spec();
        let tensors = random.tensors(&spec);
        let ids = random.ids(spec.vocab_size, 10);
        let mut with = |window: Option<usize>| {
            for layer in &mut spec.layers {
                layer.attention.window = window;
            }
            decoder(&spec, &tensors)
        };
        let full = with(None);
        close(&logits(&full, &ids), &logits(&with(Some(10)), &ids));
        // W keys, not W + 1: in the pattern of the last query, the last three.
        let pattern = pattern(&with(Some(3)), &ids);
        let last = &pattern[pattern.len() - 10..];
        assert!(last[..7].iter().all(|p| *p == 0.0), "seed {seed}: {last:?}");
        assert!(last[7..].iter().all(|p| *p > 0.0), "seed {seed}: {last:?}");
    }
}

#[test]
fn attention_weights_sum_to_one_or_less_beside_a_sink() {
    for_random_decoders(|random, decoder| {
        let ids = random.ids(decoder.spec().vocab_size, 7);
        let sinks = decoder.spec().layers[0].attention.sinks;
        for row in pattern(decoder, &ids).chunks(7) {
            let sum = row.iter().sum::<f32>();
            // A sink takes a share that belongs to no key.
            let fits = sum < 1.0 + 1e-5 && (sinks || sum > 1.0 - 1e-5);
            assert!(fits, "{row:?}");
        }
    });
}

#[test]
fn rotary_scores_depend_on_the_distance_alone() {
    for seed in 0..SPECS {
        let mut random = Random::new(seed);
        let mut spec = random.spec();
        spec.embedding.position = AbsolutePosition::None;
        spec.layers.truncate(1);
        let attention = &mut spec.layers[0].attention;
        let placed = matches!(attention.qk_norm, Some(QkNorm::PerHeadPlaced(_)));
        if placed || !matches!(attention.position, Position::Rope(_)) {
            continue; // (a norm with weights does not commute with a rotation)
        }
        attention.window = None;
        attention.query_growth = None;
        let tensors = random.tensors(&spec);
        // One token again and again: scores can differ by position only.
        let ids = vec![random.below(spec.vocab_size) as u32; 8];
        let trace = sites(&decoder(&spec, &tensors), &ids);
        let scores = &trace[&At { layer: Some(0), site: Site::Scores }];
        let scores: Vec<Vec<f32>> = scores.get(0).unwrap().get(0).unwrap().to_vec2().unwrap();
        for query in 1..8 {
            for key in 1..=query {
                let (a, b) = (scores[query][key], scores[query - 1][key - 1]);
                assert!((a - b).abs() < 1e-4, "seed {seed}: {a} and {b} at {query}, {key}");
            }
        }
    }
}

#[test]
fn sinusoids_are_those_of_the_paper() {
    // Vaswani et al. 2017, section 3.5, written out: PE(p, 2i) = sin(p / 10000^(2i/dim)).
    let mut random = Random::new(1);
    let mut spec = random.spec();
    spec.dim = 16;
    spec.embedding = Embedding {
        width: spec.dim,
        scale: 1.0,
        position: AbsolutePosition::Sinusoidal { theta: 1e4, offset: 0, halves: false },
        norm: None,
    };
    let mut tensors = random.tensors(&spec);
    let zeros = tensors["tokens.weight"].zeros_like().unwrap();
    tensors.insert("tokens.weight".into(), zeros);
    let trace = sites(&decoder(&spec, &tensors), &random.ids(spec.vocab_size, 50));
    let embed = rows(&trace[&At { layer: None, site: Site::Embed }]);
    for (position, row) in embed.iter().enumerate() {
        for i in 0..8 {
            let angle = position as f64 / 10_000f64.powf(2.0 * i as f64 / 16.0);
            let (sin, cos) = (row[2 * i], row[2 * i + 1]);
            assert!((f64::from(sin) - angle.sin()).abs() < 1e-6, "sin at {position}, {i}");
            assert!((f64::from(cos) - angle.cos()).abs() < 1e-6, "cos at {position}, {i}");
        }
    }
}

#[test]
fn a_probe_can_replace_what_it_sees() {
    struct Silence(usize);
    impl taper::nn::Probe for Silence {
        fn wants(&self, at: At) -> bool {
            at.site == Site::AttnOut && at.layer == Some(0)
        }
        fn visit(&mut self, _: At, x: &Tensor) -> taper::Result<Option<Tensor>> {
            self.0 += 1;
            Ok(Some(x.zeros_like()?))
        }
    }
    for_random_decoders(|random, decoder| {
        let ids = random.ids(decoder.spec().vocab_size, 5);
        let input = Tensor::new(vec![ids.clone()], &Device::Cpu).unwrap();
        let mut silence = Silence(0);
        let run = Run { cache: None, probe: Some(&mut silence), last_only: false };
        let silent = rows(&decoder.run(&input, run).unwrap());
        assert_eq!(silence.0, 1);
        assert_ne!(silent, logits(decoder, &ids));
    });
}

#[test]
fn more_positions_than_the_model_has_are_refused_before_anything_is_computed() {
    let mut random = Random::new(3);
    let mut spec = random.spec();
    spec.max_seq_len = 8;
    let tensors = random.tensors(&spec);
    let decoder = decoder(&spec, &tensors);
    let mut cache = Cache::new(&spec, &[0], 0);
    let input = |n| Tensor::new(vec![vec![1u32; n]], &Device::Cpu).unwrap();
    decoder.next(&input(8), &mut cache).unwrap();
    let error = decoder.next(&input(1), &mut cache).unwrap_err();
    assert!(matches!(error, taper::Error::ContextFull { needed: 9, max_seq_len: 8 }), "{error}");
    assert_eq!(cache.len(), 8);
    let outside = Tensor::new(vec![vec![spec.vocab_size as u32]], &Device::Cpu).unwrap();
    let error = decoder.logits(&outside).unwrap_err();
    assert!(matches!(error, taper::Error::TokenId { .. }), "{error}");
}

fn logits(decoder: &Decoder, ids: &[u32]) -> Vec<Vec<f32>> {
    rows(&decoder.logits(&Tensor::new(vec![ids.to_vec()], &Device::Cpu).unwrap()).unwrap())
}

/// (1, seq, width) to its rows.
fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.squeeze(0).unwrap().to_vec2().unwrap()
}

/// (batch, 1, width) to its rows.
fn batch(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.squeeze(1).unwrap().to_vec2().unwrap()
}

fn sites(decoder: &Decoder, ids: &[u32]) -> BTreeMap<At, Tensor> {
    record(decoder, &[ids.to_vec()], |_| true).unwrap().sites
}

/// The first layer's pattern, flat.
fn pattern(decoder: &Decoder, ids: &[u32]) -> Vec<f32> {
    let trace = sites(decoder, ids);
    let pattern = &trace[&At { layer: Some(0), site: Site::Pattern }];
    pattern.flatten_all().unwrap().to_vec1().unwrap()
}

fn close(a: &[Vec<f32>], b: &[Vec<f32>]) {
    assert_eq!(a.len(), b.len());
    for (position, (a, b)) in a.iter().zip(b).enumerate() {
        let scale = a.iter().fold(1f32, |m, x| m.max(x.abs()));
        let max = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(max <= TOLERANCE * scale, "{max} apart at {position}, of {scale}");
    }
}
