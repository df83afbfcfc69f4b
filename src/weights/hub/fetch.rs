//! One file into the cache: resumed where a part of it is here, checked, and only then given its
//! name. Which files are needed is not decided here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use ureq::Body;
use ureq::http::Response;

use super::Progress;
use super::cache::{Cache, make_folder};
use super::client::{Client, Failure, Hash, Metadata, header};
use super::id::HubId;
use crate::error::{Error, Result};
use crate::weights::fingerprint::hex;

/// Attempts in a row that may bring nothing.
const ATTEMPTS: u32 = 5;
/// Bytes read at a time.
const PIECE: usize = 1 << 17;

/// A file on its way.
struct Download<'a, 'b> {
    client: &'a Client<'b>,
    id: &'a HubId,
    commit: &'a str,
    name: &'a str,
    metadata: Metadata,
    /// The part that is here.
    partial: PathBuf,
}

/// Sees to it that the cache has a file of a commit.
pub(super) fn file(
    client: &Client<'_>,
    cache: &Cache,
    id: &HubId,
    commit: &str,
    name: &str,
    progress: &mut dyn Progress,
) -> Result<()> {
    if cache.snapshot(commit).join(name).is_file() {
        return Ok(());
    }
    let metadata = again(progress, || client.metadata(id, commit, name))
        .map_err(|failure| failure.about(id, Some(name), client.hub()))?;
    let etag = metadata.etag.clone();
    let blob = cache.blob(&etag);
    let _lock = cache.lock(&etag, || {
        progress.note(&format!("{name}: another process is downloading it; waiting"));
    })?;
    let size = std::fs::metadata(&blob).map(|m| m.len()).ok();
    // Another process may have brought it; contents that others put here are taken by their size.
    if size.is_none() || metadata.bytes.is_some_and(|bytes| size != Some(bytes)) {
        make_folder(&blob)?;
        let partial = cache.blob(&format!("{etag}.incomplete"));
        let download = Download { client, id, commit, name, metadata, partial };
        download.run(progress)?;
        std::fs::rename(&download.partial, &blob).map_err(|e| Error::file(&blob, e))?;
        progress.finish();
    }
    cache.link(&etag, commit, name)
}

impl Download<'_, '_> {
    /// Brings the whole file to `partial`, and checks it.
    fn run(&self, progress: &mut dyn Progress) -> Result<()> {
        let resumed = self.have() > 0;
        self.bring(progress)?;
        let Err(problem) = self.check() else { return Ok(()) };
        self.discard()?;
        if !resumed {
            return Err(self.fail(problem));
        }
        progress.note(&format!("{}: {problem}; starting again from nothing", self.name));
        self.bring(progress)?;
        self.check().or_else(|problem| {
            self.discard()?;
            Err(self.fail(problem))
        })
    }

    /// Asks for what is missing until nothing is, or nothing more comes.
    fn bring(&self, progress: &mut dyn Progress) -> Result<()> {
        if self.metadata.bytes.is_some_and(|bytes| self.have() > bytes) {
            self.discard()?;
        }
        progress.start(self.name, self.metadata.bytes, self.have());
        let mut fruitless = 0;
        loop {
            let have = self.have();
            if self.metadata.bytes == Some(have) && have > 0 {
                return Ok(());
            }
            match self.attempt(have, progress) {
                Ok(()) if self.metadata.bytes.is_none_or(|bytes| bytes <= self.have()) => {
                    return Ok(());
                }
                // The server ended the answer in good order, but early: once more, then no more.
                Ok(()) if fruitless > 0 && self.have() == have => return Ok(()),
                Ok(()) => {}
                Err(Failure::Unreachable(problem)) if fruitless + 1 < ATTEMPTS => {
                    progress.note(&format!("{}: {problem}; trying again", self.name));
                }
                Err(failure) => return Err(self.interrupted(failure)),
            }
            fruitless = if self.have() > have { 0 } else { fruitless + 1 };
            std::thread::sleep(wait(fruitless));
        }
    }

    /// One request for the rest of the file.
    fn attempt(&self, have: u64, progress: &mut dyn Progress) -> Result<(), Failure> {
        let response = match self.client.contents(self.id, self.commit, self.name, have) {
            // Nothing is left to send, or what is here is no part of it: the check will tell.
            Err(Failure::Status(416, _)) if have > 0 => return Ok(()),
            response => response?,
        };
        let broken =
            |e: std::io::Error| Failure::Nonsense(format!("{}: {e}", self.partial.display()));
        let file = File::options().create(true).append(true).open(&self.partial).map_err(broken)?;
        if have > 0 && !continues(&response, have) {
            // The server sends everything instead.
            file.set_len(0).map_err(broken)?;
            progress.start(self.name, self.metadata.bytes, 0);
        }
        let mut file = file;
        let mut reader = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            let n = reader
                .read(&mut piece)
                .map_err(|e| Failure::Unreachable(format!("the connection was cut ({e})")))?;
            if n == 0 {
                return Ok(());
            }
            file.write_all(&piece[..n]).map_err(broken)?;
            progress.advance(n as u64);
            if self.metadata.bytes.is_some_and(|bytes| self.have() > bytes) {
                return Ok(());
            }
        }
    }

    fn have(&self) -> u64 {
        std::fs::metadata(&self.partial).map_or(0, |m| m.len())
    }

    /// Size and hash against what the hub said.
    fn check(&self) -> Result<(), String> {
        let have = self.have();
        if let Some(bytes) = self.metadata.bytes.filter(|bytes| *bytes != have) {
            return Err(format!("{have} bytes arrived of {bytes}"));
        }
        let read = |e: std::io::Error| format!("{}: {e}", self.partial.display());
        let found = match self.metadata.hash() {
            Hash::Sha256 => sha256(&self.partial).map_err(read)?,
            Hash::GitSha1 => git_sha1(&self.partial, have).map_err(read)?,
            Hash::Unknown => return Ok(()),
        };
        if found.eq_ignore_ascii_case(&self.metadata.etag) {
            return Ok(());
        }
        Err(format!(
            "what arrived is not what the hub has (hash {found}, not {})",
            self.metadata.etag
        ))
    }

    fn discard(&self) -> Result<()> {
        match std::fs::remove_file(&self.partial) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file(&self.partial, e))
            }
            _ => Ok(()),
        }
    }

    fn fail(&self, problem: String) -> Error {
        let problem = format!("{problem}; it was deleted");
        Failure::Nonsense(problem).about(self.id, Some(self.name), self.client.hub())
    }

    /// A failure that leaves the part that is here for the next time.
    fn interrupted(&self, failure: Failure) -> Error {
        let failure = match failure {
            Failure::Unreachable(problem) => Failure::Unreachable(format!(
                "{problem}; {} bytes are kept, and the same command goes on from there",
                self.have()
            )),
            other => other,
        };
        failure.about(self.id, Some(self.name), self.client.hub())
    }
}

/// Tries a small request again while the hub cannot be reached.
pub(super) fn again<T>(
    progress: &mut dyn Progress,
    mut request: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut attempt = 1;
    loop {
        match request() {
            Err(Failure::Unreachable(problem)) if attempt < ATTEMPTS => {
                progress.note(&format!("{problem}; trying again"));
                std::thread::sleep(wait(attempt));
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

/// Longer from time to time: 0.1, 0.2, 0.4, 0.8 seconds.
fn wait(fruitless: u32) -> Duration {
    match fruitless {
        0 => Duration::ZERO,
        n => Duration::from_millis(50 << n.min(6)),
    }
}

/// Whether an answer is the part of the file that begins at `start`.
fn continues(response: &Response<Body>, start: u64) -> bool {
    let range = header(response, "content-range").unwrap_or_default();
    response.status().as_u16() == 206 && range.starts_with(&format!("bytes {start}-"))
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// The hash by which git names contents.
fn git_sha1(path: &Path, bytes: u64) -> std::io::Result<String> {
    let mut hash = Sha1::new();
    hash.update(format!("blob {bytes}\0"));
    std::io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}
