//! Every storage layout gives the same matrix as the plain one, dense and quantised.

use candle_core::quantized::GgmlDType;
use candle_core::{Device, Tensor};
use taper::weights::{
    Checkpoint, Entry, Layout, Matrix, Names, Param, Weights, gather_rows, plain, stored,
};

use crate::files::{folder, gguf, numbers, safetensors, write};
use crate::{DIM, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, assert_same, dense, load, spec};

/// Rows of query, and of key and value.
const Q: usize = HEADS * HEAD_DIM;
const K: usize = KV_HEADS * HEAD_DIM;

const QKV: [(Param, usize); 3] = [(Param::Query, Q), (Param::Key, K), (Param::Value, K)];

/// The parameters as they are to come out.
fn qkv() -> [Tensor; 3] {
    [numbers(&[Q, DIM], 1), numbers(&[K, DIM], 2), numbers(&[K, DIM], 3)]
}

fn cat(parts: &[Tensor]) -> Tensor {
    Tensor::cat(parts, 0).unwrap()
}

/// `[q | k | v]` for each kv head.
fn grouped([q, k, v]: &[Tensor; 3]) -> Tensor {
    let rows = |t: &Tensor, i: usize, n: usize| t.narrow(0, i * n, n).unwrap();
    let parts = (0..KV_HEADS)
        .flat_map(|g| [rows(q, g, Q / KV_HEADS), rows(k, g, HEAD_DIM), rows(v, g, HEAD_DIM)]);
    cat(&parts.collect::<Vec<_>>())
}

/// llama.cpp's `w.reshape(n_head, 2, d/2, cols).swapaxes(1, 2)`.
fn permuted(w: &Tensor, n_heads: usize) -> Tensor {
    let columns = w.elem_count() / (n_heads * HEAD_DIM);
    let split = w.reshape((n_heads, 2, HEAD_DIM / 2, columns)).unwrap();
    split.transpose(1, 2).unwrap().contiguous().unwrap().reshape(w.dims()).unwrap()
}

fn fused(layout: Layout) -> Names {
    let entry = |param| stored(param, "h.{}.qkv", layout);
    let entries: &'static [Entry] = Box::leak(Box::new(QKV.map(|(param, _)| entry(param))));
    Names { prefixes: &[""], entries, ignored: &[] }
}

#[test]
fn fused_queries_keys_and_values() {
    let parts = qkv();
    let biases = [numbers(&[Q], 4), numbers(&[K], 5), numbers(&[K], 6)];
    let grouped_bias = grouped(&biases.clone().map(|b| b.unsqueeze(1).unwrap()));
    let grouped_bias = grouped_bias.flatten_all().unwrap();
    let cases = [
        (Layout::FusedQkv, cat(&parts), cat(&biases)),
        (Layout::FusedQkvTransposed, cat(&parts).t().unwrap(), cat(&biases)),
        (Layout::GroupedQkv, grouped(&parts), grouped_bias),
    ];
    for (layout, weight, bias) in cases {
        let folder = folder();
        let bytes = safetensors(&[("h.0.qkv.weight", &weight), ("h.0.qkv.bias", &bias)]);
        let path = write(folder.path(), "model.safetensors", bytes);
        load(&path, &fused(layout), |weights| {
            for (i, (param, rows)) in QKV.into_iter().enumerate() {
                assert!(weights.has(param, Some(0)) && weights.has_bias(param, Some(0)));
                assert_same(&dense(weights.matrix(param, Some(0), (rows, DIM))?), &parts[i]);
                assert_same(&weights.bias(param, Some(0), rows)?, &biases[i]);
            }
            weights.finish()
        })
        .unwrap();
    }
}

#[test]
fn fused_gate_and_up() {
    const NAMES: Names = Names {
        prefixes: &["model."],
        entries: &[
            stored(Param::Gate, "layers.{}.gate_up", Layout::FusedGateUp),
            stored(Param::Up, "layers.{}.gate_up", Layout::FusedGateUp),
        ],
        ignored: &[],
    };
    let (gate, up) = (numbers(&[HIDDEN, DIM], 1), numbers(&[HIDDEN, DIM], 2));
    let folder = folder();
    let weight = cat(&[gate.clone(), up.clone()]);
    let bytes = safetensors(&[("model.layers.0.gate_up.weight", &weight)]);
    let path = write(folder.path(), "model.safetensors", bytes);
    load(&path, &NAMES, |weights| {
        for (param, expected) in [(Param::Gate, &gate), (Param::Up, &up)] {
            assert_same(&dense(weights.matrix(param, Some(0), (HIDDEN, DIM))?), expected);
        }
        weights.finish()
    })
    .unwrap();
}

const LLAMA_GGUF: Names = Names {
    prefixes: &[""],
    entries: &[
        stored(Param::Query, "blk.{}.attn_q", Layout::PermutedHeads),
        stored(Param::Key, "blk.{}.attn_k", Layout::PermutedHeads),
        plain(Param::Value, "blk.{}.attn_v"),
        stored(Param::FinalNorm, "output_norm", Layout::PlusOne),
        stored(Param::Down, "blk.{}.down", Layout::Transposed),
    ],
    ignored: &[],
};

#[test]
fn permuted_heads_transposed_matrices_and_factors_with_one_added() {
    let ([q, k, _], down) = (qkv(), numbers(&[DIM, HIDDEN], 9));
    let (bias, norm) = (numbers(&[K], 7), numbers(&[DIM], 8));
    let folder = folder();
    let bytes = safetensors(&[
        ("blk.0.attn_q.weight", &permuted(&q, HEADS)),
        ("blk.0.attn_k.weight", &permuted(&k, KV_HEADS)),
        ("blk.0.attn_k.bias", &permuted(&bias, KV_HEADS)),
        ("output_norm.weight", &(&norm + 1.).unwrap()),
        ("blk.0.down.weight", &down.t().unwrap()),
    ]);
    let path = write(folder.path(), "model.safetensors", bytes);
    load(&path, &LLAMA_GGUF, |weights| {
        assert_same(&dense(weights.matrix(Param::Query, Some(0), (Q, DIM))?), &q);
        assert_same(&dense(weights.matrix(Param::Key, Some(0), (K, DIM))?), &k);
        assert_same(&weights.bias(Param::Key, Some(0), K)?, &bias);
        assert_same(&weights.vector(Param::FinalNorm, None, DIM)?, &norm);
        assert_same(&dense(weights.matrix(Param::Down, Some(0), (DIM, HIDDEN))?), &down);
        weights.finish()
    })
    .unwrap();
}

/// The types that GGUF files come in, and the width that each has whole blocks for.
const TYPES: [(GgmlDType, usize); 13] = [
    (GgmlDType::F32, 32),
    (GgmlDType::F16, 32),
    (GgmlDType::BF16, 32),
    (GgmlDType::Q4_0, 32),
    (GgmlDType::Q4_1, 32),
    (GgmlDType::Q5_0, 32),
    (GgmlDType::Q5_1, 32),
    (GgmlDType::Q8_0, 32),
    (GgmlDType::Q2K, 256),
    (GgmlDType::Q3K, 256),
    (GgmlDType::Q4K, 256),
    (GgmlDType::Q5K, 256),
    (GgmlDType::Q6K, 256),
];

/// Rows taken from quantised tensors without dequantising are the rows of the dequantised tensor:
/// fused, permuted, and looked up.
#[test]
fn every_gguf_type_is_cut_by_rows() {
    for (dtype, width) in TYPES {
        let rows = |n, seed| (numbers(&[n, width], seed) / 50.).unwrap();
        let [q, k, v] = [rows(Q, 1), rows(K, 2), rows(K, 3)];
        let folder = folder();
        let tensors = [
            ("h.0.qkv.weight", &cat(&[q.clone(), k.clone(), v.clone()]), dtype),
            ("blk.0.attn_q.weight", &permuted(&q, HEADS), dtype),
        ];
        let path = write(folder.path(), "model.gguf", gguf(&[], &tensors));
        let whole = candle_core::quantized::QTensor::quantize(&q, dtype).unwrap();
        let whole = whole.dequantize(&Device::Cpu).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let spec = spec();
        for dequantise in [false, true] {
            let weights = |names| {
                let (device, f32) = (Device::Cpu, candle_core::DType::F32);
                Weights::new(&checkpoint, names, &spec, device, f32, dequantise)
            };
            let names = fused(Layout::FusedQkv);
            let cut = weights(&names).matrix(Param::Query, Some(0), (Q, width)).unwrap();
            let is_float = matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
            assert_eq!(matches!(cut, Matrix::Dense(_)), dequantise || is_float, "{dtype:?}");
            let undone = weights(&LLAMA_GGUF).matrix(Param::Query, Some(0), (Q, width)).unwrap();
            if let Matrix::Quantised(table) = &undone {
                let ids = Tensor::new(&[[3u32, 0], [23, 3]], &Device::Cpu).unwrap();
                let found = gather_rows(table, &ids).unwrap();
                let expected = whole.index_select(&ids.flatten_all().unwrap(), 0).unwrap();
                assert_same(&found, &expected.reshape((2, 2, width)).unwrap());
                let beyond = Tensor::new(&[Q as u32], &Device::Cpu).unwrap();
                assert!(gather_rows(table, &beyond).is_err());
            }
            assert_same(&dense(cut), &whole);
            assert_same(&dense(undone), &whole);
        }
    }
}

#[test]
fn windows_do_not_show() {
    // More elements than are mapped at a time, in rows that do not divide it.
    let (rows, width) = (1501, 3001);
    let whole = numbers(&[rows, width], 5);
    let folder = folder();
    const NAMES: Names = Names {
        prefixes: &[""],
        entries: &[
            plain(Param::TokenEmbedding, "plain"),
            stored(Param::Head, "turned", Layout::Transposed),
        ],
        ignored: &[],
    };
    let turned = whole.t().unwrap().contiguous().unwrap();
    let bytes = safetensors(&[("plain.weight", &whole), ("turned.weight", &turned)]);
    let path = write(folder.path(), "model.safetensors", bytes);
    load(&path, &NAMES, |weights| {
        assert_same(&dense(weights.table(Param::TokenEmbedding, (rows, width))?), &whole);
        assert_same(&dense(weights.matrix(Param::Head, None, (rows, width))?), &whole);
        Ok(())
    })
    .unwrap();
}
