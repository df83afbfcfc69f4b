//! The bytes of chosen rows, mapped a window of the file at a time. What they mean is not known
//! here.

use std::ops::Range;

use super::checkpoint::Checkpoint;
use super::file::Stored;
use crate::error::{Error, Result};
use crate::kernels::map::Map;

/// Elements mapped at a time.
pub(super) const WINDOW: usize = 1 << 22;

impl Checkpoint {
    pub(super) fn row_bytes(&self, stored: &Stored) -> u64 {
        let (elements, bytes) = stored.info.dtype.block();
        (stored.row_len() / elements * bytes) as u64
    }

    /// Hands the bytes of the rows to `each`, in order, in pieces of whole rows.
    pub(super) fn for_each(
        &self,
        stored: &Stored,
        rows: &[Range<usize>],
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        match self.adapted(stored) {
            Some(adapted) => self.for_each_adapted(adapted, rows, each),
            None => self.for_each_stored(stored, rows, each),
        }
    }

    /// The same, of the numbers as they are stored.
    pub(super) fn for_each_stored(
        &self,
        stored: &Stored,
        rows: &[Range<usize>],
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let file = self.files.get(stored.file).ok_or_else(|| self.not_a_float(stored))?;
        let row_bytes = self.row_bytes(stored);
        if row_bytes == 0 {
            return Ok(());
        }
        for (window, pieces) in windows(rows, (WINDOW / stored.row_len().max(1)).max(1)) {
            let at = |row: usize| stored.offset + row as u64 * row_bytes;
            let map = Map::new(&file.file, at(window.start)..at(window.end)).map_err(|e| {
                Error::file(&file.path, format!("tensor `{}`: {e}", stored.info.name))
            })?;
            for piece in pieces {
                let start = (piece.start - window.start) * row_bytes as usize;
                each(&map[start..start + piece.len() * row_bytes as usize])?;
            }
        }
        Ok(())
    }
}

/// Groups row ranges, cut to at most `limit` rows, into windows that span at most `limit`.
fn windows(rows: &[Range<usize>], limit: usize) -> Vec<(Range<usize>, Vec<Range<usize>>)> {
    let mut windows: Vec<(Range<usize>, Vec<Range<usize>>)> = Vec::new();
    for range in rows {
        let mut start = range.start;
        while start < range.end {
            let piece = start..range.end.min(start + limit);
            start = piece.end;
            if let Some((span, pieces)) = windows.last_mut() {
                let wider = span.start.min(piece.start)..span.end.max(piece.end);
                if wider.len() <= limit {
                    *span = wider;
                    pieces.push(piece);
                    continue;
                }
            }
            windows.push((piece.clone(), vec![piece]));
        }
    }
    windows
}
