//! Are the tokens left, and their probabilities, those of transformers' own processor chains?
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use serde_json::Value;

use super::Sampler;
use crate::error::Error;
use crate::generate::Sampling;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/golden/sampling.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// A case's options, in our words.
fn sampling(options: &Value) -> Sampling {
    let mut sampling = Sampling::default();
    for (key, value) in options.as_object().unwrap() {
        let number = || value.as_f64().unwrap();
        let count = || value.as_u64().unwrap() as usize;
        match key.as_str() {
            "do_sample" => sampling.greedy = value != &Value::Bool(true),
            "temperature" => sampling.temperature = number(),
            "top_k" => sampling.top_k = count(),
            "top_p" => sampling.top_p = number(),
            "min_p" => sampling.min_p = number(),
            "typical_p" => sampling.typical_p = number(),
            "epsilon_cutoff" => sampling.epsilon_cutoff = number(),
            "eta_cutoff" => sampling.eta_cutoff = number(),
            "repetition_penalty" => sampling.repetition_penalty = number(),
            "no_repeat_ngram_size" => sampling.no_repeat_ngram_size = count(),
            "sequence_bias" => sampling.bias = serde_json::from_value(value.clone()).unwrap(),
            "bad_words_ids" => sampling.bad_words = serde_json::from_value(value.clone()).unwrap(),
            "min_length" => sampling.min_length = count(),
            "min_new_tokens" => sampling.min_new_tokens = count(),
            "suppress_tokens" => sampling.suppress = ids(value),
            "begin_suppress_tokens" => sampling.begin_suppress = ids(value),
            other => panic!("{other}"),
        }
    }
    sampling
}

/// A sampler that has said what the case has.
fn sampler(golden: &Value, case: &Value, sampling: Sampling, seed: u64) -> Sampler {
    let eos = ids(&golden["eos"]);
    let mut sampler = Sampler::new(sampling, &ids(&golden["prompt"]), &eos, seed, 0);
    let said = case["said"].as_u64().unwrap() as usize;
    ids(&golden["generated"])[..said].iter().for_each(|id| sampler.history.push(*id));
    sampler
}

fn logits(golden: &Value, case: &Value) -> Vec<f32> {
    serde_json::from_value(golden["logits"][case["logits"].as_str().unwrap()].clone()).unwrap()
}

#[test]
fn sets_and_probabilities_are_those_of_transformers() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 100);
    let mut worst: f64 = 0.0;
    for case in cases {
        let name = &case["name"];
        let mut options = sampling(&case["options"]);
        let greedy = options.greedy;
        options.validate(61).unwrap();
        let mut one = sampler(&golden, case, options.clone(), 0);
        if greedy {
            let id = one.next(&mut logits(&golden, case)).unwrap();
            assert_eq!(u64::from(id), case["argmax"], "{name}");
            // The processors alone left these.
            options = Sampling { greedy: false, top_k: 0, temperature: 1.0, ..options };
            one = sampler(&golden, case, options, 0);
        }
        let chosen = one.probabilities(&mut logits(&golden, case));
        let left: Vec<u32> = chosen.iter().map(|(id, _)| *id).collect();
        assert_eq!(left, ids(&case["left"]), "{name}");
        for ((id, ours), theirs) in chosen.iter().zip(case["probabilities"].as_array().unwrap()) {
            let difference = (ours - theirs.as_f64().unwrap()).abs();
            worst = worst.max(difference);
            assert!(difference < 1e-6, "{name}: token {id}: {ours} and {theirs}");
        }
    }
    eprintln!("largest difference {worst:e}");
}

#[test]
fn draws_follow_the_probabilities() {
    let golden = golden();
    let case = &golden["cases"][0];
    let sampling = Sampling { greedy: false, top_k: 4, ..Sampling::default() };
    let mut sampler = Sampler::new(sampling, &[], &[], 3, 0);
    let expected = sampler.probabilities(&mut logits(&golden, case));
    let mut counts = std::collections::HashMap::new();
    let draws = 20_000;
    for _ in 0..draws {
        *counts.entry(sampler.next(&mut logits(&golden, case)).unwrap()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), expected.len());
    for (id, probability) in expected {
        let frequency = f64::from(counts[&id]) / f64::from(draws);
        assert!((frequency - probability).abs() < 0.015, "{id}: {frequency} for {probability}");
    }
}

#[test]
fn a_seed_and_a_stream_fix_the_draws() {
    let draw = |seed, stream| {
        let sampling = Sampling { greedy: false, top_k: 0, ..Sampling::default() };
        let mut sampler = Sampler::new(sampling, &[], &[], seed, stream);
        (0..32).map(|_| sampler.next(&mut vec![0.0; 100]).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(5, 0), draw(5, 0));
    assert_ne!(draw(5, 0), draw(6, 0));
    assert_ne!(draw(5, 0), draw(5, 1));
    // Fixed by ChaCha's definition: never to change.
    assert_eq!(draw(5, 0)[..6], DRAWN);
}

const DRAWN: [u32; 6] = [71, 36, 77, 28, 18, 78];

#[test]
fn presence_counts_once_and_frequency_each_time_and_neither_the_prompt() {
    let sampling = Sampling {
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        greedy: false,
        top_k: 0,
        ..Sampling::default()
    };
    let mut sampler = Sampler::new(sampling, &[0, 0], &[], 0, 0);
    [1, 1, 2].into_iter().for_each(|id| sampler.history.push(id));
    let mut logits = [1.0, 1.0, 1.0, 1.0];
    sampler.probabilities(&mut logits);
    assert_eq!(logits, [1.0, 0.0, 0.25, 1.0]);
}

#[test]
fn greedy_takes_the_first_of_equals() {
    let mut sampler = Sampler::new(Sampling::default(), &[], &[], 0, 0);
    assert_eq!(sampler.next(&mut [0.0, 2.0, 2.0]).unwrap(), 1);
}

#[test]
fn forbidding_everything_is_an_error() {
    let bias = (0..3).map(|id| (vec![id], f32::NEG_INFINITY)).collect::<Vec<_>>();
    for greedy in [true, false] {
        let sampling = Sampling { bias: bias.clone(), greedy, ..Sampling::default() };
        let mut sampler = Sampler::new(sampling, &[], &[], 0, 0);
        assert!(matches!(sampler.next(&mut [0.0; 3]), Err(Error::Request { .. })));
    }
}

#[test]
fn a_large_vocabulary_is_cut_as_a_small_one() {
    // More candidates than are sorted at once.
    let logits: Vec<f32> =
        (0..50_000u32).map(|i| ((i * 7919) % 50_000) as f32 / 12_500.0).collect();
    let chosen = |sampling: Sampling| {
        let mut sampler = Sampler::new(sampling, &[], &[], 0, 0);
        sampler.probabilities(&mut logits.clone())
    };
    let all = Sampling { greedy: false, top_k: 0, ..Sampling::default() };
    let mut sorted = chosen(all.clone());
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut mass = 0.0;
    let kept = sorted.iter().take_while(|(_, probability)| {
        let before = mass;
        mass += probability;
        before < 0.7
    });
    let kept = kept.count();
    assert!(kept > 5000, "{kept}");
    assert_eq!(chosen(Sampling { top_p: 0.7, ..all.clone() }).len(), kept);
    let mut top: Vec<u32> = sorted[..1000].iter().map(|(id, _)| *id).collect();
    top.sort_unstable();
    let ids: Vec<u32> =
        chosen(Sampling { top_k: 1000, ..all }).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, top);
}

#[test]
fn unusable_numbers_are_named() {
    let base = Sampling { greedy: false, ..Sampling::default() };
    let cases = [
        ("temperature", Sampling { temperature: 0.0, ..base.clone() }),
        ("temperature", Sampling { temperature: f64::NAN, ..base.clone() }),
        ("top_p", Sampling { top_p: 1.5, ..base.clone() }),
        ("min_p", Sampling { min_p: -0.1, ..base.clone() }),
        ("typical_p", Sampling { typical_p: 0.0, ..base.clone() }),
        ("epsilon_cutoff", Sampling { epsilon_cutoff: 1.0, ..base.clone() }),
        ("repetition_penalty", Sampling { repetition_penalty: 0.0, ..base.clone() }),
        ("presence_penalty", Sampling { presence_penalty: f64::INFINITY, ..base.clone() }),
        ("logit_bias", Sampling { bias: vec![(vec![1], f32::NAN)], ..base.clone() }),
    ];
    for (expected, sampling) in cases {
        match sampling.validate(10) {
            Err(Error::Request { name, .. }) => assert_eq!(name, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let outside = Sampling { suppress: vec![10], ..base };
    assert!(matches!(outside.validate(10), Err(Error::TokenId { id: 10, vocab_size: 10 })));
}
