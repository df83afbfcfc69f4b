//! `taper bench`.

use std::io::Write;
use std::time::Instant;

use serde_json::json;

use super::options::{ModelArgs, peak_memory, spinner, thread_count};
use crate::bench::{Measured, Plan, Rate, measure};

/// Measure speed and memory: tokens a second through a prompt and one at a time, over random
/// tokens. Both begin with --depth tokens in the cache; one run of each does not count.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512, value_name = "N")]
    prompt_tokens: usize,
    /// Tokens to generate
    #[arg(long, default_value_t = 128, value_name = "N")]
    generate_tokens: usize,
    /// Tokens in the cache before either
    #[arg(long, default_value_t = 0, value_name = "N")]
    depth: usize,
    /// Runs of each
    #[arg(long, default_value_t = 5, value_name = "N")]
    repeat: usize,
    /// For the random tokens
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let model = args.model.load()?;
    let load_s = started.elapsed().as_secs_f64();
    let plan = Plan {
        prompt_tokens: args.prompt_tokens,
        generate_tokens: args.generate_tokens,
        depth: args.depth,
        repeat: args.repeat,
        seed: args.seed,
    };
    let turning = spinner(args.model.quiet, format!("measuring {}", model.name));
    let measured = measure(&model.decoder, &plan, &mut || turning.inc(1))?;
    turning.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if !args.json {
        return Ok(table(&mut out, &args, &measured)?);
    }
    let report = json!({
        "model": {
            "name": model.name,
            "family": model.family,
            "fingerprint": model.checkpoint().quick_fingerprint()?,
        },
        "device": device_name(&model.decoder),
        "dtype": model.decoder.dtype().as_str(),
        "threads": thread_count(),
        "depth": plan.depth,
        "repeat": plan.repeat,
        "seed": plan.seed,
        "load_s": load_s,
        "prefill": measured.prefill,
        "decode": measured.decode,
        "peak_memory_bytes": peak_memory(),
    });
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)?;
    Ok(())
}

fn device_name(decoder: &crate::nn::Decoder) -> &'static str {
    match decoder.device() {
        candle_core::Device::Cpu => "cpu",
        candle_core::Device::Cuda(_) => "cuda",
        candle_core::Device::Metal(_) => "metal",
    }
}

fn table(out: &mut impl Write, args: &Args, measured: &Measured) -> std::io::Result<()> {
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
    match peak_memory() {
        Some(bytes) => writeln!(out, "peak memory {} MB", bytes / 1_000_000),
        None => Ok(()),
    }
}
