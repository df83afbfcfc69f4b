//! Options that several commands share.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use candle_core::{DType, Device};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::progress::Bars;
use crate::error::{Error, Result};
use crate::model::{LoadOptions, Model, Opened, Quantize};

/// What runs where no model is named and the binary has none.
const DEFAULT_MODEL: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

/// What to do where that cannot be had.
const NO_MODEL: &str = "no model was named with -m, and the default one cannot be had: name a \
                        folder or a .gguf file, or fetch one where there is a network: taper pull \
                        HuggingFaceTB/SmolLM2-135M-Instruct";

/// Which model, and where it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// A folder, a .gguf or .safetensors file, or a hub id `org/name[@revision]`
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Where to compute: auto, cpu, cuda[:n] or metal
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Numbers to compute in: auto, f32, f16 or bf16
    #[arg(long, default_value = "auto", value_name = "DTYPE")]
    pub dtype: String,
    /// Round weights on load, on the CPU: q8 or q4
    #[arg(long, value_name = "BITS")]
    pub quantize: Option<String>,
    /// Positions to use at most [default: as many as the model has]
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Use only files that are on this machine already
    #[arg(long)]
    pub offline: bool,
    /// A folder with a LoRA adapter of PEFT's, added to the weights (repeatable)
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Vec<PathBuf>,
    /// Go on when config.json has keys nobody decided about
    #[arg(long)]
    pub allow_unknown_keys: bool,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// What commands with a cache have besides.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CacheArgs {
    /// What keys and values are kept in: f32, f16, bf16 or q8. 16 bits halve the cache and what a long
    /// context costs, 8 bits, of which 32 share a scale, halve them again; both round [default: what is
    /// computed in]
    #[arg(long, value_name = "DTYPE")]
    pub kv_dtype: Option<String>,
}

/// The flag's word for codes of 8 bits.
pub(crate) const CODES: &str = "q8";

impl CacheArgs {
    fn dtype(&self) -> Result<Option<DType>> {
        match self.kv_dtype.as_deref().unwrap_or("auto") {
            CODES => Ok(Some(DType::U8)),
            name => dtype("--kv-dtype", name, "f32, f16, bf16 or q8"),
        }
    }
}

impl ModelArgs {
    /// Finds and describes the model; its weights are not read yet.
    pub(crate) fn open(&self) -> anyhow::Result<(Opened, LoadOptions)> {
        threads(self.threads)?;
        let options = LoadOptions {
            device: device(&self.device)?,
            dtype: dtype("--dtype", &self.dtype, "f32, f16 or bf16")?,
            quantize: self.quantize.as_deref().map(quantize).transpose()?,
            plain: false,
            allow_unknown_keys: self.allow_unknown_keys,
            offline: self.offline,
            kv_dtype: None,
            max_seq_len: self.context,
            adapters: self.adapter.clone(),
        };
        if self.model.is_none()
            && let Some(opened) = Opened::built_in(&options)?
        {
            return Ok((opened, options));
        }
        let name = self.model.as_deref().unwrap_or(DEFAULT_MODEL);
        let opened = Opened::find(name, &options, &mut Bars::new(self.quiet));
        match opened {
            Err(error @ Error::Hub { .. }) if self.model.is_none() => Err(error).context(NO_MODEL),
            other => {
                let opened = other?;
                opened.notices().for_each(|notice| self.say(notice));
                Ok((opened, options))
            }
        }
    }

    /// The model, ready to run.
    pub(crate) fn load(&self) -> anyhow::Result<Model> {
        self.load_with(&CacheArgs::default())
    }

    /// The model, ready to run with such a cache.
    pub(crate) fn load_with(&self, cache: &CacheArgs) -> anyhow::Result<Model> {
        let kv_dtype = cache.dtype()?;
        let (opened, options) = self.open()?;
        let options = LoadOptions { kv_dtype, ..options };
        let waiting = spinner(self.quiet, format!("loading {}", opened.name));
        let model = opened.load(&options)?;
        waiting.finish_and_clear();
        for notice in model.tokenizer.iter().flat_map(|tokenizer| tokenizer.notices()) {
            self.say(notice);
        }
        Ok(model)
    }

    /// Says something on stderr, unless it is to be quiet.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", line.as_ref());
        }
    }
}

/// Something that turns on stderr while one waits, where somebody looks.
pub(crate) fn spinner(quiet: bool, message: String) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The device of this name.
///
/// # Errors
/// [`Error::Device`], saying which feature is missing, or what the machine answered.
pub(crate) fn device(name: &str) -> Result<Device> {
    use candle_core::utils::{cuda_is_available, metal_is_available};
    let fail = |problem: String| Error::Device { device: name.into(), problem };
    let built = |present: bool, feature: &str| match present {
        true => Ok(()),
        false => Err(fail(format!("not in this build; build with `--features {feature}`"))),
    };
    match name.split_once(':').unwrap_or((name, "0")) {
        ("cpu", "0") => Ok(Device::Cpu),
        ("auto", "0") => {
            // What is built in but not there (no driver, no card) leaves the CPU.
            let found = [(cuda_is_available(), "cuda"), (metal_is_available(), "metal")];
            let found = found.into_iter().filter(|(built, _)| *built);
            Ok(found.filter_map(|(_, name)| device(name).ok()).next().unwrap_or(Device::Cpu))
        }
        ("cuda", number) => {
            built(cuda_is_available(), "cuda")?;
            let number = number.parse().map_err(|_| fail("cuda:N with N from 0 up".into()))?;
            Device::new_cuda(number).map_err(|error| fail(error.to_string()))
        }
        ("metal", "0") => {
            built(metal_is_available(), "metal")?;
            Device::new_metal(0).map_err(|error| fail(error.to_string()))
        }
        _ => Err(fail("unknown; auto, cpu, cuda, cuda:N or metal".into())),
    }
}

/// What to round weights to.
fn quantize(name: &str) -> Result<Quantize> {
    match name {
        "q8" => Ok(Quantize::Q8),
        "q4" => Ok(Quantize::Q4),
        _ => Err(Error::request("--quantize", format!("`{name}` is unknown; q8 or q4"))),
    }
}

/// The dtype of this name; `None` for `auto`.
fn dtype(flag: &str, name: &str, known: &str) -> Result<Option<DType>> {
    match name {
        "auto" => Ok(None),
        "f32" => Ok(Some(DType::F32)),
        "f16" => Ok(Some(DType::F16)),
        "bf16" => Ok(Some(DType::BF16)),
        _ => Err(Error::request(flag, format!("`{name}` is unknown; auto, {known}"))),
    }
}

/// What candle's two pools, rayon's and its own, read their size from, once.
const POOLS: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// Computes with so many threads. A running process cannot safely change its environment, so it
/// begins anew in another: call this before anything else is done.
pub(crate) fn threads(count: Option<usize>) -> Result<()> {
    let Some(count) = count else { return Ok(()) };
    if !(1..=1024).contains(&count) {
        return Err(Error::request("--threads", format!("{count} is not between 1 and 1024")));
    }
    let count = count.to_string();
    if POOLS.iter().all(|pool| std::env::var(pool).is_ok_and(|value| value == count)) {
        return Ok(());
    }
    let fail = |error: std::io::Error| {
        let hint = format!("cannot be set ({error}); set {} instead", POOLS.join(" and "));
        Error::request("--threads", hint)
    };
    let mut command = std::process::Command::new(std::env::current_exe().map_err(fail)?);
    command.args(std::env::args_os().skip(1)).envs(POOLS.map(|pool| (pool, &count)));
    Err(fail(begin_anew(command)))
}

/// Comes back only where it fails.
#[cfg(unix)]
fn begin_anew(mut command: std::process::Command) -> std::io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

/// Comes back only where it fails.
#[cfg(not(unix))]
fn begin_anew(mut command: std::process::Command) -> std::io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// How many threads compute.
pub(crate) fn thread_count() -> usize {
    candle_core::utils::get_num_threads()
}

/// The most memory this process has held, in bytes; `None` where the system does not say.
#[cfg(unix)]
pub(crate) fn peak_memory() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    // Bytes on Apple's systems, KiB elsewhere.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.max_rss()).ok().map(|peak| peak * unit)
}

/// The most memory this process has held, in bytes; `None` where the system does not say.
#[cfg(not(unix))]
pub(crate) fn peak_memory() -> Option<u64> {
    None
}
