//! Do missing, extra, mis-shaped, truncated and hostile files give the named error, and do all
//! layouts and formats give the same parameters?
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod account;
mod experts;
mod files;
mod formats;
mod fuzz;
mod hostile;
mod layouts;
mod real;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use taper::error::{Error, Result};
use taper::spec::{
    AbsolutePosition, Activation, Attention, Embedding, FeedForward, Head, Layer, Norm, Spec,
    Wiring,
};
use taper::weights::{Checkpoint, Matrix, Names, Weights};

/// Sizes of the model that these tests load parts of.
const DIM: usize = 32;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 6;
const HIDDEN: usize = 10;
const VOCAB: usize = 7;

fn spec() -> Spec {
    let norm = Norm::Rms { eps: 1e-5, weight: true, offset: 0. };
    let attention = Attention::new(HEADS, KV_HEADS, HEAD_DIM);
    let feed_forward =
        FeedForward::Gated { hidden_dim: HIDDEN, activation: Activation::Silu, bias: false };
    let layer = Layer { wiring: Wiring::Pre, norm, attention, feed_forward, residual_scale: 1. };
    Spec {
        vocab_size: VOCAB,
        dim: DIM,
        max_seq_len: 16,
        embedding: Embedding {
            width: DIM,
            scale: 1.,
            position: AbsolutePosition::None,
            norm: None,
        },
        layers: vec![layer],
        final_norm: Some(norm),
        head: Head { tied: true, bias: false, scale: 1., softcap: None },
    }
}

/// Runs `f` on the weights of the checkpoint at `path`, in f32 on the CPU.
fn load<T>(path: &Path, names: &Names, f: impl FnOnce(Weights<'_>) -> Result<T>) -> Result<T> {
    let checkpoint = Checkpoint::open(path)?;
    let spec = spec();
    f(Weights::new(&checkpoint, names, &spec, Device::Cpu, DType::F32, false))
}

fn dense(matrix: Matrix) -> Tensor {
    match matrix {
        Matrix::Dense(tensor) => tensor,
        Matrix::Quantised(tensor) => tensor.dequantize(&Device::Cpu).unwrap(),
        Matrix::Packed(packed) => packed.dense().unwrap(),
    }
}

#[track_caller]
fn assert_same(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>();
    assert_eq!(flat(a).unwrap(), flat(b).unwrap());
}

/// The problem with a file, which must be the error's.
#[track_caller]
fn problem(path: &Path) -> String {
    match Checkpoint::open(path) {
        Err(error @ Error::File { .. }) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it opens"),
    }
}
