//! The header of a GGUF file: metadata and the places of its tensors, every count checked against
//! what the file can hold before it is believed. What the metadata mean is not known here.
//! The format: ggml, `docs/gguf.md`.

mod metadata;
mod reader;

use std::collections::HashSet;
use std::path::Path;

use candle_core::quantized::GgmlDType;

use super::dtype::StoredDtype;
use super::file::{DataFile, Stored};
use crate::error::{Error, Result};

pub use metadata::GgufMetadata;
use reader::Reader;

/// Most axes that a tensor has in ggml.
const MAX_DIMS: u32 = 4;

/// Reads the header of `file`.
pub(super) fn open(file: &DataFile) -> Result<(GgufMetadata, Vec<Stored>)> {
    let mut reader = Reader::new(file, 4)?;
    match reader.u32("version")? {
        2 | 3 => {}
        1 => return Err(Error::file(&file.path, "GGUF version 1 is not read; convert it anew")),
        version if version.swap_bytes() <= 3 => {
            return Err(Error::file(&file.path, "is a big-endian GGUF, which is not read"));
        }
        version => {
            return Err(Error::file(&file.path, format!("unknown GGUF version {version}")));
        }
    }
    // A tensor takes 24 bytes of header at least, a key 13.
    let n_tensors = reader.count("tensor count", 24)?;
    let n_keys = reader.count("metadata count", 13)?;
    let metadata = GgufMetadata::read(&mut reader, n_keys)?;
    if metadata.u64("split.count").is_some_and(|n| n > 1) {
        return Err(Error::file(
            &file.path,
            "is one part of a split GGUF; merge the parts with llama.cpp's gguf-split first",
        ));
    }
    let mut tensors = Vec::new();
    for _ in 0..n_tensors {
        tensors.push(tensor(&mut reader)?);
    }
    let start = data_start(&metadata, &reader)?;
    place(file, start, &mut tensors)?;
    Ok((metadata, tensors))
}

/// Where the tensors' data begin: after the header, aligned.
fn data_start(metadata: &GgufMetadata, reader: &Reader<'_>) -> Result<(u64, u64)> {
    let alignment = metadata.u64("general.alignment").unwrap_or(32);
    if !alignment.is_power_of_two() || !(8..=1 << 20).contains(&alignment) {
        return Err(reader.fail("general.alignment", format!("is {alignment}, not a power of two")));
    }
    Ok((reader.position().next_multiple_of(alignment), alignment))
}

/// One entry of the tensor table; its offset is still relative.
fn tensor(reader: &mut Reader<'_>) -> Result<Stored> {
    let name = reader.string("tensor name")?;
    let n_dims = reader.u32(&name)?;
    if n_dims == 0 || n_dims > MAX_DIMS {
        return Err(reader.fail(&name, format!("has {n_dims} dimensions")));
    }
    let mut shape = Vec::new();
    for _ in 0..n_dims {
        let dim = reader.u64(&name)?;
        let dim = usize::try_from(dim).map_err(|_| reader.fail(&name, "is too large"))?;
        shape.push(dim);
    }
    shape.reverse();
    let number = reader.u32(&name)?;
    let dtype = dtype(number).map_err(|problem| reader.fail(&name, problem))?;
    let offset = reader.u64(&name)?;
    let bytes = dtype.bytes(&shape).ok_or_else(|| {
        let (block, _) = dtype.block();
        reader.fail(&name, format!("cannot have shape {shape:?} in {dtype} (blocks of {block})"))
    })?;
    Ok(Stored::new(name, shape, dtype, bytes, offset))
}

/// Turns relative offsets into absolute ones, and checks that every tensor has its own bytes.
fn place(file: &DataFile, (start, alignment): (u64, u64), tensors: &mut [Stored]) -> Result<()> {
    let mut names = HashSet::new();
    for tensor in tensors.iter_mut() {
        let (name, bytes) = (tensor.info.name.as_str(), tensor.info.bytes);
        let fail =
            |problem: String| Err(Error::file(&file.path, format!("tensor `{name}` {problem}")));
        if !names.insert(name) {
            return fail("is stored twice".into());
        }
        if !tensor.offset.is_multiple_of(alignment) {
            return fail(format!("lies at {}, not a multiple of {alignment}", tensor.offset));
        }
        let end = start.checked_add(tensor.offset).and_then(|at| at.checked_add(bytes));
        match end {
            Some(end) if end <= file.len => tensor.offset += start,
            _ => {
                return fail(format!(
                    "claims {bytes} bytes from {} on, the file has {} of data; it is truncated or \
                     damaged",
                    tensor.offset,
                    file.len.saturating_sub(start)
                ));
            }
        }
    }
    tensors.sort_by_key(|t| (t.offset, t.info.bytes));
    for pair in tensors.windows(2) {
        if pair[0].offset + pair[0].info.bytes > pair[1].offset {
            let (a, b) = (&pair[0].info.name, &pair[1].info.name);
            return Err(Error::file(&file.path, format!("tensors `{a}` and `{b}` overlap")));
        }
    }
    Ok(())
}

/// ggml's number of a type. Those that are stored but not computed with are refused by name.
fn dtype(number: u32) -> Result<StoredDtype, String> {
    use GgmlDType::{Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let quantised = match number {
        0 => return Ok(StoredDtype::F32),
        1 => return Ok(StoredDtype::F16),
        30 => return Ok(StoredDtype::BF16),
        28 => return Ok(StoredDtype::F64),
        24 => return Ok(StoredDtype::Other { name: "I8", bytes: 1 }),
        25 => return Ok(StoredDtype::Other { name: "I16", bytes: 2 }),
        26 => return Ok(StoredDtype::Other { name: "I32", bytes: 4 }),
        27 => return Ok(StoredDtype::Other { name: "I64", bytes: 8 }),
        39 => return Ok(StoredDtype::Mxfp4),
        2 => Q4_0,
        3 => Q4_1,
        6 => Q5_0,
        7 => Q5_1,
        8 => Q8_0,
        10 => Q2K,
        11 => Q3K,
        12 => Q4K,
        13 => Q5K,
        14 => Q6K,
        other => {
            return Err(format!(
                "is stored as {}, which is not supported; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, \
                 Q8_0, Q2_K to Q6_K and MXFP4 are",
                unsupported(other)
            ));
        }
    };
    Ok(StoredDtype::Quantised(quantised))
}

fn unsupported(number: u32) -> String {
    let name = match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        _ => return format!("type {number}"),
    };
    name.into()
}

/// A header's problem, with the file and the field.
fn fail(path: &Path, field: &str, problem: impl std::fmt::Display) -> Error {
    Error::file(path, format!("`{field}` {problem}"))
}
