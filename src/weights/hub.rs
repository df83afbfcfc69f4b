//! From what a user calls a model to files on this machine: a path as it is, anything else from
//! the hub, through the cache that Hugging Face's own tools share. Files are not looked into
//! beyond the index of shards.

mod cache;
mod client;
mod fetch;
mod id;
mod select;

use std::path::{Path, PathBuf};

use cache::Cache;
use client::{Client, Failure, Listing};
use id::is_word;
pub use id::{HubId, Source};

use crate::error::{Error, Result};

/// Where the hub is, and how to deal with it.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The address, without a slash at its end (`HF_ENDPOINT`).
    pub endpoint: String,
    /// The folder of the cache (`HF_HUB_CACHE`, else `hub` in `HF_HOME`).
    pub cache: PathBuf,
    /// Sent to the endpoint, and to no other host (`HF_TOKEN`, else the file `token` in `HF_HOME`).
    pub token: Option<String>,
    /// Use only what the cache has (`HF_HUB_OFFLINE`).
    pub offline: bool,
}

impl Hub {
    /// As the environment says.
    pub fn from_env() -> Self {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// As variables say, in the way that Hugging Face's tools read them; empty ones are unset.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let base = var("HOME").or_else(|| var("USERPROFILE")).unwrap_or_else(|| ".".into());
        let base = Path::new(&base);
        let path = |name: &str| {
            let path = var(name)?;
            Some(path.strip_prefix("~/").map_or(PathBuf::from(&path), |rest| base.join(rest)))
        };
        let user = || path("XDG_CACHE_HOME").unwrap_or_else(|| base.join(".cache"));
        let home = path("HF_HOME").unwrap_or_else(|| user().join("huggingface"));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let token_file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = var("HF_TOKEN").or_else(|| var("HUGGING_FACE_HUB_TOKEN"));
        let token = token.or_else(|| std::fs::read_to_string(token_file).ok());
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let is_true = |value: String| {
            matches!(value.to_ascii_lowercase().as_str(), "1" | "on" | "yes" | "true")
        };
        Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            cache: cache.unwrap_or_else(|| home.join("hub")),
            token: token.map(|t| t.trim().to_string()).filter(|t| !t.is_empty()),
            offline: var("HF_HUB_OFFLINE").is_some_and(is_true),
        }
    }
}

/// Is told how a download goes.
pub trait Progress {
    /// A file of so many bytes begins, of which `have` are here already.
    fn start(&mut self, file: &str, bytes: Option<u64>, have: u64);
    /// So many more have come.
    fn advance(&mut self, bytes: u64);
    /// The file is complete, checked, and in its place.
    fn finish(&mut self);
    /// Something the user should know, such as a connection that was cut.
    fn note(&mut self, text: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn start(&mut self, _: &str, _: Option<u64>, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self) {}
    fn note(&mut self, _: &str) {}
}

impl Source {
    /// The folder or file, downloaded where it is on the hub and not in the cache.
    ///
    /// # Errors
    /// [`Error::Hub`] saying what happened and what to do; [`Error::File`] where the cache cannot
    /// be written.
    pub fn fetch(&self, hub: &Hub, progress: &mut dyn Progress) -> Result<PathBuf> {
        let id = match self {
            Self::Local(path) => return Ok(path.clone()),
            Self::Hub(id) => id,
        };
        let cache = Cache::new(&hub.cache, id);
        if hub.offline {
            return cached(&cache, id, "offline");
        }
        // A commit never changes: what is here of it need not be asked for again.
        if cache.commit().is_some_and(|commit| commit == id.revision())
            && let Ok(path) = cached(&cache, id, "")
        {
            return Ok(path);
        }
        let client = Client::new(hub);
        let listing = match client.listing(id) {
            Err(Failure::Unreachable(problem)) => match cached(&cache, id, &problem) {
                Ok(path) => {
                    progress.note(&format!("{problem}; going on with what the cache has"));
                    return Ok(path);
                }
                Err(error) => fetch::again(progress, || client.listing(id)).map_err(|failure| {
                    let is_unreachable = matches!(failure, Failure::Unreachable(_));
                    if is_unreachable { error } else { failure.about(id, None, hub) }
                })?,
            },
            listing => listing.map_err(|failure| failure.about(id, None, hub))?,
        };
        let path = download(&client, &cache, id, &listing, progress)?;
        cache.remember(&listing.commit)?;
        Ok(path)
    }
}

/// Brings what is needed of a commit and is not in the cache.
fn download(
    client: &Client<'_>,
    cache: &Cache,
    id: &HubId,
    listing: &Listing,
    progress: &mut dyn Progress,
) -> Result<PathBuf> {
    let snapshot = cache.snapshot(&listing.commit);
    let mut get = |file: &str| {
        fetch::file(client, cache, id, &listing.commit, file, progress)
            .map(|()| snapshot.join(file))
    };
    let wanted = select::wanted(id, &listing.files)?;
    for file in &wanted.files {
        get(file)?;
    }
    if let Some(index) = &wanted.index {
        let path = get(index)?;
        for shard in super::index::read(&path)?.shards() {
            if !is_word(shard) {
                return Err(Error::file(&path, format!("`{shard}` is not the name of a file")));
            }
            get(shard)?;
        }
    }
    Ok(wanted.file.map_or(snapshot.clone(), |file| snapshot.join(file)))
}

/// What the cache has, if it is all that is needed.
fn cached(cache: &Cache, id: &HubId, why: &str) -> Result<PathBuf> {
    let missing = |what: &str| Error::Hub {
        repo: id.to_string(),
        problem: format!("{why}, and {what}; `taper pull {id}` gets it where there is a network"),
    };
    let commit = cache.commit().ok_or_else(|| missing("the cache does not have it"))?;
    let snapshot = cache.snapshot(&commit);
    let files = cache.files(&commit);
    let wanted = select::wanted(id, &files).map_err(|_| {
        missing(&format!("the cache has only parts of it in {}", snapshot.display()))
    })?;
    if let Some(index) = &wanted.index {
        let index = super::index::read(&snapshot.join(index))?;
        if let Some(shard) = index.shards().iter().find(|s| !snapshot.join(s).is_file()) {
            return Err(missing(&format!("the cache lacks its {shard}")));
        }
    }
    Ok(wanted.file.map_or(snapshot.clone(), |file| snapshot.join(file)))
}

/// [`Source::of`] and [`Source::fetch`] in one.
///
/// # Errors
/// As those.
pub fn resolve(name: &str, hub: &Hub, progress: &mut dyn Progress) -> Result<PathBuf> {
    Source::of(name)?.fetch(hub, progress)
}
