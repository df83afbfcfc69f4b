//! `taper generate`.

use std::io;
use std::ops::ControlFlow;

use anyhow::Context;

use super::edits::{EditArgs, compare};
use super::interrupt;
use super::options::{CacheArgs, ModelArgs, peak_memory};
use super::output::{Format, Output};
use super::prompts::{Named, PromptArgs, Wording};
use super::sampling::SamplingArgs;
use crate::error::{Error, Result};
use crate::generate::{Completion, Defaults, Prompt, Request, Voice, generate};
use crate::model::Model;

/// Tokens where neither the caller nor the checkpoint says how many. (transformers' 20, prompt
/// included, is meant to be noticed, not used.)
const MAX_TOKENS: usize = 256;

/// Continue a prompt. stdout carries the text (or JSON) and nothing else; Ctrl-C ends the text
/// where it is, with exit code 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    prompt: PromptArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// Tokens to generate at most [default: the checkpoint's, else 256]
    #[arg(short = 'n', long, value_name = "N")]
    max_tokens: Option<usize>,
    /// The prompt is what a user says, in the model's chat template
    #[arg(long, conflicts_with = "prompt_ids")]
    chat: bool,
    /// What the system says before
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// The same seed gives the same text [default: another each time, told on stderr]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Continuations of each prompt
    #[arg(long, default_value_t = 1, value_name = "N")]
    samples: usize,
    /// End before this text comes (repeatable)
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Go on after end-of-text tokens
    #[arg(long)]
    ignore_eos: bool,
    /// The prompt first, and its log-probabilities with --logprobs
    #[arg(long)]
    echo: bool,
    /// Log-probabilities of each token and the K likeliest, by the model's own logits: before
    /// penalties, temperature and cuts
    #[arg(long, value_name = "K")]
    logprobs: Option<usize>,
    /// How to write the result
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
    /// Prompts of --batch that run together
    #[arg(long, default_value_t = 16, value_name = "N")]
    batch_size: usize,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    edits: EditArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.logprobs.is_some() && args.format == Format::Text {
        let problem = "they have no place in plain text; add --format json or jsonl";
        return Err(Error::request("--logprobs", problem).into());
    }
    if args.batch_size == 0 {
        return Err(Error::request("--batch-size", "0 prompts are none; at least 1").into());
    }
    if args.edits.against && args.format != Format::Text {
        return Err(Error::request("--against", "it is written as text; leave --format out").into());
    }
    let model = args.model.load_with(&args.cache)?;
    let defaults = args.sampling.defaults(&model)?;
    let request = request(&args, &model, &defaults)?;
    let wording = Wording { chat: args.chat, system: args.system.as_deref() };
    let named = args.prompt.read(&model, &wording)?;
    let (prompts, names) = prompts(named, &args, &defaults);
    // Everything is checked before anything is said.
    let whole = Request { prompts: prompts.clone(), ..request.clone() };
    whole.validate(model.spec(), model.tokenizer.is_some())?;
    interrupt::watch()?;
    let mut output = Output::new(&model, args.format, names, args.samples)?;
    let (mut totals, mut said) = (Totals::default(), Vec::new());
    for (group, prompts) in prompts.chunks(args.batch_size).enumerate() {
        if !interrupt::asked() {
            let request = Request { prompts: prompts.to_vec(), ..request.clone() };
            let first = group * args.batch_size * args.samples;
            let completions = continue_all(&model, &request, first, &mut output)?;
            totals.add(&completions);
            said.extend(completions);
        }
    }
    output.finish().context("stdout")?;
    if args.edits.against && !interrupt::asked() {
        compare(&model, &whole, &said)?;
    }
    args.model.say(totals.line());
    Ok(())
}

/// What is asked, but for the prompts.
fn request(args: &Args, model: &Model, defaults: &Defaults) -> Result<Request> {
    let (sampling, line) = defaults.resolve(&args.sampling.choices(model)?)?;
    defaults.warnings.iter().for_each(|warning| args.model.say(format!("warning: {warning}")));
    // Small enough for every reader of JSON.
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let seeded = if sampling.greedy { String::new() } else { format!(", seed {seed}") };
    args.model.say(format!("{line}{seeded}"));
    let mut stop = args.stop.clone();
    if model.tokenizer.is_some() {
        stop.extend(defaults.stop.iter().cloned());
    }
    Ok(Request {
        samples: args.samples,
        sampling,
        seed,
        eos_ids: if args.ignore_eos { Vec::new() } else { model.eos_ids.clone() },
        stop,
        logprobs: args.logprobs,
        echo: args.echo,
        heads: args.edits.scales()?,
        ..Request::default()
    })
}

/// The prompts with their lengths, and their names.
fn prompts(
    named: Vec<Named>,
    args: &Args,
    defaults: &Defaults,
) -> (Vec<Prompt>, Vec<Option<serde_json::Value>>) {
    let fitted = named.into_iter().map(|Named { mut prompt, id }| {
        let asked = prompt.max_tokens.or(args.max_tokens);
        let max_tokens = asked.or_else(|| defaults.max_tokens(prompt.ids.len()));
        prompt.max_tokens = Some(max_tokens.unwrap_or(MAX_TOKENS));
        (prompt, id)
    });
    fitted.unzip()
}

/// Runs a group of prompts, whose first row is row `first` of the output.
fn continue_all(
    model: &Model,
    request: &Request,
    first: usize,
    output: &mut Output,
) -> anyhow::Result<Vec<Completion>> {
    let voice = model.tokenizer.as_ref().map(|tokenizer| tokenizer as &dyn Voice);
    let mut written: io::Result<()> = Ok(());
    let completions = generate(&model.decoder, voice, request, &mut |event| {
        if written.is_ok() {
            written = output.hear(first + event.row(), &event);
        }
        match written.is_err() || interrupt::asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    written.context("stdout")?;
    Ok(completions?)
}

/// What a run took, over its groups.
#[derive(Debug, Default)]
struct Totals {
    prompt_tokens: usize,
    prompt_s: f64,
    tokens: usize,
    /// Tokens after each row's first, which belongs to its prompt.
    stepped: usize,
    generation_s: f64,
    first_token_s: Option<f64>,
}

impl Totals {
    fn add(&mut self, completions: &[Completion]) {
        let longest = |of: fn(&Completion) -> f64| completions.iter().map(of).fold(0.0, f64::max);
        for completion in completions {
            // The samples of a prompt share it.
            if completion.sample == 0 {
                self.prompt_tokens += completion.timings.prompt_tokens;
            }
            self.tokens += completion.token_ids.len();
            self.stepped += completion.token_ids.len().saturating_sub(1);
        }
        self.prompt_s += longest(|c| c.timings.prompt_s);
        self.generation_s += longest(|c| c.timings.generation_s);
        self.first_token_s.get_or_insert(longest(|c| c.timings.first_token_s));
    }

    fn line(&self) -> String {
        let rate = |tokens: usize, seconds: f64| match seconds > 0.0 {
            true => format!(" ({:.1} tokens/s)", tokens as f64 / seconds),
            false => String::new(),
        };
        let tokens = |count: usize| format!("{count} token{}", if count == 1 { "" } else { "s" });
        let memory = peak_memory().map(|bytes| format!("; peak memory {} MB", bytes / 1_000_000));
        format!(
            "prompt {}{}; generated {}{}; first token after {:.3} s{}",
            tokens(self.prompt_tokens),
            rate(self.prompt_tokens, self.prompt_s),
            tokens(self.tokens),
            rate(self.stepped, self.generation_s),
            self.first_token_s.unwrap_or_default(),
            memory.unwrap_or_default(),
        )
    }
}
