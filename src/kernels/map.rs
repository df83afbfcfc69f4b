//! A range of a file as memory. It maps for reading only, and only while the bytes are being
//! copied: mapped pages count as resident, so nobody keeps a [`Map`].

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::ops::{Deref, Range};

#[cfg(target_os = "linux")]
use super::pool::share;

/// Bytes whose pages a thread looks up at a time.
#[cfg(target_os = "linux")]
const PIECE: usize = 512 << 10;

/// Bytes of a file, mapped read-only; gone when dropped.
#[derive(Debug)]
pub struct Map(Option<memmap2::Mmap>);

impl Map {
    /// Maps the bytes `range` of `file`; any offset will do.
    ///
    /// # Errors
    /// Of the kind `UnexpectedEof` where the file, as it is now, does not reach that far.
    pub fn new(file: &File, range: Range<u64>) -> Result<Self> {
        if range.is_empty() {
            return Ok(Self(None));
        }
        if file.metadata()?.len() < range.end {
            let problem = format!("the file ends before byte {}", range.end);
            return Err(Error::new(ErrorKind::UnexpectedEof, problem));
        }
        let len = usize::try_from(range.end - range.start).map_err(Error::other)?;
        let mut options = memmap2::MmapOptions::new();
        options.offset(range.start).len(len);
        // SAFETY: the mapping is read-only, lies within the file as just measured, is seen only as
        // bytes (every pattern is a valid `u8`), and lives only while they are copied. A process
        // that truncates the file in that moment ends this one with a bus error, and one that
        // writes to it spoils the copy; both hold for every reader that maps files.
        let map = unsafe { options.map(file) }?;
        look_up(&map);
        Ok(Self(Some(map)))
    }
}

/// Pages are looked up by all threads; who reads one that this missed looks it up then.
#[cfg(target_os = "linux")]
fn look_up(map: &memmap2::Mmap) {
    let count = map.len().div_ceil(PIECE);
    share(count, count, |pieces| {
        let (start, end) = (pieces.start * PIECE, (pieces.end * PIECE).min(map.len()));
        let _ = map.advise_range(memmap2::Advice::PopulateRead, start, end - start);
    });
}

#[cfg(not(target_os = "linux"))]
fn look_up(_: &memmap2::Mmap) {}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
