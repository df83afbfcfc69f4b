//! One token of one row goes through the blocks on slices: are its numbers those of the tensors' way, on
//! random specs, and does it take nothing from the allocator, however many layers there are?
#![allow(
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test may fail, and counts what is allocated"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use candle_core::{DType, Device, Tensor};
use common::random::{Random, packed};
use taper::kernels::{Format, Isa};
use taper::nn::{At, Cache, Decoder, Probe, Run};
use taper::spec::*;
use taper::weights::Packing;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Listens to nothing, so that tensors are there to be listened to.
struct Deaf;

impl Probe for Deaf {
    fn wants(&self, _: At) -> bool {
        false
    }

    fn visit(&mut self, _: At, _: &Tensor) -> taper::Result<Option<Tensor>> {
        unreachable!("nothing was wanted")
    }
}

/// What a pass over some tokens gives, and how often it asked the allocator.
fn pass(decoder: &Decoder, ids: &[u32], cache: &mut Cache, tensors: bool) -> (Vec<f32>, usize) {
    let ids = Tensor::new(vec![ids.to_vec()], &Device::Cpu).unwrap();
    let mut deaf = Deaf;
    let probe = tensors.then_some(&mut deaf as &mut dyn Probe);
    let before = COUNT.get();
    let run = Run { cache: Some(cache), probe, last_only: true };
    let logits = decoder.run(&ids, run).unwrap();
    let count = COUNT.get() - before;
    (logits.flatten_all().unwrap().to_vec1().unwrap(), count)
}

/// What the kernels have not, replaced by what they have.
fn served(random: &mut Random) -> Spec {
    let mut spec = random.spec();
    let trained = |norm: &mut Norm| match norm {
        Norm::Layer { weight, bias, .. } => (*weight, *bias) = (true, true),
        Norm::Rms { weight, .. } => *weight = true,
    };
    for layer in &mut spec.layers {
        trained(&mut layer.norm);
        if let Some(QkNorm::OwnPerHead(norm)) = layer.attention.qk_norm {
            layer.attention.qk_norm = Some(QkNorm::PerHead(norm));
        }
        if let Some(QkNorm::PerHead(norm) | QkNorm::PerHeadPlaced(norm) | QkNorm::Full(norm)) =
            &mut layer.attention.qk_norm
        {
            trained(norm);
        }
        if let Position::Alibi(alibi) = &mut layer.attention.position {
            alibi.rounded = false;
        }
        let (hidden_dim, bias) = (random.one_of(&[24, 30, 64]), random.flag());
        let all =
            [Activation::GeluTanh, Activation::Silu, Activation::Relu, Activation::ReluSquared];
        let activation = random.one_of(&all);
        layer.feed_forward = match random.flag() {
            true => FeedForward::Plain { hidden_dim, activation, bias },
            false => FeedForward::Gated { hidden_dim, activation, bias },
        };
    }
    spec
}

#[test]
fn a_token_on_slices_has_the_numbers_of_tensors() {
    let levels: Vec<Isa> = Isa::available().collect();
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let spec = served(&mut random);
        let tensors = random.tensors(&spec);
        let dense = random.one_of(&[Format::F32, Format::Bf16, Format::Q8_0, Format::Q4_0]);
        let packing = Packing { dense, ends: Format::F32, rounded: random.flag() };
        let decoder = packed(&spec, &tensors, Some(packing));
        let kept_in = random.one_of(&[None, Some(DType::F16), Some(DType::BF16), Some(DType::U8)]);
        let reserve = random.below(12);
        let ids = random.ids(spec.vocab_size, 12);
        let isa = random.one_of(&levels);
        isa.with(|| {
            let mut caches = [(); 2].map(|()| Cache::new(&spec, &[0], reserve).kept_in(kept_in));
            for (step, piece) in [0..1, 1..4, 4..5, 5..6, 6..7].into_iter().enumerate() {
                let [slices, tensors] = &mut caches;
                let (slices, fewer) = pass(&decoder, &ids[piece.clone()], slices, false);
                let (tensors, more) = pass(&decoder, &ids[piece.clone()], tensors, true);
                assert_eq!(
                    slices, tensors,
                    "seed {seed}, {isa:?}, {dense:?}, {kept_in:?}: {spec:#?}"
                );
                // (At the first token the way is found.)
                let found = step > 0 && piece.len() == 1;
                let layers = spec.layers.len();
                assert!(!found || fewer + 80 * layers < more, "tensors after all: {spec:#?}");
            }
        });
    }
}

/// A Llama of so many layers.
fn llama(layers: usize) -> Spec {
    let norm = Norm::Rms { eps: 1e-5, weight: true, offset: 0.0 };
    let rope = Rope {
        theta: 1e4,
        rotary_dim: 16,
        reversed: false,
        interleaved: false,
        scaling: RopeScaling::None,
    };
    let attention = Attention { position: Position::Rope(rope), ..Attention::new(4, 2, 16) };
    let feed_forward =
        FeedForward::Gated { hidden_dim: 96, activation: Activation::Silu, bias: false };
    let layer = Layer { wiring: Wiring::Pre, norm, attention, feed_forward, residual_scale: 1.0 };
    Spec {
        vocab_size: 40,
        dim: 64,
        max_seq_len: 64,
        embedding: Embedding {
            width: 64,
            norm: None,
            scale: 1.0,
            position: AbsolutePosition::None,
        },
        layers: vec![layer; layers],
        final_norm: Some(norm),
        head: Head { tied: true, bias: false, scale: 1.0, softcap: None },
    }
}

#[test]
fn layers_take_nothing_from_the_allocator() {
    for (dense, kept_in) in [
        (Format::F32, None),
        (Format::Bf16, Some(DType::F16)),
        (Format::Q8_0, Some(DType::BF16)),
        (Format::Q4_0, Some(DType::U8)),
    ] {
        let count = |layers: usize, tensors: bool| {
            let spec = llama(layers);
            let weights = Random::new(1).tensors(&spec);
            let packing = Packing { dense, ends: Format::F32, rounded: false };
            let decoder = packed(&spec, &weights, Some(packing));
            let mut cache = Cache::new(&spec, &[0], 40).kept_in(kept_in);
            pass(&decoder, &[1, 2, 3], &mut cache, tensors);
            pass(&decoder, &[4], &mut cache, tensors); // the way is found, and room made
            let counts = [5, 6].map(|id| pass(&decoder, &[id], &mut cache, tensors).1);
            assert_eq!(counts[0], counts[1]);
            counts[0]
        };
        assert_eq!(count(2, false), count(9, false), "{dense:?}");
        assert!(count(2, true) + 100 < count(9, true), "the tensors' way allocates: {dense:?}");
        assert!(count(2, false) < 80, "ids, embedding and logits: {dense:?}");
    }
}
