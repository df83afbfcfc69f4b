//! What several test files need: where golden data and real data lie.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod codes;
pub(crate) mod numbers;
pub(crate) mod random;

use std::path::{Path, PathBuf};

/// A golden checkpoint.
pub(crate) struct Case {
    pub(crate) family: String,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// A path under `tests/golden`.
pub(crate) fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

/// Every golden checkpoint in the Hugging Face layout, in order.
pub(crate) fn golden_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in folders(&golden("")) {
        for path in folders(&family) {
            if path.join("config.json").is_file() {
                cases.push(Case { family: name(&family), name: name(&path), path });
            }
        }
    }
    cases
}

/// Files with this extension, at any depth, in order.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        folders(folder).iter().flat_map(|f| files(f, extension)).collect();
    let here = entries(folder).into_iter().filter(|p| p.is_file());
    found.extend(here.filter(|p| p.extension().is_some_and(|e| e == extension)));
    found.sort();
    found
}

/// A real checkpoint or corpus, beside the repository; `None`, said aloud, where it is missing.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not here", path.display());
    None
}

/// A real model that `scripts/real_models.py` fetched; `None`, said aloud, where it did not.
pub(crate) fn fetched(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/models").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not here; scripts/real_models.py fetches it", path.display());
    None
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = entries(folder).into_iter().filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
