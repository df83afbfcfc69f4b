//! `taper bench`.

use std::io::Write;
use std::time::Instant;

use candle_core::DType;
use serde_json::json;

use super::options::{CODES, CacheArgs, ModelArgs, peak_memory, spinner, thread_count};
use crate::bench::{Measured, Plan, Rate, measure};
use crate::kernels::{Bandwidth, bandwidth};

/// Measure speed and memory: tokens a second through a prompt and one at a time, over random
/// tokens. Both begin with --depth tokens in the cache; one run of each does not count.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512, value_name = "N")]
    prompt_tokens: usize,
    /// Tokens to generate
    #[arg(long, default_value_t = 128, value_name = "N")]
    generate_tokens: usize,
    /// Tokens in the cache before either
    #[arg(long, default_value_t = 0, value_name = "N")]
    depth: usize,
    /// Rows side by side
    #[arg(long, default_value_t = 1, value_name = "N")]
    batch: usize,
    /// Runs of each
    #[arg(long, default_value_t = 5, value_name = "N")]
    repeat: usize,
    /// Measure how fast memory is read as well, and which share of it decoding reaches
    #[arg(long)]
    roofline: bool,
    /// For the random tokens
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let model = args.model.load_with(&args.cache)?;
    let load_s = started.elapsed().as_secs_f64();
    let turning = spinner(args.model.quiet, format!("measuring {}", model.name));
    let measured = measure(&model.decoder, &plan(&args), &mut || turning.inc(1))?;
    let peak = peak_memory(); // of the model, without what the roofline takes
    let roof = args.roofline.then(|| bandwidth(ROOFLINE_BYTES, args.repeat));
    turning.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if !args.json {
        table(&mut out, &args, &measured, roof)?;
        if let Some(bytes) = peak {
            writeln!(out, "peak memory {} MB", bytes / 1_000_000)?;
        }
        return Ok(());
    }
    let mut report = json!({
        "model": {
            "name": model.name,
            "family": model.family,
            "fingerprint": model.checkpoint().quick_fingerprint()?,
        },
        "device": device_name(&model.decoder),
        "dtype": model.decoder.dtype().as_str(),
        "kv_dtype": match model.decoder.kv_dtype() {
            DType::U8 => CODES,
            dtype => dtype.as_str(),
        },
        "threads": thread_count(),
        "load_s": load_s,
        "peak_memory_bytes": peak,
    });
    add(&mut report, &args, &measured, roof);
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)?;
    Ok(())
}

fn plan(args: &Args) -> Plan {
    Plan {
        prompt_tokens: args.prompt_tokens,
        generate_tokens: args.generate_tokens,
        depth: args.depth,
        batch: args.batch,
        repeat: args.repeat,
        seed: args.seed,
    }
}

/// What was asked, and what was found.
fn add(report: &mut serde_json::Value, args: &Args, measured: &Measured, roof: Option<Bandwidth>) {
    let read = read(args, measured);
    let roof = roof.map(|roof| {
        json!({
            "bytes_per_s_1_thread": roof.one,
            "bytes_per_s": roof.all,
            "threads": roof.threads,
            "decode_share": read.map(|read| read / roof.all),
        })
    });
    let found = json!({
        "depth": args.depth,
        "batch": args.batch,
        "repeat": args.repeat,
        "seed": args.seed,
        "prefill": measured.prefill,
        "decode": measured.decode,
        "bytes_per_step": measured.bytes_per_step,
        "bytes_per_s": read,
        "roofline": roof,
    });
    if let (Some(report), serde_json::Value::Object(found)) = (report.as_object_mut(), found) {
        report.extend(found);
    }
}

fn device_name(decoder: &crate::nn::Decoder) -> &'static str {
    match decoder.device() {
        candle_core::Device::Cpu => "cpu",
        candle_core::Device::Cuda(_) => "cuda",
        candle_core::Device::Metal(_) => "metal",
    }
}

/// Several times what caches hold.
const ROOFLINE_BYTES: usize = 512 << 20;

/// Bytes a second that decoding reads.
fn read(args: &Args, measured: &Measured) -> Option<f64> {
    let steps = measured.decode.as_ref()?.tokens_per_s / args.batch as f64;
    Some(measured.bytes_per_step? as f64 * steps)
}

fn table(
    out: &mut impl Write,
    args: &Args,
    measured: &Measured,
    roof: Option<Bandwidth>,
) -> std::io::Result<()> {
    let mut line = |what: &str, rate: &Option<Rate>| match rate {
        Some(rate) => writeln!(
            out,
            "{what} {:>6} tokens: {:>10.2} tokens/s (median of {}; {:.2} to {:.2})",
            rate.tokens, rate.tokens_per_s, args.repeat, rate.min, rate.max
        ),
        None => Ok(()),
    };
    line("prefill", &measured.prefill)?;
    line("decode ", &measured.decode)?;
    let read = read(args, measured);
    if let (Some(bytes), Some(read)) = (measured.bytes_per_step, read) {
        let (mega, giga) = (bytes as f64 / 1e6, read / 1e9);
        writeln!(out, "decode reads {mega:.1} MB a step, {giga:.1} GB/s")?;
    }
    if let Some(Bandwidth { one, all, threads }) = roof {
        let (one, gigas) = (one / 1e9, all / 1e9);
        write!(out, "memory gives {one:.1} GB/s to 1 thread, {gigas:.1} GB/s to {threads}")?;
        match read {
            Some(read) => writeln!(out, "; decode has {:.0} % of it", 100.0 * read / all)?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
