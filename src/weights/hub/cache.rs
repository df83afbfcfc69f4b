//! The cache that Hugging Face's tools share: `models--org--name/` with `refs/` (branch → commit),
//! `blobs/` (contents by hash) and `snapshots/<commit>/` (names → contents). Downloads nothing.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use super::id::{HubId, is_word};
use crate::error::{Error, Result};

/// One repository's part of the cache.
#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
    /// Where locks are, outside of the repository's folder so that it may be deleted.
    locks: PathBuf,
    revision: String,
}

impl Cache {
    pub(super) fn new(folder: &Path, id: &HubId) -> Self {
        let name = format!("models--{}", id.repo.replace('/', "--"));
        Self {
            root: folder.join(&name),
            locks: folder.join(".locks").join(&name),
            revision: id.revision().into(),
        }
    }

    /// The commit that the revision stood for when it was last asked for.
    pub(super) fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) && self.snapshot(&self.revision).is_dir() {
            return Some(self.revision.clone());
        }
        let commit = std::fs::read_to_string(self.root.join("refs").join(&self.revision)).ok()?;
        Some(commit.trim().to_string()).filter(|commit| is_word(commit))
    }

    /// Notes the commit that the revision stands for.
    pub(super) fn remember(&self, commit: &str) -> Result<()> {
        if self.revision == commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(&self.revision);
        make_folder(&path)?;
        let new = beside(&path);
        let written = std::fs::write(&new, commit).and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|e| Error::file(&path, e))
    }

    /// The folder with a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The files that are here of a commit, by their path in the repository; two levels of
    /// folders are looked into.
    pub(super) fn files(&self, commit: &str) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![(self.snapshot(commit), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                let path = entry.path();
                if path.is_file() {
                    files.push(name);
                } else if path.is_dir() && name.matches('/').count() < 2 {
                    folders.push((path, name + "/"));
                }
            }
        }
        files.sort();
        files
    }

    /// Where contents of this hash lie.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Waits until no other process downloads these contents, and keeps others waiting. `busy` is
    /// called where there is a wait.
    pub(super) fn lock(&self, etag: &str, busy: impl FnOnce()) -> Result<std::fs::File> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_folder(&path)?;
        let fail = |e| Error::file(&path, e);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(fail)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                busy();
                file.lock().map_err(fail)?;
            }
            locked => locked.map_err(|e| fail(e.into()))?,
        }
        Ok(file)
    }

    /// Gives contents their name in a commit.
    pub(super) fn link(&self, etag: &str, commit: &str, file: &str) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        make_folder(&path)?;
        let new = beside(&path);
        let up = "../".repeat(2 + file.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{etag}"));
        let linked = link(&target, &self.blob(etag), &new);
        linked.and_then(|()| std::fs::rename(&new, &path)).map_err(|e| Error::file(&path, e))
    }
}

#[cfg(unix)]
fn link(target: &Path, _: &Path, new: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, new)
}

/// Links need a privilege elsewhere; the tools move the file there, and so is it done here.
#[cfg(not(unix))]
fn link(_: &Path, blob: &Path, new: &Path) -> std::io::Result<()> {
    std::fs::rename(blob, new)
}

/// A whole commit hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A name that no other process uses, in the same folder.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(format!(".{}.{:?}.new", std::process::id(), std::thread::current().id()));
    PathBuf::from(name)
}

/// Makes the folder that a file is to lie in.
pub(super) fn make_folder(file: &Path) -> Result<()> {
    match file.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e)),
        None => Ok(()),
    }
}
