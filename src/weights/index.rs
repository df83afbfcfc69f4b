//! The index of a checkpoint in shards: `*.index.json`. It names files and opens none.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};

/// Which file holds which tensor.
#[derive(serde::Deserialize)]
pub(super) struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads and checks an index; a shard is a plain file name beside it.
pub(super) fn read(path: &Path) -> Result<Index> {
    let text = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|e| Error::file(path, format!("is not a valid index of shards: {e}")))?;
    if index.weight_map.is_empty() {
        return Err(Error::file(path, "its `weight_map` is empty"));
    }
    match index.weight_map.values().find(|shard| !is_plain(shard)) {
        Some(shard) => {
            Err(Error::file(path, format!("`{shard}` is not the name of a file beside it")))
        }
        None => Ok(index),
    }
}

fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0']) && !name.is_empty()
}

impl Index {
    /// The shards' file names, each once, sorted.
    pub(super) fn shards(&self) -> Vec<&str> {
        let mut shards: Vec<&str> = self.weight_map.values().map(String::as_str).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// Tensor and shard.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.weight_map.iter().map(|(name, shard)| (name.as_str(), shard.as_str()))
    }
}
