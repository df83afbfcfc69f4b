//! Does a token take anything from the allocator? One test, for the count is everybody's; and one thread,
//! for when a second takes its first piece of work, and with it buffers that it keeps, is chance.
#![allow(clippy::unwrap_used, unsafe_code, reason = "a test may fail; counting is an allocator's")]

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::ops::ControlFlow;

use candle_core::DType;
use common::random::{Random, llama, packed};
use counting::{Counting, everywhere};
use taper::generate::{Event, Prompt, Request, Sampling, generate};
use taper::kernels::{Format, Isa, set_threads};
use taper::nn::Cache;
use taper::spec::*;
use taper::weights::Packing;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn tokens_take_nothing_from_the_allocator() {
    set_threads(1);
    a_token_takes_nothing_from_the_allocator();
    generating_takes_nothing_for_a_token_but_its_place_in_the_list();
}

/// A [`llama`] with experts, routed and gated in every way.
fn mixture(layers: usize) -> Spec {
    let mut spec = llama(layers);
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        layer.feed_forward = FeedForward::Experts(Experts {
            n_experts: 5,
            per_token: 2,
            hidden_dim: 40,
            routing: [
                Routing::SoftmaxThenTop { renormalise: true },
                Routing::TopThenSoftmax,
                Routing::SparseMixer { jitter: 0.1 },
            ][index % 3],
            router_bias: false,
            gating: match index % 2 {
                0 => Gating::Plain(Activation::Silu),
                _ => Gating::Clamped { alpha: 1.7, limit: 1.0 },
            },
            bias: index % 2 == 1,
            shared: (index == 0).then_some(24),
        });
    }
    spec
}

fn a_token_takes_nothing_from_the_allocator() {
    for (dense, kept_in) in [
        (Format::F32, None),
        (Format::Bf16, Some(DType::F16)),
        (Format::Q8_0, Some(DType::BF16)),
        (Format::Q4_0, Some(DType::U8)),
    ] {
        for (spec, rows) in
            [(llama(3), 1), (llama(3), 2), (llama(2), 16), (mixture(3), 1), (mixture(3), 7)]
        {
            for isa in Isa::available() {
                let weights = Random::new(1).tensors(&spec);
                let packing = Packing { dense, ends: Format::F32, rounded: true };
                let decoder = packed(&spec, &weights, Some(packing));
                let mut cache = Cache::new(&spec, &vec![0; rows], 40).kept_in(kept_in);
                let mut logits = Vec::new();
                let mut ids = vec![0; rows];
                let mut token = |id: u32| {
                    ids.fill(id);
                    everywhere(|| decoder.decode(&ids, &mut cache, &mut logits).unwrap())
                };
                let counts = isa.with(|| (0..24).map(&mut token).collect::<Vec<_>>());
                assert!(counts[0] > 0, "room is made once");
                let later = counts[8..].iter().sum::<usize>();
                assert_eq!(later, 0, "{dense:?}, {rows} rows, {isa:?}: {counts:?}");
            }
        }
    }
}

fn generating_takes_nothing_for_a_token_but_its_place_in_the_list() {
    let spec = llama(2);
    let weights = Random::new(1).tensors(&spec);
    let packing = Packing { dense: Format::Q8_0, ends: Format::F32, rounded: false };
    let decoder = packed(&spec, &weights, Some(packing));
    let count = |tokens: usize, greedy: bool| {
        let sampling = Sampling { greedy, ..Sampling::default() };
        let prompts =
            [[1u32, 2], [3, 4]].map(|ids| Prompt { ids: ids.to_vec(), ..Prompt::default() });
        let request = Request {
            prompts: prompts.to_vec(),
            max_tokens: tokens,
            sampling,
            ..Request::default()
        };
        let mut done = Vec::new();
        let count = everywhere(|| {
            let mut heard = |_: Event<'_>| ControlFlow::Continue(());
            done = generate(&decoder, None, &request, &mut heard).unwrap();
        });
        assert!(done.iter().all(|row| row.token_ids.len() == tokens));
        count
    };
    for greedy in [true, false] {
        // The lists of tokens grow by doubling.
        let (few, many) = (count(18, greedy), count(58, greedy));
        assert!(many <= few + 16, "{few} for 18 tokens, {many} for 58");
    }
}
