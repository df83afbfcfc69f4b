//! A checkpoint's tensors written anew as safetensors, as they are read: differences that an
//! adapter adds are in them, and each keeps the dtype that the checkpoint stores it as. A tensor is
//! written a window of rows at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use super::checkpoint::Checkpoint;
use super::dtype::{StoredDtype, decode};
use super::file::Stored;
use crate::error::{Error, Result};

/// Bytes in a file at most, as transformers has it.
const SHARD: u64 = 5_000_000_000;

impl Checkpoint {
    /// Writes every tensor into `folder`, which exists: as `model.safetensors`, or where that would
    /// be large in shards with an index. `written` is told the bytes as they go.
    ///
    /// # Errors
    /// [`Error::File`], naming what cannot be read or written.
    pub fn save(&self, folder: &Path, written: &mut dyn FnMut(u64)) -> Result<()> {
        self.save_in_shards(folder, SHARD, written)
    }

    /// The same, in files of so many bytes of numbers at most, or of one tensor.
    pub(super) fn save_in_shards(
        &self,
        folder: &Path,
        most: u64,
        written: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let shards = self.shards(most)?;
        if let [all] = shards.as_slice() {
            return self.save_file(&folder.join("model.safetensors"), all, written);
        }
        let (mut map, mut total) = (BTreeMap::new(), 0);
        for (number, shard) in shards.iter().enumerate() {
            let name = format!("model-{:05}-of-{:05}.safetensors", number + 1, shards.len());
            self.save_file(&folder.join(&name), shard, written)?;
            for index in shard.clone() {
                map.insert(&self.tensors[index].info.name, name.clone());
                total += self.saved_bytes(index)?;
            }
        }
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        let path = folder.join("model.safetensors.index.json");
        let text = serde_json::to_string_pretty(&index).map_err(|e| Error::file(&path, e))?;
        std::fs::write(&path, text + "\n").map_err(|e| Error::file(&path, e))
    }

    /// Neighbouring tensors that go into one file.
    fn shards(&self, most: u64) -> Result<Vec<Range<usize>>> {
        let (mut shards, mut bytes): (Vec<Range<usize>>, u64) = (Vec::new(), 0);
        for index in 0..self.tensors.len() {
            let more = self.saved_bytes(index)?;
            match shards.last_mut() {
                Some(shard) if bytes + more <= most => {
                    (shard.end, bytes) = (index + 1, bytes + more);
                }
                _ => {
                    shards.push(index..index + 1);
                    bytes = more;
                }
            }
        }
        Ok(shards)
    }

    /// What a tensor takes in the dtype that the checkpoint stores it as.
    fn saved_bytes(&self, index: usize) -> Result<u64> {
        let (stored, dtype) = (&self.tensors[index], self.dtype_of(index));
        dtype.bytes(&stored.info.shape).ok_or_else(|| self.not_a_float(stored))
    }

    fn save_file(
        &self,
        path: &Path,
        tensors: &Range<usize>,
        written: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let fail = |e: std::io::Error| Error::file(path, format!("cannot be written: {e}"));
        let mut out = BufWriter::new(File::create(path).map_err(fail)?);
        // Wide elements first, so that all lie on multiples of their size.
        let mut order: Vec<usize> = tensors.clone().collect();
        order.sort_by_key(|index| std::cmp::Reverse(self.dtype_of(*index).block().1));
        let header = self.header(&order)?;
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(fail)?;
        out.write_all(header.as_bytes()).map_err(fail)?;
        for index in order {
            let (stored, dtype) = (&self.tensors[index], self.dtype_of(index));
            self.for_each(stored, std::slice::from_ref(&(0..stored.rows())), &mut |bytes| {
                let turned = self.turned(stored, dtype, bytes)?;
                let bytes = turned.as_deref().unwrap_or(bytes);
                written(bytes.len() as u64);
                out.write_all(bytes).map_err(fail)
            })?;
        }
        let file = out.into_inner().map_err(|e| fail(e.into_error()))?;
        file.sync_all().map_err(fail)
    }

    /// The header of a file, padded to a multiple of 8 as the format advises.
    fn header(&self, order: &[usize]) -> Result<String> {
        let mut map = Map::new();
        map.insert("__metadata__".into(), json!({ "format": "pt" }));
        let mut at = 0;
        for index in order {
            let (info, dtype) = (&self.tensors[*index].info, self.dtype_of(*index));
            let end = at + self.saved_bytes(*index)?;
            let entry =
                json!({ "dtype": dtype.name(), "shape": info.shape, "data_offsets": [at, end] });
            map.insert(info.name.clone(), entry);
            at = end;
        }
        let mut header = Value::Object(map).to_string();
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        Ok(header)
    }

    /// Bytes of a tensor as it is read, in another dtype; `None` where it is the same.
    fn turned(&self, stored: &Stored, to: StoredDtype, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        if stored.info.dtype == to {
            return Ok(None);
        }
        if to == StoredDtype::F64 {
            let mut numbers: Vec<f64> = Vec::new();
            let known = decode(stored.info.dtype, bytes, &mut numbers);
            let bytes = numbers.into_iter().flat_map(f64::to_le_bytes).collect();
            return if known { Ok(Some(bytes)) } else { Err(self.not_a_float(stored)) };
        }
        let mut numbers: Vec<f32> = Vec::new();
        if !decode(stored.info.dtype, bytes, &mut numbers) {
            return Err(self.not_a_float(stored));
        }
        let numbers = numbers.into_iter();
        Ok(Some(match to {
            StoredDtype::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
            StoredDtype::F16 => numbers.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
            StoredDtype::BF16 => numbers.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect(),
            _ => return Err(self.not_a_float(stored)),
        }))
    }
}

#[cfg(test)]
mod tests;
