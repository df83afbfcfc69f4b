//! Whole runs of a tiny model: equal where they should be, and readable afterwards.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use taper::Result;
use taper::model::{LoadOptions, Model};
use taper::train::{Event, Observer, Outcome, Recipe, begin, evaluate, read_log, train};
use taper::weights::hub::Silent;
use tempfile::TempDir;

/// A folder with a shape, a text and a recipe.
pub(crate) struct Bench(TempDir);

pub(crate) const TEXT: &str =
    "The owl saw the moon. The moon saw the owl. \"Good night,\" said the owl. ";

impl Bench {
    pub(crate) fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let config = r#"{"model_type": "llama", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "tie_word_embeddings": true}"#;
        this.write("config.json", config);
        this.write("text.txt", &TEXT.repeat(40));
        this.write(
            "recipe.toml",
            &format!(
                "model = {:?}\ntrain = {:?}\ntokenizer = \"characters\"\nout = {:?}\nsteps = 20\n\
                 batch = 6\nmicro_batch = 2\nseq_len = 24\nlearning_rate = 1e-2\nwarmup = 3\n\
                 evaluate_every = 10\nevaluate_rows = 8\nsave_every = 5\nlog_every = 5\nseed = 3\n",
                this.path("config.json"),
                this.path("text.txt"),
                this.path("run")
            ),
        );
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn recipe(&self, sets: &[&str]) -> Result<Recipe> {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        Recipe::read(&self.path("recipe.toml"), &sets)
    }

    /// Runs the recipe, until `stop` steps are taken.
    pub(crate) fn run(
        &self,
        sets: &[&str],
        resume: bool,
        threads: usize,
        stop: usize,
    ) -> Result<Outcome> {
        let recipe = self.recipe(sets)?;
        let start = begin(&recipe, threads, &mut Silent)?;
        train(&recipe, &start, resume, threads, &mut Until { stop, steps: 0 })
    }

    /// What a run left: the model's bytes and its state's.
    pub(crate) fn left(&self, run: &str) -> [Vec<u8>; 2] {
        let read = |name: &str| std::fs::read(self.path(run).join("last").join(name)).unwrap();
        [read("model.safetensors"), read("training.safetensors")]
    }

    pub(crate) fn out(&self, name: &str) -> String {
        format!("out={:?}", self.path(name))
    }
}

/// Ends a run after so many steps.
struct Until {
    stop: usize,
    steps: usize,
}

impl Observer for Until {
    fn hear(&mut self, event: Event<'_>) -> Result<()> {
        if let Event::Step(line) = event {
            self.steps = line.step;
        }
        Ok(())
    }

    fn stops(&mut self) -> bool {
        self.steps >= self.stop
    }
}

#[test]
fn a_run_that_goes_on_is_one_that_never_ended() {
    let bench = Bench::new();
    for dropout in ["0.0", "0.2"] {
        let sets = |run: &str| vec![bench.out(run), format!("dropout={dropout}")];
        let whole = sets(&format!("whole{dropout}"));
        let parts = sets(&format!("parts{dropout}"));
        let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let outcome = bench.run(&whole, false, 2, 1000).unwrap();
        assert_eq!((outcome.steps, outcome.stopped), (20, false));
        let outcome = bench.run(&parts, false, 2, 8).unwrap();
        assert_eq!((outcome.steps, outcome.stopped), (8, true));
        bench.run(&parts, true, 2, 1000).unwrap();
        let (whole, parts) = (format!("whole{dropout}"), format!("parts{dropout}"));
        assert!(bench.left(&whole) == bench.left(&parts), "dropout {dropout}: not bit-equal");
        // The log of the parts tells every tenth step once, as the whole's does.
        let losses = |run: &str| -> Vec<(usize, Option<f64>)> {
            let lines = read_log(&bench.path(run).join("log.jsonl")).unwrap();
            lines
                .iter()
                .filter(|l| l.valid_loss.is_some())
                .map(|l| (l.step, l.valid_loss))
                .collect()
        };
        assert_eq!(losses(&whole), losses(&parts));
        assert_eq!(losses(&whole).len(), 2);
    }
}

#[test]
fn seeds_decide_and_threads_do_not() {
    let bench = Bench::new();
    let run = |name: &str, seed: &str, threads: usize| {
        bench.run(&[&bench.out(name), seed, "steps=6"], false, threads, 1000).unwrap();
        bench.left(name)
    };
    let first = run("a", "seed=3", 1);
    assert!(first == run("b", "seed=3", 1), "the same seed, another run");
    assert!(first == run("c", "seed=3", 3), "three threads, other numbers");
    assert!(first != run("d", "seed=4", 1), "another seed, the same run");
}

#[test]
fn it_learns_and_leaves_a_folder_that_loads() {
    let bench = Bench::new();
    let sets = ["steps=60", "generation={do_sample=true,temperature=0.5}"];
    let recipe = bench.recipe(&sets).unwrap();
    let start = begin(&recipe, 2, &mut Silent).unwrap();
    let outcome = train(&recipe, &start, false, 2, &mut Until { stop: 1000, steps: 0 }).unwrap();
    let lines = read_log(&bench.path("run/log.jsonl")).unwrap();
    let first = lines[0].loss.unwrap();
    let last = outcome.valid_loss.unwrap();
    assert!(first > 2.5 && last < 0.6 * first, "from {first} to {last}");
    // The folder is the model: logits of what was trained, f32 as it is.
    for folder in ["run/last", "run/best"] {
        let model = Model::load(bench.path(folder), &LoadOptions::default()).unwrap();
        assert_eq!(model.generation_config["temperature"], 0.5);
        let tokenizer = model.tokenizer.as_ref().unwrap();
        let ids = tokenizer.encode("The owl", true).unwrap();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "The owl");
        assert!(tokenizer.encode("€", true).is_err(), "a character that was not there");
        if folder == "run/last" {
            let ids = Tensor::new(ids, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let there = model.decoder.logits(&ids).unwrap();
            let here = start.variables.detached().unwrap().logits(&ids).unwrap();
            let apart = (there - here).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-4, "{apart}");
        }
    }
    let how = taper::train::How { micro: 3, threads: 2, rounded: false, dropout: 0.0, seed: 0 };
    let rows: Vec<usize> = (0..start.valid.rows().min(8)).collect();
    let (loss, count) = evaluate(&start.variables, &start.valid, &rows, how).unwrap();
    assert!(count > 0 && loss.is_finite());
    assert!(std::fs::read_to_string(bench.path("run/curve.svg")).unwrap().contains("<path"));
    assert!(!left_overs(&bench.path("run")), "something half written is left");
}

/// Hidden folders: what is written beside a checkpoint before it takes its place.
fn left_overs(run: &Path) -> bool {
    std::fs::read_dir(run)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'))
}

#[test]
fn texts_are_divided_by_a_token_that_ends_them() {
    let bench = Bench::new();
    let line = |name: &str| format!("{{\"text\": \"The owl saw {name}. Good night, {name}!\"}}\n");
    let names = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hope"];
    let lines: String = (0..80).map(|i| line(names[i % 8])).collect();
    bench.write("lines.jsonl", &lines);
    let train = format!("train={:?}", bench.path("lines.jsonl"));
    let sets = [train.as_str(), "tokenizer=bpe", "vocab_size=270", "dtype=bf16", "steps=80"];
    bench.run(&sets, false, 2, 1000).unwrap();
    let model = Model::load(bench.path("run/last"), &LoadOptions::default()).unwrap();
    let tokenizer = model.tokenizer.as_ref().unwrap();
    let end = tokenizer.token_id("<|endoftext|>").unwrap();
    assert_eq!((model.eos_ids.as_slice(), tokenizer.bos_id()), (&[end][..], Some(end)));
    assert_eq!(tokenizer.encode("The", true).unwrap()[0], end);
    // It has learned to end: after a whole text the likeliest token is the end.
    let ids = tokenizer.encode("The owl saw Eve. Good night, Eve!", true).unwrap();
    let ids = Tensor::new(ids, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let logits = model.decoder.logits(&ids).unwrap().squeeze(0).unwrap();
    let last = logits.get(logits.dim(0).unwrap() - 1).unwrap();
    assert_eq!(last.argmax(0).unwrap().to_scalar::<u32>().unwrap(), end);
}
