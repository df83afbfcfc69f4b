//! The small files beside the weights. What their keys mean is not known here.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One id or several.
pub(super) fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A JSON object in a file; `None` where the file is not there.
pub(super) fn read_json(path: &Path) -> Result<Option<Map<String, Value>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file(path, error)),
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(_) => Err(Error::file(path, "is no JSON object")),
        Err(error) => Err(Error::file(path, format!("is not JSON: {error}"))),
    }
}
