//! `taper inspect`.

use std::io::Write;

use super::options::ModelArgs;
use crate::family::KeyReport;
use crate::generate::Defaults;
use crate::inspect::Summary;

/// Show what a checkpoint is: its decoder, parameters, memory, and what became of each key of its
/// configuration. The weights are not read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (opened, options) = args.model.open()?;
    let summary = Summary::of(&opened)?;
    let mut out = std::io::stdout().lock();
    let generation = Defaults::keys(&opened.generation_config, "generation_config.json")?;
    if args.json {
        let mut json = serde_json::to_value(&summary)?;
        json["generation_keys"] = serde_json::to_value(&generation)?;
        serde_json::to_writer_pretty(&mut out, &json)?;
        writeln!(out)?;
        return Ok(());
    }
    let (dtype, dequantise) = opened.dtype(&options);
    let as_stored = !dequantise && opened.checkpoint.stored_dtype().is_none();
    head(&mut out, &summary)?;
    let context = summary.max_seq_len;
    let cache = summary.cache_numbers_per_position * dtype.size_in_bytes();
    writeln!(
        out,
        "  runs in      {dtype:?}{}; cache {} a position, {} for {context}",
        if as_stored { ", weights as stored" } else { "" },
        size(cache as u64),
        size((cache * context) as u64),
    )?;
    for (key, value) in &summary.decoder {
        writeln!(out, "  {key:<12} {value}")?;
    }
    for group in &summary.layers {
        match group.first == group.last {
            true => writeln!(out, "\nlayer {}: {}", group.first, group.layer)?,
            false => writeln!(out, "\nlayers {} to {}: {}", group.first, group.last, group.layer)?,
        }
    }
    keys(&mut out, "configuration", &summary.keys)?;
    keys(&mut out, "generation_config.json", &generation)?;
    keys(&mut out, "tokenizer_config.json", &summary.tokenizer_keys)?;
    Ok(())
}

fn head(out: &mut impl Write, summary: &Summary) -> std::io::Result<()> {
    let types = summary.types.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes)));
    let types: Vec<String> = types.collect();
    writeln!(out, "{}", summary.name)?;
    writeln!(out, "  family       {} ({})", summary.family, summary.format)?;
    writeln!(out, "  fingerprint  {}", summary.fingerprint)?;
    writeln!(out, "  parameters   {}", grouped(summary.parameters))?;
    writeln!(out, "  weights      {} ({})", size(summary.bytes), types.join(", "))?;
    writeln!(out, "  positions    {}", summary.max_seq_len)
}

fn keys(out: &mut impl Write, title: &str, keys: &KeyReport) -> std::io::Result<()> {
    if *keys == KeyReport::default() {
        return Ok(()); // there is no such file
    }
    writeln!(out, "\n{title}")?;
    for (what, pairs) in [("used", &keys.used), ("defaulted", &keys.defaulted)] {
        for (key, value) in pairs {
            let mut value = value.to_string();
            if value.len() > 60 {
                value.truncate(value.char_indices().nth(57).map_or(value.len(), |(at, _)| at));
                value.push('…');
            }
            writeln!(out, "  {what:<10} {key} = {value}")?;
        }
    }
    for (what, names) in [("irrelevant", &keys.irrelevant), ("unknown", &keys.unknown)] {
        for name in names {
            writeln!(out, "  {what:<10} {name}")?;
        }
    }
    Ok(())
}

/// Bytes, for people.
fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// 134515008 as 134,515,008.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
