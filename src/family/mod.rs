//! Families: from a checkpoint's configuration to a [`Spec`], and to where its tensors are. One
//! file a family; no tensor is touched.

mod alibi;
mod apertus;
mod bloom;
mod classic;
mod codegen;
mod cohere;
mod cohere2;
mod common;
mod config;
mod ernie4_5;
mod exaone4;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3_text;
mod gguf;
mod glm;
mod glm4;
mod gpt2;
mod gpt_bigcode;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod granite;
mod granitemoe;
mod helium;
mod hunyuan_v1_dense;
mod irrelevant;
mod llama;
mod minicpm;
mod ministral3;
mod mistral;
mod mixtral;
mod moe;
mod mpt;
mod nanochat;
mod nemotron;
mod olmo;
mod olmo2;
mod olmo3;
mod olmoe;
mod opt;
mod persimmon;
mod phi;
mod phi3;
mod phimoe;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod rope;
mod seed_oss;
mod smollm3;
mod stablelm;
mod starcoder2;
mod xglm;

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
    Family { name: "apertus", spec: apertus::spec, names: &apertus::NAMES },
    Family { name: "bloom", spec: bloom::spec, names: &bloom::NAMES },
    Family { name: "codegen", spec: codegen::spec, names: &codegen::NAMES },
    Family { name: "cohere", spec: cohere::spec, names: &llama::NAMES },
    Family { name: "cohere2", spec: cohere2::spec, names: &llama::NAMES },
    Family { name: "ernie4_5", spec: ernie4_5::spec, names: &llama::NAMES },
    Family { name: "exaone4", spec: exaone4::spec, names: &olmo2::NAMES },
    Family { name: "falcon", spec: falcon::spec, names: &falcon::NAMES },
    Family { name: "gemma", spec: gemma::spec, names: &llama::NAMES },
    Family { name: "gemma2", spec: gemma2::spec, names: &gemma2::NAMES },
    Family { name: "gemma3_text", spec: gemma3_text::spec, names: &gemma3_text::NAMES },
    Family { name: "glm", spec: glm::spec, names: &glm::NAMES },
    Family { name: "glm4", spec: glm4::spec, names: &glm::NAMES },
    Family { name: "gpt2", spec: gpt2::spec, names: &gpt2::NAMES },
    Family { name: "gpt_bigcode", spec: gpt_bigcode::spec, names: &gpt_bigcode::NAMES },
    Family { name: "gpt_neo", spec: gpt_neo::spec, names: &gpt_neo::NAMES },
    Family { name: "gpt_neox", spec: gpt_neox::spec, names: &gpt_neox::NAMES },
    Family { name: "gpt_oss", spec: gpt_oss::spec, names: &gpt_oss::NAMES },
    Family { name: "gptj", spec: gptj::spec, names: &gptj::NAMES },
    Family { name: "granite", spec: granite::spec, names: &llama::NAMES },
    Family { name: "granitemoe", spec: granitemoe::spec, names: &granitemoe::NAMES },
    Family { name: "helium", spec: helium::spec, names: &llama::NAMES },
    Family {
        name: "hunyuan_v1_dense",
        spec: hunyuan_v1_dense::spec,
        names: &hunyuan_v1_dense::NAMES,
    },
    Family { name: "llama", spec: llama::spec, names: &llama::NAMES },
    Family { name: "minicpm", spec: minicpm::spec, names: &llama::NAMES },
    Family { name: "ministral3", spec: ministral3::spec, names: &llama::NAMES },
    Family { name: "mistral", spec: mistral::spec, names: &llama::NAMES },
    Family { name: "mixtral", spec: mixtral::spec, names: &mixtral::NAMES },
    Family { name: "mpt", spec: mpt::spec, names: &mpt::NAMES },
    Family { name: "nanochat", spec: nanochat::spec, names: &nanochat::NAMES },
    Family { name: "nemotron", spec: nemotron::spec, names: &nemotron::NAMES },
    Family { name: "olmo", spec: olmo::spec, names: &llama::NAMES },
    Family { name: "olmo2", spec: olmo2::spec, names: &olmo2::NAMES },
    Family { name: "olmo3", spec: olmo3::spec, names: &olmo2::NAMES },
    Family { name: "olmoe", spec: olmoe::spec, names: &qwen2_moe::NAMES },
    Family { name: "opt", spec: opt::spec, names: &opt::NAMES },
    Family { name: "persimmon", spec: persimmon::spec, names: &persimmon::NAMES },
    Family { name: "phi", spec: phi::spec, names: &phi::NAMES },
    Family { name: "phi3", spec: phi3::spec, names: &phi3::NAMES },
    Family { name: "phimoe", spec: phimoe::spec, names: &mixtral::NAMES },
    Family { name: "qwen2", spec: qwen2::spec, names: &llama::NAMES },
    Family { name: "qwen2_moe", spec: qwen2_moe::spec, names: &qwen2_moe::NAMES },
    Family { name: "qwen3", spec: qwen3::spec, names: &llama::NAMES },
    Family { name: "qwen3_moe", spec: qwen3_moe::spec, names: &qwen2_moe::NAMES },
    Family { name: "seed_oss", spec: seed_oss::spec, names: &llama::NAMES },
    Family { name: "smollm3", spec: smollm3::spec, names: &llama::NAMES },
    Family { name: "stablelm", spec: stablelm::spec, names: &stablelm::NAMES },
    Family { name: "starcoder2", spec: starcoder2::spec, names: &starcoder2::NAMES },
    Family { name: "xglm", spec: xglm::spec, names: &xglm::NAMES },
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
