//! `taper trace`.

use std::path::PathBuf;

use anyhow::bail;

use super::options::ModelArgs;
use crate::error::Error;
use crate::model::Model;
use crate::nn::{At, Site};
use crate::parity::{record, stamp};

/// Record the activations of one forward pass
///
/// Every probe site, or those asked for, into a safetensors file that `taper compare` and any
/// other tool reads; scripts/reference.py makes the same file from transformers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text, encoded as the model's tokenizer does by default
    #[arg(required_unless_present = "prompt_ids", conflicts_with = "prompt_ids")]
    prompt: Option<String>,
    /// Token ids instead of a text, for example 3,1,2
    #[arg(long, value_name = "IDS", value_delimiter = ',', num_args = 1)]
    prompt_ids: Option<Vec<u32>>,
    /// Where to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Only these sites, for example q_pos,scores
    #[arg(long, value_name = "SITES", value_delimiter = ',', value_parser = site)]
    sites: Option<Vec<Site>>,
    /// Only these layers, for example 0,5,11; the decoder's own sites stay
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    layers: Option<Vec<usize>>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let model = args.model.load()?;
    let ids = match &args.prompt_ids {
        Some(ids) => ids.clone(),
        None => encode(&model, args.prompt.as_deref().unwrap_or_default())?,
    };
    if ids.is_empty() {
        bail!("there is no token to compute");
    }
    let layers = model.spec().layers.len();
    if let Some(layer) = args.layers.iter().flatten().find(|layer| **layer >= layers) {
        bail!("--layers: there is no layer {layer}; the model has {layers}, from 0");
    }
    let wants = |at: At| {
        args.sites.as_ref().is_none_or(|sites| sites.contains(&at.site))
            && at.layer.is_none_or(|at| args.layers.as_ref().is_none_or(|list| list.contains(&at)))
    };
    let mut trace = record(&model.decoder, &[ids], wants)?;
    trace.metadata = stamp(&model, args.prompt.as_deref())?;
    trace.write(&args.output)?;
    args.model.say(format!(
        "{}: {} sites, {} tokens",
        args.output.display(),
        trace.sites.len(),
        trace.ids[0].len()
    ));
    Ok(())
}

/// A site's name, as an argument.
fn site(name: &str) -> Result<Site, String> {
    let names: Vec<&str> = Site::ALL.iter().map(|site| site.name()).collect();
    Site::from_name(name).ok_or_else(|| format!("no such site; there are {}", names.join(", ")))
}

/// A text's ids, as the model's tokenizer makes them.
pub(super) fn encode(model: &Model, text: &str) -> Result<Vec<u32>, Error> {
    match &model.tokenizer {
        Some(tokenizer) => tokenizer.encode(text, true),
        None => Err(Error::Tokenizer(format!("{} has none; give token ids", model.name))),
    }
}
