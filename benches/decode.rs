//! Criterion benchmarks of decoding: what one new token costs at a given depth. They run no
//! checkpoint; `taper bench` does.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use candle_core::{D, Device, Result, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The shape of SmolLM2-135M: heads, key and value heads, width of a head.
const N_HEADS: usize = 9;
const N_KV_HEADS: usize = 3;
const HEAD_DIM: usize = 64;
const DEPTHS: [usize; 3] = [64, 512, 2048];

/// The floor that any attention of candle ops stands on: two products and a softmax, with the query
/// heads of one key head as the rows of one product.
fn attend_by_ops(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let scores = (q.matmul(&k.t()?)? * (HEAD_DIM as f64).powf(-0.5))?; // (kv_heads, group, keys)
    candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(v) // (kv_heads, group, head_dim)
}

fn random(rows: usize) -> Tensor {
    Tensor::randn(0f32, 1f32, (N_KV_HEADS, rows, HEAD_DIM), &Device::Cpu).expect("a small tensor")
}

fn attend(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attend, one query, candle ops");
    for depth in DEPTHS {
        let (q, k, v) = (random(N_HEADS / N_KV_HEADS), random(depth), random(depth));
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter(|| attend_by_ops(black_box(&q), black_box(&k), black_box(&v)));
        });
    }
    group.finish();
}

criterion_group!(benches, attend);
criterion_main!(benches);
