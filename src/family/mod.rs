//! Families: from a checkpoint's configuration to a [`Spec`], and to where its tensors are. One
//! file a family; no tensor is touched.

mod classic;
mod common;
mod config;
mod gemma2;
mod gguf;
mod gpt2;
mod gpt_neox;
mod gpt_oss;
mod granitemoe;
mod irrelevant;
mod llama;
mod mistral;
mod mixtral;
mod moe;
mod olmoe;
mod phimoe;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod rope;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::spec::Spec;
use crate::weights::Names;

pub use config::{Config, KeyReport};
pub use gguf::describe_gguf;

/// A family of checkpoints.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// `model_type` in `config.json`.
    pub name: &'static str,
    /// From a configuration to what the decoder is.
    spec: fn(&Config<'_>) -> Result<Spec>,
    /// Where a checkpoint in the Hugging Face layout keeps its parameters.
    pub names: &'static Names,
}

/// Every family, by name.
pub const FAMILIES: &[Family] = &[
    Family { name: "gemma2", spec: gemma2::spec, names: &gemma2::NAMES },
    Family { name: "gpt2", spec: gpt2::spec, names: &gpt2::NAMES },
    Family { name: "gpt_neox", spec: gpt_neox::spec, names: &gpt_neox::NAMES },
    Family { name: "gpt_oss", spec: gpt_oss::spec, names: &gpt_oss::NAMES },
    Family { name: "granitemoe", spec: granitemoe::spec, names: &granitemoe::NAMES },
    Family { name: "llama", spec: llama::spec, names: &llama::NAMES },
    Family { name: "mistral", spec: mistral::spec, names: &llama::NAMES },
    Family { name: "mixtral", spec: mixtral::spec, names: &mixtral::NAMES },
    Family { name: "olmoe", spec: olmoe::spec, names: &qwen2_moe::NAMES },
    Family { name: "phimoe", spec: phimoe::spec, names: &mixtral::NAMES },
    Family { name: "qwen2", spec: qwen2::spec, names: &llama::NAMES },
    Family { name: "qwen2_moe", spec: qwen2_moe::spec, names: &qwen2_moe::NAMES },
    Family { name: "qwen3", spec: qwen3::spec, names: &llama::NAMES },
    Family { name: "qwen3_moe", spec: qwen3_moe::spec, names: &qwen2_moe::NAMES },
];

/// What a configuration describes.
#[derive(Debug, Clone)]
pub struct Described {
    /// Whose it is.
    pub family: &'static Family,
    /// What the decoder is.
    pub spec: Spec,
    /// What became of the keys.
    pub keys: KeyReport,
}

/// Reads a configuration, which came from the file `origin`.
///
/// # Errors
/// [`Error::UnknownFamily`]; [`Error::ConfigKey`] for a missing, mistyped or contradictory value;
/// [`Error::UnknownKeys`] unless `allow_unknown_keys`; [`Error::Spec`].
pub fn describe(
    map: &Map<String, Value>,
    origin: &str,
    allow_unknown_keys: bool,
) -> Result<Described> {
    let config = Config::new(origin, map);
    let model_type = config.maybe_text("model_type")?.ok_or_else(|| {
        config.error("model_type", "is missing, so nothing says which family this is")
    })?;
    let family = find(model_type, origin)?;
    config.only("is_encoder_decoder", &Value::Bool(false))?;
    let spec = (family.spec)(&config)?;
    config.irrelevant(irrelevant::IRRELEVANT);
    let keys = config.finish(allow_unknown_keys)?;
    spec.validate()?;
    Ok(Described { family, spec, keys })
}

fn find(model_type: &str, origin: &str) -> Result<&'static Family> {
    FAMILIES.iter().find(|family| family.name == model_type).ok_or_else(|| Error::UnknownFamily {
        origin: origin.into(),
        model_type: model_type.into(),
        known: FAMILIES.iter().map(|family| family.name.to_string()).collect(),
    })
}
