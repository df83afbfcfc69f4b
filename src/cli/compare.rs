//! `taper compare`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::DType;
use clap::ArgGroup;

use super::against;
use super::options::{ModelArgs, spinner};
use crate::error::Error;
use crate::model::Model;
use crate::parity::python::{Wanted, reference};
use crate::parity::{Options, Trace, Verdict, html, judge_against, sites, summary};

/// Compare a model with PyTorch, site by site, or with another model
///
/// Against a reference made by scripts/reference.py (or, with --python, made here and now): where
/// the two part, and which known fault explains it. Exit code 0: equal, or different by no more
/// than rounding; 1: different; 2: there is nothing to compare.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("with").required(true).args(["reference", "python", "against"])))]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// A trace of the same model from transformers
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Make the reference with this Python [default: python3 if it has PyTorch, else uv]
    #[arg(long, value_name = "INTERPRETER", num_args = 0..=1)]
    python: Option<Option<PathBuf>>,
    /// Another model with the same vocabulary: divergence and perplexity over a text
    #[arg(long, value_name = "MODEL")]
    pub(super) against: Option<String>,
    /// Numbers for the other model to compute in
    #[arg(long, value_name = "DTYPE", default_value = "auto", requires = "against")]
    pub(super) against_dtype: String,
    /// The text for --against [default: a paragraph that is built in]
    #[arg(long, value_name = "FILE", requires = "against")]
    pub(super) text: Option<PathBuf>,
    /// Tokens that the models see at once, for --against
    #[arg(long, value_name = "N", default_value_t = 512, requires = "against")]
    pub(super) window: usize,
    /// The prompt for --python, or the one that the reference must have been made for
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Token ids for --python
    #[arg(
        long,
        value_name = "IDS",
        value_delimiter = ',',
        num_args = 1,
        conflicts_with = "prompt"
    )]
    prompt_ids: Option<Vec<u32>>,
    /// Largest difference that is none, for numbers up to 1 (with --against: largest divergence)
    /// [default: 1e-4]
    #[arg(long, value_name = "X")]
    pub(super) tolerance: Option<f32>,
    /// Compare although the reference was made from other files
    #[arg(long)]
    force: bool,
    /// Every layer
    #[arg(short, long)]
    verbose: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Also as a page, in one file
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    html: Option<PathBuf>,
}

/// The whole command; its exit code says what came out.
pub(crate) fn run(args: Args) -> ExitCode {
    let ran = match &args.against {
        Some(other) => against::run(&args, other),
        None => compared(&args),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) if super::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn compared(args: &Args) -> anyhow::Result<bool> {
    if args.reference.is_none() && !args.model.adapter.is_empty() {
        let problem = "PyTorch would run the base without it; merge it (taper merge) and compare \
                       the result, or make a reference of that";
        return Err(Error::request("--adapter", problem).into());
    }
    let model = args.model.load()?;
    let theirs = match &args.reference {
        Some(file) => Trace::read(file)?,
        None => made(args, &model)?,
    };
    let options = Options {
        tolerance: args.tolerance,
        prompt: args.prompt.clone(),
        force: args.force,
        no_reasons: false,
    };
    let waiting = spinner(args.model.quiet, "comparing".into());
    let report = judge_against(&model, &theirs, &options)?;
    waiting.finish_and_clear();
    if let Some(file) = &args.html {
        std::fs::write(file, html(&report)).map_err(|error| Error::file(file, error))?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}\n{}", sites(&report, args.verbose), summary(&report))?;
    }
    Ok(report.verdict != Verdict::Different)
}

/// A reference of this model, made with Python.
fn made(args: &Args, model: &Model) -> anyhow::Result<Trace> {
    const PROMPT: &str = "The quick brown fox jumps over the lazy dog.";
    let folder = std::env::temp_dir().join(format!("taper-compare-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
    let vocab = model.spec().vocab_size as u32;
    let some: Vec<u32> =
        (0..16.min(model.spec().max_seq_len as u32)).map(|i| (7 * i + 1) % vocab).collect();
    let prompt = match (&args.prompt_ids, &args.prompt) {
        (Some(ids), _) => Err(ids.as_slice()),
        (_, Some(text)) => Ok(text.as_str()),
        _ if model.tokenizer.is_some() => Ok(PROMPT),
        _ => Err(some.as_slice()),
    };
    let wanted = Wanted {
        model: &path_of(model),
        prompt,
        dtype: "f32",
        yardstick: match model.decoder.dtype() {
            DType::BF16 => Some("bf16"),
            DType::F16 => Some("f16"),
            _ => None,
        },
        greedy: 16,
    };
    let interpreter = args.python.as_ref().and_then(Option::as_deref);
    let waiting = spinner(args.model.quiet, "PyTorch is computing the reference".into());
    let made = make(&folder, interpreter, &wanted);
    waiting.finish_and_clear();
    let _ = std::fs::remove_dir_all(&folder); // whatever came of it, nothing stays
    made
}

fn make(folder: &Path, python: Option<&Path>, wanted: &Wanted<'_>) -> anyhow::Result<Trace> {
    let file = folder.join("reference.safetensors");
    reference(python, wanted, &file)?;
    Ok(Trace::read(&file)?)
}

/// What a loader of Python's is given for the checkpoint: a GGUF file, or a folder.
fn path_of(model: &Model) -> String {
    let checkpoint = model.checkpoint();
    match checkpoint.gguf() {
        Some(_) => checkpoint.origin().into(),
        None => checkpoint.folder().display().to_string(),
    }
}
