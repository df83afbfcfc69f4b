//! The loop: gradients, a change, and now and then a measurement and a checkpoint. What becomes of
//! them on a screen is the observer's affair.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::adamw::AdamW;
use super::begin::Start;
use super::corpus::Order;
use super::curve;
use super::export::{latest, replace};
use super::gradients::{How, evaluate, gradients};
use super::log::{self, Line, Log};
use super::recipe::{Export, Recipe};
use super::state::{self, Facts};
use crate::error::{Error, Result};
use crate::kernels;

/// What a run tells while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was taken; its line of the log, every step.
    Step(&'a Line),
    /// The validation loss was measured.
    Evaluated(&'a Line),
    /// A checkpoint was written to this folder.
    Saved(&'a Path),
}

/// Who watches a run.
pub trait Observer {
    /// Something happened.
    ///
    /// # Errors
    /// Whatever should end the run.
    fn hear(&mut self, event: Event<'_>) -> Result<()>;

    /// Should the run end here? It is saved first.
    fn stops(&mut self) -> bool;
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Steps taken, those of earlier runs among them.
    pub steps: usize,
    /// The last validation loss.
    pub valid_loss: Option<f64>,
    /// The model, as it is at the end.
    pub folder: PathBuf,
    /// Whether it was asked to end before its time.
    pub stopped: bool,
}

/// Trains what `start` holds, in the recipe's folder: `last/` is the newest checkpoint, `best/`
/// the one with the smallest validation loss, `log.jsonl` the log, `curve.svg` its picture. With `resume` it goes on where
/// `last/` stands, to the same numbers as a run that never ended.
///
/// # Errors
/// [`Error::Diverged`] where the loss or a gradient is no number: checkpoints stay as they are.
/// [`Error::File`] for what cannot be written.
pub fn train(
    recipe: &Recipe,
    start: &Start,
    resume: bool,
    threads: usize,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    kernels::keep_memory_together();
    let mut run = Run::open(recipe, start, resume, threads)?;
    let mut stopped = false;
    while run.facts.step < recipe.steps && !stopped {
        run.step(observer)?;
        stopped = observer.stops();
        let (step, last) = (run.facts.step, run.facts.step == recipe.steps);
        if last || step.is_multiple_of(recipe.evaluate_every) {
            run.evaluate(observer)?;
        }
        if last || stopped || step.is_multiple_of(recipe.save_every) {
            run.save(observer)?;
        }
    }
    run.draw()?;
    let (steps, valid_loss) = (run.facts.step, run.valid_loss);
    Ok(Outcome { steps, valid_loss, folder: run.last, stopped })
}

/// A run under way.
struct Run<'a> {
    recipe: &'a Recipe,
    start: &'a Start,
    how: How,
    optimizer: AdamW,
    order: Order,
    facts: Facts,
    log: Log,
    last: PathBuf,
    best: PathBuf,
    valid_loss: Option<f64>,
    since: Since,
}

/// Sums since the last line of the log.
struct Since {
    loss: f64,
    steps: usize,
    tokens: usize,
    began: Instant,
}

impl Since {
    fn now() -> Self {
        Self { loss: 0.0, steps: 0, tokens: 0, began: Instant::now() }
    }
}

impl<'a> Run<'a> {
    fn open(recipe: &'a Recipe, start: &'a Start, resume: bool, threads: usize) -> Result<Self> {
        let out = &recipe.out;
        std::fs::create_dir_all(out).map_err(|e| Error::file(out, e))?;
        let (last, best) = (out.join("last"), out.join("best"));
        let mut facts = Facts::new(recipe, &start.train);
        let mut optimizer = AdamW::new(&start.variables);
        match (latest(&last), resume) {
            (Some(folder), true) => {
                state::read(&folder, &start.variables, &mut optimizer, &mut facts)?;
            }
            (None, true) => {
                return Err(Error::file(&last, "is not there: no run that could go on"));
            }
            (Some(_), false) => {
                let hint =
                    "holds a run already: --resume goes on with it, another `out` begins one";
                return Err(Error::file(out, hint));
            }
            (None, false) => {}
        }
        Ok(Self {
            log: Log::open(&out.join("log.jsonl"), facts.step)?,
            order: Order::new(recipe.seed, start.train.rows()),
            since: Since::now(),
            valid_loss: None,
            recipe,
            start,
            how: How {
                micro: recipe.micro_batch,
                threads,
                rounded: recipe.products == Export::Bf16,
                dropout: recipe.dropout,
                seed: recipe.seed,
            },
            optimizer,
            facts,
            last,
            best,
        })
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let (recipe, variables) = (self.recipe, &self.start.variables);
        let rows = self.order.rows(self.facts.step, recipe.batch);
        let given = gradients(variables, &self.start.train, &rows, self.how, self.facts.step)?;
        let (norm, step) = (given.norm(), self.facts.step + 1);
        if !given.loss.is_finite() || !norm.is_finite() {
            let what = if given.loss.is_finite() { "a gradient" } else { "the loss" };
            return Err(Error::Diverged { step, what: what.into(), kept: self.kept() });
        }
        let cut = if recipe.clip > 0.0 { (recipe.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let rate = recipe.rate(self.facts.step);
        self.optimizer.step(variables, &given.list, cut, rate, recipe)?;
        self.facts.step = step;
        self.since.loss += given.loss;
        self.since.steps += 1;
        self.since.tokens += given.count;
        let line = Line {
            step,
            loss: Some(self.since.loss / self.since.steps as f64),
            valid_loss: None,
            learning_rate: Some(rate),
            gradient_norm: Some(norm),
            tokens: Some(step * recipe.batch * recipe.seq_len),
            tokens_per_second: Some(
                self.since.tokens as f64 / self.since.began.elapsed().as_secs_f64(),
            ),
        };
        if step.is_multiple_of(recipe.log_every) || step == recipe.steps {
            self.log.line(&line)?;
            self.since = Since::now();
        }
        observer.hear(Event::Step(&line))
    }

    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let (recipe, start) = (self.recipe, self.start);
        let (all, wanted) = (start.valid.rows(), recipe.evaluate_rows.min(start.valid.rows()));
        // Spread evenly over all: rows lie in the order of their documents' lengths.
        let rows: Vec<usize> = (0..wanted).map(|i| i * all / wanted).collect();
        let began = Instant::now();
        let (loss, _) = evaluate(&start.variables, &start.valid, &rows, self.how)?;
        self.since.began += began.elapsed(); // no time of learning
        self.valid_loss = Some(loss);
        let line = Line { step: self.facts.step, valid_loss: Some(loss), ..Line::default() };
        self.log.line(&line)?;
        if self.facts.best.is_none_or(|best| loss < best) {
            self.facts.best = Some(loss);
            replace(&self.best, |folder| start.files.write(folder, &start.variables))?;
        }
        observer.hear(Event::Evaluated(&line))
    }

    fn save(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let began = Instant::now();
        replace(&self.last, |folder| {
            self.start.files.write(folder, &self.start.variables)?;
            state::write(folder, &self.start.variables, &self.optimizer, &self.facts)
        })?;
        observer.hear(Event::Saved(&self.last))?;
        self.since.began += began.elapsed();
        Ok(())
    }

    fn draw(&self) -> Result<()> {
        let path = self.recipe.out.join("curve.svg");
        let drawn = curve::svg(&log::read(&self.recipe.out.join("log.jsonl"))?);
        std::fs::write(&path, drawn).map_err(|e| Error::file(&path, e))
    }

    /// The checkpoint that a run which fails leaves, for its error.
    fn kept(&self) -> String {
        match latest(&self.last) {
            Some(folder) => format!("the last good checkpoint is {}", folder.display()),
            None => "no checkpoint was written yet".into(),
        }
    }
}
