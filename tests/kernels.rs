//! Does each fast path equal the plain one? Odd sizes, one row and many, views, every format, and
//! every instruction level that this processor has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use common::codes::{decoded, meaning, scale};
use common::numbers::difference;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use taper::kernels::{self, Activation, Attending, Format, Isa, Packed, Packer};

const QUANTISED: [(Format, GgmlDType); 8] = [
    (Format::Q8_0, GgmlDType::Q8_0),
    (Format::Q4_0, GgmlDType::Q4_0),
    (Format::Q4_1, GgmlDType::Q4_1),
    (Format::Q5_0, GgmlDType::Q5_0),
    (Format::Q5_1, GgmlDType::Q5_1),
    (Format::Q4K, GgmlDType::Q4K),
    (Format::Q5K, GgmlDType::Q5K),
    (Format::Q6K, GgmlDType::Q6K),
];

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn random(shape: &[usize], rng: &mut impl Rng) -> Tensor {
    let n = shape.iter().product();
    let data: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// Activations that 8 bits hold exactly: whole numbers, each group of 32 with a 127 in it.
fn whole(rows: usize, k: usize, rng: &mut impl Rng) -> Tensor {
    let number =
        |i: usize| if (i % k).is_multiple_of(32) { 127 } else { rng.random_range(-127..=127) };
    let data: Vec<f32> = (0..rows * k).map(number).map(|i| i as f32).collect();
    Tensor::from_vec(data, (rows, k), &Device::Cpu).unwrap()
}

/// x·Wᵀ in f64.
fn plain(x: &Tensor, w: &Packed) -> Tensor {
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    wide(x).matmul(&wide(&w.dense().unwrap()).t().unwrap()).unwrap()
}

fn of_blocks(format: Format, dtype: GgmlDType, w: &Tensor) -> (Packed, Tensor) {
    let (n, k) = w.dims2().unwrap();
    let blocks = QTensor::quantize(w, dtype).unwrap();
    let data = blocks.data().unwrap();
    let row = data.len() / n;
    let mut packer = Packer::new(format, n, k);
    // In two pieces, cut within a tile.
    let cut = n / 3;
    packer.blocks(cut, &data[cut * row..]);
    packer.blocks(0, &data[..cut * row]);
    (packer.done(), blocks.dequantize(&Device::Cpu).unwrap())
}

/// Every format at a shape; k-quants where whole blocks fit.
fn packed(n: usize, k: usize, rng: &mut impl Rng) -> Vec<Packed> {
    let w = random(&[n, k], rng);
    let mut all: Vec<Packed> = [Format::F32, Format::Bf16, Format::Q8_0, Format::Q4_0]
        .map(|format| Packed::of_tensor(format, &w).unwrap())
        .into();
    for (format, dtype) in QUANTISED {
        if k.is_multiple_of(dtype.block_size()) {
            all.push(of_blocks(format, dtype, &w).0);
        }
    }
    all
}

#[test]
fn packing_keeps_every_number() {
    let rng = &mut rng();
    for n in [1, 16, 21, 50] {
        for (format, dtype) in QUANTISED {
            let k = 3 * dtype.block_size();
            let (packed, blocks) = of_blocks(format, dtype, &random(&[n, k], rng));
            let ours = packed.dense().unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(ours, blocks.to_vec2::<f32>().unwrap(), "{format:?} {n}");
        }
        let w = random(&[n, 37], rng);
        let bf16 = w.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        for (format, expected) in [(Format::F32, &w), (Format::Bf16, &bf16)] {
            let packed = Packed::of_tensor(format, &w).unwrap();
            let ours = packed.dense().unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(ours, expected.to_vec2::<f32>().unwrap(), "{format:?} {n}");
            let ids = Tensor::new(&[[n as u32 - 1, 0]], &Device::Cpu).unwrap();
            let rows = packed.rows(&ids).unwrap();
            assert_eq!(rows.dims(), [1, 2, 37]);
            let rows = rows.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(rows, [ours[n - 1].clone(), ours[0].clone()]);
            assert!(packed.rows(&Tensor::new(&[n as u32], &Device::Cpu).unwrap()).is_err());
        }
    }
}

#[test]
fn bytes_of_bf16_pack_as_their_numbers() {
    let w = random(&[19, 45], &mut rng()).to_dtype(DType::BF16).unwrap();
    let numbers = w.flatten_all().unwrap().to_vec1::<half::bf16>().unwrap();
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    for format in [Format::Bf16, Format::F32] {
        let mut packer = Packer::new(format, 19, 45);
        packer.bf16(0, &bytes);
        let ours = packer.done().dense().unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(ours, w.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap());
    }
}

#[test]
fn quantising_rounds_as_ggml_does() {
    let w = random(&[5, 64], &mut rng());
    for (format, dtype) in [(Format::Q8_0, GgmlDType::Q8_0), (Format::Q4_0, GgmlDType::Q4_0)] {
        let ours = Packed::of_tensor(format, &w).unwrap().dense().unwrap();
        let theirs = QTensor::quantize(&w, dtype).unwrap().dequantize(&Device::Cpu).unwrap();
        assert_eq!(ours.to_vec2::<f32>().unwrap(), theirs.to_vec2::<f32>().unwrap());
    }
}

#[test]
fn products_of_few_rows_equal_the_plain_ones() {
    let rng = &mut rng();
    for (n, k) in [(1, 1), (15, 33), (16, 32), (40, 96), (17, 256), (50, 512), (700, 576)] {
        for rows in [1, 2, 3, 4, 5] {
            let x = whole(rows, k, rng);
            for weight in packed(n, k, rng) {
                let expected = plain(&x, &weight);
                for isa in Isa::available() {
                    let ours = isa.with(|| kernels::products(&x, &[&weight])).unwrap().unwrap();
                    let off = difference(&ours[0], &expected);
                    let what = format!("{isa:?} {:?} n {n} k {k} rows {rows}", weight.format());
                    assert!(off < 2e-6, "{what}: {off}");
                }
            }
        }
    }
}

/// How far a product of many rows may be off: both sides rounded to bf16, 2⁻⁸ of each at most;
/// activations rounded to 8 bits or to bf16; or nothing rounded.
fn allowed(isa: Isa, weight: &Packed, rows: usize) -> f64 {
    let quantised = !matches!(weight.format(), Format::F32 | Format::Bf16);
    match isa {
        Isa::Amx | Isa::Avx512Bf16 if weight.rounds() => 8e-3,
        Isa::Avx512 if quantised => 8e-3,
        _ if quantised && rows <= 8 => 8e-3,
        _ => 3e-6,
    }
}

#[test]
fn products_of_many_rows_equal_the_plain_ones() {
    let rng = &mut rng();
    for (n, k) in [(1, 1), (33, 65), (48, 256), (70, 1280)] {
        for rows in [5, 9, 17, 22, 64, 77] {
            let x = random(&[rows, k], rng);
            let (x, exact) = (&x, &whole(rows, k, rng));
            let rounded = Packed::of_tensor(Format::Bf16, &random(&[n, k], rng)).unwrap().rounded();
            for weight in packed(n, k, rng).into_iter().chain([rounded]) {
                let expected = [x, exact].map(|x| plain(x, &weight));
                for isa in Isa::available() {
                    let what = format!("{isa:?} {:?} n {n} k {k} rows {rows}", weight.format());
                    let run = |x| isa.with(|| kernels::products(x, &[&weight])).unwrap().unwrap();
                    let off = difference(&run(x)[0], &expected[0]);
                    assert!(off < allowed(isa, &weight, rows), "{what}: {off}");
                    // What codes and bf16 hold is not rounded; AMX's weights are, below 16 bits.
                    let off = difference(&run(exact)[0], &expected[1]);
                    let most = if isa == Isa::Amx { allowed(isa, &weight, rows) } else { 3e-6 };
                    assert!(off < most, "{what} whole: {off}");
                }
            }
        }
    }
}

/// More rows than stay in a cache with so many columns, and more columns than are worked through at a
/// time.
#[test]
fn products_of_blocks_equal_the_plain_ones() {
    let rng = &mut rng();
    for (rows, n, k) in [(401, 33, 1280), (70, 49, 2144)] {
        let (x, w) = (random(&[rows, k], rng), random(&[n, k], rng));
        let of = |format| Packed::of_tensor(format, &w).unwrap();
        let rounded = of(Format::Bf16).rounded();
        for weight in [of(Format::F32), of(Format::Bf16), rounded, of(Format::Q8_0)] {
            let expected = plain(&x, &weight);
            for isa in Isa::available() {
                let ours = isa.with(|| kernels::products(&x, &[&weight])).unwrap().unwrap();
                let off = difference(&ours[0], &expected);
                let what = format!("{isa:?} {:?} {rows} rows", weight.format());
                assert!(off < allowed(isa, &weight, rows), "{what}: {off}");
            }
        }
    }
}

#[test]
fn gated_and_down_again_equals_its_parts() {
    let rng = &mut rng();
    // 70 columns in between: two tiles, and a third that is not full. 96 are three blocks; 256 a
    // k-quant's.
    for (hidden, k) in [(70, 37), (96, 64), (256, 256)] {
        let of = |weights: Vec<Packed>| -> Vec<Packed> {
            let rounded =
                weights.first().map(|w| Packed::of_tensor(Format::Bf16, &w.dense().unwrap()));
            weights.into_iter().chain(rounded.map(|w| w.unwrap().rounded())).collect()
        };
        let (gates, ups) = (of(packed(hidden, k, rng)), of(packed(hidden, k, rng)));
        let downs = of(packed(50, hidden, rng));
        for rows in [9, 33, 70] {
            let x = random(&[rows, k], rng);
            for (i, (gate, up)) in gates.iter().zip(&ups).enumerate() {
                // Of one format, and of two: in some files only down is finer.
                for down in [&downs[i.min(downs.len() - 1)], &downs[0]] {
                    for activation in ACTIVATIONS {
                        let middle = apply(activation, &plain(&x, gate)) * plain(&x, up);
                        let expected = plain(&middle.unwrap(), down);
                        let ours = kernels::gated_down(&x, [gate, up, down], activation).unwrap();
                        let Some(ours) = ours else { continue };
                        let off = difference(&ours, &expected);
                        let rounds = gate.rounds() || down.rounds();
                        let what =
                            format!("{:?} {:?} {activation:?}", gate.format(), down.format());
                        assert!(off < if rounds { 1e-2 } else { 3e-6 }, "{what} {rows}: {off}");
                    }
                }
            }
        }
    }
    // Who has no tiles is not served.
    let x = random(&[9, 256], rng);
    let [gate, up, down] =
        [(); 3].map(|()| Packed::of_tensor(Format::Bf16, &random(&[256, 256], rng)).unwrap());
    for isa in Isa::available() {
        let ours = isa.with(|| kernels::gated_down(&x, [&gate, &up, &down], Activation::Silu));
        assert_eq!(ours.unwrap().is_some(), isa == Isa::Amx);
    }
}

#[test]
fn matrices_side_by_side_equal_each_alone() {
    let rng = &mut rng();
    let mut weights = packed(40, 256, rng);
    weights.extend(packed(23, 256, rng));
    let weights: Vec<&Packed> = weights.iter().collect();
    for rows in [1, 6, 30] {
        let x = random(&[2, rows, 256], rng);
        for isa in Isa::available() {
            let together = isa.with(|| kernels::products(&x, &weights)).unwrap().unwrap();
            for (together, weight) in together.iter().zip(&weights) {
                let alone = isa.with(|| kernels::products(&x, &[weight])).unwrap().unwrap();
                assert!(difference(together, &alone[0]) < 8e-3, "{isa:?} {:?}", weight.format());
            }
        }
    }
}

#[test]
fn a_gated_product_equals_its_parts() {
    let rng = &mut rng();
    let (gates, ups) = (packed(41, 256, rng), packed(41, 256, rng));
    for (gate, up) in gates.iter().zip(&ups) {
        for rows in [1, 3, 5] {
            let x = (whole(rows, 256, rng) / 500.0).unwrap();
            let (a, b) = (plain(&x, gate), plain(&x, up));
            for activation in ACTIVATIONS {
                let expected = (apply(activation, &a) * &b).unwrap();
                for isa in Isa::available() {
                    let ours = isa.with(|| kernels::gated(&x, gate, up, activation)).unwrap();
                    // More than four rows meet the matrices one after the other at some levels.
                    let Some(ours) = ours else {
                        assert!(rows > 4, "{isa:?} {:?}", gate.format());
                        continue;
                    };
                    let off = difference(&ours, &expected);
                    assert!(off < 3e-6, "{isa:?} {:?} {activation:?}: {off}", gate.format());
                }
            }
        }
    }
}

const XIELU: Activation = Activation::Xielu { positive: 0.8, negative: 1.3, beta: 0.5, eps: -1e-6 };

const ACTIVATIONS: [Activation; 6] = [
    Activation::GeluErf,
    Activation::Silu,
    Activation::GeluTanh,
    Activation::Relu,
    Activation::ReluSquared,
    XIELU,
];

fn apply(activation: Activation, x: &Tensor) -> Tensor {
    match activation {
        Activation::GeluErf => x.gelu_erf(),
        Activation::Xielu { positive, negative, beta, eps } => {
            let curve = |x: f64| match x > 0.0 {
                true => f64::from(positive) * x * x,
                false => f64::from(negative) * (x.min(f64::from(eps)).exp() - 1.0 - x),
            };
            let numbers = x.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
            let numbers = numbers.to_vec1::<f64>().unwrap().into_iter();
            let y: Vec<f64> = numbers.map(|x| curve(x) + f64::from(beta) * x).collect();
            Tensor::from_vec(y, x.shape(), &Device::Cpu).and_then(|y| y.to_dtype(x.dtype()))
        }
        Activation::Silu => x.silu(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::ReluSquared => x.relu().unwrap().sqr(),
    }
    .unwrap()
}

#[test]
fn views_are_read_as_they_look() {
    let rng = &mut rng();
    let weight = Packed::of_tensor(Format::F32, &random(&[20, 24], rng)).unwrap();
    let x = random(&[24, 3, 2], rng);
    let view = x.permute((2, 1, 0)).unwrap();
    let ours = kernels::products(&view, &[&weight]).unwrap().unwrap();
    let expected = plain(&view.reshape((6, 24)).unwrap(), &weight);
    assert!(difference(&ours[0].reshape((6, 20)).unwrap(), &expected) < 1e-6);
    let narrow = random(&[5, 40], rng).narrow(1, 7, 24).unwrap();
    let ours = kernels::products(&narrow, &[&weight]).unwrap().unwrap();
    assert!(difference(&ours[0], &plain(&narrow, &weight)) < 1e-6);
}

#[test]
fn nothing_is_offered_where_a_gradient_is_wanted_or_a_dtype_is_foreign() {
    let rng = &mut rng();
    let weight = Packed::of_tensor(Format::F32, &random(&[20, 24], rng)).unwrap();
    let x = random(&[3, 24], rng);
    let var = candle_core::Var::from_tensor(&x).unwrap();
    assert!(kernels::products(var.as_tensor(), &[&weight]).unwrap().is_none());
    let half = x.to_dtype(DType::F16).unwrap();
    assert!(kernels::products(&half, &[&weight]).unwrap().is_none());
    let narrow = x.narrow(1, 0, 20).unwrap();
    assert!(kernels::products(&narrow, &[&weight]).unwrap().is_none());
    let other = Packed::of_tensor(Format::F32, &random(&[20, 25], rng)).unwrap();
    assert!(kernels::products(&x, &[&weight, &other]).unwrap().is_none());
}

#[test]
fn candles_own_tiles_survive_ours() {
    // candle configures AMX once a thread: whoever leaves another configuration spoils its products.
    let rng = &mut rng();
    let (x, w) = (random(&[64, 512], rng), random(&[64, 512], rng));
    let theirs = QTensor::quantize(&w, GgmlDType::Q4K).unwrap();
    let theirs = candle_core::quantized::QMatMul::from_qtensor(theirs).unwrap();
    let product = || candle_core::Module::forward(&theirs, &x).unwrap().to_vec2::<f32>().unwrap();
    let before = product();
    let ours = Packed::of_tensor(Format::Bf16, &w).unwrap();
    for _ in 0..3 {
        let first = kernels::products(&x, &[&ours]).unwrap().unwrap();
        assert_eq!(product(), before);
        let second = kernels::products(&x, &[&ours]).unwrap().unwrap();
        assert_eq!(difference(&first[0], &second[0]), 0.0);
    }
}

#[test]
fn a_rounded_product_is_near_an_exact_one() {
    let rng = &mut rng();
    let (x, w) = (random(&[40, 512], rng), random(&[64, 512], rng));
    let exact = Packed::of_tensor(Format::Bf16, &w).unwrap();
    let rounded = Packed::of_tensor(Format::Bf16, &w).unwrap().rounded();
    let exact = kernels::products(&x, &[&exact]).unwrap().unwrap();
    let rounded = kernels::products(&x, &[&rounded]).unwrap().unwrap();
    assert!(difference(&rounded[0], &exact[0]) < 8e-3);
}

/// The definition, in f64 and number by number.
fn attended(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attending<'_>) -> Tensor {
    let (batch, heads, seq, head_dim) = q.dims4().unwrap();
    let (_, kv_heads, keys, _) = k.dims4().unwrap();
    let rows = |x: &Tensor, b: usize, h: usize| -> Vec<Vec<f64>> {
        x.get(b).unwrap().get(h).unwrap().to_dtype(DType::F64).unwrap().to_vec2().unwrap()
    };
    let mut out = Vec::new();
    for b in 0..batch {
        let pad = how.padding.get(b).copied().unwrap_or(0);
        for h in 0..heads {
            let kv = h / (heads / kv_heads);
            let (q, k, v) = (rows(q, b, h), rows(k, b, kv), rows(v, b, kv));
            for (i, q) in q.iter().enumerate() {
                let slot = keys - seq + i;
                let sees = |key: usize| {
                    let near = how.window.is_none_or(|window| key + window > slot);
                    key == slot || (key < slot && key >= pad && near)
                };
                let score = |key: usize| {
                    let product: f64 = q.iter().zip(&k[key]).map(|(q, k)| q * k).sum();
                    let score = product * how.scale;
                    let score = how.softcap.map_or(score, |cap| cap * (score / cap).tanh());
                    let slope = how.slopes.map_or(0.0, |slopes| f64::from(slopes[h]));
                    (score + slope * (key as f64 - slot as f64)).exp()
                };
                let seen: Vec<(usize, f64)> =
                    (0..keys).filter(|key| sees(*key)).map(|key| (key, score(key))).collect();
                let sink = how.sinks.map_or(0.0, |sinks| {
                    let sinks: Vec<f32> = sinks.flatten_all().unwrap().to_vec1().unwrap();
                    f64::from(sinks[h]).exp()
                });
                let total: f64 = seen.iter().map(|(_, weight)| weight).sum::<f64>() + sink;
                let sum = |d: usize| seen.iter().map(|(key, w)| w * v[*key][d]).sum::<f64>();
                out.extend((0..head_dim).map(|d| sum(d) / total));
            }
        }
    }
    Tensor::from_vec(out, (batch, heads, seq, head_dim), &Device::Cpu).unwrap()
}

/// Every rule alone and all together, at every level, against the definition.
fn attention_is_the_definition(
    [batch, heads, kv_heads, seq, keys, head_dim]: [usize; 6],
    dtype: DType,
) {
    let rng = &mut rng();
    let q = (random(&[batch, heads, seq, head_dim], rng) * 3.0).unwrap();
    // As in a cache that has room: views with gaps between heads, and rubbish behind.
    let cache = |rng: &mut ChaCha8Rng| {
        let room = random(&[batch, kv_heads, keys + 5, head_dim], rng);
        let (kept, numbers) = match dtype {
            DType::U8 => {
                let codes = kernels::encode(&room).unwrap().unwrap();
                (codes.clone(), decoded(&codes, head_dim))
            }
            _ => (room.to_dtype(dtype).unwrap(), room.to_dtype(dtype).unwrap()),
        };
        [kept, numbers].map(|x| x.narrow(2, 0, keys).unwrap())
    };
    let ([k, k_numbers], [v, v_numbers]) = (cache(rng), cache(rng));
    let slopes: Vec<f32> = (0..heads).map(|h| 0.5f32.powi(h as i32 + 1)).collect();
    let sinks = random(&[1, heads, 1, 1], rng);
    let padding: Vec<usize> = (0..batch).map(|row| row * (keys - seq.min(keys - 1)) / 2).collect();
    let scale = 1.0 / (head_dim as f64).sqrt();
    let none = Attending {
        scale,
        softcap: None,
        slopes: None,
        sinks: None,
        window: None,
        padding: &[],
        rounds: false,
    };
    let all = Attending {
        softcap: Some(2.0),
        slopes: Some(&slopes),
        sinks: Some(&sinks),
        window: Some(keys / 3 + 1),
        padding: &padding,
        rounds: false,
        scale,
    };
    for how in [
        none,
        Attending { softcap: Some(1.5), ..none },
        Attending { slopes: Some(&slopes), ..none },
        Attending { sinks: Some(&sinks), ..none },
        Attending { window: Some(7), ..none },
        Attending { window: Some(1), ..none },
        Attending { padding: &padding, ..none },
        all,
    ] {
        let expected = attended(&q, &k_numbers, &v_numbers, &how);
        for isa in Isa::available() {
            let ours = isa.with(|| kernels::attend(&q, &k, &v, &how)).unwrap().unwrap();
            let rounded = Attending { rounds: true, ..how };
            let rounded = isa.with(|| kernels::attend(&q, &k, &v, &rounded)).unwrap().unwrap();
            let off = difference(&rounded, &expected);
            let most = if isa >= Isa::Avx512Bf16 { 2e-2 } else { 3e-6 };
            assert!(
                off < most,
                "rounded {isa:?} {dtype:?} {:?} keys {keys} {how:?}: {off}",
                q.dims()
            );
            let off = difference(&ours, &expected);
            assert!(off < 3e-6, "{isa:?} {dtype:?} {:?} keys {keys} {how:?}: {off}", q.dims());
        }
    }
}

#[test]
fn attention_of_one_query_equals_the_plain_one() {
    for dtype in [DType::F32, DType::BF16, DType::F16, DType::U8] {
        for [heads, kv_heads] in [[1, 1], [6, 2], [5, 1], [9, 3], [4, 4]] {
            for [keys, head_dim] in [[1, 16], [17, 8], [300, 64], [531, 20], [40, 80]] {
                attention_is_the_definition([2, heads, kv_heads, 1, keys, head_dim], dtype);
            }
        }
    }
}

/// The scale is the least with which a group's greatest number has a code, each code the nearest.
#[test]
fn codes_are_the_nearest_of_the_least_scale() {
    let rng = &mut rng();
    for n in [1, 16, 20, 32, 64, 100] {
        // Rows of every size that scales reach, a row of zeros, and sizes beyond: 2^-40 and 2^20.
        let sizes: Vec<f32> = (-12..18).chain([-40, 20]).map(|i| (i as f32).exp2()).collect();
        let sizes = [&sizes[..], &[0.0]].concat();
        let rows = sizes.len();
        let sizes = Tensor::from_vec(sizes, (1, 1, rows, 1), &Device::Cpu).unwrap();
        let x = random(&[2, 3, rows, n], rng).broadcast_mul(&sizes).unwrap();
        // As projected: positions before heads.
        let x = x.transpose(1, 2).unwrap().contiguous().unwrap().transpose(1, 2).unwrap();
        let numbers: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        let encode = || kernels::encode(&x).unwrap().unwrap().flatten_all().unwrap();
        let portable: Vec<u8> = Isa::Scalar.with(encode).to_vec1().unwrap();
        for isa in Isa::available() {
            let codes: Vec<u8> = isa.with(encode).to_vec1().unwrap();
            assert_eq!(codes, portable, "{isa:?}");
        }
        for (codes, x) in portable.chunks_exact(kernels::coded_width(n)).zip(numbers.chunks(n)) {
            for (group, x) in x.chunks(kernels::CODE_GROUP).enumerate() {
                let byte = codes[n + group];
                let greatest = x.iter().fold(0.0, |most, x| f64::max(most, f64::from(x.abs())));
                let reach = |byte| f64::from(kernels::CODE_MAX) * scale(byte) * (1.0 + 2e-6); // f32's
                assert!(byte == 254 || greatest <= reach(byte), "{greatest} {byte}");
                assert!(
                    byte == 0 || greatest > reach(byte - 1) * (1.0 - 4e-6),
                    "{greatest} {byte}"
                );
            }
            for (i, (x, meant)) in x.iter().zip(meaning(codes, n)).enumerate() {
                let byte = codes[n + i / kernels::CODE_GROUP];
                let end = f64::from(kernels::CODE_MAX) * scale(byte);
                let nearest = f64::from(*x).clamp(-end, end);
                assert!((nearest - meant).abs() <= scale(byte) * 0.50001, "{x} {meant} {byte}");
            }
        }
    }
}

/// What is no number, or infinite, is not taken for one.
#[test]
fn codes_of_what_is_no_number_are_none() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 80];
        x[70] = odd;
        let x = Tensor::from_vec(x, (1, 1, 1, 80), &Device::Cpu).unwrap();
        for isa in Isa::available() {
            let codes = isa.with(|| kernels::encode(&x)).unwrap().unwrap();
            let meant = meaning(&codes.flatten_all().unwrap().to_vec1::<u8>().unwrap(), 80);
            assert!(meant[..64].iter().all(|x| (x - 1.0).abs() < 0.01), "{isa:?}");
            assert!(meant[64..].iter().all(|x| x.is_nan()), "{isa:?}");
        }
    }
}

/// A row that sees less than others has stretches without a key; scores far below 0 do not make up
/// for what another row left there.
#[test]
fn attention_of_rows_of_unequal_length_is_the_definition() {
    let (keys, padding) = (600, [0, 500]);
    let number = |x: f32, seq| Tensor::full(x, (2, 1, seq, 16), &Device::Cpu).unwrap();
    let (q, k) = (number(10.0, 1), number(-10.0, keys));
    let v = random(&[2, 1, keys, 16], &mut rng());
    let how = Attending {
        scale: 0.25,
        softcap: None,
        slopes: None,
        sinks: None,
        window: None,
        padding: &padding,
        rounds: false,
    };
    let seen = [v.get(0).unwrap(), v.get(1).unwrap().narrow(1, 500, 100).unwrap()];
    let means = seen.map(|v| v.mean_keepdim(1).unwrap()); // all scores are the same
    let expected = Tensor::stack(&means, 0).unwrap();
    for isa in Isa::available() {
        let ours = isa.with(|| kernels::attend(&q, &k, &v, &how)).unwrap().unwrap();
        assert!(difference(&ours, &expected) < 1e-5, "{isa:?}");
    }
}

#[test]
fn attention_of_many_queries_equals_the_plain_one() {
    for dtype in [DType::F32, DType::BF16, DType::F16, DType::U8] {
        for [heads, kv_heads] in [[1, 1], [6, 2], [5, 1], [9, 3]] {
            for [seq, keys, head_dim] in
                [[2, 2, 16], [17, 17, 8], [17, 90, 64], [70, 131, 20], [201, 201, 48]]
            {
                attention_is_the_definition([2, heads, kv_heads, seq, keys, head_dim], dtype);
            }
        }
    }
}

#[test]
fn attention_of_views_is_that_of_their_copies() {
    let rng = &mut rng();
    // As projected: positions before heads.
    let [q, k, v] =
        [6, 2, 2].map(|heads| random(&[2, 33, heads, 32], rng).transpose(1, 2).unwrap());
    let how = Attending {
        scale: 0.2,
        softcap: None,
        slopes: None,
        sinks: None,
        window: None,
        padding: &[],
        rounds: false,
    };
    let ours = kernels::attend(&q, &k, &v, &how).unwrap().unwrap();
    assert!(difference(&ours, &attended(&q, &k, &v, &how)) < 3e-6);
    // Numbers with gaps are not read, nor are shapes that do not fit.
    let gaps = q.transpose(2, 3).unwrap().contiguous().unwrap().transpose(2, 3).unwrap();
    assert!(kernels::attend(&gaps, &k, &v, &how).unwrap().is_none());
    let other = k.narrow(2, 0, 32).unwrap();
    assert!(kernels::attend(&q, &other, &v, &how).unwrap().is_none());
}

/// What rotations, norms and sums have in common: one call at every level, against f64.
fn at_every_level(expected: &Tensor, what: &str, ours: impl Fn() -> Option<Tensor>) {
    for isa in Isa::available() {
        let off = difference(&isa.with(&ours).unwrap(), expected);
        assert!(off < 2e-6, "{isa:?} {what}: {off}");
    }
}

#[test]
fn norms_equal_the_plain_ones() {
    let rng = &mut rng();
    for shape in [vec![1, 1, 5], vec![3, 48], vec![2, 7, 50], vec![1, 70, 576]] {
        let width = *shape.last().unwrap();
        // Far from 0, so that a mean that is not taken off is seen.
        let x = (random(&shape, rng) + 2.0).unwrap();
        let (weight, bias) = (random(&[width], rng), random(&[width], rng));
        let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let over = |x: &Tensor| {
            let spread = (x.sqr().unwrap().mean_keepdim(2).unwrap() + 1e-5).unwrap();
            x.broadcast_div(&spread.sqrt().unwrap()).unwrap()
        };
        let rows = wide(&x).reshape((1, (), width)).unwrap();
        let rms = over(&rows).broadcast_mul(&wide(&weight)).unwrap();
        let rms = rms.reshape(shape.clone()).unwrap();
        at_every_level(&rms, "rms", || kernels::rms_norm(&x, &weight, 1e-5).unwrap());
        let off = rows.broadcast_sub(&rows.mean_keepdim(2).unwrap()).unwrap();
        let layer = over(&off).broadcast_mul(&wide(&weight)).unwrap();
        let layer = layer.broadcast_add(&wide(&bias)).unwrap().reshape(shape.clone()).unwrap();
        let ours = || kernels::layer_norm(&x, &weight, &bias, 1e-5).unwrap();
        at_every_level(&layer, "layer", ours);
        let other = random(&[width + 1], rng);
        assert!(kernels::rms_norm(&x, &other, 1e-5).unwrap().is_none());
    }
}

#[test]
fn heads_with_norms_of_their_own_have_them() {
    let rng = &mut rng();
    let x = (random(&[2, 300, 6, 20], rng) + 2.0).unwrap(); // enough to be shared
    let [weight, bias] = [(); 2].map(|()| random(&[6, 20], rng));
    let head = |t: &Tensor, at: usize| t.get(at).unwrap();
    let each = |norm: &dyn Fn(usize, &Tensor) -> Tensor| {
        let heads: Vec<Tensor> =
            (0..6).map(|at| norm(at, &x.narrow(2, at, 1).unwrap().contiguous().unwrap())).collect();
        Tensor::cat(&heads, 2).unwrap()
    };
    let rms = each(&|at, x| kernels::rms_norm(x, &head(&weight, at), 1e-5).unwrap().unwrap());
    at_every_level(&rms, "rms", || kernels::rms_norm(&x, &weight, 1e-5).unwrap());
    let layer = each(&|at, x| {
        let (weight, bias) = (head(&weight, at), head(&bias, at));
        kernels::layer_norm(x, &weight, &bias, 1e-5).unwrap().unwrap()
    });
    at_every_level(&layer, "layer", || kernels::layer_norm(&x, &weight, &bias, 1e-5).unwrap());
    let turned = x.transpose(1, 2).unwrap();
    assert!(kernels::rms_norm(&turned, &weight, 1e-5).unwrap().is_none());
}

#[test]
fn what_is_done_number_by_number_equals_its_definition() {
    // Tails, zero, and where the curves bend; more than a thread takes alone.
    let numbers: Vec<f32> = (-20_000..20_003).map(|i| i as f32 / 1000.0).collect();
    let x = Tensor::new(numbers, &Device::Cpu).unwrap();
    let wide = x.to_dtype(DType::F64).unwrap();
    let b = (&x * 0.3).unwrap();
    for activation in ACTIVATIONS {
        let y = apply(activation, &wide);
        let what = format!("{activation:?}");
        at_every_level(&y, &what, || kernels::activate(&x, activation).unwrap());
        // Small numbers count as much as large ones.
        for isa in Isa::available() {
            let ours = isa.with(|| kernels::activate(&x, activation)).unwrap().unwrap();
            let ours = ours.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            for (y, ours) in y.to_vec1::<f64>().unwrap().into_iter().zip(ours) {
                assert!(
                    (y - ours).abs() < 4e-6 * y.abs().max(0.05),
                    "{isa:?} {what}: {ours} for {y}"
                );
            }
        }
        let times = (&y * b.to_dtype(DType::F64).unwrap()).unwrap();
        at_every_level(&times, &what, || kernels::activate_times(&x, &b, activation).unwrap());
    }
    for cap in [0.7, 30.0] {
        let y = ((&wide / cap).unwrap().tanh().unwrap() * cap).unwrap();
        at_every_level(&y, "softcap", || kernels::softcap(&x, cap).unwrap());
    }
}

#[test]
fn rotations_equal_the_plain_ones() {
    let rng = &mut rng();
    for [batch, heads, seq, head_dim, width] in
        [[1, 1, 1, 2, 1], [2, 3, 5, 48, 20], [1, 9, 33, 64, 32], [2, 2, 70, 80, 40]]
    {
        // As projected: positions before heads.
        let x = random(&[batch, seq, heads, head_dim], rng).transpose(1, 2).unwrap();
        for shared in [true, false] {
            let shape = if shared { vec![seq, width] } else { vec![batch, seq, width] };
            let (cos, sin) = (random(&shape, rng), random(&shape, rng));
            for interleaved in [true, false] {
                let numbers: Vec<Vec<Vec<Vec<f32>>>> =
                    (0..batch).map(|b| x.get(b).unwrap().to_vec3().unwrap()).collect();
                let row = |t: &Tensor, b: usize, s: usize| -> Vec<f32> {
                    let t = if shared { t.clone() } else { t.get(b).unwrap() };
                    t.get(s).unwrap().to_vec1().unwrap()
                };
                let mut out = Vec::new();
                for (b, heads) in numbers.iter().enumerate() {
                    for (s, x) in heads.iter().flat_map(|head| head.iter().enumerate()) {
                        let (cos, sin) = (row(&cos, b, s), row(&sin, b, s));
                        let mut turned: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                        for i in 0..width {
                            let (j, k) =
                                if interleaved { (2 * i, 2 * i + 1) } else { (i, width + i) };
                            let [a, b, c, d] = [x[j], x[k], cos[i], sin[i]].map(f64::from);
                            (turned[j], turned[k]) = (a * c - b * d, a * d + b * c);
                        }
                        out.extend(turned);
                    }
                }
                let expected = Tensor::from_vec(out, x.dims(), &Device::Cpu).unwrap();
                let what = format!("{:?} {width} {shared} {interleaved}", x.dims());
                let ours = || kernels::rotate(&x, &cos, &sin, interleaved).unwrap();
                at_every_level(&expected, &what, ours);
            }
        }
    }
}

#[test]
fn long_sums_equal_the_plain_ones() {
    let rng = &mut rng();
    let (a, b) = (random(&[1, 33, 577], rng), random(&[1, 33, 577], rng));
    let expected = (a.to_dtype(DType::F64).unwrap() + b.to_dtype(DType::F64).unwrap()).unwrap();
    at_every_level(&expected, "sum", || kernels::add(&a, &b).unwrap());
    assert!(kernels::add(&a, &b.narrow(1, 0, 32).unwrap()).unwrap().is_none());
    // What is small is not worth it.
    let [a, b] = [a, b].map(|x| x.narrow(1, 0, 1).unwrap());
    assert!(kernels::add(&a, &b).unwrap().is_none());
}

/// Three parts of bf16 are the f32: products of tiles are as near to the truth as those of vectors.
#[test]
fn parts_lose_nothing() {
    let rng = &mut rng();
    let (x, w) = (random(&[64, 2048], rng), random(&[64, 2048], rng));
    for format in [Format::F32, Format::Bf16] {
        let weight = Packed::of_tensor(format, &w).unwrap();
        let expected = plain(&x, &weight);
        let off = |isa: Isa| {
            let ours = isa.with(|| kernels::products(&x, &[&weight])).unwrap().unwrap();
            difference(&ours[0], &expected)
        };
        let (vectors, best) = (off(Isa::Avx512), off(Isa::Amx));
        assert!(best <= vectors, "{format:?}: {best}, by vectors {vectors}");
    }
}
