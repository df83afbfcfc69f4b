//! Stacks of experts: every way they lie gives the same matrices, each is read without the others,
//! and the account knows when one was not.

use std::path::Path;

use candle_core::{Device, Tensor};
use taper::error::{Error, Result};
use taper::spec::{Activation, Experts, FeedForward, Gating, Routing};
use taper::weights::{
    Checkpoint, Layout, Matrix, Names, Owner, Param, Stack, Weights, bare, packed, plain, stored,
};

use crate::files::{f32_bytes, folder, numbers, raw_safetensors, safetensors, write};
use crate::{DIM, HIDDEN, assert_same, dense, spec};

const EXPERTS: usize = 3;

/// Runs `f` on the weights of a decoder with experts.
fn load<T>(path: &Path, names: &Names, f: impl FnOnce(Weights<'_>) -> Result<T>) -> Result<T> {
    let checkpoint = Checkpoint::open(path)?;
    let mut spec = spec();
    spec.layers[0].feed_forward = FeedForward::Experts(Experts {
        n_experts: EXPERTS,
        per_token: 2,
        hidden_dim: HIDDEN,
        routing: Routing::TopThenSoftmax,
        router_bias: false,
        gating: Gating::Plain(Activation::Silu),
        bias: true,
        shared: None,
    });
    f(Weights::new(&checkpoint, names, &spec, Device::Cpu, candle_core::DType::F32, false))
}

/// Gate and up of every expert, (experts, hidden, dim), and their biases, (experts, hidden).
fn halves() -> [(Tensor, Tensor); 2] {
    [1, 2].map(|n| (numbers(&[EXPERTS, HIDDEN, DIM], n), numbers(&[EXPERTS, HIDDEN], n + 2)))
}

/// `[a | b]` along axis 1, or a, b, a, b, ….
fn joined(a: &Tensor, b: &Tensor, alternating: bool) -> Tensor {
    if !alternating {
        return Tensor::cat(&[a, b], 1).unwrap();
    }
    let mut shape = a.dims().to_vec();
    shape[1] *= 2;
    Tensor::stack(&[a, b], 2).unwrap().reshape(shape).unwrap()
}

/// Every expert's gate and up, with biases, are what they were made of.
fn check(stack: Stack, names: &Names, bytes: Vec<u8>) {
    let folder = folder();
    let path = write(folder.path(), "model.safetensors", bytes);
    let account = load(&path, names, |weights| {
        for (param, (matrix, bias)) in [Param::ExpertGate, Param::ExpertUp].iter().zip(halves()) {
            for expert in 0..EXPERTS {
                let owner = Owner::expert(0, expert);
                let found = dense(weights.matrix(*param, owner, (HIDDEN, DIM))?);
                assert_same(&found, &matrix.get(expert)?);
                assert_same(&weights.bias(*param, owner, HIDDEN)?, &bias.get(expert)?);
            }
        }
        weights.finish()
    });
    let account = account.unwrap_or_else(|e| panic!("{stack:?}: {e}"));
    assert_eq!(account.parameters, (2 * EXPERTS * HIDDEN * (DIM + 1)) as u64, "{stack:?}");
}

macro_rules! stacked {
    ($stack:expr) => {
        Names {
            prefixes: &[""],
            entries: &[
                bare(Param::ExpertGate, "{}.gate_up", Layout::Stacked($stack)),
                bare(Param::ExpertUp, "{}.gate_up", Layout::Stacked($stack)),
            ],
            ignored: &[],
        }
    };
}

const GATE_UP: Names = stacked!(Stack::GateUp);
const ALTERNATING: Names = stacked!(Stack::AlternatingTransposed);
const APART: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        stored(Param::ExpertGate, "{}.gate", Layout::Stacked(Stack::Plain)),
        plain(Param::ExpertUp, "{}.experts.{e}.up"),
    ],
    ignored: &[],
};

#[test]
fn every_stack_gives_the_same_matrices() {
    let [(gate, gate_bias), (up, up_bias)] = halves();
    let both = joined(&gate, &up, false);
    let biases = joined(&gate_bias, &up_bias, false);
    let bytes = safetensors(&[("0.gate_up", &both), ("0.gate_up_bias", &biases)]);
    check(Stack::GateUp, &GATE_UP, bytes);

    let both = joined(&gate, &up, true).transpose(1, 2).unwrap();
    let biases = joined(&gate_bias, &up_bias, true);
    let bytes = safetensors(&[("0.gate_up", &both), ("0.gate_up_bias", &biases)]);
    check(Stack::AlternatingTransposed, &ALTERNATING, bytes);

    let mut tensors = vec![("0.gate.weight".to_string(), gate), ("0.gate.bias".into(), gate_bias)];
    for expert in 0..EXPERTS {
        tensors.push((format!("0.experts.{expert}.up.weight"), up.get(expert).unwrap()));
        tensors.push((format!("0.experts.{expert}.up.bias"), up_bias.get(expert).unwrap()));
    }
    let named: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    check(Stack::Plain, &APART, safetensors(&named));
}

#[test]
fn an_expert_that_nobody_read_leaves_its_stack_unread() {
    let folder = folder();
    let [(gate, _), (up, _)] = halves();
    let bytes = safetensors(&[("0.gate_up", &joined(&gate, &up, false))]);
    let path = write(folder.path(), "model.safetensors", bytes);
    let read = |experts: &[usize]| {
        load(&path, &GATE_UP, |weights| {
            for expert in experts {
                for param in [Param::ExpertGate, Param::ExpertUp] {
                    weights.matrix(param, Owner::expert(0, *expert), (HIDDEN, DIM))?;
                }
            }
            weights.finish()
        })
    };
    assert!(read(&[0, 1, 2]).is_ok());
    match read(&[0, 2, 0]) {
        Err(Error::UnreadTensors { names, .. }) => assert_eq!(names, ["0.gate_up"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stack_of_another_number_of_experts_is_named() {
    let folder = folder();
    let bytes = safetensors(&[("0.gate_up", &numbers(&[EXPERTS + 1, 2 * HIDDEN, DIM], 1))]);
    let path = write(folder.path(), "model.safetensors", bytes);
    let read = load(&path, &GATE_UP, |weights| {
        weights.matrix(Param::ExpertUp, Owner::expert(0, 1), (HIDDEN, DIM))
    });
    match read {
        Err(Error::TensorShape { expected, found, .. }) => {
            assert_eq!(expected, [EXPERTS, 2 * HIDDEN, DIM]);
            assert_eq!(found, [EXPERTS + 1, 2 * HIDDEN, DIM]);
        }
        other => panic!("{other:?}"),
    }
    let missing = load(&path, &APART, |weights| {
        weights.matrix(Param::ExpertUp, Owner::expert(0, 1), (HIDDEN, DIM))
    });
    let said = missing.unwrap_err().to_string();
    assert!(said.contains("ExpertUp of expert 1 of layer 0"), "{said}");
    assert!(said.contains("`model.0.experts.1.up.weight`"), "{said}");
}

const PACKED: Names = Names {
    prefixes: &[""],
    entries: &[packed(Param::ExpertUp, "{}.up", Stack::AlternatingMxfp4)],
    ignored: &[],
};

/// A stack of 4-bit numbers, all of them code 1 (one half), with the scales as given.
fn packed_stack(scales: Option<(&[usize], &str)>) -> Vec<u8> {
    let rows = EXPERTS * 2 * HIDDEN;
    let mut header = format!(
        r#""0.up_blocks":{{"dtype":"U8","shape":[{EXPERTS},{},1,16],"data_offsets":[0,{}]}}"#,
        2 * HIDDEN,
        16 * rows
    );
    let mut data = vec![0x11; 16 * rows];
    if let Some((shape, dtype)) = scales {
        let bytes = shape.iter().product::<usize>() * if dtype == "U8" { 1 } else { 4 };
        header += &format!(
            r#","0.up_scales":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{},{}]}}"#,
            data.len(),
            data.len() + bytes
        );
        data.extend((0..bytes).map(|row| 120 + (row % 7) as u8));
    }
    raw_safetensors(&format!("{{{header}}}"), &data)
}

fn read_packed(scales: Option<(&[usize], &str)>) -> Result<Vec<Vec<f32>>> {
    let folder = folder();
    let path = write(folder.path(), "model.safetensors", packed_stack(scales));
    load(&path, &PACKED, |weights| {
        let matrix = weights.matrix(Param::ExpertUp, Owner::expert(0, 1), (HIDDEN, DIM))?;
        Ok(dense(matrix).to_vec2()?)
    })
}

#[test]
fn packed_numbers_take_their_rows_scale() {
    let shape = [EXPERTS, 2 * HIDDEN, 1];
    let rows = read_packed(Some((&shape, "U8"))).unwrap();
    for (n, row) in rows.iter().enumerate() {
        // The second of three experts, every other row from the second on.
        let stored = 2 * HIDDEN + 2 * n + 1;
        let scale = 2f32.powi(120 + (stored % 7) as i32 - 127);
        assert_eq!(*row, vec![0.5 * scale; DIM], "row {n}");
    }
}

#[test]
fn scales_that_do_not_fit_are_named() {
    let said = read_packed(None).unwrap_err().to_string();
    assert!(said.contains("the scales of ExpertUp of expert 1 of layer 0"), "{said}");
    for (shape, dtype) in [
        (&[EXPERTS, 2 * HIDDEN, 2][..], "U8"),
        (&[EXPERTS, HIDDEN, 1], "U8"),
        (&[EXPERTS - 1, 2 * HIDDEN, 1], "U8"),
        (&[1], "U8"),
        (&[EXPERTS, 2 * HIDDEN, 1], "F32"),
    ] {
        let said = read_packed(Some((shape, dtype))).unwrap_err().to_string();
        assert!(said.contains("`0.up_scales` does not fit its blocks"), "{shape:?}: {said}");
    }
    // Plain numbers where blocks are meant.
    let folder = folder();
    let data = f32_bytes(&numbers(&[EXPERTS, 2 * HIDDEN, 1, 16], 1));
    let header = format!(
        r#"{{"0.up_blocks":{{"dtype":"F32","shape":[{EXPERTS},{},1,16],"data_offsets":[0,{}]}},"0.up_scales":{{"dtype":"U8","shape":[{EXPERTS},{},1],"data_offsets":[{},{}]}}}}"#,
        2 * HIDDEN,
        data.len(),
        2 * HIDDEN,
        data.len(),
        data.len() + EXPERTS * 2 * HIDDEN
    );
    let data = [data, vec![127; EXPERTS * 2 * HIDDEN]].concat();
    let path = write(folder.path(), "model.safetensors", raw_safetensors(&header, &data));
    let read = load(&path, &PACKED, |weights| {
        weights.matrix(Param::ExpertUp, Owner::expert(0, 1), (HIDDEN, DIM))
    });
    assert!(read.is_err());
}

#[test]
fn quantised_stacks_stay_so_and_hold_the_same_numbers() {
    for name in ["mixtral", "gpt_oss"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf").join(name);
        let checkpoint = Checkpoint::open(&path.join("model.gguf")).unwrap();
        let (described, names) =
            taper::family::describe_gguf(&checkpoint, checkpoint.gguf().unwrap()).unwrap();
        let FeedForward::Experts(experts) = &described.spec.layers[0].feed_forward else {
            panic!("{name} has no experts");
        };
        let (dim, hidden) = (described.spec.dim, experts.hidden_dim);
        let weights = |dequantise| {
            let dtype = candle_core::DType::F32;
            Weights::new(&checkpoint, names, &described.spec, Device::Cpu, dtype, dequantise)
        };
        let (kept, dequantised) = (weights(false), weights(true));
        for expert in 0..experts.n_experts {
            for (param, shape) in [
                (Param::ExpertGate, (hidden, dim)),
                (Param::ExpertUp, (hidden, dim)),
                (Param::ExpertDown, (dim, hidden)),
            ] {
                let owner = Owner::expert(0, expert);
                let blocks = kept.matrix(param, owner, shape).unwrap();
                assert!(matches!(blocks, Matrix::Quantised(_)), "{name}: {param}");
                let numbers = dequantised.matrix(param, owner, shape).unwrap();
                assert!(matches!(numbers, Matrix::Dense(_)), "{name}: {param}");
                assert_same(&dense(blocks), &dense(numbers));
            }
        }
    }
}
