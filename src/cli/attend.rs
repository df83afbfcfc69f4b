//! `taper attend`.

use std::io::Write;
use std::path::PathBuf;

use super::text::{Looked, TextArgs, window, writable, write};
use crate::error::{Error, Result};
use crate::inspect::{Attended, Of, Plan, Token, attend, heat, page, png, svg, table, title};
use crate::nn::{At, Probe, Recorder, Site};
use crate::parity::Trace;

/// Cells along a picture's side at most.
const PICTURE: usize = 1024;

/// Bytes of maps that `--safetensors` writes at most.
const MOST_BYTES: usize = 4 << 30;

/// Show where every head looks: as a heat map in the terminal, as numbers, pictures, or one page
/// to click through. Only the layers looked at leave the fast path.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    text: TextArgs,
    /// These layers, from 0, divided by commas [default: all]
    #[arg(long, value_name = "L", value_delimiter = ',')]
    layer: Vec<usize>,
    /// These heads of each, from 0 [default: all]
    #[arg(long, value_name = "H", value_delimiter = ',')]
    head: Vec<usize>,
    /// Keys to name that each query looks at most [default: 3 where layers are chosen]
    #[arg(long, value_name = "K")]
    top: Option<usize>,
    /// Tables without colour, as where the output is piped
    #[arg(long)]
    plain: bool,
    /// Numbers as JSON
    #[arg(long)]
    json: bool,
    /// A picture; of several heads their mean
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// A picture with text
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Every head of every layer, the lens and the ranking, as one page to click through
    #[arg(long, value_name = "FILE", conflicts_with_all = ["layer", "head"])]
    html: Option<PathBuf>,
    /// Queries, keys, values, patterns and weighted sums, as a trace
    #[arg(long, value_name = "FILE")]
    safetensors: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let files = [&args.png, &args.svg, &args.html, &args.safetensors];
    files.into_iter().flatten().try_for_each(|path| writable(path))?;
    let looked = args.text.load()?;
    let room = window(args.plain || args.json);
    let drawn = args.png.is_some() || args.svg.is_some();
    let plan = Plan {
        layers: args.layer.clone(),
        heads: args.head.clone(),
        top: args.top.unwrap_or(if args.layer.is_empty() { 0 } else { 3 }),
        map: match room {
            _ if drawn => Some(PICTURE),
            Some(room) => Some(room.cells()),
            None => None,
        },
        whole: args.safetensors.is_some(),
    };
    plan.validate(looked.model.spec())?;
    if let Some(path) = &args.html {
        let page = page(&looked.model, &looked.ids, looked.prompt)?;
        write(path, page.as_bytes(), &args.text.model)?;
    }
    let mut picture = None;
    let wanted = wanted(&args);
    let mut recorder = recorder(&args, &looked)?;
    let also = recorder.as_mut().map(|recorder| recorder as &mut dyn Probe);
    let seen = attend(&looked.model.decoder, &looked.ids, &plan, also, &mut |of, map| {
        if of == wanted {
            picture = Some(map);
        }
        Ok(())
    })?;
    if let (Some(path), Some(recorder)) = (&args.safetensors, recorder) {
        let ids = vec![looked.ids.clone()];
        Trace { ids, sites: recorder.sites, ..Trace::default() }.write(path)?;
        args.text.model.say(format!("{}: written", path.display()));
    }
    let (title, notes) = caption(&looked, &seen, wanted);
    if let Some(map) = picture.as_ref().filter(|_| drawn) {
        if let Some(path) = &args.png {
            write(path, &png(map, &looked.labels, &title, &notes)?, &args.text.model)?;
        }
        if let Some(path) = &args.svg {
            let picture = svg(map, &looked.labels, &title, &notes)?;
            write(path, picture.as_bytes(), &args.text.model)?;
        }
    }
    print(
        &args,
        &looked,
        &seen,
        room.zip(picture.as_ref())
            .map(|(room, map)| format!("{title}\n{}", heat(map, &looked.labels, room))),
    )
}

/// What the picture is of.
fn wanted(args: &Args) -> Of {
    match (args.layer.as_slice(), args.head.as_slice()) {
        ([layer], [head]) => Of::Head(*layer, *head),
        ([layer], _) => Of::Layer(*layer),
        _ => Of::All,
    }
}

/// What is said above a picture, and below that.
fn caption(looked: &Looked, seen: &Attended, of: Of) -> (String, Vec<String>) {
    let name = title(&looked.model);
    let tokens = looked.ids.len();
    let layer = |number: usize| {
        let layer = seen.layers.iter().find(|layer| layer.layer == number);
        layer.map(|layer| layer.describe()).into_iter().collect::<Vec<_>>()
    };
    match of {
        Of::All => (format!("{name}: mean of {} heads, {tokens} tokens", seen.heads.len()), vec![]),
        Of::Layer(number) => (
            format!("{name}: layer {number}, mean of {} heads, {tokens} tokens", seen.heads.len()),
            layer(number),
        ),
        Of::Head(number, head) => {
            let heading = format!("{name}: head {number}.{head}, {tokens} tokens");
            let view = seen.heads.iter().find(|view| (view.layer, view.head) == (number, head));
            let numbers = view.map(|view| {
                let s = &view.statistics;
                format!(
                    "kv head {}; entropy {:.3}, first {:.3}, previous {:.3}, self {:.3}, mean distance {:.1}",
                    view.kv_head, s.entropy, s.first, s.previous, s.own, s.distance
                )
            });
            (heading, layer(number).into_iter().chain(numbers).collect())
        }
    }
}

/// The JSON: written as it is, since every query of a long text is too much to hold twice.
#[derive(serde::Serialize)]
struct Whole<'a> {
    model: &'a str,
    family: &'a str,
    dtype: &'static str,
    prompt_tokens: usize,
    tokens: &'a [Token],
    #[serde(flatten)]
    seen: &'a Attended,
}

fn print(
    args: &Args,
    looked: &Looked,
    seen: &Attended,
    picture: Option<String>,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        let whole = Whole {
            model: &looked.model.name,
            family: &looked.model.family,
            dtype: looked.model.decoder.dtype().as_str(),
            prompt_tokens: looked.prompt,
            tokens: &looked.tokens,
            seen,
        };
        serde_json::to_writer_pretty(&mut out, &whole)?;
        writeln!(out)?;
        return Ok(());
    }
    if let Some(picture) = picture {
        writeln!(out, "{picture}")?;
    }
    write!(out, "{}", table::heads(seen))?;
    for head in seen.heads.iter().filter(|head| !head.queries.is_empty()) {
        write!(out, "\n{}", table::queries(head, &looked.labels))?;
    }
    Ok(())
}

/// Keeps the layers' activations, whole, where a file of them is asked for.
fn recorder<'a>(
    args: &'a Args,
    looked: &Looked,
) -> Result<Option<Recorder<impl Fn(At) -> bool + 'a>>> {
    if args.safetensors.is_none() {
        return Ok(None);
    }
    let chosen = |layer: usize| args.layer.is_empty() || args.layer.contains(&layer);
    let layers = looked.model.spec().layers.iter().enumerate().filter(|(at, _)| chosen(*at));
    let heads: usize = layers.map(|(_, layer)| layer.attention.n_heads).sum();
    let bytes = heads * looked.ids.len() * looked.ids.len() * 4;
    if bytes > MOST_BYTES {
        let problem = format!(
            "the patterns of {heads} heads are {} GB; choose a --layer, or take --json, which needs no matrix",
            bytes / 1_000_000_000
        );
        return Err(Error::request("--safetensors", problem));
    }
    Ok(Some(Recorder::new(move |at: At| {
        let site = matches!(at.site, Site::Q | Site::K | Site::V | Site::Pattern | Site::Z);
        site && at.layer.is_some_and(chosen)
    })))
}
