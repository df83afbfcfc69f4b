//! Does a checkpoint's `generation_config.json` come out as transformers would take it?
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use serde_json::{Map, Value, json};

use super::Defaults;
use crate::error::Error;
use crate::generate::{Choices, Sampling};

fn read(value: Value) -> Result<Defaults, Error> {
    let Value::Object(map) = value else { panic!("an object") };
    Defaults::read(&map, "generation_config.json")
}

#[test]
fn silence_means_greedy_without_a_penalty() {
    let defaults = Defaults::read(&Map::new(), "").unwrap();
    let (sampling, line) = defaults.resolve(&Choices::default()).unwrap();
    assert_eq!(sampling, Sampling::default());
    assert_eq!(line, "greedy (default)");
    let choices = Choices { temperature: Some(0.8), ..Choices::default() };
    let (sampling, line) = defaults.resolve(&choices).unwrap();
    assert_eq!(line, "sampling, temperature 0.8, top_k 50 (default)");
    assert!(!sampling.greedy);
}

#[test]
fn each_key_is_accounted_for() {
    let defaults = read(json!({
        "_from_model_config": true, "bos_token_id": 1, "eos_token_id": [2, 7], "do_sample": true,
        "temperature": 0.6, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.05,
        "transformers_version": "4.40.0", "pad_token_id": null, "max_new_tokens": 512,
        "num_beams": 4, "chat_format": "chatml", "max_window_size": 6144, "guidance_scale": 1.0,
    }));
    let defaults = defaults.unwrap();
    let used = ["eos_token_id", "do_sample", "temperature", "top_p", "top_k"];
    assert_eq!(defaults.used[..5], used);
    assert_eq!(
        defaults.irrelevant,
        [
            "_from_model_config",
            "bos_token_id",
            "transformers_version",
            "chat_format",
            "guidance_scale",
        ]
    );
    assert_eq!(
        defaults.warnings,
        [
            "generation_config.json: `num_beams` = 4 is not supported and ignored",
            "generation_config.json: `max_window_size` is unknown and ignored",
        ]
    );
    assert_eq!(defaults.max_tokens(10), Some(512));
    let (sampling, line) = defaults.resolve(&Choices::default()).unwrap();
    assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (0.6, 0.9, 20));
    assert!(line.contains("repetition_penalty 1.05 (generation_config.json)"), "{line}");
}

#[test]
fn greedy_by_name_takes_no_penalty_unless_asked() {
    let defaults = read(json!({
        "do_sample": true, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3
    }));
    let defaults = defaults.unwrap();
    for choices in [
        Choices { greedy: true, ..Choices::default() },
        Choices { temperature: Some(0.0), ..Choices::default() },
    ] {
        let (sampling, line) = defaults.resolve(&choices).unwrap();
        assert_eq!((sampling, line.as_str()), (Sampling::default(), "greedy"));
        let asked = Choices { repetition_penalty: Some(1.2), ..choices };
        let (sampling, _) = defaults.resolve(&asked).unwrap();
        assert_eq!((sampling.repetition_penalty, sampling.greedy), (1.2, true));
    }
    // The checkpoint's own greedy keeps the checkpoint's penalty, as in transformers.
    let own = read(json!({ "repetition_penalty": 1.1 })).unwrap();
    let (sampling, _) = own.resolve(&Choices::default()).unwrap();
    assert_eq!((sampling.repetition_penalty, sampling.greedy), (1.1, true));
}

#[test]
fn a_choice_that_only_sampling_heeds_asks_for_sampling() {
    let defaults = Defaults::default();
    let choices = Choices { top_p: Some(0.9), ..Choices::default() };
    assert!(!defaults.resolve(&choices).unwrap().0.greedy);
    let torn = Choices { greedy: true, ..choices };
    assert!(matches!(defaults.resolve(&torn), Err(Error::Request { name, .. }) if name == "top_p"));
}

#[test]
fn what_changes_logits_and_is_not_here_is_refused() {
    for config in [
        json!({"guidance_scale": 1.5}),
        json!({"forced_eos_token_id": 2}),
        json!({"exponential_decay_length_penalty": [5, 1.1]}),
        json!({"temperature": "hot"}),
        json!({"top_k": -1}),
        json!({"do_sample": 1}),
        json!({"bad_words_ids": [1]}),
        json!({"eos_token_id": "</s>"}),
    ] {
        let key = config.as_object().unwrap().keys().next().unwrap().clone();
        match read(config) {
            Err(Error::ConfigKey { key: found, .. }) => assert_eq!(found, key),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn a_total_length_leaves_what_the_prompt_does_not_take() {
    let defaults = read(json!({"max_length": 20})).unwrap();
    assert_eq!(defaults.max_tokens(5), Some(15));
    assert_eq!(defaults.max_tokens(30), Some(1));
    assert_eq!(Defaults::default().max_tokens(5), None);
}

#[test]
fn choices_are_set_by_name() {
    let mut choices = Choices::default();
    choices.set("temperature", "0.7").unwrap();
    choices.set("top-k", "5").unwrap();
    assert_eq!((choices.temperature, choices.top_k), (Some(0.7), Some(5)));
    choices.set("greedy", "true").unwrap();
    assert_eq!(choices, Choices { greedy: true, ..Choices::default() });
    assert!(choices.set("top_k", "-1").is_err());
    assert!(choices.set("heat", "1").is_err());
}
