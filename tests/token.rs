//! One token of each row goes through the decoder on slices: are its numbers those of the tensors' way, on
//! random specs?
#![allow(clippy::unwrap_used, unsafe_code, reason = "a test may fail; counting is an allocator's")]

mod common;
#[path = "common/counting.rs"]
mod counting;

use candle_core::{DType, Device, Tensor};
use common::random::{Random, llama, packed};
use counting::{Counting, here};
use taper::kernels::{Format, Isa};
use taper::nn::{Cache, Decoder, Run};
use taper::spec::*;
use taper::weights::Packing;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Logits of the last of some tokens of each row, (rows, n), on tensors.
fn pass(decoder: &Decoder, ids: &[Vec<u32>], cache: &mut Cache) -> Vec<f32> {
    let ids = Tensor::new(ids.to_vec(), &Device::Cpu).unwrap();
    let run = Run { cache: Some(cache), probe: None, last_only: true };
    decoder.run(&ids, run).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// What the kernels have not, replaced by what they have.
fn served(random: &mut Random) -> Spec {
    let mut spec = random.spec();
    for layer in &mut spec.layers {
        if let Position::Alibi(alibi) = &mut layer.attention.position {
            alibi.rounded = false;
        }
    }
    spec
}

#[test]
fn a_token_on_slices_has_the_numbers_of_tensors() {
    let levels: Vec<Isa> = Isa::available().collect();
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let spec = served(&mut random);
        let tensors = random.tensors(&spec);
        let dense = random.one_of(&[Format::F32, Format::Bf16, Format::Q8_0, Format::Q4_0]);
        let packing = Packing { dense, ends: Format::F32, rounded: random.flag() };
        let decoder = packed(&spec, &tensors, Some(packing));
        let kept_in = random.one_of(&[None, Some(DType::F16), Some(DType::BF16), Some(DType::U8)]);
        let reserve = random.below(12);
        let rows = random.one_of(&[1, 1, 2, 5, 9, 18]);
        let longest = 1 + random.below(4);
        let padding: Vec<usize> =
            (0..rows).map(|row| if row == 0 { 0 } else { random.below(longest) }).collect();
        let prompt: Vec<Vec<u32>> =
            (0..rows).map(|_| random.ids(spec.vocab_size, longest)).collect();
        let isa = random.one_of(&levels);
        isa.with(|| {
            let cache = |()| Cache::new(&spec, &padding, reserve).kept_in(kept_in);
            let [mut slices, mut tensors] = [(); 2].map(cache);
            let mut logits = pass(&decoder, &prompt, &mut slices);
            assert_eq!(logits, pass(&decoder, &prompt, &mut tensors));
            for step in 0..4 {
                let ids = random.ids(spec.vocab_size, rows);
                let mut found = vec![];
                let fewer = here(|| decoder.decode(&ids, &mut slices, &mut logits).unwrap());
                let column: Vec<Vec<u32>> = ids.iter().map(|id| vec![*id]).collect();
                let more = here(|| found = pass(&decoder, &column, &mut tensors));
                assert_eq!(slices.len(), tensors.len());
                assert_eq!(
                    logits, found,
                    "seed {seed}, step {step}, {rows} rows, {isa:?}, {dense:?}, {kept_in:?}: {spec:#?}"
                );
                // (At the first token room is made.)
                let layers = spec.layers.len();
                let on_slices = step == 0 || fewer + 80 * layers < more;
                assert!(on_slices, "seed {seed}: {fewer} of {more}: {spec:#?}");
            }
        });
    }
}

#[test]
fn where_the_kernels_have_not_all_of_it_tensors_serve() {
    let mut random = Random::new(1);
    let mut spec = llama(2);
    spec.layers[1].attention.position =
        Position::Alibi(Alibi { slopes: vec![0.5; 4], scale: 1.0, rounded: true });
    let tensors = random.tensors(&spec);
    let packing = Packing { dense: Format::F32, ends: Format::F32, rounded: false };
    for packing in [None, Some(packing)] {
        let decoder = packed(&spec, &tensors, packing);
        let [mut one, mut other] = [(); 2].map(|()| Cache::new(&spec, &[0], 0));
        let mut logits = Vec::new();
        for id in 0..5 {
            decoder.decode(&[id], &mut one, &mut logits).unwrap();
            assert_eq!(logits, pass(&decoder, &[vec![id]], &mut other));
            assert_eq!(one.len(), id as usize + 1);
        }
        let full = decoder.decode(&[40], &mut one, &mut logits);
        assert!(matches!(full, Err(taper::Error::TokenId { id: 40, vocab_size: 40 })));
        assert!(decoder.decode(&[1, 2], &mut one, &mut logits).is_err());
        assert!(decoder.decode(&[], &mut one, &mut logits).is_err());
        assert_eq!(one.len(), 5);
    }
}
