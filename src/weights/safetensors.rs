//! The header of a safetensors file, checked against the file's size before anything is
//! allocated. The data are not touched.

use std::cmp::Ordering;
use std::fmt;
use std::io::Read;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::dtype::StoredDtype;
use super::file::{DataFile, Stored};
use crate::error::{Error, Result};

/// The format's own limit.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of `file`, in the order in which they lie there.
pub(super) fn open(file: &DataFile) -> Result<Vec<Stored>> {
    let mut reader = file.reader(0)?;
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(|_| {
        Error::file(&file.path, "too short for a safetensors file: its header's length is missing")
    })?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length > file.len.saturating_sub(8) {
        return Err(Error::file(
            &file.path,
            format!("its header claims {length} bytes, the file has {}", file.len),
        ));
    }
    let mut header = Vec::new();
    reader.take(length).read_to_end(&mut header).map_err(|e| Error::file(&file.path, e))?;
    let header: Header = serde_json::from_slice(&header).map_err(|e| {
        Error::file(&file.path, format!("its safetensors header is not valid: {e}"))
    })?;
    check(file, 8 + length, header.0)
}

/// Checks every entry, and that together they fill the rest of the file exactly.
fn check(file: &DataFile, start: u64, entries: Vec<(String, Entry)>) -> Result<Vec<Stored>> {
    let entries = entries.into_iter().map(|(name, entry)| check_entry(file, start, name, entry));
    let mut tensors = entries.collect::<Result<Vec<Stored>>>()?;
    tensors.sort_by_key(|t| (t.offset, t.info.bytes));
    let mut expected = start;
    for tensor in &tensors {
        let problem = match tensor.offset.cmp(&expected) {
            Ordering::Less => "overlaps the one before",
            Ordering::Greater => "leaves a hole before it",
            Ordering::Equal => {
                expected += tensor.info.bytes;
                continue;
            }
        };
        return Err(Error::file(&file.path, format!("tensor `{}` {problem}", tensor.info.name)));
    }
    if expected != file.len {
        let problem = format!("its tensors end at byte {expected}, the file has {}", file.len);
        return Err(Error::file(&file.path, problem));
    }
    Ok(tensors)
}

/// Checks that one entry lies inside the file and is as long as its shape says.
fn check_entry(file: &DataFile, start: u64, name: String, entry: Entry) -> Result<Stored> {
    let fail = |problem: String| Error::file(&file.path, format!("tensor `{name}` {problem}"));
    let dtype = dtype(&entry.dtype)
        .ok_or_else(|| fail(format!("has the unknown dtype `{}`", entry.dtype)))?;
    let [begin, end] = entry.data_offsets;
    if begin > end || end > file.len - start {
        return Err(fail(format!(
            "claims the bytes {begin} to {end}, the file holds {} of data",
            file.len - start
        )));
    }
    let bytes = dtype.bytes(&entry.shape);
    if bytes != Some(end - begin) {
        return Err(fail(format!(
            "has shape {:?} in {dtype}, which is {} bytes, but claims {}",
            entry.shape,
            bytes.map_or("too many".into(), |n| n.to_string()),
            end - begin
        )));
    }
    Ok(Stored::new(name, entry.shape, dtype, end - begin, start + begin))
}

fn dtype(name: &str) -> Option<StoredDtype> {
    Some(match name {
        "F64" => StoredDtype::F64,
        "F32" => StoredDtype::F32,
        "F16" => StoredDtype::F16,
        "BF16" => StoredDtype::BF16,
        "BOOL" => StoredDtype::Other { name: "BOOL", bytes: 1 },
        "U8" => StoredDtype::Other { name: "U8", bytes: 1 },
        "I8" => StoredDtype::Other { name: "I8", bytes: 1 },
        "F8_E4M3" => StoredDtype::Other { name: "F8_E4M3", bytes: 1 },
        "F8_E5M2" => StoredDtype::Other { name: "F8_E5M2", bytes: 1 },
        "F8_E8M0" => StoredDtype::Other { name: "F8_E8M0", bytes: 1 },
        "U16" => StoredDtype::Other { name: "U16", bytes: 2 },
        "I16" => StoredDtype::Other { name: "I16", bytes: 2 },
        "U32" => StoredDtype::Other { name: "U32", bytes: 4 },
        "I32" => StoredDtype::Other { name: "I32", bytes: 4 },
        "U64" => StoredDtype::Other { name: "U64", bytes: 8 },
        "I64" => StoredDtype::Other { name: "I64", bytes: 8 },
        _ => return None,
    })
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The header's entries as they stand: a map would swallow a name that stands there twice.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<serde::de::IgnoredAny>()?;
            } else {
                entries.push((name, map.next_value()?));
            }
        }
        Ok(Header(entries))
    }
}
