//! The command line: one thin file per command. Parse, one library call, print.

mod against;
mod attend;
mod bench;
mod chat;
mod compare;
mod edits;
mod explain;
mod generate;
mod heads;
mod inspect;
mod interrupt;
mod lens;
mod merge;
mod options;
mod output;
mod progress;
mod prompts;
mod pull;
mod sampling;
mod score;
mod text;
mod trace;
mod train;
mod tune;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A decoder-only transformer: runs Hugging Face and GGUF checkpoints and shows what they do.
#[derive(Debug, Parser)]
#[command(name = "taper", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(Box<generate::Args>),
    Chat(Box<chat::Args>),
    Inspect(inspect::Args),
    Attend(Box<attend::Args>),
    Lens(Box<lens::Args>),
    Heads(heads::Args),
    Explain(Box<explain::Args>),
    Pull(pull::Args),
    Merge(merge::Args),
    Bench(bench::Args),
    Trace(trace::Args),
    Compare(Box<compare::Args>),
    Score(score::Args),
    Train(train::Args),
}

/// Runs the command line. Exit code 0: done; 1: failed; 2: wrong usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    crate::kernels::keep_memory();
    let result = match cli.command {
        Command::Generate(args) => generate::run(*args),
        Command::Chat(args) => chat::run(*args),
        Command::Inspect(args) => inspect::run(args),
        Command::Attend(args) => attend::run(*args),
        Command::Lens(args) => lens::run(*args),
        Command::Heads(args) => heads::run(args),
        Command::Explain(args) => explain::run(*args),
        Command::Pull(args) => pull::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Compare(args) => return compare::run(*args),
        Command::Score(args) => score::run(args),
        Command::Train(args) => train::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A reader that went away is no failure of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
