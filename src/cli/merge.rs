//! `taper merge`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::Bars;
use crate::model::{LoadOptions, Opened};

/// Fold LoRA adapters into a model: an ordinary Hugging Face folder that needs none
///
/// The sums are made in f32 and stored in the dtype that the model stores its weights in.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model that the adapter was made for: a folder or a hub id `org/name[@revision]`
    #[arg(short, long, value_name = "MODEL")]
    model: String,
    /// A folder with a LoRA adapter of PEFT's (repeatable: all are added)
    #[arg(long, value_name = "FOLDER", required = true)]
    adapter: Vec<PathBuf>,
    /// The folder to make
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Use only files that are on this machine already
    #[arg(long)]
    offline: bool,
    /// Go on when a configuration has keys nobody decided about
    #[arg(long)]
    allow_unknown_keys: bool,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let options = LoadOptions {
        allow_unknown_keys: args.allow_unknown_keys,
        offline: args.offline,
        adapters: args.adapter,
        ..LoadOptions::default()
    };
    let opened = Opened::find(&args.model, &options, &mut Bars::new(args.quiet))?;
    let say = |line: String| {
        if !args.quiet {
            eprintln!("{line}");
        }
    };
    opened.notices().for_each(say);
    let bar = bar(args.quiet, opened.checkpoint.total_bytes());
    opened.save(&args.output, &mut |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    for adaptation in &opened.adaptations {
        say(adaptation.to_string());
    }
    writeln!(std::io::stdout(), "{}", args.output.display())?;
    Ok(())
}

fn bar(quiet: bool, bytes: u64) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}") {
        bar.set_style(style);
    }
    bar
}
