//! From documents to rows: nothing is lost, prompts are not learned, and orders repeat.

use taper::kernels::{IGNORED, Isa, linear, rounded};
use taper::text::Tokenizer;
use taper::train::{Corpus, Document, Order};

use candle_core::{Device, Tensor, Var};

const TEXTS: [&str; 5] = ["abcdefghij", "klm", "nopqrs", "tu", "vwxyzabcdefghijklmnopqrstuvwxyz"];

fn tokenizer(end: bool) -> Tokenizer {
    Tokenizer::of_characters(TEXTS.into_iter(), end).unwrap()
}

fn documents() -> Vec<Document> {
    TEXTS.iter().map(|text| Document::of(text.to_string())).collect()
}

/// (input, label) pairs of all rows, as text.
fn pairs(corpus: &Corpus, tokenizer: &Tokenizer) -> Vec<String> {
    let rows: Vec<usize> = (0..corpus.rows()).collect();
    let batch = corpus.batch(&rows).unwrap();
    let ids = batch.ids.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let learned = ids.iter().zip(&batch.labels).filter(|(_, label)| **label != IGNORED);
    let text = |id: u32| tokenizer.token_text(id);
    let mut pairs: Vec<String> =
        learned.map(|(id, label)| format!("{}>{}", text(*id), text(*label))).collect();
    assert_eq!(batch.count, pairs.len());
    pairs.sort();
    pairs
}

#[test]
fn every_token_is_learned_once_after_the_one_before_it() {
    let tokenizer = tokenizer(true);
    let mut expected: Vec<String> = TEXTS
        .iter()
        .flat_map(|text| {
            let end = "<|endoftext|>".to_string();
            let letters = text.chars().map(|c| c.to_string());
            let all: Vec<String> = [end.clone()].into_iter().chain(letters).chain([end]).collect();
            all.windows(2).map(|pair| format!("{}>{}", pair[0], pair[1])).collect::<Vec<_>>()
        })
        .collect();
    expected.sort();
    for (seq_len, threads) in [(4, 1), (7, 3), (8, 2), (40, 1)] {
        let corpus = Corpus::new(&documents(), &tokenizer, seq_len, threads, "train").unwrap();
        assert_eq!(pairs(&corpus, &tokenizer), expected, "rows of {seq_len}");
        let least = corpus.tokens().div_ceil(seq_len + 1);
        assert!((least..=least + 3).contains(&corpus.rows()), "{} rows", corpus.rows());
    }
}

#[test]
fn prompts_are_read_and_not_learned() {
    let tokenizer = tokenizer(true);
    let parts = vec![("abc".to_string(), false), ("xyz".to_string(), true)];
    let documents = [Document { parts, bare: false }];
    let corpus = Corpus::new(&documents, &tokenizer, 6, 1, "train").unwrap();
    assert_eq!(pairs(&corpus, &tokenizer), ["c>x", "x>y", "y>z", "z><|endoftext|>"]);
}

#[test]
fn an_order_is_a_permutation_and_follows_from_the_step() {
    let mut order = Order::new(5, 10);
    let steps: Vec<Vec<usize>> = (0..10).map(|step| order.rows(step, 3)).collect();
    let all: Vec<usize> = steps.iter().flatten().copied().collect();
    for epoch in all.chunks(10) {
        let mut sorted = epoch.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    assert_ne!(all[..10], all[10..20], "two epochs in one order");
    // Whoever begins in the middle finds the same.
    assert_eq!(Order::new(5, 10).rows(7, 3), steps[7]);
}

#[test]
fn rounded_products_are_near_the_exact_ones() {
    let numbers = |n: usize, seed: usize| -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    };
    for (rows, input, out) in [(1, 32, 32), (17, 64, 96), (50, 96, 32)] {
        let var = |shape: (usize, usize), seed: usize| {
            let numbers = numbers(shape.0 * shape.1, seed);
            Var::from_tensor(&Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()).unwrap()
        };
        let (x, weight) = (var((rows, input), 1), var((out, input), 2));
        let Some(y) = rounded(true, || linear(&x, &weight).unwrap()) else {
            eprintln!("skipped: this processor has no tiles");
            return;
        };
        let plain = x.matmul(&weight.t().unwrap()).unwrap();
        let grads = [&y, &plain].map(|y| y.sqr().unwrap().sum_all().unwrap().backward().unwrap());
        let norm =
            |t: &Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        let near = |a: &Tensor, b: &Tensor, what: &str| {
            let apart = norm(&(a - b).unwrap()) / norm(b);
            assert!(apart < 8e-3, "{what} of {rows} rows, {input} to {out}: {apart}");
            // Who has no tiles may round, and does not.
            assert!(apart > 0.0 || Isa::current() < Isa::Amx, "{what}: nothing was rounded");
        };
        near(&y, &plain, "the product");
        for (var, what) in [(&x, "the input's gradient"), (&weight, "the weight's gradient")] {
            near(grads[0].get(var).unwrap(), grads[1].get(var).unwrap(), what);
        }
    }
    let x = Tensor::zeros((2, 32), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(linear(&x, &x).unwrap().is_none(), "rounded without being asked");
}
