//! Files that others wrote.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use taper::weights::{Checkpoint, Format, Names, Param, Weights, plain};

use crate::{assert_same, dense, spec};

/// Written by `torch.save` of PyTorch 2.15 from:
///
/// ```python
/// e = torch.arange(12, dtype=torch.float32).reshape(4, 3) / 4
/// {"embed.weight": torch.nn.Parameter(e), "head.weight": e,
///  "half.weight": (torch.arange(6).reshape(2, 3) / 8).to(torch.float16),
///  "bf16.bias": (torch.arange(3) / 2).to(torch.bfloat16),
///  "double.weight": torch.arange(4, dtype=torch.float64).reshape(2, 2),
///  "view.weight": torch.arange(20, dtype=torch.float32).reshape(5, 4)[1:3],
///  "mask": torch.tril(torch.ones(3, 3, dtype=torch.bool)),
///  "position_ids": torch.arange(5), "scalar": torch.tensor(3.0)}
/// ```
const TORCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loading/torch-2.15.bin");

#[test]
fn what_pytorch_saves() {
    const NAMES: Names = Names {
        prefixes: &[""],
        entries: &[
            plain(Param::TokenEmbedding, "embed"),
            plain(Param::Head, "head"),
            plain(Param::Up, "half"),
            plain(Param::Gate, "bf16"),
            plain(Param::Down, "double"),
            plain(Param::Query, "view"),
        ],
        ignored: &["mask", "position_ids", "scalar"],
    };
    let checkpoint = Checkpoint::open(Path::new(TORCH)).unwrap();
    assert_eq!(checkpoint.format(), Format::Torch);
    assert_eq!(checkpoint.tensors().count(), 9);
    let spec = spec();
    let weights = Weights::new(&checkpoint, &NAMES, &spec, Device::Cpu, DType::F32, false);
    let counted = |shape: (usize, usize), start: f32, divisor: f64| {
        let count = (shape.0 * shape.1) as f32;
        let all = Tensor::arange(start, start + count, &Device::Cpu).unwrap();
        (all.reshape(shape).unwrap() / divisor).unwrap()
    };
    for (param, shape, start, divisor) in [
        (Param::TokenEmbedding, (4, 3), 0., 4.),
        (Param::Head, (4, 3), 0., 4.),
        (Param::Up, (2, 3), 0., 8.),
        (Param::Down, (2, 2), 0., 1.),
        (Param::Query, (2, 4), 4., 1.),
    ] {
        let read = dense(weights.matrix(param, None, shape).unwrap());
        assert_same(&read, &counted(shape, start, divisor));
    }
    let bias = weights.bias(Param::Gate, None, 3).unwrap();
    assert_same(&bias, &Tensor::new(&[0f32, 0.5, 1.], &Device::Cpu).unwrap());
    assert_eq!(weights.finish().unwrap().read.len(), 6);
}

#[test]
fn models_of_the_shared_data() {
    for name in ["stories260K", "nano-sort-gpt"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
        if !folder.is_dir() {
            eprintln!("skipped: {} is not here", folder.display());
            continue;
        }
        let checkpoint = Checkpoint::open(&folder).unwrap();
        assert_eq!(checkpoint.stored_dtype(), Some(DType::F32));
        let file = std::fs::metadata(folder.join("model.safetensors")).unwrap().len();
        assert!(checkpoint.total_bytes() < file && file < checkpoint.total_bytes() + 20_000);
    }
}
