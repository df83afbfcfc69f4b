//! Numbers and strings from a GGUF header, never more of them than the file has bytes for.

use std::fs::File;
use std::io::{BufReader, Read};

use super::super::file::DataFile;
use crate::error::{Error, Result};

/// Reads little-endian values and keeps count.
pub(super) struct Reader<'a> {
    file: &'a DataFile,
    inner: BufReader<&'a File>,
    position: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a DataFile, position: u64) -> Result<Self> {
        Ok(Self { file, inner: file.reader(position)?, position })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn fail(&self, field: &str, problem: impl std::fmt::Display) -> Error {
        super::fail(&self.file.path, field, problem)
    }

    /// `len` bytes, where the file has them.
    pub(super) fn bytes(&mut self, field: &str, len: u64) -> Result<Vec<u8>> {
        let left = self.file.len.saturating_sub(self.position);
        if len > left {
            let problem = format!("claims {len} bytes, {left} are left in the file");
            return Err(self.fail(field, problem));
        }
        let mut bytes = Vec::new();
        let read = self.inner.by_ref().take(len).read_to_end(&mut bytes);
        let read = read.map_err(|e| self.fail(field, e))?;
        self.position += len;
        if read as u64 == len { Ok(bytes) } else { Err(self.fail(field, "is cut off")) }
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(|_| self.fail(field, "is cut off"))?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// How many things follow that take `least` bytes each or more.
    pub(super) fn count(&mut self, field: &str, least: u64) -> Result<u64> {
        let count = self.u64(field)?;
        let left = self.file.len.saturating_sub(self.position);
        if count > left / least {
            let problem = format!("is {count}, but only {left} bytes are left in the file");
            return Err(self.fail(field, problem));
        }
        Ok(count)
    }

    pub(super) fn string(&mut self, field: &str) -> Result<String> {
        let len = self.u64(field)?;
        let bytes = self.bytes(field, len)?;
        String::from_utf8(bytes).map_err(|_| self.fail(field, "is not UTF-8"))
    }
}
