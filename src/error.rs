//! Every error that a caller can act on, worded for the person who reads it. It holds no
//! error that only this crate could cause.

use std::path::{Path, PathBuf};

/// What can go wrong, split by what the reader can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint's `model_type` (or GGUF architecture) has no family here.
    #[error("{origin}: unknown model_type `{model_type}`; known: {}", known.join(", "))]
    UnknownFamily {
        /// The file that names the family.
        origin: String,
        /// The name found there.
        model_type: String,
        /// The names that would have worked.
        known: Vec<String>,
    },
    /// A configuration key is missing, has the wrong type, or contradicts another.
    #[error("{origin}: `{key}` {problem}")]
    ConfigKey {
        /// The file the key belongs to.
        origin: String,
        /// The key, dotted where nested.
        key: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// Keys that nobody decided about and that could change the numbers.
    #[error("{origin}: nobody has decided what {} {} here, and a value like that can change the numbers; \
             --allow-unknown-keys goes on without {}",
             quoted(keys), if keys.len() == 1 { "means" } else { "mean" }, if keys.len() == 1 { "it" } else { "them" })]
    UnknownKeys {
        /// The file they stand in.
        origin: String,
        /// The keys, dotted where nested.
        keys: Vec<String>,
    },
    /// The description of a decoder contradicts itself.
    #[error("the decoder's description is contradictory: {0}")]
    Spec(String),
    /// A parameter that the decoder needs is not in the checkpoint.
    #[error(
        "{origin}: no tensor for {param}; tried {}; nearest present: {}",
        quoted(tried),
        quoted(nearest)
    )]
    MissingTensor {
        /// The checkpoint.
        origin: String,
        /// The parameter, in this crate's words.
        param: String,
        /// The names looked for.
        tried: Vec<String>,
        /// The names in the checkpoint that are most alike.
        nearest: Vec<String>,
    },
    /// The checkpoint holds tensors that the decoder never asked for.
    #[error("{origin}: {} tensor(s) in the checkpoint were never read, so the model is not what this decoder computes: {}",
            names.len(), quoted(names))]
    UnreadTensors {
        /// The checkpoint.
        origin: String,
        /// The tensors' names.
        names: Vec<String>,
    },
    /// A tensor has another shape than the configuration implies.
    #[error(
        "{origin}: tensor `{name}` has shape {found:?}, the configuration implies {expected:?}"
    )]
    TensorShape {
        /// The checkpoint.
        origin: String,
        /// The tensor.
        name: String,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A file cannot be read or written, or is not what its name says.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The hub could not deliver.
    #[error("{repo}: {problem}")]
    Hub {
        /// The repository, `org/name@revision`.
        repo: String,
        /// What happened, and what to do.
        problem: String,
    },
    /// The tokenizer is missing, corrupt, or cannot encode.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A chat template is missing, does not parse, or refused the conversation.
    #[error("chat template: {0}")]
    Template(String),
    /// More positions are asked for than the model has.
    #[error("{needed} positions are needed, the model has {max_seq_len}")]
    ContextFull {
        /// Positions needed.
        needed: usize,
        /// `Spec::max_seq_len`.
        max_seq_len: usize,
    },
    /// A token id lies outside the vocabulary.
    #[error("token id {id} is outside the vocabulary (0 to {})", vocab_size.saturating_sub(1))]
    TokenId {
        /// The id.
        id: u32,
        /// `Spec::vocab_size`.
        vocab_size: usize,
    },
    /// An activation is NaN or infinite.
    #[error(
        "{what} at {place}, the first place where it appears; the checkpoint is damaged or its dtype is too narrow (try --dtype f32)"
    )]
    NotFinite {
        /// `NaN` or `infinity`.
        what: String,
        /// The layer and site.
        place: String,
    },
    /// Training came to numbers that are none.
    #[error(
        "training diverged: {what} at step {step} is no finite number; {kept}; a lower `learning_rate`, a longer `warmup` or a smaller `clip` may help"
    )]
    Diverged {
        /// The step, from 1.
        step: usize,
        /// The loss, or a gradient.
        what: String,
        /// Which checkpoint is left.
        kept: String,
    },
    /// A request's value is not usable.
    #[error("{name}: {problem}")]
    Request {
        /// The option or field.
        name: String,
        /// What is wrong with its value, and what would work.
        problem: String,
    },
    /// A device that this build or this machine does not have.
    #[error("device `{device}`: {problem}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// The tensor library failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::File`] about `path`.
    pub fn file(path: impl AsRef<Path>, problem: impl ToString) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), problem: problem.to_string() }
    }

    /// An [`Error::Request`] about the option or field `name`.
    pub fn request(name: impl ToString, problem: impl ToString) -> Self {
        Self::Request { name: name.to_string(), problem: problem.to_string() }
    }
}

fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "none".into();
    }
    let mut list: Vec<String> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    if names.len() > SHOWN {
        list.push(format!("and {} more", names.len() - SHOWN));
    }
    list.join(", ")
}
