//! Bad input is told by name, and what was good before stays.

use taper::Error;

use crate::runs::{Bench, TEXT};

fn told(bench: &Bench, sets: &[&str], parts: &[&str]) {
    let error = bench.run(sets, false, 2, 1000).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{sets:?}: `{part}` is not in: {error}");
    }
}

#[test]
fn a_recipe_is_checked_by_name() {
    let bench = Bench::new();
    told(&bench, &["stepz=3"], &["recipe.toml", "unknown field `stepz`"]);
    told(&bench, &["steps=many"], &["recipe.toml", "steps", "invalid type"]);
    told(&bench, &["steps"], &["--set", "KEY=VALUE"]);
    told(&bench, &["steps=0"], &["steps", "at least 1"]);
    told(&bench, &["beta1=1.5"], &["beta1", "1.5 is out of range"]);
    told(&bench, &["from=\"elsewhere\""], &["model", "from"]);
    told(&bench, &["tokenizer=bpe"], &["vocab_size"]);
    told(&bench, &["tokenizer=bpe", "vocab_size=12"], &["vocab_size", "every byte"]);
    told(&bench, &["model=nowhere.json"], &["nowhere.json"]);
}

#[test]
fn data_that_teach_nothing_are_refused() {
    let bench = Bench::new();
    bench.write("empty.txt", "  \n");
    let set = |name: &str| format!("train={:?}", bench.path(name));
    told(&bench, &[&set("empty.txt")], &["empty.txt", "no text to learn from"]);
    bench.write("small.txt", "The owl.");
    told(&bench, &[&set("small.txt")], &["train", "too small", "a row takes 25"]);
    told(&bench, &[&set("nowhere.txt")], &["nowhere.txt"]);
    bench.write("wrong.jsonl", "{\"text\": \"The owl.\"}\n{\"title\": \"none\"}\n");
    told(&bench, &[&set("wrong.jsonl")], &["wrong.jsonl", "line 2", "`prompt`", "`messages`"]);
    bench.write("broken.jsonl", "{\"text\": \n");
    told(&bench, &[&set("broken.jsonl")], &["broken.jsonl", "line 1"]);
    bench.write("talk.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}\n");
    told(&bench, &[&set("talk.jsonl")], &["line 1", "chat template"]);
}

#[test]
fn what_does_not_fit_the_model_is_refused() {
    let bench = Bench::new();
    told(&bench, &["seq_len=33"], &["seq_len", "33 tokens", "32 positions"]);
    let config = std::fs::read_to_string(bench.path("config.json")).unwrap();
    bench.write("config.json", &config.replacen('{', "{\"vocab_size\": 9,", 1));
    told(&bench, &[], &["vocab_size", "the model 9"]);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint() {
    let bench = Bench::new();
    bench.run(&[], false, 2, 10).unwrap();
    let before = bench.left("run");
    // Steps like this throw every weight beyond what f32 holds.
    let error = bench.run(&["learning_rate=1e38", "clip=0"], true, 2, 1000).unwrap_err();
    let Error::Diverged { step, .. } = &error else { panic!("{error}") };
    assert!((11..=13).contains(step), "{error}");
    assert!(error.to_string().contains("last good checkpoint is"), "{error}");
    assert!(before == bench.left("run"), "the checkpoint changed");
}

#[test]
fn a_run_is_not_begun_over_another() {
    let bench = Bench::new();
    let error = bench.run(&[], true, 2, 1000).unwrap_err().to_string();
    assert!(error.contains("no run that could go on"), "{error}");
    bench.run(&[], false, 2, 5).unwrap();
    told(&bench, &[], &["holds a run already", "--resume"]);
    let error = bench.run(&["batch=4"], true, 2, 1000).unwrap_err().to_string();
    assert!(error.contains("batch = 6, not 4"), "{error}");
    bench.write("text.txt", &TEXT.replace("moon", "star").repeat(40));
    let error = bench.run(&[], true, 2, 1000).unwrap_err().to_string();
    assert!(error.contains("other data"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_is_told_and_nothing_is_lost() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("run")).unwrap();
    let log = bench.path("run/log.jsonl");
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    told(&bench, &[], &["log.jsonl", "No space left"]);
    std::fs::remove_file(&log).unwrap();
    bench.run(&[], false, 2, 5).unwrap();
    let before = bench.left("run");
    // A checkpoint that cannot be written.
    bench.write("run/.last.new", "in its place");
    let error = bench.run(&[], true, 2, 1000).unwrap_err().to_string();
    assert!(error.contains(".last.new") && error.contains("cannot be written"), "{error}");
    assert!(before == bench.left("run"), "the checkpoint changed");
    // A folder that cannot be made.
    told(&bench, &["out=\"/dev/null/run\""], &["/dev/null/run"]);
}
