//! Options that several commands share.

use clap::Args;

use crate::model::{LoadOptions, Opened};

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
    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Use only files that are on this machine already
    #[arg(long)]
    pub offline: bool,
    /// Go on when config.json has keys nobody decided about
    #[arg(long)]
    pub allow_unknown_keys: bool,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    pub quiet: bool,
}

impl ModelArgs {
    /// Finds and describes the model; its weights are not read yet.
    pub(crate) fn open(&self) -> anyhow::Result<(Opened, LoadOptions)> {
        let options = LoadOptions {
            allow_unknown_keys: self.allow_unknown_keys,
            offline: self.offline,
            ..LoadOptions::default()
        };
        let name = self.model.clone().unwrap_or_default();
        let opened = Opened::at(std::path::Path::new(&name), &name, &options)?;
        Ok((opened, options))
    }
}
