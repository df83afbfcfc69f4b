//! Gathering and putting back, against a loop over tokens; and that gradients flow.

use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Experts;
use crate::nn::linear::Linear;
use crate::nn::mlp::Mlp;
use crate::spec::{Activation, Gating, Routing};
use crate::weights::Matrix;

const DIM: usize = 6;
const HIDDEN: usize = 5;
const EXPERTS: usize = 4;

/// Numbers within ± `scale`, the same in every run.
fn draw(random: &mut ChaCha8Rng, shape: &[usize], scale: f32) -> Tensor {
    let count = shape.iter().product();
    let numbers: Vec<f32> = (0..count).map(|_| random.random_range(-scale..scale)).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn linear(weight: &Var) -> Linear {
    Linear::new(Matrix::Dense(weight.as_tensor().clone()), None).unwrap()
}

/// Experts, and their router, gates, ups and downs.
fn experts(
    random: &mut ChaCha8Rng,
    routing: Routing,
    gating: Gating,
) -> (Experts, Var, Vec<[Var; 3]>) {
    let mut var = |rows, columns| Var::from_tensor(&draw(random, &[rows, columns], 1.2)).unwrap();
    let router = var(EXPERTS, DIM);
    let weights: Vec<[Var; 3]> =
        (0..EXPERTS).map(|_| [var(HIDDEN, DIM), var(HIDDEN, DIM), var(DIM, HIDDEN)]).collect();
    let experts = weights
        .iter()
        .map(|w| Mlp::of(linear(&w[0]), linear(&w[1]), linear(&w[2]), gating))
        .collect();
    let moe = Experts { router: linear(&router), experts, shared: None, per_token: 2, routing };
    (moe, router, weights)
}

#[test]
fn every_token_gets_the_weighted_sum_of_its_experts() {
    let gating = Gating::Plain(Activation::Silu);
    let routing = Routing::SoftmaxThenTop { renormalise: false };
    let random = &mut ChaCha8Rng::seed_from_u64(1);
    let (moe, router, _) = experts(random, routing, gating);
    let x = draw(random, &[2, 7, DIM], 1.5);
    let out = moe.forward(&x).unwrap();
    for row in 0..2 {
        for token in 0..7 {
            let one = x.narrow(0, row, 1).unwrap().narrow(1, token, 1).unwrap();
            let scores = linear(&router).forward(&one).unwrap().flatten_all().unwrap();
            let scores: Vec<f32> = scores.to_vec1().unwrap();
            let sum: f32 = scores.iter().map(|s| s.exp()).sum();
            let mut order: Vec<usize> = (0..EXPERTS).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let mut expected = one.zeros_like().unwrap();
            for expert in &order[..2] {
                let weight = f64::from(scores[*expert].exp() / sum);
                let y = moe.experts[*expert].forward(&one).unwrap();
                expected = (expected + (y * weight).unwrap()).unwrap();
            }
            let found = out.narrow(0, row, 1).unwrap().narrow(1, token, 1).unwrap();
            let apart = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
            assert!(apart.max(0).unwrap().to_scalar::<f32>().unwrap() < 1e-5);
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let random = &mut ChaCha8Rng::seed_from_u64(2);
    for routing in [
        Routing::SoftmaxThenTop { renormalise: false },
        Routing::SoftmaxThenTop { renormalise: true },
        Routing::TopThenSoftmax,
        Routing::SparseMixer { jitter: 0.4 },
    ] {
        for gating in [Gating::Plain(Activation::Silu), Gating::Clamped { alpha: 1.7, limit: 1.0 }]
        {
            let (moe, router, weights) = experts(random, routing, gating);
            let x = draw(random, &[1, 9, DIM], 1.5);
            let loss = || moe.forward(&x).unwrap().sqr().unwrap().sum_all().unwrap();
            let gradients = loss().backward().unwrap();
            for var in std::iter::once(&router).chain(weights.iter().flatten()) {
                // An expert that no token took has no gradient.
                let Some(gradient) = gradients.get(var) else { continue };
                assert!(
                    gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.
                );
                agrees(var, gradient, &loss, &format!("{routing:?}, {gating:?}"));
            }
        }
    }
}

/// A step along the gradient changes the loss by the gradient's square, where no kink (a token's
/// choice, a clamp) lies between: the best of three steps decides. (A kink nearer than the smallest
/// is seen as a difference; the seed is one without.)
fn agrees(var: &Var, gradient: &Tensor, loss: &dyn Fn() -> Tensor, what: &str) {
    let value = || loss().to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
    let square = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    let start = var.as_tensor().copy().unwrap();
    let apart = [1e-1, 1e-2, 2e-3].map(|length| {
        let step = length / f64::from(square).sqrt();
        let mut ends = [1.0, -1.0].map(|sign| {
            var.set(&(&start + (gradient * (sign * step)).unwrap()).unwrap()).unwrap();
            value()
        });
        var.set(&start).unwrap();
        ends[0] -= ends[1];
        (ends[0] / (2.0 * step) / f64::from(square) - 1.0).abs()
    });
    assert!(apart.iter().any(|apart| *apart < 0.03), "{what}: {apart:?}");
}
