//! Requests to the hub. Redirects are followed here and not by the HTTP library, because the
//! token may go to the endpoint only, and because a redirect's own headers say what the file is.
//!
//! The `hf-hub` crate is not used: 0.5 renames what it got into place without looking at its size
//! or hash, appends whatever a server answers to a range, and takes a file's name from a header
//! unchecked; 1.0 is async, four times the crates, and does not resume.

use std::io::Read;
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body};

use super::Hub;
use super::cache::is_commit;
use super::id::{HubId, is_word};
use crate::error::Error;

/// Redirects that are followed, one after another.
const MAX_REDIRECTS: usize = 8;
/// A listing of more bytes is no listing.
const MAX_LISTING: u64 = 64 << 20;

/// Why there was no answer, or not the one hoped for.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection, or the server is in trouble: later may be better.
    Unreachable(String),
    /// An HTTP status, with what the hub said about it.
    Status(u16, String),
    /// An answer that makes no sense.
    Nonsense(String),
}

/// What is in a repository.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

/// What the hub says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The hash of its contents: SHA-256 or git's SHA-1 in hexadecimal.
    pub(super) etag: String,
    pub(super) bytes: Option<u64>,
}

/// Talks to one endpoint.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    agent: Agent,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub) -> Self {
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("taper/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { hub, agent }
    }

    pub(super) fn hub(&self) -> &Hub {
        self.hub
    }

    /// The files of a repository at a revision.
    pub(super) fn listing(&self, id: &HubId) -> Result<Listing, Failure> {
        #[derive(serde::Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        #[derive(serde::Deserialize)]
        struct Answer {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        let revision = id.revision().replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}", self.hub.endpoint, id.repo);
        let response = self.request("GET", &url, None, |_| false)?;
        let mut text = Vec::new();
        let mut reader = response.into_body().into_reader().take(MAX_LISTING);
        reader.read_to_end(&mut text).map_err(|e| Failure::Unreachable(e.to_string()))?;
        let answer: Answer = serde_json::from_slice(&text)
            .map_err(|e| Failure::Nonsense(format!("{url} is no listing: {e}")))?;
        if !is_word(&answer.sha) {
            return Err(Failure::Nonsense(format!("`{}` is no commit", answer.sha)));
        }
        let files = answer.siblings.into_iter().map(|s| s.rfilename).collect();
        Ok(Listing { commit: answer.sha, files })
    }

    /// What a file is. Asks without fetching it.
    pub(super) fn metadata(
        &self,
        id: &HubId,
        commit: &str,
        file: &str,
    ) -> Result<Metadata, Failure> {
        let url = self.url(id, commit, file);
        // The storage that the hub sends one on to need not answer this; the hub itself does.
        let enough = |response: &Response<Body>| header(response, "x-linked-etag").is_some();
        let response = self.request("HEAD", &url, None, enough)?;
        let etag = header(&response, "x-linked-etag").or_else(|| header(&response, "etag"));
        let etag = etag.map(|e| e.trim_start_matches("W/").trim_matches('"').to_string());
        let etag = etag.ok_or_else(|| Failure::Nonsense(format!("no hash is given for {file}")))?;
        if !is_word(&etag) {
            return Err(Failure::Nonsense(format!("`{etag}` is no hash")));
        }
        let bytes = match response.status().is_redirection() {
            true => header(&response, "x-linked-size"),
            false => {
                header(&response, "x-linked-size").or_else(|| header(&response, "content-length"))
            }
        };
        Ok(Metadata { etag, bytes: bytes.and_then(|n| n.parse().ok()) })
    }

    /// A file's contents from byte `start` on.
    pub(super) fn contents(
        &self,
        id: &HubId,
        commit: &str,
        file: &str,
        start: u64,
    ) -> Result<Response<Body>, Failure> {
        let range = (start > 0).then(|| format!("bytes={start}-"));
        self.request("GET", &self.url(id, commit, file), range.as_deref(), |_| false)
    }

    fn url(&self, id: &HubId, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.hub.endpoint, id.repo)
    }

    /// Sends a request and follows redirects until the answer is `enough`, or no redirect.
    fn request(
        &self,
        method: &str,
        url: &str,
        range: Option<&str>,
        enough: impl Fn(&Response<Body>) -> bool,
    ) -> Result<Response<Body>, Failure> {
        let mut url = url.to_string();
        for _ in 0..MAX_REDIRECTS {
            let mut request = match method {
                "HEAD" => self.agent.head(&url),
                _ => self.agent.get(&url),
            };
            // Compressed, a file would have another length and hash.
            request = request.header("Accept-Encoding", "identity");
            if let Some(range) = range {
                request = request.header("Range", range);
            }
            if let Some(token) = &self.hub.token
                && origin(&url) == origin(&self.hub.endpoint)
            {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|e| unreachable_at(&url, &e))?;
            let status = response.status();
            if status.is_success() || (status.is_redirection() && enough(&response)) {
                return Ok(response);
            }
            match header(&response, "location").filter(|_| status.is_redirection()) {
                Some(location) => url = follow(&url, location)?,
                None => return Err(failed(&response)),
            }
        }
        Err(Failure::Nonsense("it redirects without end".into()))
    }
}

fn unreachable_at(url: &str, error: &ureq::Error) -> Failure {
    Failure::Unreachable(format!("{} cannot be reached ({error})", origin(url).unwrap_or(url)))
}

fn failed(response: &Response<Body>) -> Failure {
    let status = response.status().as_u16();
    let code = header(response, "x-error-code").unwrap_or_default();
    let message = header(response, "x-error-message").unwrap_or_default();
    match status {
        429 | 500..=599 => Failure::Unreachable(format!("the hub answers {status} {message}")),
        _ => Failure::Status(status, format!("{code} {message}").trim().to_string()),
    }
}

pub(super) fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    Some(&url[..end])
}

/// Where a redirect leads. From a secure connection it may not lead to an open one.
fn follow(url: &str, location: &str) -> Result<String, Failure> {
    let base = origin(url).unwrap_or_default();
    let next = if location.contains("://") {
        location.to_string()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{}//{rest}", &base[..base.find("//").unwrap_or(0)])
    } else if location.starts_with('/') {
        format!("{base}{location}")
    } else {
        let path = url.split(['?', '#']).next().unwrap_or(url);
        format!("{}/{location}", path.rsplit_once('/').map_or(path, |(folder, _)| folder))
    };
    if url.starts_with("https:") && !next.starts_with("https:") {
        return Err(Failure::Nonsense(format!("it redirects to the insecure {next}")));
    }
    Ok(next)
}

impl Failure {
    /// The failure as an error about a repository, and a file in it.
    pub(super) fn about(self, id: &HubId, file: Option<&str>, hub: &Hub) -> Error {
        let what = file.map_or(String::new(), |file| format!("{file}: "));
        let problem = match self {
            Self::Unreachable(problem) | Self::Nonsense(problem) => problem,
            Self::Status(status, said) => {
                let said = if said.is_empty() { said } else { format!(" (it says: {said})") };
                format!("{}{said}", meaning(status, id, file, hub))
            }
        };
        Error::Hub { repo: id.to_string(), problem: format!("{what}{problem}") }
    }
}

/// What a status means here, and what to do.
fn meaning(status: u16, id: &HubId, file: Option<&str>, hub: &Hub) -> String {
    let page = format!("{}/{}", hub.endpoint, id.repo);
    match (status, &hub.token, file) {
        (401, None, _) => format!(
            "the hub wants to know who asks: the repository is private, gated, or does not exist \
             (is `{}` spelt right?). Accept its licence at {page} if it has one, and set HF_TOKEN",
            id.repo
        ),
        (401, Some(_), _) => {
            "the hub does not accept the token in HF_TOKEN (or the token file)".into()
        }
        (403, _, _) => format!(
            "access is denied; accept the licence at {page} with the account of \
                                HF_TOKEN"
        ),
        (404, _, Some(_)) => "the hub does not have this file".into(),
        (404, _, None) if id.revision.is_some() => {
            format!("there is no such repository or revision; see {page}")
        }
        (404, _, None) => format!("there is no such repository; see {page}"),
        _ => format!("the hub answers with status {status}"),
    }
}

/// Whether an etag is a hash that contents can be checked against, and which.
pub(super) enum Hash {
    Sha256,
    GitSha1,
    Unknown,
}

impl Metadata {
    pub(super) fn hash(&self) -> Hash {
        let is_hex = self.etag.bytes().all(|b| b.is_ascii_hexdigit());
        match self.etag.len() {
            64 if is_hex => Hash::Sha256,
            40 if is_commit(&self.etag) => Hash::GitSha1,
            _ => Hash::Unknown,
        }
    }
}
