//! A checkpoint built by hand, with a head that looks at the token before and one that completes
//! the induction pair, is recognised; a random one is not.

use candle_core::{Device, Tensor};
use taper::inspect::{HeadScores, Trial, score};
use taper::spec::*;

use crate::common::random::{Random, Tensors, decoder};

const VOCAB: usize = 26;
const POSITIONS: usize = 24;
/// The residual stream: which token, which position, which token before.
const DIM: usize = 2 * VOCAB + POSITIONS;
const HEAD_DIM: usize = 26;
const HEADS: usize = 2;
const PERIOD: usize = 11;

fn spec() -> Spec {
    let norm = Norm::Rms { eps: 1e-9, weight: false, offset: 0.0 };
    let layer = Layer {
        wiring: Wiring::Pre,
        norm,
        attention: Attention { scale: 1.0, ..Attention::new(HEADS, HEADS, HEAD_DIM) },
        feed_forward: FeedForward::Plain {
            hidden_dim: 2,
            activation: Activation::Relu,
            bias: false,
        },
        residual_scale: 1.0,
    };
    Spec {
        vocab_size: VOCAB,
        dim: DIM,
        max_seq_len: POSITIONS,
        embedding: Embedding {
            scale: 1.0,
            width: DIM,
            norm: None,
            position: AbsolutePosition::Learned { offset: 0 },
        },
        layers: vec![layer.clone(), layer],
        final_norm: Some(norm),
        head: Head { tied: true, bias: false, scale: 1.0, softcap: None },
    }
}

/// A matrix (rows, columns) of zeros but for these entries.
fn matrix(rows: usize, columns: usize, entries: impl Iterator<Item = (usize, usize)>) -> Tensor {
    let mut numbers = vec![0f32; rows * columns];
    entries.for_each(|(row, column)| numbers[row * columns + column] = 1.0);
    Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap()
}

/// Head 0.0 looks at the position before and writes down which token stands there; head 1.0 looks
/// for keys whose token before is the query's token.
fn built() -> Tensors {
    let (token, position, before) = (0, VOCAB, VOCAB + POSITIONS);
    let width = HEADS * HEAD_DIM;
    let from = |rows: usize, start: usize, count: usize, shift: usize| {
        matrix(rows, DIM, (0..count - shift).map(|at| (at + shift, start + at)))
    };
    let sharp = 40.0;
    let scaled = |x: Tensor, factor: f64| (x * factor).unwrap();
    let mut tensors = Tensors::new();
    let mut put = |name: &str, tensor: Tensor| tensors.insert(name.to_string(), tensor);
    put("tokens.weight", matrix(VOCAB, DIM, (0..VOCAB).map(|at| (at, token + at))));
    put("positions.weight", matrix(POSITIONS, DIM, (0..POSITIONS).map(|at| (at, position + at))));
    put("0.query.weight", scaled(from(width, position, POSITIONS, 0), sharp));
    put("0.key.weight", from(width, position, POSITIONS, 1));
    put("0.value.weight", from(width, token, VOCAB, 0));
    // The norm makes two ones of DIM numbers √(DIM / 2) each; back to one.
    let unit = 1.0 / (DIM as f64 / 2.0).sqrt();
    let out = matrix(DIM, width, (0..VOCAB).map(|at| (before + at, at)));
    put("0.out.weight", scaled(out, unit));
    put("1.query.weight", scaled(from(width, token, VOCAB, 0), sharp));
    put("1.key.weight", from(width, before, VOCAB, 0));
    put("1.value.weight", from(width, token, VOCAB, 0));
    put("1.out.weight", matrix(DIM, width, std::iter::empty()));
    for layer in 0..2 {
        put(&format!("{layer}.up.weight"), matrix(2, DIM, std::iter::empty()));
        put(&format!("{layer}.down.weight"), matrix(DIM, 2, std::iter::empty()));
    }
    tensors
}

fn scores(tensors: &Tensors) -> Vec<HeadScores> {
    let spec = spec();
    let trial =
        Trial { start: 0, vocab_size: VOCAB, without: vec![1], period: PERIOD, texts: 4, seed: 3 };
    let texts = trial.texts().unwrap();
    for text in &texts {
        assert_eq!(text.len(), 1 + 2 * PERIOD);
        assert_eq!(text[1..=PERIOD], text[PERIOD + 1..]);
        assert!(text[1..].iter().all(|id| *id > 1));
    }
    assert_eq!(texts, trial.texts().unwrap(), "the same seed");
    score(&decoder(&spec, tensors), &texts, PERIOD).unwrap()
}

#[test]
fn heads_built_by_hand_are_recognised() {
    let heads = scores(&built());
    let at = |layer, head| heads.iter().find(|h| (h.layer, h.head) == (layer, head)).unwrap();
    assert!(at(0, 0).scores.previous >= 0.99, "{:?}", at(0, 0));
    assert!(at(1, 0).scores.induction >= 0.99, "{:?}", at(1, 0));
    assert!(at(0, 0).scores.induction <= 0.01 && at(1, 0).scores.previous <= 0.01);
    // The other heads were given nothing to look for.
    assert!(at(0, 1).scores.previous < 0.2 && at(1, 1).scores.induction < 0.2);
}

#[test]
fn a_random_checkpoint_is_not() {
    for seed in 0..3 {
        for head in scores(&Random::new(seed).tensors(&spec())) {
            let s = head.scores;
            assert!(s.induction < 0.6 && s.previous < 0.6, "seed {seed}: {head:?}");
        }
    }
}
