//! The keys and values of a GGUF. Arrays are kept as the bytes they were read as (a vocabulary
//! has 100 000 strings) and decoded when asked for.

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::error::Result;

/// ggml's number of the type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn of(number: u32) -> Option<Self> {
        use Kind::{Array, Bool, F32, F64, I8, I16, I32, I64, String, U8, U16, U32, U64};
        const KINDS: [Kind; 13] =
            [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        KINDS.get(number as usize).copied()
    }

    /// Bytes of a number; 8 is the least that a string or an array takes.
    fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String | Self::Array => 8,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Array { kind: Kind, len: usize, raw: Vec<u8> },
}

/// What a GGUF says beside its tensors: configuration, tokenizer, chat template.
#[derive(Debug, Clone, Default)]
pub struct GgufMetadata(BTreeMap<String, Value>);

impl GgufMetadata {
    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// An integer that is not negative, whatever its width.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::Unsigned(x) => Some(*x),
            Value::Signed(x) => u64::try_from(*x).ok(),
            _ => None,
        }
    }

    /// An integer of any width.
    pub fn i64(&self, key: &str) -> Option<i64> {
        match self.0.get(key)? {
            Value::Unsigned(x) => i64::try_from(*x).ok(),
            Value::Signed(x) => Some(*x),
            _ => None,
        }
    }

    /// A number, an integer too.
    pub fn f64(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::Unsigned(x) => Some(*x as f64),
            Value::Signed(x) => Some(*x as f64),
            Value::Float(x) => Some(*x),
            _ => None,
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(x) => Some(*x),
            _ => None,
        }
    }

    /// A string.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::String(x) => Some(x),
            _ => None,
        }
    }

    /// How many elements an array has.
    pub fn len_of(&self, key: &str) -> Option<usize> {
        match self.0.get(key)? {
            Value::Array { len, .. } => Some(*len),
            _ => None,
        }
    }

    /// An array of strings.
    pub fn strings(&self, key: &str) -> Option<Vec<&str>> {
        let raw = self.raw(key, &[Kind::String])?.1;
        let mut rest = raw;
        let mut strings = Vec::new();
        while let Some((len, tail)) = rest.split_first_chunk::<8>() {
            let (string, tail) = tail.split_at_checked(u64::from_le_bytes(*len) as usize)?;
            strings.push(std::str::from_utf8(string).ok()?);
            rest = tail;
        }
        Some(strings)
    }

    /// An array of numbers, floats or integers.
    pub fn f64s(&self, key: &str) -> Option<Vec<f64>> {
        let (kind, raw) = self.numeric(key)?;
        let value = |b: &[u8]| match scalar(kind, b)? {
            Value::Float(x) => Some(x),
            Value::Unsigned(x) => Some(x as f64),
            Value::Signed(x) => Some(x as f64),
            _ => None,
        };
        raw.chunks_exact(kind.size()).map(value).collect()
    }

    /// An array of integers.
    pub fn i64s(&self, key: &str) -> Option<Vec<i64>> {
        let (kind, raw) = self.numeric(key)?;
        let value = |b: &[u8]| match scalar(kind, b)? {
            Value::Unsigned(x) => i64::try_from(x).ok(),
            Value::Signed(x) => Some(x),
            _ => None,
        };
        raw.chunks_exact(kind.size()).map(value).collect()
    }

    /// An array of truth values.
    pub fn bools(&self, key: &str) -> Option<Vec<bool>> {
        Some(self.raw(key, &[Kind::Bool])?.1.iter().map(|b| *b != 0).collect())
    }

    fn numeric(&self, key: &str) -> Option<(Kind, &[u8])> {
        use Kind::{F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        self.raw(key, &[U8, I8, U16, I16, U32, I32, F32, U64, I64, F64])
    }

    fn raw(&self, key: &str, kinds: &[Kind]) -> Option<(Kind, &[u8])> {
        match self.0.get(key)? {
            Value::Array { kind, raw, .. } if kinds.contains(kind) => Some((*kind, raw)),
            _ => None,
        }
    }

    /// Reads `n_keys` keys and their values.
    pub(super) fn read(reader: &mut Reader<'_>, n_keys: u64) -> Result<Self> {
        let mut map = BTreeMap::new();
        for _ in 0..n_keys {
            let key = reader.string("metadata key")?;
            let value = value(reader, &key)?;
            if map.contains_key(&key) {
                return Err(reader.fail(&key, "is given twice"));
            }
            map.insert(key, value);
        }
        Ok(Self(map))
    }
}

fn kind(reader: &mut Reader<'_>, key: &str) -> Result<Kind> {
    let number = reader.u32(key)?;
    Kind::of(number).ok_or_else(|| reader.fail(key, format!("has the unknown type {number}")))
}

fn value(reader: &mut Reader<'_>, key: &str) -> Result<Value> {
    match kind(reader, key)? {
        Kind::String => reader.string(key).map(Value::String),
        Kind::Array => {
            let kind = kind(reader, key)?;
            let len = reader.count(key, kind.size() as u64)?;
            let raw = match kind {
                Kind::Array => return Err(reader.fail(key, "is an array of arrays")),
                Kind::String => strings(reader, key, len)?,
                kind => reader.bytes(key, len * kind.size() as u64)?,
            };
            Ok(Value::Array { kind, len: len as usize, raw })
        }
        kind => {
            let bytes = reader.bytes(key, kind.size() as u64)?;
            scalar(kind, &bytes).ok_or_else(|| reader.fail(key, "is cut off"))
        }
    }
}

/// The strings of an array, each behind its length, as they stand in the file.
fn strings(reader: &mut Reader<'_>, key: &str, len: u64) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    for _ in 0..len {
        let string = reader.string(key)?;
        raw.extend_from_slice(&(string.len() as u64).to_le_bytes());
        raw.extend_from_slice(string.as_bytes());
    }
    Ok(raw)
}

fn scalar(kind: Kind, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::U8 => Value::Unsigned(*bytes.first()? as u64),
        Kind::I8 => Value::Signed(*bytes.first()? as i8 as i64),
        Kind::U16 => Value::Unsigned(u16::from_le_bytes(bytes.try_into().ok()?) as u64),
        Kind::I16 => Value::Signed(i16::from_le_bytes(bytes.try_into().ok()?) as i64),
        Kind::U32 => Value::Unsigned(u32::from_le_bytes(bytes.try_into().ok()?) as u64),
        Kind::I32 => Value::Signed(i32::from_le_bytes(bytes.try_into().ok()?) as i64),
        Kind::U64 => Value::Unsigned(u64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::I64 => Value::Signed(i64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::F32 => Value::Float(f32::from_le_bytes(bytes.try_into().ok()?) as f64),
        Kind::F64 => Value::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Bool => Value::Bool(*bytes.first()? != 0),
        Kind::String | Kind::Array => return None,
    })
}
