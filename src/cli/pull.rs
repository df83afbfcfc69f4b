//! `taper pull`: a model from the hub into the cache; its folder on stdout.

use std::io::Write;

use super::progress::Bars;
use crate::weights::hub::{Hub, resolve};

/// Download a model and print the folder it lies in
///
/// Only the files that running it needs are fetched. What is in the cache already is not fetched
/// again, and an interrupted download goes on where it stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A hub id: `org/name[@revision]`; of a repository of GGUF files, `org/name/file.gguf` or
    /// `org/name:Q4_K_M`
    #[arg(value_name = "MODEL")]
    model: String,
    /// Use only files that are on this machine already
    #[arg(long)]
    offline: bool,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut hub = Hub::from_env();
    hub.offline |= args.offline;
    let path = resolve(&args.model, &hub, &mut Bars::new(args.quiet))?;
    writeln!(std::io::stdout(), "{}", path.display())?;
    Ok(())
}
