//! The members of a zip archive as byte ranges. Compressed members are refused: PyTorch writes
//! none. Formats: PKWARE APPNOTE 4.3.6, 4.5.3 (zip64).

use std::collections::HashMap;
use std::io::Read;

use super::super::file::DataFile;
use crate::error::{Error, Result};

/// A member that is stored as it is.
pub(super) struct Member {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// By name.
pub(super) type Members = HashMap<String, Member>;

/// Lists the archive's members, each checked to lie within the file.
pub(super) fn members(file: &DataFile) -> Result<Members> {
    let (start, bytes) = directory(file)?;
    let directory = piece(file, start, bytes)?;
    let mut rest = directory.as_slice();
    let mut members = HashMap::new();
    while rest.starts_with(b"PK\x01\x02") {
        let (name, member, tail) = member(file, rest).ok_or_else(|| bad(file))??;
        members.insert(name, member);
        rest = tail;
    }
    Ok(members)
}

fn bad(file: &DataFile) -> Error {
    Error::file(&file.path, "its zip directory is damaged or cut off")
}

/// Bytes of the file, where it has them.
fn piece(file: &DataFile, start: u64, bytes: u64) -> Result<Vec<u8>> {
    if start.checked_add(bytes).is_none_or(|end| end > file.len) {
        return Err(bad(file));
    }
    let mut piece = Vec::new();
    let read = file.reader(start)?.take(bytes).read_to_end(&mut piece);
    read.map_err(|e| Error::file(&file.path, e))?;
    Ok(piece)
}

/// Where the directory lies: (start, bytes).
fn directory(file: &DataFile) -> Result<(u64, u64)> {
    // The record at the end has 22 bytes and a comment of at most 65 535.
    let tail_start = file.len.saturating_sub(22 + 0xffff);
    let tail = piece(file, tail_start, file.len - tail_start)?;
    let end = tail.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or_else(|| bad(file))?;
    let record = &tail[end..];
    let small = || Some((u32_at(record, 16)?, u32_at(record, 12)?, u16_at(record, 20)?));
    let (start, bytes, comment) = small().ok_or_else(|| bad(file))?;
    if record.len() != 22 + comment {
        return Err(bad(file));
    }
    let locator = end.checked_sub(20).map(|at| &tail[at..end]);
    let Some(locator) = locator.filter(|l| l.starts_with(b"PK\x06\x07")) else {
        return Ok((start, bytes));
    };
    let at = u64_at(locator, 8).ok_or_else(|| bad(file))?;
    let record = piece(file, at, 56)?;
    if !record.starts_with(b"PK\x06\x06") {
        return Err(bad(file));
    }
    let large = || Some((u64_at(&record, 48)?, u64_at(&record, 40)?));
    large().ok_or_else(|| bad(file))
}

/// One entry of the directory and what follows it; `None` where it is cut off.
fn member<'a>(file: &DataFile, entry: &'a [u8]) -> Option<Result<(String, Member, &'a [u8])>> {
    let method = u16_at(entry, 10)?;
    // Size unpacked, packed, and where the local header is; those that do not fit stand in zip64.
    let mut numbers = [u32_at(entry, 24)?, u32_at(entry, 20)?, u32_at(entry, 42)?];
    let (name_len, extra_len) = (u16_at(entry, 28)?, u16_at(entry, 30)?);
    let comment_len = u16_at(entry, 32)?;
    let rest = entry.get(46..)?;
    let (name, rest) = rest.split_at_checked(name_len)?;
    let (extra, rest) = rest.split_at_checked(extra_len)?;
    let rest = rest.get(comment_len..)?;
    let name = String::from_utf8_lossy(name).into_owned();
    if method != 0 {
        return Some(Err(Error::file(&file.path, format!("its member `{name}` is compressed"))));
    }
    let mut wide = zip64(extra);
    for number in numbers.iter_mut().filter(|n| **n == u32::MAX as u64) {
        *number = wide.next()?;
    }
    let [_, bytes, local] = numbers;
    Some(locate(file, local, bytes).map(|offset| (name, Member { offset, bytes }, rest)))
}

/// The numbers of the zip64 field, in their fixed order.
fn zip64(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut numbers: &[u8] = &[];
    while let (Some(id), Some(len)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(data) = extra.get(4..4 + len) else { break };
        if id == 1 {
            numbers = data;
        }
        extra = &extra[4 + len..];
    }
    numbers.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b))
}

/// Where a member's bytes begin: behind its local header.
fn locate(file: &DataFile, local: u64, bytes: u64) -> Result<u64> {
    let header = piece(file, local, 30)?;
    let lens = u16_at(&header, 26).zip(u16_at(&header, 28));
    let (name, extra) =
        lens.filter(|_| header.starts_with(b"PK\x03\x04")).ok_or_else(|| bad(file))?;
    let start = local + 30 + (name + extra) as u64;
    match start.checked_add(bytes) {
        Some(end) if end <= file.len => Ok(start),
        _ => Err(bad(file)),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?) as usize)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as u64)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}
