//! A file of weights that is open but not read, and the tensors that lie in it as byte ranges.
//! Every format comes down to these two.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::dtype::StoredDtype;
use crate::error::{Error, Result};

/// What a checkpoint says about one of its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// Its shape, outermost axis first (GGUF's turned round).
    pub shape: Vec<usize>,
    /// What it is stored as.
    pub dtype: StoredDtype,
    /// Bytes it takes in the file.
    pub bytes: u64,
}

/// An open file.
#[derive(Debug)]
pub(super) struct DataFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) len: u64,
}

impl DataFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let fail = |e: std::io::Error| Error::file(path, e);
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(Error::file(path, "is not a file"));
        }
        Ok(Self { path: path.to_path_buf(), file, len: metadata.len() })
    }

    /// A reader from `offset` on. One at a time: they share the file's position.
    pub(super) fn reader(&self, offset: u64) -> Result<BufReader<&File>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset)).map_err(|e| Error::file(&self.path, e))?;
        Ok(BufReader::new(file))
    }

    /// The first bytes, fewer where the file is shorter.
    pub(super) fn magic(&self) -> Result<[u8; 4]> {
        let mut magic = Vec::new();
        let read = self.reader(0)?.take(4).read_to_end(&mut magic);
        read.map_err(|e| Error::file(&self.path, e))?;
        magic.resize(4, 0);
        Ok([magic[0], magic[1], magic[2], magic[3]])
    }
}

/// A tensor as a byte range of a file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) info: TensorInfo,
    /// Which of the checkpoint's files.
    pub(super) file: usize,
    /// Where in it.
    pub(super) offset: u64,
}

impl Stored {
    /// A tensor of the checkpoint's first file; its bytes were checked against the file's.
    pub(super) fn new(
        name: String,
        shape: Vec<usize>,
        dtype: StoredDtype,
        bytes: u64,
        offset: u64,
    ) -> Self {
        Self { info: TensorInfo { name, shape, dtype, bytes }, file: 0, offset }
    }

    /// Elements of a row: the last axis, or 1 for a vector, whose elements are its rows.
    pub(super) fn row_len(&self) -> usize {
        match self.info.shape.as_slice() {
            [] | [_] => 1,
            [.., last] => *last,
        }
    }

    /// Rows: everything but the last axis.
    pub(super) fn rows(&self) -> usize {
        match self.info.shape.as_slice() {
            [] => 1,
            [len] => *len,
            [outer @ .., _] => outer.iter().product(),
        }
    }
}
