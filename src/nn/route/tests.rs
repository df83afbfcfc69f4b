//! Choices and weights of known scores.

use candle_core::{Device, Tensor};

use super::route;
use crate::kernels::plainly;
use crate::spec::Routing;

/// Chosen experts and their weights for one token's scores.
fn of(scores: &[f32], per_token: usize, routing: Routing) -> (Vec<u32>, Vec<f32>) {
    let scores = Tensor::new(vec![scores.to_vec()], &Device::Cpu).unwrap();
    let of = || {
        let route = route(&scores, per_token, routing).unwrap();
        (route.chosen, route.weights.flatten_all().unwrap().to_vec1().unwrap())
    };
    let (fast, plain) = (of(), plainly(of));
    assert_eq!(fast.0, plain.0);
    close(&fast.1, &plain.1);
    fast
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-6, "{found:?} {expected:?}");
    }
}

#[test]
fn softmax_before_and_after_the_choice() {
    let scores = [1f32.ln(), 4f32.ln(), 2f32.ln(), 3f32.ln()];
    let (chosen, weights) = of(&scores, 2, Routing::SoftmaxThenTop { renormalise: false });
    assert_eq!(chosen, [1, 3]);
    close(&weights, &[0.4, 0.3]);
    for routing in [Routing::SoftmaxThenTop { renormalise: true }, Routing::TopThenSoftmax] {
        let (chosen, weights) = of(&scores, 2, routing);
        assert_eq!(chosen, [1, 3]);
        close(&weights, &[4.0 / 7.0, 3.0 / 7.0]);
    }
    // Of equal scores the first.
    assert_eq!(of(&[0.5, 0.5, 0.5], 2, Routing::TopThenSoftmax).0, [0, 1]);
}

#[test]
fn sparse_mixer_weighs_each_choice_among_those_near_it() {
    // Within 20% of 2.0 is 1.9 alone; within 20% of 1.9, nothing else is.
    let (chosen, weights) = of(&[1.0, 2.0, 1.9, -3.0], 2, Routing::SparseMixer { jitter: 0.1 });
    assert_eq!(chosen, [1, 2]);
    close(&weights, &[1.0 / (1.0 + (-0.1f32).exp()), 1.0]);
    // Distances are relative to the larger size: −1.5 is 3.5 below 2.0, which is within 2.
    let all = Routing::SparseMixer { jitter: 1.0 };
    let (_, weights) = of(&[2.0, -1.5], 2, all);
    close(&weights, &[1.0 / (1.0 + (-3.5f32).exp()), 1.0]);
}
