//! Numbers that tell checkpoints apart, and whether two tensors are the same.

use std::io::Read;

use candle_core::DType;
use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, Format};
use super::file::{DataFile, Stored};
use crate::error::{Error, Result};
use crate::kernels::map::Map;

/// Bytes looked at together.
const PIECE: u64 = 1 << 22;

impl Checkpoint {
    /// SHA-256 over the bytes of `config.json` (where there is one; a GGUF has its own inside) and
    /// of every weights file, in the order of their names, as `scripts/reference.py` has it. Reads
    /// everything.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = self.hash_of_config()?;
        for file in &self.files {
            let mut reader = file.reader(0)?;
            std::io::copy(&mut reader, &mut hash).map_err(|e| Error::file(&file.path, e))?;
        }
        Ok(hex(&hash.finalize()))
    }

    /// SHA-256 over `config.json`, every tensor's name, shape, dtype and place, and samples of the
    /// data: enough to tell models apart, in milliseconds. It is not the same as
    /// [`Checkpoint::fingerprint`], and no proof against forgery.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn quick_fingerprint(&self) -> Result<String> {
        let mut hash = self.hash_of_config()?;
        for stored in &self.tensors {
            let (info, at) = (&stored.info, (stored.file, stored.offset));
            hash.update(format!("{} {:?} {} {at:?}\n", info.name, info.shape, info.dtype));
        }
        for file in &self.files {
            sample(file, &mut hash)?;
        }
        Ok(hex(&hash.finalize()))
    }

    fn hash_of_config(&self) -> Result<Sha256> {
        let mut hash = Sha256::new();
        let config = self.folder().join("config.json");
        for tensor in &self.held {
            let numbers = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            numbers.iter().for_each(|x| hash.update(x.to_le_bytes()));
        }
        if self.format() != Format::Memory && self.gguf().is_none() && config.is_file() {
            hash.update(std::fs::read(&config).map_err(|e| Error::file(&config, e))?);
        }
        Ok(hash)
    }

    /// Whether two tensors have the same shape, dtype and bytes.
    pub(super) fn same_bytes(&self, a: &Stored, b: &Stored) -> Result<bool> {
        if (&a.info.shape, a.info.dtype) != (&b.info.shape, b.info.dtype) {
            return Ok(false);
        }
        if self.adapted(a).is_some() || self.adapted(b).is_some() {
            return Ok(false);
        }
        if let (Some(a), Some(b)) = (self.held(a), self.held(b)) {
            return super::held::same(a, b);
        }
        let map = |t: &Stored, from: u64, to: u64| {
            let file = &self.files[t.file];
            Map::new(&file.file, t.offset + from..t.offset + to)
                .map_err(|e| Error::file(&file.path, e))
        };
        for from in (0..a.info.bytes).step_by(PIECE as usize) {
            let to = (from + PIECE).min(a.info.bytes);
            if map(a, from, to)?[..] != map(b, from, to)?[..] {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Feeds the length of a file and 64 pieces spread over it to `hash`.
fn sample(file: &DataFile, hash: &mut Sha256) -> Result<()> {
    const SAMPLES: u64 = 64;
    const BYTES: u64 = 1 << 12;
    hash.update(file.len.to_le_bytes());
    let last = file.len.saturating_sub(BYTES);
    for i in 0..SAMPLES {
        let mut piece = Vec::new();
        let read = file.reader(last / (SAMPLES - 1) * i)?.take(BYTES).read_to_end(&mut piece);
        read.map_err(|e| Error::file(&file.path, e))?;
        hash.update(&piece);
    }
    Ok(())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
