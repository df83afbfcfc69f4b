//! What is wrong with a safetensors file, told by the tensor that it hits. It reads no tensor.

use serde_json::{Map, Value};

/// Why the file with these bytes cannot be read, given what the reader said.
pub(super) fn complaint(bytes: &[u8], said: impl std::fmt::Display) -> String {
    cut(bytes).unwrap_or_else(|| format!("is no trace: {said}"))
}

/// The first tensor that lies behind the file's end.
fn cut(bytes: &[u8]) -> Option<String> {
    let length = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
    let end = length.checked_add(8)?;
    let Some(header) = bytes.get(8..end) else {
        return Some(format!("is cut off within its header: {} of {end} bytes", bytes.len()));
    };
    let header: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let data = (bytes.len() - end) as u64;
    let mut behind: Vec<(u64, &str)> = header
        .iter()
        .filter_map(|(name, tensor)| {
            let stop = tensor.get("data_offsets")?.get(1)?.as_u64()?;
            (stop > data).then_some((stop, name.as_str()))
        })
        .collect();
    behind.sort_unstable();
    let (_, name) = behind.first()?;
    let more = match behind.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    Some(format!("is cut off: `{name}`{more} lie behind its end"))
}
