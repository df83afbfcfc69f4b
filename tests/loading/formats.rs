//! The same tensors from every container, in one piece and in shards.

use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{DType, Device, Tensor};
use taper::weights::{Checkpoint, Format, Names, Param, Weights, plain};

use crate::files::{folder, gguf, numbers, pickle, safetensors, torch, write, zip};
use crate::{assert_same, dense, load, problem, spec};

const NAMES: Names = Names {
    prefixes: &[""],
    entries: &[plain(Param::Up, "a"), plain(Param::Down, "b")],
    ignored: &[],
};

fn check(path: &Path, format: Format) {
    let checkpoint = Checkpoint::open(path).unwrap();
    assert_eq!(checkpoint.format(), format);
    assert_eq!(checkpoint.stored_dtype(), Some(DType::F32));
    assert_eq!(checkpoint.total_bytes(), 4 * (15 + 8));
    assert_eq!(checkpoint.tensor("a.weight").unwrap().shape, [5, 3]);
    load(path, &NAMES, |weights| {
        let (a, b) = (numbers(&[5, 3], 1), numbers(&[2, 4], 2));
        assert_same(&dense(weights.matrix(Param::Up, None, (5, 3))?), &a);
        assert_same(&dense(weights.matrix(Param::Down, None, (2, 4))?), &b);
        weights.finish()
    })
    .unwrap();
}

#[test]
fn one_piece_of_each() {
    let (a, b) = (numbers(&[5, 3], 1), numbers(&[2, 4], 2));
    let both = [("a.weight", &a), ("b.weight", &b)];
    let quantised = [("a.weight", &a, GgmlDType::F32), ("b.weight", &b, GgmlDType::F32)];
    let cases = [
        ("model.safetensors", safetensors(&both), Format::Safetensors),
        ("pytorch_model.bin", torch(&both), Format::Torch),
        ("some-name.gguf", gguf(&[], &quantised), Format::Gguf),
    ];
    for (name, bytes, format) in cases {
        let folder = folder();
        let path = write(folder.path(), name, bytes);
        check(&path, format);
        check(folder.path(), format);
    }
}

#[test]
fn shards() {
    let (a, b) = (numbers(&[5, 3], 1), numbers(&[2, 4], 2));
    type Writer = fn(&[(&str, &Tensor)]) -> Vec<u8>;
    let cases: [(&str, Writer, Format); 2] = [
        ("model.safetensors.index.json", safetensors, Format::Safetensors),
        ("pytorch_model.bin.index.json", torch, Format::Torch),
    ];
    for (index, writer, format) in cases {
        let folder = folder();
        let [one, two] = [1, 2].map(|i| {
            format!("shard-{i}.{}", if format == Format::Torch { "bin" } else { "safetensors" })
        });
        write(folder.path(), &one, writer(&[("a.weight", &a)]));
        write(folder.path(), &two, writer(&[("b.weight", &b)]));
        let map = |a: &str| format!(r#"{{"weight_map":{{"a.weight":"{a}","b.weight":"{two}"}}}}"#);
        write(folder.path(), index, map(&one));
        check(folder.path(), format);

        write(folder.path(), index, map(&two));
        let wrong = format!("`a.weight` in {two}, which does not hold");
        assert!(problem(folder.path()).contains(&wrong));

        write(folder.path(), index, map("shard-3"));
        assert!(problem(folder.path()).contains("shard-3"));

        write(folder.path(), index, map("../shard-1"));
        assert!(problem(folder.path()).contains("not the name of a file beside it"));

        write(folder.path(), index, "{}");
        assert!(problem(folder.path()).contains("weight_map"));

        let short = writer(&[("b.weight", &b)]);
        write(folder.path(), &two, &short[..short.len() - 1]);
        write(folder.path(), index, map(&one));
        assert!(problem(folder.path()).contains(&two));
    }
}

/// Storages may be shared, and a tensor may begin inside of one: tied weights are saved so.
#[test]
fn torch_tensors_share_storages() {
    let entries = [
        ("a.weight", "HalfStorage", "0", 2, &[2, 3][..], &[3, 1][..]),
        ("b.weight", "HalfStorage", "0", 0, &[2, 4], &[4, 1]),
    ];
    let data: Vec<u8> =
        (0..8).flat_map(|i| half::f16::from_f32(i as f32 / 4.).to_le_bytes()).collect();
    let folder = folder();
    let members = [("m/data.pkl", &pickle(&entries)[..]), ("m/data/0", &data)];
    let path = write(folder.path(), "pytorch_model.bin", zip(&members));
    load(&path, &NAMES, |weights| {
        let whole = Tensor::arange(0f32, 8., &Device::Cpu)?.affine(0.25, 0.)?;
        let part = whole.narrow(0, 2, 6)?.reshape((2, 3))?;
        assert_same(&dense(weights.matrix(Param::Up, None, (2, 3))?), &part);
        let whole = whole.reshape((2, 4))?;
        assert_same(&dense(weights.matrix(Param::Down, None, (2, 4))?), &whole);
        weights.finish()
    })
    .unwrap();
}

#[test]
fn numbers_are_rounded_once() {
    let folder = folder();
    let x = Tensor::new(&[[1.0f32, 0.1, -3.3e-5, 65504.]], &Device::Cpu).unwrap();
    let path = write(folder.path(), "model.safetensors", safetensors(&[("a.weight", &x)]));
    let (checkpoint, spec) = (Checkpoint::open(&path).unwrap(), spec());
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let weights = Weights::new(&checkpoint, &NAMES, &spec, Device::Cpu, dtype, false);
        let read = dense(weights.matrix(Param::Up, None, (1, 4)).unwrap());
        assert_eq!(read.dtype(), dtype);
        assert_same(&read, &x.to_dtype(dtype).unwrap());
    }
}

#[test]
fn metadata_of_a_gguf() {
    let keys = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", Value::U32(30)),
        ("llama.rope.freq_base", Value::F32(1e5)),
        ("negative", Value::I32(-1)),
        ("flag", Value::Bool(true)),
        ("tokens", Value::Array(vec![Value::String("a".into()), Value::String("é".into())])),
        ("scores", Value::Array(vec![Value::F32(0.5), Value::F32(-1.)])),
        ("types", Value::Array(vec![Value::I32(3), Value::I32(-4)])),
    ];
    let folder = folder();
    let one = numbers(&[1, 1], 0);
    let path = write(folder.path(), "m.gguf", gguf(&keys, &[("t", &one, GgmlDType::F32)]));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let gguf = checkpoint.gguf().unwrap();
    assert_eq!(gguf.keys().count(), 8);
    assert_eq!(gguf.str("general.architecture"), Some("llama"));
    assert_eq!(gguf.u64("llama.block_count"), Some(30));
    assert_eq!(gguf.f64("llama.rope.freq_base"), Some(1e5));
    assert_eq!((gguf.u64("negative"), gguf.i64("negative")), (None, Some(-1)));
    assert_eq!(gguf.bool("flag"), Some(true));
    assert_eq!(gguf.strings("tokens"), Some(vec!["a", "é"]));
    assert_eq!(gguf.f64s("scores"), Some(vec![0.5, -1.]));
    assert_eq!(gguf.i64s("types"), Some(vec![3, -4]));
    assert_eq!((gguf.str("flag"), gguf.strings("types"), gguf.u64("none")), (None, None, None));
}

#[test]
fn fingerprints_tell_checkpoints_apart() {
    let folder = folder();
    let write = |seed| {
        let a = numbers(&[5, 3], seed);
        write(folder.path(), "model.safetensors", safetensors(&[("a.weight", &a)]))
    };
    let prints = |seed| {
        let checkpoint = Checkpoint::open(&write(seed)).unwrap();
        (checkpoint.fingerprint().unwrap(), checkpoint.quick_fingerprint().unwrap())
    };
    let (first, again, second) = (prints(1), prints(1), prints(2));
    assert_eq!(first, again);
    assert!(first.0 != second.0 && first.1 != second.1 && first.0.len() == 64);
}
