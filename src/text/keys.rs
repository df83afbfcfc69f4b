//! What became of each key of `tokenizer_config.json`. It reads no tokenizer.

use serde_json::{Map, Value};

/// Keys that nothing here follows: how Python objects are made, lengths, paddings and warnings.
const IRRELEVANT: &[&str] = &[
    "auto_map",
    "backend",
    "chat_template_file",
    "clean_up_tokenization_spaces",
    "errors",
    "from_slow",
    "is_local",
    "legacy",
    "local_files_only",
    "max_length",
    "model_input_names",
    "model_max_length",
    "name_or_path",
    "pad_to_multiple_of",
    "pad_token_type_id",
    "padding_side",
    "processor_class",
    "sp_model_kwargs",
    "spaces_between_special_tokens",
    "special_tokens_map_file",
    "split_special_tokens",
    "stride",
    "tokenizer_file",
    "truncation_side",
    "truncation_strategy",
    "use_default_system_prompt",
    "vocab_file",
];

/// Keys that a whole `tokenizer.json` makes idle: it says the same, and it rules.
const WITHOUT_FILE: &[&str] =
    &["add_bos_token", "add_eos_token", "add_prefix_space", "tokenizer_class"];

/// Keys that are read whatever else is there.
const USED: &[&str] = &["added_tokens_decoder", "additional_special_tokens", "chat_template"];

/// What became of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was read.
    Used,
    /// It is null, and what holds without it was taken.
    Defaulted,
    /// It changes no token and no text.
    Irrelevant,
    /// Nobody decided about it.
    Unknown,
}

/// What becomes of each key of a `tokenizer_config.json`, beside a `tokenizer.json` or without.
pub fn tokenizer_keys(config: &Map<String, Value>, whole_file: bool) -> Vec<(&str, Fate)> {
    let fate = |key: &str, value: &Value| match key {
        _ if value.is_null() => Fate::Defaulted,
        _ if USED.contains(&key) || key.ends_with("_token") && !key.starts_with("add_") => {
            Fate::Used
        }
        _ if WITHOUT_FILE.contains(&key) && whole_file => Fate::Irrelevant,
        _ if WITHOUT_FILE.contains(&key) => Fate::Used,
        _ if IRRELEVANT.contains(&key) || key.starts_with('_') => Fate::Irrelevant,
        _ => Fate::Unknown,
    };
    config.iter().map(|(key, value)| (key.as_str(), fate(key, value))).collect()
}
