//! `taper inspect`.

use super::options::ModelArgs;

/// Show what a checkpoint is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not there yet: {:?}", args.model)
}
