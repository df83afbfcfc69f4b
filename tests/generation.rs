//! Does generation say what the decoder alone would? On tiny random checkpoints, in f32.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use common::{golden, golden_cases, shared};
use taper::error::{Error, Result};
use taper::generate::{
    Completion, Detokenize, Event, FinishReason, Request, Sampling, Session, Voice, generate,
};
use taper::model::{LoadOptions, Model};

const TOLERANCE: f64 = 1e-5;
const CASES: [&str; 5] =
    ["llama/tied_gqa", "gpt2/small", "mistral/window", "gemma2/capped_window", "gpt_neox/parallel"];

fn load(path: &str) -> Model {
    Model::load(golden(path), &LoadOptions::default()).unwrap()
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![1, 9, 30], vec![5], (3..13).collect(), vec![40, 40, 2, 7, 7]]
}

fn request(prompts: Vec<Vec<u32>>) -> Request {
    let prompts = prompts.into_iter().map(Into::into).collect();
    Request { prompts, max_tokens: 8, logprobs: Some(3), ..Request::default() }
}

fn run(model: &Model, request: &Request) -> Vec<Completion> {
    generate(&model.decoder, None, request, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn sampled() -> Sampling {
    Sampling { greedy: false, temperature: 1.2, top_k: 30, top_p: 0.98, ..Sampling::default() }
}

fn same(a: &Completion, b: &Completion) {
    assert_eq!(a.token_ids, b.token_ids);
    assert_eq!(a.finish_reason, b.finish_reason);
    let logprobs = |c: &Completion| c.logprobs.clone().unwrap_or_default();
    for (a, b) in logprobs(a).iter().zip(&logprobs(b)) {
        assert!((a.said.logprob - b.said.logprob).abs() < TOLERANCE, "{a:?} {b:?}");
        assert_eq!(a.top[0].id, b.top[0].id);
    }
}

/// Ids are letters: 1 is `b`. Complete after every second token, so that text lags behind.
struct Letters;

struct LettersStream(String);

impl Voice for Letters {
    fn stream(&self, _: &[u32]) -> Result<Box<dyn Detokenize + '_>> {
        Ok(Box::new(LettersStream(String::new())))
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        Ok(ids.iter().map(|id| self.token(*id)).collect())
    }

    fn token(&self, id: u32) -> String {
        char::from_u32(97 + id).unwrap_or('?').to_string()
    }
}

impl Detokenize for LettersStream {
    fn push(&mut self, id: u32) -> Result<Option<String>> {
        self.0.push_str(&Letters.token(id));
        Ok((self.0.len() >= 2).then(|| std::mem::take(&mut self.0)))
    }

    fn finish(&mut self) -> Result<Option<String>> {
        Ok(Some(std::mem::take(&mut self.0)))
    }
}

#[test]
fn greedy_tokens_and_logprobs_are_those_of_whole_passes() {
    for case in CASES {
        let model = load(case);
        for completion in run(&model, &request(prompts())) {
            let mut ids = completion.prompt_ids.clone();
            ids.extend(&completion.token_ids);
            let batch = Tensor::new(&ids[..ids.len() - 1], &Device::Cpu).unwrap();
            let logits = model.decoder.logits(&batch.unsqueeze(0).unwrap()).unwrap();
            let logits = logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
            for (step, said) in completion.logprobs.unwrap().iter().enumerate() {
                let row = &logits[completion.prompt_ids.len() - 1 + step];
                let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
                let expected = f64::from(row[said.said.id as usize]) - total;
                assert!((said.said.logprob - expected).abs() < TOLERANCE, "{case}");
                assert_eq!(said.said.id, said.top[0].id, "{case}: greedy");
            }
        }
    }
}

#[test]
fn rows_of_a_batch_are_what_each_is_alone() {
    for case in golden_cases() {
        let model = Model::load(&case.path, &LoadOptions::default()).unwrap();
        for sampling in [Sampling::default(), sampled()] {
            let vocab = model.spec().vocab_size as u32;
            let known = |prompt: Vec<u32>| prompt.iter().map(|id| id % vocab).collect();
            let mut together = request(prompts().into_iter().map(known).collect());
            together.sampling = sampling;
            together.seed = 17;
            // Rows that end early leave the batch.
            together.eos_ids = vec![2, 20, 21, 22, 23, 24, 25];
            together.prompts[1].max_tokens = Some(3);
            together.prompts[2].seed = Some(99);
            let room = model.spec().max_seq_len;
            together.prompts.retain(|prompt| prompt.ids.len() <= room);
            let rows = run(&model, &together);
            assert_eq!(rows.len(), together.prompts.len());
            for (prompt, row) in together.prompts.iter().zip(&rows) {
                let alone = Request { prompts: vec![prompt.clone()], ..together.clone() };
                same(row, &run(&model, &alone)[0]);
            }
        }
    }
}

#[test]
fn samples_share_a_prefill_and_differ() {
    let model = load("llama/tied_gqa");
    let mut several = request(prompts());
    several.sampling = sampled();
    several.samples = 3;
    let rows = run(&model, &several);
    assert_eq!(rows.len(), 12);
    assert_ne!(rows[0].token_ids, rows[1].token_ids);
    let alone = Request { samples: 1, ..several.clone() };
    for (prompt, first) in run(&model, &alone).iter().enumerate() {
        same(&rows[prompt * 3], first);
        assert_eq!(rows[prompt * 3 + 2].sample, 2);
    }
    several.sampling = Sampling::default();
    let refused = several.validate(model.spec(), true);
    assert!(matches!(refused, Err(Error::Request { name, .. }) if name == "samples"));
}

#[test]
fn the_context_ends_a_row_at_its_last_position() {
    let model = load("gpt2/small"); // a table of 24 positions
    let mut long = request(vec![(0..20).collect(), (0..24).collect(), vec![3]]);
    long.max_tokens = 100;
    let rows = run(&model, &long);
    for (row, said) in rows.iter().zip([5, 1, 24]) {
        assert_eq!(row.finish_reason, FinishReason::Context);
        assert_eq!(row.token_ids.len(), said);
        let prompt = Request { prompts: vec![row.prompt_ids.clone().into()], ..long.clone() };
        same(row, &run(&model, &prompt)[0]);
    }
    long.prompts = vec![(0..25).collect::<Vec<u32>>().into()];
    let refused = long.validate(model.spec(), true);
    assert!(matches!(refused, Err(Error::ContextFull { needed: 25, max_seq_len: 24 })));
}

#[test]
fn every_end_is_named() {
    let model = load("llama/tied_gqa");
    let mut one = request(vec![vec![1, 9, 30]]);
    let plain = run(&model, &one).remove(0);
    assert_eq!((plain.finish_reason, plain.token_ids.len()), (FinishReason::Length, 8));

    let end = plain.token_ids[4];
    let first = plain.token_ids.iter().position(|id| *id == end).unwrap();
    one.eos_ids = vec![61, end];
    let ended = run(&model, &one).remove(0);
    assert_eq!(ended.finish_reason, FinishReason::Eos);
    assert_eq!(ended.token_ids, plain.token_ids[..=first]);

    one.eos_ids.clear();
    let letters = Letters.decode(&plain.token_ids).unwrap();
    one.stop = vec!["no such text".into(), letters[3..5].to_string()];
    let cut = letters.find(&letters[3..5]).unwrap();
    let mut said = String::new();
    let stopped = generate(&model.decoder, Some(&Letters), &one, &mut |event| {
        if let Event::Text { text, .. } = event {
            said.push_str(text);
        }
        ControlFlow::Continue(())
    });
    let stopped = stopped.unwrap().remove(0);
    assert_eq!(stopped.finish_reason, FinishReason::Stop);
    assert_eq!(stopped.text, letters[..cut]);
    assert_eq!(said, stopped.text);
    assert!(stopped.token_ids.len() < 8);
}

#[test]
fn an_interrupted_run_keeps_what_there_is() {
    let model = load("llama/tied_gqa");
    let request = request(prompts());
    let mut tokens = 0;
    let rows = generate(&model.decoder, Some(&Letters), &request, &mut |event| {
        tokens += usize::from(matches!(event, Event::Token { .. }));
        if tokens < 11 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 4);
    for (row, whole) in rows.iter().zip(run(&model, &request)) {
        assert_eq!(row.finish_reason, FinishReason::Interrupted);
        assert_eq!(row.token_ids, whole.token_ids[..3]);
        assert_eq!(row.text, Letters.decode(&row.token_ids).unwrap());
    }
}

#[test]
fn echo_puts_the_prompt_first_and_scores_it() {
    let model = load("mistral/window");
    let mut one = request(vec![vec![1, 9, 30, 4], vec![6, 2]]);
    one.echo = true;
    let rows = generate(&model.decoder, Some(&Letters), &one, &mut |_| ControlFlow::Continue(()));
    for row in rows.unwrap() {
        let all = [row.prompt_ids.as_slice(), row.token_ids.as_slice()].concat();
        assert_eq!(row.text, Letters.decode(&all).unwrap());
        let scores = row.prompt_logprobs.unwrap();
        assert_eq!(scores.len(), row.prompt_ids.len());
        assert!(scores[0].is_none());
        // The same numbers come out when the prompt is said instead of given.
        let ids = Tensor::new(&row.prompt_ids[..], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = model.decoder.logits(&ids).unwrap().squeeze(0).unwrap();
        let logits = logits.to_vec2::<f32>().unwrap();
        for (at, score) in scores.iter().enumerate().skip(1) {
            let before = &logits[at - 1];
            let total: f64 = before.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            let score = score.as_ref().unwrap();
            assert_eq!(score.said.id, row.prompt_ids[at]);
            assert_eq!(score.said.token, Some(Letters.token(row.prompt_ids[at])));
            let expected = f64::from(before[row.prompt_ids[at] as usize]) - total;
            assert!((score.said.logprob - expected).abs() < TOLERANCE);
        }
    }
}

#[test]
fn a_session_processes_only_what_is_new() {
    for case in CASES {
        let model = load(case);
        let mut session = Session::new(&model.decoder, 4);
        let mut turn = |ids: &[u32], cached: usize| {
            let one = request(vec![ids.to_vec()]);
            let quiet = &mut |_: Event<'_>| ControlFlow::Continue(());
            let completion = session.generate(None, &one, quiet).unwrap();
            assert_eq!(completion.timings.cached_tokens, cached, "{case}");
            same(&completion, &run(&model, &one)[0]);
            completion
        };
        let first = turn(&[1, 9, 30], 0);
        let mut ids = [&[1, 9, 30], &first.token_ids[..]].concat();
        ids.push(40);
        turn(&ids, 3 + 7); // all that was said but the last token, which nothing followed
        turn(&[1, 9, 31, 5], 2);
        turn(&[1, 9, 31, 5], 3); // one is always computed: its logits are not kept
        turn(&[7], 0);
    }
}

#[test]
fn a_session_goes_on_after_an_interruption() {
    let model = load("mistral/window");
    let mut session = Session::new(&model.decoder, 64);
    let one = request(vec![vec![1, 9, 30]]);
    let mut tokens = 0;
    let cut = session.generate(None, &one, &mut |event| {
        tokens += usize::from(matches!(event, Event::Token { .. }));
        if tokens < 4 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let cut = cut.unwrap();
    assert_eq!(cut.finish_reason, FinishReason::Interrupted);
    assert_eq!(session.ids(), [&[1, 9, 30], &cut.token_ids[..3]].concat());
    let ids = [&[1, 9, 30], &cut.token_ids[..], &[5]].concat();
    let again = request(vec![ids]);
    let quiet = &mut |_: Event<'_>| ControlFlow::Continue(());
    same(&session.generate(None, &again, quiet).unwrap(), &run(&model, &again)[0]);
}

#[test]
fn numbers_that_are_none_are_traced_to_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let source = golden("llama/tied_gqa");
    std::fs::copy(source.join("config.json"), folder.path().join("config.json")).unwrap();
    let weights = source.join("model.safetensors");
    for (value, what) in [(f32::NAN, "NaN"), (f32::INFINITY, "infinity")] {
        let mut tensors = candle_core::safetensors::load(&weights, &Device::Cpu).unwrap();
        let name = "model.layers.1.mlp.gate_proj.weight";
        let gate = &tensors[name];
        let bad = (gate.ones_like().unwrap() * f64::from(value)).unwrap();
        tensors.insert(name.into(), bad);
        let file = folder.path().join("model.safetensors");
        candle_core::safetensors::save(&tensors, file).unwrap();
        let model = Model::load(folder.path(), &LoadOptions::default()).unwrap();
        let one = request(vec![vec![1, 9, 30]]);
        let ran = generate(&model.decoder, None, &one, &mut |_| ControlFlow::Continue(()));
        match ran {
            Err(Error::NotFinite { what: found, place }) => {
                assert_eq!(place, "layer 1, mlp_out", "{what}");
                assert!(found == what || found == "NaN", "{found}"); // ∞ − ∞ is NaN already
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn unusable_requests_are_refused_by_name() {
    let model = load("llama/tied_gqa");
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = request(vec![vec![1]]);
        change(&mut request);
        match request.validate(model.spec(), false) {
            Err(Error::Request { name, .. }) => name,
            Err(Error::TokenId { id, .. }) => format!("id {id}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|r| r.samples = 0), "samples");
    assert_eq!(refused(&|r| r.max_tokens = 0), "max_tokens");
    assert_eq!(refused(&|r| r.logprobs = Some(62)), "logprobs");
    assert_eq!(refused(&|r| r.stop = vec!["x".into()]), "stop");
    assert_eq!(refused(&|r| r.prompts[0].ids.clear()), "prompt");
    assert_eq!(refused(&|r| r.prompts[0].ids.push(61)), "id 61");
    assert_eq!(refused(&|r| r.sampling.top_p = 2.0), "top_p");
    assert_eq!(refused(&|r| r.sampling.bias = vec![(vec![99], 1.0)]), "id 99");
}

#[test]
fn the_sorter_sorts() {
    let Some(path) = shared("nano-sort-gpt") else { return };
    let model = Model::load(path, &LoadOptions::default()).unwrap();
    let inputs: Vec<Vec<u32>> =
        (0..729u32).map(|n| (0..6).map(|digit| n / 3u32.pow(digit) % 3).collect()).collect();
    let mut all = request(inputs);
    (all.max_tokens, all.logprobs) = (6, None);
    for row in run(&model, &all) {
        let mut sorted = row.prompt_ids.clone();
        sorted.sort_unstable();
        assert_eq!(row.token_ids, sorted);
    }
}
