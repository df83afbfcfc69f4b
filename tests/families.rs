//! What do published configurations say? Each family's, as its checkpoints carry them
//! (`tests/families/configs.json`), to the spec that follows; and what is wrong with one is named.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value, json};
use taper::Error;
use taper::family::{Described, FAMILIES, describe};
use taper::spec::*;

fn configs() -> Vec<(String, Map<String, Value>)> {
    let all: Value = serde_json::from_str(include_str!("families/configs.json")).unwrap();
    let all = all.as_object().unwrap().iter();
    all.map(|(name, config)| (name.clone(), config.as_object().unwrap().clone())).collect()
}

fn read(name: &str, config: &Map<String, Value>) -> Described {
    describe(config, name, false).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn published_configurations_say_what_they_are_known_to_mean() {
    let mut text = String::new();
    for (name, config) in configs() {
        let described = read(&name, &config);
        write!(text, "{name}\n{}", summary(&described.spec)).unwrap();
        let defaulted: Vec<&str> =
            described.keys.defaulted.iter().map(|(key, _)| key.as_str()).collect();
        writeln!(text, "  defaulted: {}\n", defaulted.join(", ")).unwrap();
    }
    insta::assert_snapshot!("specs", text);
}

#[test]
fn every_family_has_a_published_configuration_here() {
    let here: BTreeSet<String> =
        configs().iter().map(|(name, config)| read(name, config).family.name.into()).collect();
    let all: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_string()).collect();
    let missing: Vec<&String> = all.difference(&here).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_readme_has_a_row_for_every_family() {
    let readme = include_str!("../README.md");
    let table = readme.split("<!-- parity -->").nth(1).unwrap();
    let table = table.split("<!-- /parity -->").next().unwrap();
    let rows: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let all: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(rows, all, "scripts/readme_tables.py makes the table");
}

#[test]
fn a_key_nobody_decided_about_is_refused_by_name() {
    for (name, mut config) in configs() {
        config.insert("surprising_factor".into(), json!(0.5));
        match describe(&config, &name, false) {
            Err(Error::UnknownKeys { keys, .. }) => {
                assert_eq!(keys, ["surprising_factor"], "{name}")
            }
            other => panic!("{name}: {other:?}"),
        }
        let described = describe(&config, &name, true).unwrap();
        assert!(described.keys.unknown.contains(&"surprising_factor".to_string()), "{name}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    for (name, mut config) in configs() {
        config.insert("vocab_size".into(), json!("many"));
        match describe(&config, &name, false) {
            Err(Error::ConfigKey { key, problem, .. }) => {
                assert_eq!(
                    (key.as_str(), problem.contains("many")),
                    ("vocab_size", true),
                    "{name}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// The same model as version 4 of transformers wrote it and as version 5 does.
fn two_forms() -> Vec<(&'static str, Value, Value)> {
    let [s, f] = ["sliding_attention", "full_attention"];
    let long = json!({"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0]});
    let with = |object: &Value, more: Value| {
        let mut object = object.as_object().unwrap().clone();
        object.extend(more.as_object().unwrap().clone());
        Value::Object(object)
    };
    let llama3 = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16, "rope_type": "llama3"});
    let yarn = json!({"factor": 8.0, "original_max_position_embeddings": 16, "rope_type": "yarn"});
    let plain = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
    vec![
        (
            "gemma3_text",
            json!({"sliding_window": 4, "sliding_window_pattern": 2, "rope_theta": 1e6,
                "rope_local_base_freq": 1e4, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}),
            json!({"sliding_window": 4, "layer_types": [s, f, s, f], "rope_parameters": {
                (f): {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, (s): plain(1e4)}}),
        ),
        (
            "cohere2",
            json!({"sliding_window": 4, "sliding_window_pattern": 2, "rope_theta": 5e4}),
            json!({"sliding_window": 4, "layer_types": [s, f, s, f], "rope_parameters": plain(5e4)}),
        ),
        (
            "exaone4",
            json!({"sliding_window": 4, "sliding_window_pattern": "LLLG", "rope_theta": 1e6,
                "rope_scaling": llama3}),
            json!({"sliding_window": 4, "layer_types": [s, s, s, f],
                "rope_parameters": with(&llama3, json!({"rope_theta": 1e6}))}),
        ),
        (
            "phi3",
            json!({"rope_theta": 1e4, "rope_scaling": with(&long, json!({"type": "longrope"})),
                "original_max_position_embeddings": 16}),
            json!({"original_max_position_embeddings": 16, "rope_parameters":
                with(&long, json!({"rope_type": "longrope", "rope_theta": 1e4}))}),
        ),
        (
            "olmo3",
            json!({"sliding_window": 4, "rope_theta": 5e5, "rope_scaling": yarn}),
            json!({"sliding_window": 4, "layer_types": [s, s, s, f], "rope_parameters": {
                (f): with(&yarn, json!({"rope_theta": 5e5})), (s): plain(5e5)}}),
        ),
        (
            "hunyuan_v1_dense",
            json!({"rope_theta": 1e4, "rope_scaling": {"alpha": 1000.0, "factor": 1.0, "type": "dynamic"}}),
            json!({"rope_parameters": {"rope_type": "dynamic", "alpha": 1000.0, "factor": 1.0,
                "rope_theta": 1e4}}),
        ),
        (
            "llama",
            json!({"rope_theta": 5e5, "rope_scaling": llama3, "torch_dtype": "bfloat16"}),
            json!({"dtype": "bfloat16",
                "rope_parameters": with(&llama3, json!({"rope_theta": 5e5}))}),
        ),
        ("qwen3", json!({"rope_theta": 1e6}), json!({"rope_parameters": plain(1e6)})),
    ]
}

#[test]
fn both_forms_of_a_configuration_mean_the_same() {
    let sizes = json!({"vocab_size": 100, "hidden_size": 32, "intermediate_size": 24,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 64});
    for (family, old, new) in two_forms() {
        let spec = |form: Value| {
            let mut config = sizes.as_object().unwrap().clone();
            config.insert("model_type".into(), json!(family));
            if !["cohere2", "phi3", "olmo3", "exaone4"].contains(&family) {
                config.insert("head_dim".into(), json!(8));
            }
            config.extend(form.as_object().unwrap().clone());
            read(family, &config).spec
        };
        let (old, new) = (spec(old), spec(new));
        assert_eq!(summary(&old), summary(&new), "{family}");
        assert_eq!(old, new, "{family}");
    }
}

/// Everything that the numbers depend on, a line a kind of layer; what is usual is left out.
fn summary(spec: &Spec) -> String {
    let Spec { vocab_size, dim, max_seq_len, embedding, head, .. } = spec;
    let mut text = format!("  {vocab_size} tokens, dim {dim}, {max_seq_len} positions\n");
    let plain = Embedding { width: *dim, scale: 1.0, position: AbsolutePosition::None, norm: None };
    if *embedding != plain {
        writeln!(text, "  {embedding:?}").unwrap();
    }
    for run in kinds(&spec.layers) {
        writeln!(text, "  {}: {}", run.0, layer(run.1)).unwrap();
    }
    writeln!(text, "  {:?}, {head:?}", spec.final_norm).unwrap();
    text
}

/// The kinds of layers, in order, each with the numbers of its layers.
fn kinds(layers: &[Layer]) -> Vec<(String, &Layer)> {
    let mut kinds: Vec<(&Layer, Vec<usize>)> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        match kinds.iter_mut().find(|(kind, _)| *kind == layer) {
            Some((_, indices)) => indices.push(index),
            None => kinds.push((layer, vec![index])),
        }
    }
    let numbered = |indices: &[usize]| match indices {
        [first, .., last] if last - first + 1 == indices.len() => {
            format!("layers {first} to {last}")
        }
        many => {
            format!("layers {}", many.iter().map(usize::to_string).collect::<Vec<_>>().join(" "))
        }
    };
    kinds.iter().map(|(layer, indices)| (numbered(indices), *layer)).collect()
}

fn layer(layer: &Layer) -> String {
    let Layer { wiring, norm, attention, feed_forward, residual_scale } = layer;
    let Attention { n_heads, n_kv_heads, head_dim, .. } = *attention;
    let plain = Attention::new(n_heads, n_kv_heads, head_dim);
    let mut text = format!("{wiring:?}, {norm:?}; {n_heads}/{n_kv_heads} heads of {head_dim}");
    let mut say = |differs: bool, what: String| {
        if differs {
            write!(text, ", {what}").unwrap();
        }
    };
    say(true, position(&attention.position));
    say(attention.qk_norm.is_some(), format!("{:?}", attention.qk_norm));
    say(attention.qkv_bias, "qkv bias".into());
    say(attention.out_bias, "out bias".into());
    say(attention.clip.is_some(), format!("clip {:?}", attention.clip));
    say(attention.window.is_some(), format!("window {:?}", attention.window));
    say(attention.scale != plain.scale, format!("scale {}", attention.scale));
    say(attention.query_growth.is_some(), format!("{:?}", attention.query_growth));
    say(attention.softcap.is_some(), format!("softcap {:?}", attention.softcap));
    say(attention.sinks, "sinks".into());
    say(*residual_scale != 1.0, format!("residual scale {residual_scale}"));
    write!(text, "; {feed_forward:?}").unwrap();
    text
}

fn position(position: &Position) -> String {
    match position {
        Position::Alibi(Alibi { slopes, scale, rounded }) => {
            let (first, last) = (slopes.first().unwrap(), slopes.last().unwrap());
            format!("Alibi {first:.4} to {last:.4}, scale {scale:.4}, rounded {rounded}")
        }
        Position::Rope(Rope { scaling: RopeScaling::LongRope { short, .. }, .. }) => {
            let text = format!("{position:?}");
            let lists = text.find("short").zip(text.find("attention_factor"));
            let (start, end) = lists.unwrap();
            format!("{}{} divisors, {}", &text[..start], short.len(), &text[end..])
        }
        other => format!("{other:?}"),
    }
}
