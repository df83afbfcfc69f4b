//! `taper lens`.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::text::{Looked, TextArgs, window, writable, write};
use crate::error::Error;
use crate::inspect::{
    Depth, Ground, Reading, Token, colour, depths, document, lens, padded, shortened, title,
    visible,
};

/// Columns of a cell in the table of colours.
const CELL: usize = 11;

/// Show what the model would say next if it ended after each layer (the logit lens).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    text: TextArgs,
    /// Likeliest tokens to name of each layer
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,
    /// Read only this position, from 0 [default: all; in plain tables the last]
    #[arg(long, value_name = "T")]
    position: Option<usize>,
    /// A table without colour, as where the output is piped
    #[arg(long)]
    plain: bool,
    /// Every position as JSON
    #[arg(long)]
    json: bool,
    /// Every position as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.top == 0 {
        return Err(Error::request("--top", "0 tokens say nothing; at least 1").into());
    }
    args.html.iter().try_for_each(|path| writable(path))?;
    let looked = args.text.load()?;
    let positions = positions(&args, looked.ids.len())?;
    let readings = lens(&looked.model.decoder, &looked.ids, positions, args.top)?;
    if let Some(path) = &args.html {
        let name = title(&looked.model);
        let page = depths(&name, &looked.labels, &readings, &|id| label(&looked, id))?;
        write(path, document::html(&page).as_bytes(), &args.text.model)?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let whole = json!({
            "model": looked.model.name,
            "tokens": looked.tokens,
            "positions": readings.iter().map(|reading| worded(&looked, reading)).collect::<Vec<_>>(),
        });
        serde_json::to_writer_pretty(&mut out, &whole)?;
        writeln!(out)?;
        return Ok(());
    }
    if let Some(room) = window(args.plain).filter(|_| args.position.is_none()) {
        wall(&mut out, &looked, &readings, room.columns)?;
    }
    if let Some(last) = readings.last() {
        table(&mut out, &looked, last)?;
    }
    if readings.len() > 1 {
        summary(&mut out, &looked, &readings)?;
    }
    Ok(())
}

fn positions(args: &Args, tokens: usize) -> Result<std::ops::Range<usize>, Error> {
    match args.position {
        None => Ok(0..tokens),
        Some(at) if at < tokens => Ok(at..at + 1),
        Some(at) => {
            Err(Error::request("--position", format!("{at} is none of 0 to {}", tokens - 1)))
        }
    }
}

fn label(looked: &Looked, id: u32) -> String {
    Token::of(&looked.model, &[id]).first().map(Token::label).unwrap_or_default()
}

/// A reading with its tokens' texts.
fn worded(looked: &Looked, reading: &Reading) -> serde_json::Value {
    let text = |id: u32| Token::of(&looked.model, &[id]).pop().map(|token| token.text);
    let mut value = json!(reading);
    value["answer_text"] = json!(text(reading.answer));
    for (depth, words) in
        reading.depths.iter().zip(value["depths"].as_array_mut().into_iter().flatten())
    {
        for (guess, words) in
            depth.top.iter().zip(words["top"].as_array_mut().into_iter().flatten())
        {
            words["text"] = json!(text(guess.id));
        }
    }
    value
}

fn depth_name(depth: &Depth) -> String {
    match depth.layers {
        0 => "embed".into(),
        layers => format!("layer {}", layers - 1),
    }
}

/// One position, a line a layer.
fn table(out: &mut impl Write, looked: &Looked, reading: &Reading) -> std::io::Result<()> {
    let token = looked.tokens.get(reading.position).map(Token::label).unwrap_or_default();
    writeln!(out, "after {} {token}", reading.position)?;
    writeln!(out, "{}  KL to last  likeliest next", padded("", 10))?;
    for depth in &reading.depths {
        let top = depth.top.iter().map(|guess| {
            let word = shortened(&label(looked, guess.id), 14);
            padded(&format!("{word} {:.0}%", guess.probability * 100.0), 20)
        });
        let mark = if depth.layers == reading.settled { "←" } else { " " };
        let name = padded(&depth_name(depth), 10);
        writeln!(out, "{name} {:>10.3} {mark} {}", depth.kl, top.collect::<String>().trim_end())?;
    }
    writeln!(out, "← from here on the answer stays {}", label(looked, reading.answer))
}

/// Every position in a line: the answer, and when it is there.
fn summary(out: &mut impl Write, looked: &Looked, readings: &[Reading]) -> std::io::Result<()> {
    writeln!(out, "\n{} {} first  stays", padded("position", 24), padded("says", 16))?;
    for reading in readings {
        let token = looked.tokens.get(reading.position).map(Token::label).unwrap_or_default();
        let place = padded(&format!("{:>5} {}", reading.position, shortened(&token, 16)), 24);
        let answer = padded(&shortened(&label(looked, reading.answer), 14), 16);
        writeln!(out, "{place} {answer} {:>5}  {:>5}", reading.first, reading.settled)?;
    }
    writeln!(out, "first, stays: layers after which the answer is likeliest, and stays so")
}

/// The last positions side by side, each layer's likeliest token in the colour of its probability.
fn wall(
    out: &mut impl Write,
    looked: &Looked,
    readings: &[Reading],
    columns: usize,
) -> std::io::Result<()> {
    let fit = (columns.saturating_sub(11) / CELL).max(1);
    let shown = &readings[readings.len().saturating_sub(fit)..];
    let word = |text: &str| padded(&shortened(text, CELL - 2), CELL - 1);
    let head = shown.iter().map(|reading| {
        let token = looked.tokens.get(reading.position).map(|token| visible(&token.text));
        format!("{} ", word(&token.unwrap_or_default()))
    });
    writeln!(out, "{}{}", padded("", 11), head.collect::<String>())?;
    let depths = shown.first().map_or(0, |reading| reading.depths.len());
    for depth in (0..depths).rev() {
        write!(out, "{}", padded(&depth_name(&shown[0].depths[depth]), 11))?;
        for reading in shown {
            let guess = reading.depths[depth].top[0];
            let [r, g, b] = colour(guess.probability as f32, Ground::Night);
            let ink =
                if u32::from(r) * 3 + u32::from(g) * 6 + u32::from(b) > 1300 { 30 } else { 97 };
            let text = word(&label(looked, guess.id));
            write!(out, "\x1b[{ink};48;2;{r};{g};{b}m{text}\x1b[0m ")?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}
