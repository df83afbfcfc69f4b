//! `taper score`.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::interrupt;
use super::options::{CacheArgs, ModelArgs};
use super::trace::encode;
use crate::error::{Error, Result};
use crate::parity::{Plan, Scores, score};

/// Score a text: the log-probability of every token, and the perplexity
///
/// A text longer than the window is read in windows that lie a stride apart, as Hugging Face's
/// guide on perplexity has it: each predicts what the one before has not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// The text; `-` is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Tokens that the model sees at once [default: as many as it has positions, at most 1024]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Tokens from one window to the next [default: half a window]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// The first so many tokens only
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Only the summary, no tokens
    #[arg(long)]
    summary: bool,
    /// text, json, or jsonl: a line a token and one for the summary
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Jsonl,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    interrupt::watch()?;
    let text = text_of(&args.file)?;
    let model = args.model.load_with(&args.cache)?;
    let mut ids = encode(&model, &text)?;
    ids.truncate(args.max_tokens.unwrap_or(usize::MAX));
    let window = args.window.unwrap_or(model.spec().max_seq_len.min(1024));
    let plan = Plan { window, stride: args.stride.unwrap_or((window / 2).max(1)) };
    let waiting = bar(args.model.quiet, ids.len() as u64);
    let mut scores = score(&model.decoder, &ids, plan, &mut |n| {
        waiting.inc(n as u64);
        match interrupt::asked() {
            true => Err(Error::request("score", "was interrupted")),
            false => Ok(()),
        }
    })?;
    waiting.finish_and_clear();
    if let Some(tokenizer) = &model.tokenizer {
        for token in &mut scores.tokens {
            token.token = Some(tokenizer.token_text(token.id));
        }
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    print(&mut out, &args, plan, scores)?;
    out.flush()?;
    Ok(())
}

fn print(out: &mut impl Write, args: &Args, plan: Plan, mut scores: Scores) -> anyhow::Result<()> {
    let tokens = std::mem::take(&mut scores.tokens);
    let tokens = if args.summary { Vec::new() } else { tokens };
    let mut sums = json!({
        "predicted": scores.predicted,
        "nll": scores.nll,
        "nll_error": scores.nll_error,
        "perplexity": scores.perplexity,
        "perplexity_error": scores.perplexity_error,
        "guide_perplexity": scores.guide_perplexity,
        "window": plan.window,
        "stride": plan.stride,
    });
    match args.format {
        Format::Json => {
            if !args.summary {
                sums["tokens"] = serde_json::to_value(&tokens)?;
            }
            serde_json::to_writer_pretty(&mut *out, &sums)?;
            writeln!(out)?;
        }
        Format::Jsonl => {
            for token in &tokens {
                serde_json::to_writer(&mut *out, token)?;
                writeln!(out)?;
            }
            serde_json::to_writer(&mut *out, &sums)?;
            writeln!(out)?;
        }
        Format::Text => {
            for token in &tokens {
                let logprob = token.logprob.map_or("-".into(), |logprob| format!("{logprob:.4}"));
                let text = token.token.as_deref().unwrap_or_default();
                writeln!(out, "{:>10}  {:>6}  {text:?}", logprob, token.id)?;
            }
            writeln!(
                out,
                "perplexity {:.4} ± {:.4} over {} tokens, {:.6} ± {:.6} nats a token (window {}, stride {})",
                scores.perplexity,
                scores.perplexity_error,
                scores.predicted,
                scores.nll,
                scores.nll_error,
                plan.window,
                plan.stride
            )?;
        }
    }
    Ok(())
}

/// A bar on stderr, where somebody looks.
pub(super) fn bar(quiet: bool, tokens: u64) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(tokens), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} tokens {eta}") {
        bar.set_style(style);
    }
    bar
}

/// A file's text, or stdin's.
pub(super) fn text_of(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        _ => std::fs::read(file).map(|read| bytes = read),
    };
    read.map_err(|error| Error::file(file, error))?;
    String::from_utf8(bytes).map_err(|error| Error::file(file, format!("is not UTF-8: {error}")))
}
