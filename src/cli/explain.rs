//! `taper explain`.

use std::io::Write;
use std::path::PathBuf;

use candle_core::DType;

use super::text::{TextArgs, writable, write};
use crate::error::Error;
use crate::inspect::{Focus, document, lesson};
use crate::model::Model;

/// Explain attention step by step, with the numbers of this model's run of your own text. What has
/// to add up is checked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    text: TextArgs,
    /// The layer, from 0 [default: where a head looks back most decidedly]
    #[arg(long, value_name = "L")]
    layer: Option<usize>,
    /// The head, from 0
    #[arg(long, value_name = "H")]
    head: Option<usize>,
    /// The position of the token that asks, from 0 [default: the last]
    #[arg(long, value_name = "T")]
    token: Option<usize>,
    /// As one page, with pictures
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// As Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let files = [&args.html, &args.markdown];
    files.into_iter().flatten().try_for_each(|path| writable(path))?;
    let looked = args.text.load()?;
    let focus = Focus {
        layer: args.layer,
        head: args.head,
        token: args.token,
        rounded: args.text.model.quantize.is_some() || is_quantised(&looked.model),
    };
    let lesson = lesson(&looked.model, &looked.ids, &focus)?;
    if let Some(path) = &args.html {
        write(path, document::html(&lesson.document).as_bytes(), &args.text.model)?;
    }
    if let Some(path) = &args.markdown {
        write(path, document::markdown(&lesson.document).as_bytes(), &args.text.model)?;
    }
    if args.html.is_none() && args.markdown.is_none() {
        write!(std::io::stdout().lock(), "{}", document::plain(&lesson.document))?;
    }
    let failed: Vec<String> = lesson.failed().iter().map(|check| check.line()).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => {
            Err(Error::request("explain", format!("it does not add up: {}", failed.join("; ")))
                .into())
        }
    }
}

/// Fewer than 16 bits a number, or arithmetic in as few.
fn is_quantised(model: &Model) -> bool {
    let dtype = model.decoder.dtype();
    model.account.bytes < 2 * model.account.parameters || dtype != DType::F32
}
