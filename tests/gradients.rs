//! Are the fast paths' gradients those of the definitions? Each operation against candle's own
//! autograd over plain operations in f64: odd sizes, views, every instruction level that this
//! processor has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;
#[path = "gradients/pytorch.rs"]
mod pytorch;

use candle_core::{D, DType, Device, Tensor, Var};
use common::numbers::difference;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use taper::Result;
use taper::kernels::{self, Activation, Attending, IGNORED, Isa};

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(11)
}

fn random(shape: &[usize], rng: &mut impl Rng) -> Tensor {
    let n = shape.iter().product();
    let data: Vec<f32> = (0..n).map(|_| rng.random_range(-2.0f32..2.0)).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// What `f` makes of `inputs`, and the gradients of a sum of it, weighted so that no two outputs
/// count alike.
fn outcome(
    inputs: &[Tensor],
    dtype: DType,
    f: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> (Tensor, Vec<Tensor>) {
    let vars: Vec<Var> =
        inputs.iter().map(|x| Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tensors).unwrap();
    let weights = random(y.dims(), &mut ChaCha8Rng::seed_from_u64(5)).to_dtype(dtype).unwrap();
    let grads = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let grads = vars.iter().map(|var| grads.get(var).expect("a gradient").clone()).collect();
    (y, grads)
}

/// `fast` at every level against `plain` in f64.
fn agree(
    what: &str,
    inputs: &[Tensor],
    tolerance: f64,
    fast: &dyn Fn(&[Tensor]) -> Result<Option<Tensor>>,
    plain: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) {
    let (y, grads) = outcome(inputs, DType::F64, plain);
    for isa in Isa::available() {
        let run = |x: &[Tensor]| Ok(fast(x)?.expect("is offered"));
        let (ours, our_grads) = isa.with(|| outcome(inputs, DType::F32, &run));
        let off = difference(&ours, &y);
        assert!(off < tolerance, "{what}, {isa:?}: output off by {off}");
        for (i, (ours, theirs)) in our_grads.iter().zip(&grads).enumerate() {
            let off = difference(ours, theirs);
            assert!(off < tolerance, "{what}, {isa:?}: gradient {i} off by {off}");
        }
    }
}

/// A view of `x` that is not contiguous and looks like (…, a, b) of what was (…, b, a).
fn turned(x: &Tensor) -> Tensor {
    x.transpose(D::Minus1, D::Minus2).unwrap()
}

#[test]
fn cross_entropy_is_the_definition() {
    let rng = &mut rng();
    for (rows, vocab) in [(1, 1), (3, 16), (7, 37), (5, 1000)] {
        let logits = (random(&[rows, vocab], rng) * 5.0).unwrap();
        let labels: Vec<u32> = (0..rows)
            .map(|row| if row == 2 { IGNORED } else { rng.random_range(0..vocab as u32) })
            .collect();
        let chosen: Vec<f64> =
            (0..rows * vocab).map(|i| f64::from(labels[i / vocab] == (i % vocab) as u32)).collect();
        let chosen = Tensor::from_vec(chosen, (rows, vocab), &Device::Cpu).unwrap();
        let counts = chosen.sum_keepdim(1).unwrap();
        let plain = |x: &[Tensor]| {
            let total = x[0].exp()?.sum_keepdim(1)?.log()?;
            let of_label = (&x[0] * &chosen)?.sum_keepdim(1)?;
            Ok(((total * &counts)? - of_label)?.squeeze(1)?)
        };
        let fast = |x: &[Tensor]| kernels::cross_entropy(&x[0], &labels);
        if vocab > 1 {
            agree(&format!("{rows} × {vocab}"), std::slice::from_ref(&logits), 2e-6, &fast, &plain);
        }
        let view = |x: &[Tensor]| kernels::cross_entropy(&turned(&x[0]), &labels);
        let plain_view = |x: &[Tensor]| plain(&[turned(&x[0])]);
        if vocab > 1 {
            let logits = turned(&logits).contiguous().unwrap();
            agree(&format!("{rows} × {vocab}, a view"), &[logits], 2e-6, &view, &plain_view);
        }
    }
}

#[test]
fn cross_entropy_stays_finite_and_names_what_does_not_fit() {
    let logits = Tensor::new(&[[1e4f32, -1e4, 0.0], [-1e4, -1e4, -1e4]], &Device::Cpu).unwrap();
    let losses = kernels::cross_entropy(&logits, &[1, 0]).unwrap().unwrap();
    let losses = losses.to_vec1::<f32>().unwrap();
    assert!((losses[0] - 2e4).abs() < 1.0 && (losses[1] - 3f32.ln()).abs() < 1e-3, "{losses:?}");
    let beyond = kernels::cross_entropy(&logits, &[3, 0]).unwrap_err().to_string();
    assert!(beyond.contains('3'), "{beyond}");
    assert!(kernels::cross_entropy(&logits, &[0]).is_err());
    let wide = logits.to_dtype(DType::F64).unwrap();
    assert!(kernels::cross_entropy(&wide, &[0, 1]).unwrap().is_none());
    assert!(kernels::plainly(|| kernels::cross_entropy(&logits, &[0, 1])).unwrap().is_none());
}

fn plain_rms(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let spread = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
    Ok(x.broadcast_div(&spread)?.broadcast_mul(weight)?)
}

fn plain_layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    Ok(plain_rms(&x, weight)?.broadcast_add(bias)?)
}

#[test]
fn norms_are_the_definition() {
    let rng = &mut rng();
    for (rows, width) in [(1, 1), (3, 16), (5, 23), (40, 64), (9, 300)] {
        let x = random(&[2, rows, width], rng);
        let (weight, bias) = (random(&[width], rng), random(&[width], rng));
        let what = format!("{rows} × {width}");
        let fast = |x: &[Tensor]| kernels::rms_norm(&x[0], &x[1], 1e-5);
        let plain = |x: &[Tensor]| plain_rms(&x[0], &x[1]);
        let inputs = [x.clone(), weight.clone()];
        // Of a single number only its sign is left: its gradient is next to nothing.
        if width > 1 {
            agree(&format!("RMS {what}"), &inputs, 3e-6, &fast, &plain);
            let fast = |x: &[Tensor]| kernels::layer_norm(&x[0], &x[1], &x[2], 1e-5);
            let plain = |x: &[Tensor]| plain_layer_norm(&x[0], &x[1], &x[2]);
            agree(&format!("layer {what}"), &[x, weight, bias], 3e-6, &fast, &plain);
        }
    }
    let inputs = [random(&[33, 7], rng), random(&[33], rng)];
    let fast = |x: &[Tensor]| kernels::rms_norm(&turned(&x[0]), &x[1], 1e-5);
    let plain = |x: &[Tensor]| plain_rms(&turned(&x[0]), &x[1]);
    agree("RMS of a view", &inputs, 3e-6, &fast, &plain);
}

#[test]
fn activations_are_the_definition() {
    let rng = &mut rng();
    let plain = |activation: Activation, x: &Tensor| -> Result<Tensor> {
        Ok(match activation {
            Activation::GeluErf => { (x * ((x / 2f64.sqrt())?.erf()? + 1.0)?)? * 0.5 }?,
            Activation::Xielu { positive, negative, beta, eps } => {
                let right = (x.relu()?.sqr()? * f64::from(positive))?;
                // (Zero above 0, without a hole in the gradient.)
                let left = x.minimum(&x.zeros_like()?)?;
                let left = ((left.minimum(f64::from(eps))?.exp()? - 1.0)? - left)?;
                ((right + (left * f64::from(negative))?)? + (x * f64::from(beta))?)?
            }
            // candle's own gradients of these are correct to six digits only.
            Activation::Silu => (x / (x.neg()?.exp()? + 1.0)?)?,
            Activation::GeluTanh => {
                let u = ((x.powf(3.0)? * 0.044715)? + x)?;
                let u = (u * (2.0 / std::f64::consts::PI).sqrt())?;
                (x * (u.tanh()? + 1.0)?)? * 0.5
            }?,
            Activation::Relu => x.relu()?,
            Activation::ReluSquared => x.relu()?.sqr()?,
        })
    };
    for n in [1, 16, 61] {
        let (a, b) = ((random(&[3, n], rng) * 3.0).unwrap(), random(&[3, n], rng));
        for activation in [
            Activation::GeluErf,
            Activation::Silu,
            Activation::GeluTanh,
            Activation::Relu,
            Activation::ReluSquared,
            Activation::Xielu { positive: 0.8, negative: 1.3, beta: 0.5, eps: -1e-6 },
        ] {
            let what = format!("{activation:?} {n}");
            let fast = |x: &[Tensor]| kernels::activate(&x[0], activation);
            let slow = |x: &[Tensor]| plain(activation, &x[0]);
            agree(&what, std::slice::from_ref(&a), 3e-6, &fast, &slow);
            let fast = |x: &[Tensor]| kernels::activate_times(&x[0], &x[1], activation);
            let slow = |x: &[Tensor]| Ok((plain(activation, &x[0])? * &x[1])?);
            agree(&format!("{what}, gated"), &[a.clone(), b.clone()], 3e-6, &fast, &slow);
            let fast =
                |x: &[Tensor]| kernels::activate_times(&turned(&x[0]), &turned(&x[1]), activation);
            let slow = |x: &[Tensor]| Ok(turned(&(plain(activation, &x[0])? * &x[1])?));
            agree(&format!("{what}, views"), &[a.clone(), b.clone()], 3e-6, &fast, &slow);
        }
    }
}

/// (batch, heads, seq, head_dim), the first `2 · pairs` numbers of each row turned.
fn plain_rotation(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Tensor> {
    let (batch, heads, seq, head_dim) = x.dims4()?;
    let pairs = cos.dim(D::Minus1)?;
    let tables = [cos, sin].map(|table| {
        let table = table.to_dtype(x.dtype()).unwrap();
        let table = table.reshape(((), 1, seq, pairs)).unwrap();
        table.broadcast_as((batch, heads, seq, pairs)).unwrap()
    });
    let turned = x.narrow(3, 0, 2 * pairs)?;
    let (shape, axis) = match interleaved {
        true => ((batch, heads, seq, pairs, 2), 4),
        false => ((batch, heads, seq, 2, pairs), 3),
    };
    let turned = turned.contiguous()?.reshape(shape)?;
    let [a, b] = [0, 1].map(|i| turned.narrow(axis, i, 1).unwrap().squeeze(axis).unwrap());
    let [cos, sin] = tables;
    let first = ((&a * &cos)? - (&b * &sin)?)?;
    let second = ((&a * &sin)? + (&b * &cos)?)?;
    let turned = Tensor::stack(&[first, second], axis)?.reshape((batch, heads, seq, 2 * pairs))?;
    if 2 * pairs == head_dim {
        return Ok(turned);
    }
    let kept = x.narrow(3, 2 * pairs, head_dim - 2 * pairs)?.contiguous()?;
    Ok(Tensor::cat(&[turned, kept], 3)?)
}

#[test]
fn rotations_are_the_definition() {
    let rng = &mut rng();
    for (seq, head_dim, pairs) in [(1, 2, 1), (5, 32, 16), (7, 24, 12), (3, 96, 40), (4, 10, 3)] {
        for own in [false, true] {
            let shape: &[usize] = if own { &[2, seq, pairs] } else { &[seq, pairs] };
            let angles = random(shape, rng);
            let (cos, sin) = (angles.cos().unwrap(), (angles.sin().unwrap() * 1.5).unwrap());
            // As projected: positions before heads.
            let x = random(&[2, seq, 3, head_dim], rng);
            for interleaved in [false, true] {
                let what = format!("{seq} {head_dim} {pairs} own {own} {interleaved}");
                let view = |x: &[Tensor]| x[0].transpose(1, 2).unwrap();
                let fast = |x: &[Tensor]| kernels::rotate(&view(x), &cos, &sin, interleaved);
                let plain = |x: &[Tensor]| plain_rotation(&view(x), &cos, &sin, interleaved);
                agree(&what, std::slice::from_ref(&x), 1e-6, &fast, &plain);
                let whole = |x: &[Tensor]| view(x).contiguous().unwrap();
                let fast = |x: &[Tensor]| kernels::rotate(&whole(x), &cos, &sin, interleaved);
                agree(&format!("{what}, whole"), std::slice::from_ref(&x), 1e-6, &fast, &plain);
            }
        }
    }
}

fn causal(scale: f64) -> Attending<'static> {
    Attending {
        scale,
        softcap: None,
        slopes: None,
        sinks: None,
        window: None,
        padding: &[],
        rounds: false,
    }
}

/// softmax(q·kᵀ·scale, causal)·v, each key head's queries for themselves.
fn plain_attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    let (batch, heads, seq, head_dim) = q.dims4()?;
    let (_, kv_heads, _, _) = k.dims4()?;
    let repeated = |x: &Tensor| {
        let shape = (batch, kv_heads, heads / kv_heads, seq, head_dim);
        x.unsqueeze(2)?.broadcast_as(shape)?.reshape((batch, heads, seq, head_dim))
    };
    let (k, v) = (repeated(k)?, repeated(v)?);
    let sees = (0..seq * seq).map(|i| if i % seq > i / seq { f64::NEG_INFINITY } else { 0.0 });
    let mask = Tensor::from_vec(sees.collect::<Vec<f64>>(), (1, 1, seq, seq), &Device::Cpu)?;
    let scores = (q.contiguous()?.matmul(&k.t()?.contiguous()?)? * scale)?.broadcast_add(&mask)?;
    let weights = scores.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(3)?)?;
    Ok(weights.matmul(&v)?)
}

#[test]
fn attention_is_the_definition() {
    let rng = &mut rng();
    for [heads, kv_heads] in [[1, 1], [6, 2], [5, 1]] {
        for [seq, head_dim] in [[1, 8], [2, 16], [17, 24], [48, 16], [50, 32], [130, 20], [160, 40]]
        {
            let inputs = [heads, kv_heads, kv_heads].map(|n| random(&[2, n, seq, head_dim], rng));
            let scale = 0.5;
            let what = format!("{heads} {kv_heads} {seq} {head_dim}");
            let how = causal(scale);
            let fast = |x: &[Tensor]| kernels::attend(&x[0], &x[1], &x[2], &how);
            let plain = |x: &[Tensor]| plain_attention(&x[0], &x[1], &x[2], scale);
            // With one key all is its value, whatever the query.
            if seq > 1 {
                agree(&what, &inputs, 1e-5, &fast, &plain);
            }
            let views = |x: &[Tensor]| [0, 1, 2].map(|i| x[i].transpose(1, 2).unwrap());
            let fast = |x: &[Tensor]| {
                let [q, k, v] = views(x);
                kernels::attend(&q, &k, &v, &how)
            };
            let plain = |x: &[Tensor]| {
                let [q, k, v] = views(x);
                plain_attention(&q, &k, &v, scale)
            };
            let inputs = inputs.map(|x| x.transpose(1, 2).unwrap().contiguous().unwrap());
            if seq > 1 {
                agree(&format!("{what}, views"), &inputs, 1e-5, &fast, &plain);
            }
        }
    }
}

#[test]
fn attention_by_other_rules_is_left_to_the_definition() {
    let rng = &mut rng();
    let x = random(&[1, 2, 9, 8], rng);
    let var = Var::from_tensor(&x).unwrap();
    let (x, var) = (&x, var.as_tensor());
    let slopes = [0.5f32, 0.25];
    let sinks = random(&[1, 2, 1, 1], rng);
    let none = causal(1.0);
    assert!(kernels::attend(var, x, x, &none).unwrap().is_some());
    assert!(kernels::attend(x, x, var, &Attending { window: Some(9), ..none }).unwrap().is_some());
    for how in [
        Attending { softcap: Some(2.0), ..none },
        Attending { slopes: Some(&slopes), ..none },
        Attending { sinks: Some(&sinks), ..none },
        Attending { window: Some(8), ..none },
        Attending { padding: &[1], ..none },
    ] {
        assert!(kernels::attend(var, x, x, &how).unwrap().is_none(), "{how:?}");
    }
    let longer = random(&[1, 2, 12, 8], rng);
    assert!(kernels::attend(var, &longer, &longer, &none).unwrap().is_none());
}

#[test]
fn linear_maps_are_the_definition() {
    let rng = &mut rng();
    let plain = |x: &[Tensor]| Ok(x[0].broadcast_matmul(&x[1].t()?)?);
    let fast = |x: &[Tensor]| kernels::linear(&x[0], &x[1]);
    for [rows, input, out] in
        [[1, 1, 1], [2, 33, 17], [16, 32, 16], [70, 96, 50], [9, 700, 40], [300, 40, 65]]
    {
        let inputs = [random(&[2, rows, input], rng), random(&[out, input], rng)];
        agree(&format!("{rows} {input} {out}"), &inputs, 1e-5, &fast, &plain);
    }
    let inputs = [random(&[2, 70, 24], rng), random(&[70, 50], rng)];
    let views = |x: &[Tensor]| [turned(&x[0]), turned(&x[1])];
    let fast = |x: &[Tensor]| fast(&views(x));
    let plain = |x: &[Tensor]| plain(&views(x).map(|x| x.contiguous().unwrap()));
    agree("views", &inputs, 1e-5, &fast, &plain);
}

#[test]
fn a_linear_map_differentiates_what_is_asked_for() {
    let rng = &mut rng();
    let (x, w) = (random(&[3, 20], rng), random(&[5, 20], rng));
    assert!(kernels::linear(&x, &w).unwrap().is_none(), "nothing is tracked");
    let var = Var::from_tensor(&w).unwrap();
    let y = kernels::linear(&x, var.as_tensor()).unwrap().unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&x).is_none());
    assert!(kernels::linear(&random(&[3, 21], rng), var.as_tensor()).unwrap().is_none());
    // Infinite numbers stay what they are.
    let huge = Tensor::new(&[[f32::INFINITY, 1.0]], &Device::Cpu).unwrap();
    let var = Var::new(&[[1f32, 1.0]], &Device::Cpu).unwrap();
    let y = kernels::linear(&huge, var.as_tensor()).unwrap().unwrap();
    assert!(!y.to_vec2::<f32>().unwrap()[0][0].is_finite());
}

#[test]
fn rounded_maps_are_near_the_definition_and_only_there() {
    let rng = &mut rng();
    let inputs = [random(&[2, 70, 96], rng), random(&[50, 96], rng)];
    let plain = |x: &[Tensor]| Ok(x[0].broadcast_matmul(&x[1].t()?)?);
    let fast = |x: &[Tensor]| kernels::rounded(true, || kernels::linear(&x[0], &x[1]));
    agree("rounded", &inputs, 1e-2, &fast, &plain);
    let how = causal(0.5);
    let heads = [3, 1, 1].map(|n| random(&[2, n, 70, 20], rng));
    let plain_attend = |x: &[Tensor]| plain_attention(&x[0], &x[1], &x[2], 0.5);
    let attend =
        |x: &[Tensor]| kernels::rounded(true, || kernels::attend(&x[0], &x[1], &x[2], &how));
    agree("attention", &heads, 3e-2, &attend, &plain_attend);
    let exact = outcome(&inputs, DType::F32, &|x| Ok(kernels::linear(&x[0], &x[1])?.unwrap()));
    let rounded = outcome(&inputs, DType::F32, &|x| Ok(fast(x)?.unwrap()));
    let rounds = Isa::current() == Isa::Amx;
    assert_eq!(difference(&rounded.0, &exact.0) > 1e-5, rounds);
}
