//! `taper train`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::interrupt;
use super::options::{spinner, threads};
use super::progress::Bars;
use super::tune::TuneArgs;
use crate::error::Result;
use crate::generate::{Defaults, Request, Voice, generate};
use crate::model::{LoadOptions, Model, Opened};
use crate::train::{Event, Line, Observer, Recipe, begin, curve, read_log, train};
use crate::weights::hub::Silent;

/// Train a model from a recipe, or go on with one (--from MODEL --data FILE), all of its weights or
/// an adapter (--lora-rank 8). The recipe is a TOML file (configs/train/); results are ordinary
/// Hugging Face folders, or PEFT's. Ctrl-C saves and ends.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recipe
    #[arg(value_name = "RECIPE.toml")]
    recipe: Option<PathBuf>,
    /// Go on where the run's last checkpoint stands
    #[arg(long)]
    resume: bool,
    /// Something other than the recipe says, such as steps=2000 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Threads, each of which computes rows of its own; they change no number [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    tune: TuneArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = args.threads.unwrap_or(cores);
    // Rows are shared among threads; within one, products stay on it.
    threads(Some(1))?;
    let recipe = args.tune.recipe(args.recipe.as_ref(), &args.set)?;
    let waiting = spinner(args.quiet, "reading model and data".into());
    let start = begin(&recipe, workers, &mut Bars::new(args.quiet))?;
    waiting.finish_and_clear();
    interrupt::watch()?;
    let mut screen = Screen::new(&recipe, args.quiet);
    screen.say(&format!(
        "{} parameters; {} tokens in {} rows to learn from, {} to measure with",
        start.variables.count(),
        start.train.tokens(),
        start.train.rows(),
        start.valid.tokens()
    ));
    if start.train.cut > 0 {
        let tail = if start.train.cut == 1 { "text is" } else { "texts are" };
        screen.say(&format!("{} {tail} longer than a row and cut", start.train.cut));
    }
    let outcome = train(&recipe, &start, args.resume, workers, &mut screen)?;
    screen.bar.finish_and_clear();
    if !args.quiet {
        let columns = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let lines = read_log(&recipe.out.join("log.jsonl"))?;
        screen.say(curve::text(&lines, columns.min(100), 12).trim_end());
    }
    let ended = if outcome.stopped { "stopped; --resume goes on" } else { "done" };
    let loss = outcome.valid_loss.map_or(String::new(), |loss| format!(", valid loss {loss:.4}"));
    screen.say(&format!("{ended}: {} steps{loss}", outcome.steps));
    writeln!(std::io::stdout(), "{}", outcome.folder.display())?;
    Ok(())
}

/// A bar on a terminal, lines elsewhere.
struct Screen<'a> {
    recipe: &'a Recipe,
    quiet: bool,
    bar: ProgressBar,
    valid: Option<f64>,
}

impl<'a> Screen<'a> {
    fn new(recipe: &'a Recipe, quiet: bool) -> Self {
        let bar = match !quiet && std::io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(
                Some(recipe.steps as u64),
                ProgressDrawTarget::stderr(),
            ),
            false => ProgressBar::hidden(),
        };
        const STYLE: &str = "{wide_bar} {pos}/{len} {msg} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        Self { recipe, quiet, bar, valid: None }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    fn stepped(&mut self, line: &Line) {
        let loss = line.loss.unwrap_or(f64::NAN);
        let speed = line.tokens_per_second.unwrap_or(0.0);
        let valid = self.valid.map_or(String::new(), |loss| format!(" valid {loss:.4}"));
        self.bar.set_position(line.step as u64);
        self.bar.set_message(format!("loss {loss:.4}{valid} {speed:.0} tokens/s"));
        let rest = self.recipe.steps - line.step;
        if self.bar.is_hidden() && (line.step.is_multiple_of(self.recipe.log_every) || rest == 0) {
            let seconds = (rest * self.recipe.batch * self.recipe.seq_len) as f64 / speed;
            let left = format!("{}:{:02} min left", seconds as u64 / 60, seconds as u64 % 60);
            let steps = self.recipe.steps;
            self.say(&format!(
                "{}/{steps}: loss {loss:.4}, {speed:.0} tokens/s, {left}",
                line.step
            ));
        }
    }

    /// Continues the recipe's prompts with the checkpoint in `folder`, as its defaults say.
    fn sample(&self, folder: &Path) -> Result<()> {
        if self.quiet || self.recipe.samples.is_empty() {
            return Ok(());
        }
        let model = match (&self.recipe.lora, &self.recipe.from) {
            (Some(_), Some(from)) => {
                let adapters = vec![folder.to_path_buf()];
                let options = LoadOptions { adapters, ..LoadOptions::default() };
                Opened::find(from, &options, &mut Silent)?.load(&options)?
            }
            _ => Model::load(folder, &LoadOptions::default())?,
        };
        let Some(tokenizer) = &model.tokenizer else { return Ok(()) };
        let defaults = Defaults::read(&model.generation_config, "generation_config.json")?;
        for prompt in &self.recipe.samples {
            let ids = tokenizer.encode(prompt, true)?;
            let room = model.spec().max_seq_len.saturating_sub(ids.len());
            let request = Request {
                max_tokens: defaults.max_tokens(ids.len()).unwrap_or(256).min(room),
                prompts: vec![ids.into()],
                sampling: defaults.sampling.clone(),
                eos_ids: model.eos_ids.clone(),
                ..Request::default()
            };
            let voice: Option<&dyn Voice> = Some(tokenizer);
            let mut listen = |_: crate::generate::Event<'_>| match interrupt::asked() {
                true => std::ops::ControlFlow::Break(()),
                false => std::ops::ControlFlow::Continue(()),
            };
            for completion in generate(&model.decoder, voice, &request, &mut listen)? {
                self.say(&format!("│ {prompt}{}", completion.text.replace('\n', "\n│ ")));
            }
        }
        Ok(())
    }
}

impl Observer for Screen<'_> {
    fn hear(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Step(line) => self.stepped(line),
            Event::Evaluated(line) => {
                self.valid = line.valid_loss;
                let loss = line.valid_loss.unwrap_or(f64::NAN);
                self.say(&format!("step {}: valid loss {loss:.4}", line.step));
            }
            Event::Saved(folder) => {
                self.say(&format!("saved {}", folder.display()));
                if !interrupt::asked() {
                    self.sample(folder)?;
                }
            }
        }
        Ok(())
    }

    fn stops(&mut self) -> bool {
        interrupt::asked()
    }
}
