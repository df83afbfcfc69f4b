//! `taper compare --against`.

use std::io::Write;

use anyhow::{Context, bail};

use super::compare::Args;
use super::options::ModelArgs;
use super::score::{bar, text_of};
use super::trace::encode;
use crate::model::Model;
use crate::parity::{Against, Plan, against};

/// What is read where no text is given.
const TEXT: &str = include_str!("against.txt");

pub(super) fn run(args: &Args, other: &str) -> anyhow::Result<bool> {
    let model = args.model.load()?;
    let second = ModelArgs {
        model: Some(other.into()),
        dtype: args.against_dtype.clone(),
        adapter: Vec::new(),
        ..args.model.clone()
    };
    let second = second.load()?;
    let text = match &args.text {
        Some(file) => text_of(file)?,
        None => TEXT.into(),
    };
    let ids = same_ids(&model, &second, &text)?;
    let most = model.spec().max_seq_len.min(second.spec().max_seq_len);
    let window = args.window.min(most);
    let plan = Plan { window, stride: window };
    let waiting = bar(args.model.quiet, ids.len() as u64);
    let found = against(&model.decoder, &second.decoder, &ids, plan, &mut |n| {
        waiting.inc(n as u64);
        Ok(())
    })?;
    waiting.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &found)?;
        writeln!(out)?;
    } else {
        table(&mut out, &found, &model, &second)?;
    }
    Ok(args.tolerance.is_none_or(|most| found.kl <= f64::from(most)))
}

/// The text's ids, which both tokenizers must agree on.
fn same_ids(model: &Model, second: &Model, text: &str) -> anyhow::Result<Vec<u32>> {
    let ids = encode(model, text).context("--against compares over a text")?;
    if let Some(tokenizer) = &second.tokenizer {
        let theirs = tokenizer.encode(text, true)?;
        if let Some(at) =
            (0..ids.len().max(theirs.len())).find(|at| ids.get(*at) != theirs.get(*at))
        {
            bail!(
                "--against: the tokenizers differ: token {at} is {:?} for {} and {:?} for {}",
                ids.get(at),
                model.name,
                theirs.get(at),
                second.name
            );
        }
    }
    Ok(ids)
}

fn table(
    out: &mut impl Write,
    found: &Against,
    model: &Model,
    second: &Model,
) -> std::io::Result<()> {
    let [half, ninety, ninety_nine] = found.kl_quantiles;
    writeln!(out, "tokens predicted        {}", found.predicted)?;
    writeln!(out, "KL divergence           {:.3e} ± {:.1e} nats", found.kl, found.kl_error)?;
    writeln!(
        out,
        "  50%, 90%, 99%, most   {half:.1e}, {ninety:.1e}, {ninety_nine:.1e}, {:.1e}",
        found.kl_max
    )?;
    writeln!(out, "same likeliest token    {:.2}%", 100.0 * found.same_top1)?;
    for (model, (perplexity, error)) in
        [(model, found.perplexity), (second, found.other_perplexity)]
    {
        let dtype = model.decoder.dtype().as_str();
        writeln!(
            out,
            "perplexity              {perplexity:.4} ± {error:.4}  {} ({dtype})",
            model.name
        )?;
    }
    Ok(())
}
