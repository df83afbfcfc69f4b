//! Does `taper compare` see what is wrong, and say why? Every known fault is planted and must be
//! found by its name; references that are no measure are refused by name.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use candle_core::{DType, Tensor};
use common::golden;
use serde_json::{Value, json};
use taper::model::{LoadOptions, Model};
use taper::nn::{At, Decoder, Probe, Run, Site};
use taper::parity::{Options, Recorder, Report, Trace, Verdict, judge_against, record, stamp};
use taper::spec::{Activation, FeedForward, Norm, Position, RopeScaling, Spec};
use taper::weights::Layout;
use tempfile::TempDir;

/// A fault in a configuration: the golden case, the key, its wrong value (null takes the key
/// away), the fault's name, and a part of what is said.
type Planted = (&'static str, &'static str, Value, &'static str, &'static str);

fn planted() -> Vec<Planted> {
    vec![
        ("llama/tied_gqa", "rope_theta", json!(500_000.0), "rope base", "base of 10000"),
        ("mistral/no_window", "rope_parameters.rope_theta", json!(1e4), "rope base", "of 1000000"),
        ("llama/linear", "rope_scaling", json!(null), "rope scaling", "linearly by 4"),
        ("llama/yarn", "rope_scaling", json!(null), "rope scaling", "frequencies are the base's"),
        ("llama/llama3", "rope_scaling", json!(null), "rope scaling", "frequencies are the base's"),
        ("gpt_neox/parallel", "rotary_pct", json!(1.0), "rope dimensions", "turns 4 of 16"),
        (
            "gpt_neox/sequential",
            "rope_parameters.partial_rotary_factor",
            json!(0.5),
            "rope dimensions",
            "turns 8 of 8",
        ),
        ("mistral/window", "sliding_window", json!(4), "window", "window of 5, not a window of 4"),
        ("mistral/window", "sliding_window", json!(6), "window", "window of 5, not a window of 6"),
        ("mistral/window", "sliding_window", json!(null), "window", "window of 5, not no window"),
        ("mistral/no_window", "sliding_window", json!(5), "window", "no window"),
        ("gpt_neox/parallel", "hidden_act", json!("gelu_new"), "activation", "GeluErf"),
        ("gpt_neox/sequential", "hidden_act", json!("gelu"), "activation", "GeluTanh"),
        ("gemma2/capped_window", "attn_logit_softcapping", json!(null), "softcap", "softcap 3"),
        ("gemma2/uncapped", "attn_logit_softcapping", json!(2.0), "softcap", "no softcap"),
        (
            "gemma2/capped_window",
            "final_logit_softcapping",
            json!(null),
            "final softcap",
            "softcap 5",
        ),
        ("gemma2/capped_window", "query_pre_attn_scalar", json!(8), "score scale", "0.204124"),
        ("gemma2/uncapped", "query_pre_attn_scalar", json!(24), "score scale", "0.223607"),
        ("gpt2/unscaled", "scale_attn_weights", json!(true), "score scale", "with 1.000000"),
        ("llama/wide_heads_mqa", "rms_norm_eps", json!(1e-6), "norm eps", "adds 1e-2"),
    ]
}

#[test]
fn faults_in_a_configuration_are_found() {
    for (case, key, value, trap, says) in planted() {
        let folder = copied(case);
        set(folder.path(), key, value.clone());
        let model = load(folder.path());
        let report = compared(&model, &reference(case));
        let what = format!("{case} with {key} = {value}");
        found(&report, trap, says, &what);
    }
}

/// An edit of a decoder's description.
type Edit = fn(&mut Spec);

/// What no golden configuration can say: the reference is made by a decoder with the fault.
#[test]
fn faults_of_a_reference_are_found() {
    let edits: &[(&str, Edit, &str, &str)] = &[
        ("llama/tied_gqa", |s| ropes(s, |r| r.interleaved = true), "rope pairs", "interleaved"),
        (
            "gpt_neox/sequential",
            |s| ropes(s, |r| r.interleaved = true),
            "rope pairs",
            "interleaved",
        ),
        (
            "llama/yarn",
            |s| ropes(s, |r| r.scaling = RopeScaling::None),
            "rope scaling",
            "not scale",
        ),
        ("gemma2/capped_window", |s| offsets(s, 0.0), "norm offset", "as stored, not with 1"),
        ("llama/tied_gqa", |s| offsets(s, 1.0), "norm offset", "1 + the norm's weight, not"),
        ("gemma2/capped_window", |s| s.embedding.scale = 1.0, "embedding scale", "as it is"),
        ("llama/tied_gqa", |s| s.embedding.scale = 32f64.sqrt(), "embedding scale", "with 5.65"),
        ("gemma2/capped_window", |s| scales(s, 1.0), "score scale", "with 1.000000"),
        (
            "llama/tied_gqa",
            |s| s.layers.iter_mut().for_each(|l| l.residual_scale = 0.22),
            "branch scale",
            "with 0.22",
        ),
        ("llama/tied_gqa", |s| s.head.scale = 0.0625, "logit scale", "with 0.0625"),
        ("gpt2/small", |s| gelu(s, Activation::GeluErf), "activation", "GeluErf"),
    ];
    for (case, edit, trap, says) in edits {
        let model = load(&golden(case));
        let mut spec = model.spec().clone();
        edit(&mut spec);
        let faulty = model.stage(&spec, 0, None).unwrap();
        let report = compared(&model, &traced(&model, &faulty));
        found(&report, trap, says, &format!("{case}, {says}"));
    }
}

#[test]
fn a_wrong_split_of_the_fused_matrix_is_found() {
    fn fused(layout: Layout) -> Layout {
        if layout == Layout::GroupedQkv { Layout::FusedQkv } else { layout }
    }
    let model = load(&golden("gpt_neox/parallel"));
    let faulty = model.stage(model.spec(), 0, Some(fused)).unwrap();
    let report = compared(&model, &traced(&model, &faulty));
    found(&report, "qkv split", "all queries, all keys, all values", "gpt_neox/parallel");
    assert_eq!(report.first.unwrap().to_string(), "0.q");
}

#[test]
fn a_softcap_after_the_mask_is_found() {
    struct After(Recorder<fn(At) -> bool>);
    impl Probe for After {
        fn wants(&self, at: At) -> bool {
            self.0.wants(at)
        }
        fn visit(&mut self, at: At, x: &Tensor) -> taper::Result<Option<Tensor>> {
            let capped = if at.site == Site::Scores { Some(x.maximum(-3.0)?) } else { None };
            self.0.visit(at, capped.as_ref().unwrap_or(x))?;
            Ok(capped)
        }
    }
    let model = load(&golden("gemma2/capped_window"));
    let mut probe = After(Recorder::new(|_| true));
    let ids = Tensor::new(vec![IDS.to_vec()], model.decoder.device()).unwrap();
    let run = Run { probe: Some(&mut probe), ..Run::default() };
    model.decoder.run(&ids, run).unwrap();
    let metadata = stamp(&model, None).unwrap();
    let theirs = Trace { ids: vec![IDS.to_vec()], sites: probe.0.sites, metadata };
    let report = compared(&model, &theirs);
    found(&report, "softcap after mask", "after masking", "gemma2/capped_window");
}

#[test]
fn a_doubled_bos_is_found_and_another_tokenizer_refused() {
    let model = load(&golden("gguf/llama_half/model.gguf"));
    let tokenizer = model.tokenizer.as_ref().expect("it has a vocabulary inside");
    let prompt = "abc";
    let ids = tokenizer.encode(prompt, true).unwrap();
    let bos = tokenizer.bos_id().unwrap();
    assert_eq!(ids[0], bos, "{ids:?}");
    let with = |ids: Vec<u32>| {
        let mut trace = record(&model.decoder, &[ids], |_| true).unwrap();
        trace.metadata = stamp(&model, Some(prompt)).unwrap();
        trace
    };
    let report = compared(&model, &with([vec![bos], ids.clone()].concat()));
    assert_eq!(report.verdict, Verdict::Different);
    assert_eq!(report.causes[0].trap, "doubled BOS");
    assert_eq!(compared(&model, &with(ids.clone())).verdict, Verdict::Equal);
    let mut other = ids;
    *other.last_mut().unwrap() += 1;
    let error = judge_against(&model, &with(other), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("another tokenizer"), "{error}");
}

#[test]
fn the_golden_references_are_equal() {
    for case in ["llama/yarn", "gpt2/switches", "gemma2/capped_window", "gpt_neox/parallel"] {
        let report = compared(&load(&golden(case)), &reference(case));
        assert_eq!(report.verdict, Verdict::Equal, "{case}: {:?}", report.first);
        assert!(report.causes.is_empty() && report.missing.is_empty());
        assert!(report.not_in_reference.is_empty(), "{case}: {:?}", report.not_in_reference);
        let logits = report.logits.unwrap();
        assert!(logits.kl_max() < 1e-9 && logits.top1 == 1.0 && logits.nmse < 1e-9, "{logits:?}");
    }
}

#[test]
fn what_is_missing_or_no_number_is_said() {
    let model = load(&golden("llama/yarn"));
    let mut theirs = reference("llama/yarn");
    theirs.sites.retain(|at, _| !(at.layer == Some(1) && at.site == Site::Scores));
    let mut shape = theirs.sites[&at("0.z")].clone();
    shape = shape.narrow(1, 0, 1).unwrap();
    theirs.sites.insert(at("0.z"), shape);
    theirs
        .sites
        .insert(at("7.q"), Tensor::zeros((1, 1), DType::F32, model.decoder.device()).unwrap());
    let report = compared(&model, &theirs);
    assert_eq!(report.missing, [at("7.q")]);
    assert_eq!(report.not_in_reference, [at("1.scores")]);
    assert_eq!(report.first, Some(at("0.z")));
    let text = taper::parity::sites(&report, true) + &taper::parity::summary(&report);
    for part in [
        "0.z",
        "shape [1, 2, 6, 16], the reference's [1, 1, 6, 16]",
        "never reached here: 7.q",
        "not in the reference: 1.scores",
        "verdict: different",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn damaged_references_name_the_site() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ref.safetensors");
    let whole = std::fs::read(golden("llama/yarn/reference.safetensors")).unwrap();
    for (keep, part) in
        [(whole.len() - 100, "`logits` lie behind its end"), (500, "header"), (4, "no trace")]
    {
        std::fs::write(&file, &whole[..keep]).unwrap();
        let error = Trace::read(&file).unwrap_err().to_string();
        assert!(error.contains(part), "{keep} bytes: {error}");
    }
    let mut theirs = reference("llama/yarn");
    let nan = (theirs.sites[&at("1.mlp_in")].clone() * f64::NAN).unwrap();
    theirs.sites.insert(at("1.mlp_in"), nan);
    theirs.write(&file).unwrap();
    let error = Trace::read(&file).unwrap_err().to_string();
    assert!(error.contains("`1.mlp_in` holds NaN"), "{error}");
}

#[test]
fn a_reference_of_another_model_or_prompt_is_refused() {
    let model = load(&golden("llama/yarn"));
    let refused = |theirs: &Trace, options: &Options, part: &str| {
        let error = judge_against(&model, theirs, options).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&reference("gpt2/small"), &Options::default(), "was made for a gpt2");
    refused(&reference("llama/linear"), &Options::default(), "made from other files");
    let mut bare = reference("llama/yarn");
    bare.metadata.remove("fingerprint");
    refused(&bare, &Options::default(), "no fingerprint");
    let prompt = Options { prompt: Some("Once".into()), ..Options::default() };
    refused(&reference("llama/yarn"), &prompt, "was made for the prompt");
}

#[test]
fn sixteen_bits_are_rounding_by_pytorchs_yardstick_only() {
    let options = LoadOptions { dtype: Some(DType::BF16), plain: true, ..LoadOptions::default() };
    let model = Model::load(golden("llama/yarn"), &options).unwrap();
    let mut theirs = reference("llama/yarn");
    assert_eq!(compared(&model, &theirs).verdict, Verdict::Different);
    let drifts: Value =
        serde_json::from_slice(&std::fs::read(golden("llama/yarn/drift.json")).unwrap()).unwrap();
    let sites =
        theirs.sites.keys().map(|at| (at.to_string(), drifts["bf16"][at.site.name()].clone()));
    let drift = json!({"bf16": sites.collect::<serde_json::Map<_, _>>()});
    theirs.metadata.insert("drift".into(), drift.to_string());
    assert_eq!(compared(&model, &theirs).verdict, Verdict::Rounding);
    // A fault is not excused by it.
    let folder = copied("llama/yarn");
    set(folder.path(), "rope_scaling", json!(null));
    let faulty = Model::load(folder.path(), &options).unwrap();
    let report = compared(&faulty, &theirs);
    found(&report, "rope scaling", "frequencies", "llama/yarn in bf16");
}

#[test]
fn the_command_says_it_by_its_exit_code() {
    let case = golden("gemma2/capped_window");
    let file = case.join("reference.safetensors");
    let run = |model: &Path, more: &[&str]| {
        let mut command = Command::cargo_bin("taper").unwrap();
        command.args(["compare", "-q", "-m"]).arg(model).arg("--reference").arg(&file).args(more);
        command.output().unwrap()
    };
    let equal = run(&case, &[]);
    assert_eq!(equal.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&equal.stdout).ends_with("verdict: equal\n"));
    let folder = copied("gemma2/capped_window");
    set(folder.path(), "sliding_window", json!(5));
    let refused = run(folder.path(), &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    let page = folder.path().join("report.html");
    let different = run(folder.path(), &["--force", "--json", "--html", page.to_str().unwrap()]);
    assert_eq!(different.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&different.stdout).unwrap();
    assert_eq!(report["verdict"], "different");
    assert_eq!(report["first"], "0.scores");
    assert_eq!(report["causes"][0]["trap"], "window");
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["<svg", "0.scores", "window of 4", "class=\"different\""] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http"), "it needs nothing else");
    let loose = run(folder.path(), &["--force", "--tolerance", "inf"]);
    assert_eq!(loose.status.code(), Some(0));
    let none = Command::cargo_bin("taper").unwrap().args(["compare", "-m", "x"]).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn a_trace_is_read_back_and_compares_with_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ours.safetensors");
    let case = golden("qwen3/tied");
    let mut command = Command::cargo_bin("taper").unwrap();
    command.args(["trace", "-q", "--prompt-ids", "3,1,2", "--sites", "q_pos,scores,logits"]);
    command.args(["--layers", "1", "-m"]).arg(&case).arg("-o").arg(&file).assert().success();
    let trace = Trace::read(&file).unwrap();
    let names: Vec<String> = trace.sites.keys().map(At::to_string).collect();
    assert_eq!(names, ["logits", "1.q_pos", "1.scores"]);
    assert_eq!(trace.ids, [[3, 1, 2]]);
    assert_eq!(trace.metadata["fingerprint"], reference("qwen3/tied").metadata["fingerprint"]);
    assert_eq!(compared(&load(&case), &trace).verdict, Verdict::Equal);
}

#[test]
fn two_dtypes_are_compared_over_a_text() {
    let model = golden("gguf/llama_half/model.gguf");
    let run = |more: &[&str]| {
        let mut command = Command::cargo_bin("taper").unwrap();
        command.args(["compare", "-q", "--json", "-m"]).arg(&model).arg("--against").arg(&model);
        command.args(more).args(["--dtype", "f32", "--window", "16"]).output().unwrap()
    };
    let same = run(&["--against-dtype", "f32", "--tolerance", "1e-6"]);
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stderr));
    let found: Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!(found["kl"], 0.0);
    assert_eq!(found["same_top1"], 1.0);
    assert_eq!(found["perplexity"], found["other_perplexity"]);
    let bf16 = run(&["--against-dtype", "bf16", "--tolerance", "1e-9"]);
    assert_eq!(bf16.status.code(), Some(1));
}

#[test]
fn without_python_or_torch_it_says_what_to_install() {
    let mut command = Command::cargo_bin("taper").unwrap();
    command.args(["compare", "-q", "-m"]).arg(golden("gpt2/small"));
    let ran = command.args(["--python", "no-such-python"]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(2));
    assert!(said.contains("is not here") && said.contains("pip install torch"), "{said}");
    let mut command = Command::cargo_bin("taper").unwrap();
    command.args(["compare", "-q", "-m"]).arg(golden("gpt2/small")).arg("--python");
    let ran = command.env("PATH", "").output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stderr).contains("there is no uv"));
}

const IDS: [u32; 9] = [5, 17, 2, 40, 31, 8, 8, 30, 1];

fn at(name: &str) -> At {
    At::parse(name).unwrap()
}

fn load(path: &Path) -> Model {
    Model::load(path, &LoadOptions::default()).unwrap()
}

fn reference(case: &str) -> Trace {
    Trace::read(&golden(case).join("reference.safetensors")).unwrap()
}

fn traced(model: &Model, decoder: &Decoder) -> Trace {
    let mut trace = record(decoder, &[IDS.to_vec()], |_| true).unwrap();
    trace.metadata = stamp(model, None).unwrap();
    trace
}

fn compared(model: &Model, theirs: &Trace) -> Report {
    judge_against(model, theirs, &Options { force: true, ..Options::default() }).unwrap()
}

/// The fault is named first, with what it is.
fn found(report: &Report, trap: &str, says: &str, what: &str) {
    assert_eq!(report.verdict, Verdict::Different, "{what}");
    let cause = report.causes.first();
    let said = || format!("{what}: at {:?}: {:#?}", report.first, report.causes);
    let cause = cause.unwrap_or_else(|| panic!("nothing is found: {}", said()));
    assert_eq!(cause.trap, trap, "{}", said());
    assert!(cause.says.contains(says), "{says} is not said: {}", said());
    assert_eq!(cause.then, None, "{}", said());
}

/// A golden case whose configuration may be changed.
fn copied(case: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(case)).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// Sets a key of config.json, dotted where nested.
fn set(folder: &Path, key: &str, value: Value) {
    let file = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let (parents, leaf) = key.rsplit_once('.').unwrap_or(("", key));
    let mut object = &mut config;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        object = &mut object[parent];
    }
    object[leaf] = value;
    std::fs::write(&file, config.to_string()).unwrap();
}

fn ropes(spec: &mut Spec, change: impl Fn(&mut taper::spec::Rope)) {
    for layer in &mut spec.layers {
        if let Position::Rope(rope) = &mut layer.attention.position {
            change(rope);
        }
    }
}

fn offsets(spec: &mut Spec, value: f64) {
    let set = |norm: &mut Norm| match norm {
        Norm::Layer { offset, .. } | Norm::Rms { offset, .. } => *offset = value,
    };
    spec.layers.iter_mut().for_each(|layer| set(&mut layer.norm));
    spec.final_norm.iter_mut().for_each(set);
}

fn scales(spec: &mut Spec, value: f64) {
    spec.layers.iter_mut().for_each(|layer| layer.attention.scale = value);
}

fn gelu(spec: &mut Spec, value: Activation) {
    for layer in &mut spec.layers {
        if let FeedForward::Plain { activation, .. } = &mut layer.feed_forward {
            *activation = value;
        }
    }
}
