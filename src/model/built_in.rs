//! The model inside the binary: what runs where no other is named, from any folder, without a
//! network. The only place outside of kernels/ that asks for a cargo feature, for whether the binary
//! has a model is one. How it was made: models/stories/README.md.

use serde_json::{Map, Value};

use super::{LoadOptions, Opened};
use crate::error::{Error, Result};
use crate::family;
use crate::text::{ChatTemplate, Tokenizer};
use crate::weights::Checkpoint;

/// What it is called.
const NAME: &str = "stories (in this binary)";

/// It was made to go on, not to answer: everything a person says begins another story.
const CONTINUED: &str = "{% for message in messages %}{% if message.role == 'user' %}\
                         {{ bos_token }}{% endif %}{{ message.content }}{% endfor %}";

/// A folder in the Hugging Face layout, as bytes.
pub(super) struct Files {
    weights: &'static [u8],
    config: &'static [u8],
    generation_config: &'static [u8],
    tokenizer: &'static [u8],
    tokenizer_config: &'static [u8],
}

#[cfg(feature = "default-model")]
const FILES: Option<Files> = Some(Files {
    weights: include_bytes!("../../models/stories/model.safetensors"),
    config: include_bytes!("../../models/stories/config.json"),
    generation_config: include_bytes!("../../models/stories/generation_config.json"),
    tokenizer: include_bytes!("../../models/stories/tokenizer.json"),
    tokenizer_config: include_bytes!("../../models/stories/tokenizer_config.json"),
});
#[cfg(not(feature = "default-model"))]
const FILES: Option<Files> = None;

impl Opened {
    /// The model inside the binary; `None` where it was built without.
    ///
    /// # Errors
    /// Options that do not fit it.
    pub fn built_in(options: &LoadOptions) -> Result<Option<Self>> {
        let Some(files) = FILES else { return Ok(None) };
        let checkpoint = Checkpoint::of_bytes(NAME, files.weights)?;
        let config = object(files.config)?;
        let described = family::describe(&config, NAME, options.allow_unknown_keys)?;
        let names = described.family.names;
        let generation_config = object(files.generation_config)?;
        let opened = Self {
            checkpoint,
            described,
            config,
            generation_config,
            name: NAME.into(),
            adaptations: Vec::new(),
            names,
            built_in: Some(files),
        };
        opened.fitted(options).map(Some)
    }
}

impl Files {
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_bytes(self.tokenizer, self.tokenizer_config()?, NAME)
    }

    pub(super) fn tokenizer_config(&self) -> Result<Map<String, Value>> {
        object(self.tokenizer_config)
    }

    pub(super) fn chat_template(&self) -> Result<ChatTemplate> {
        let config = self.tokenizer_config()?;
        let bos = config.get("bos_token").and_then(Value::as_str).unwrap_or_default();
        ChatTemplate::new(CONTINUED, [("bos_token", bos)])
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Files({} bytes of weights)", self.weights.len())
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes).map_err(|e| Error::file(NAME, format!("is damaged: {e}")))
}
