//! Are ids, text and renderings those of the reference tokenizers and of transformers? Does
//! streaming ever split a character? Do damaged files end in an error?
//!
//! Golden data are in `golden/text`, made by `scripts/check_text.py golden`. What is too large or
//! not ours lies under `target/text` after `scripts/check_text.py fetch` and `reference`; the
//! tests that use it say so and pass where it is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};

use serde_json::Value;

#[path = "text/damage.rs"]
mod damage;
#[path = "text/gguf.rs"]
mod gguf;
#[path = "text/streaming.rs"]
mod streaming;
#[path = "text/templates.rs"]
mod templates;
#[path = "text/tokenizers.rs"]
mod tokenizers;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> PathBuf {
    root().join("tests/golden/text").join(name)
}

/// What `scripts/check_text.py` fetched, if it did.
fn fetched(name: &str) -> Option<PathBuf> {
    let path = root().join("target/text").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there (scripts/check_text.py)", path.display());
    }
    path.exists().then_some(path)
}

/// Real models beside the repository, where they are.
fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
    }
    path.exists().then_some(path)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}
