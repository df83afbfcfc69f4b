//! A hub on 127.0.0.1 that misbehaves on request. One thread a connection, one request a
//! connection.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha1::Digest as _;

/// How a file is served.
#[derive(Clone, Default)]
pub struct File {
    pub bytes: Vec<u8>,
    /// Served by another address, as large files are.
    pub large: bool,
    /// Cuts the connection after so many bytes of body, this often.
    pub cut: Option<(usize, usize)>,
    /// Answers a range with the whole.
    pub no_range: bool,
    /// Sends this in place of the bytes, this often.
    pub altered: Option<(Vec<u8>, usize)>,
    /// Announces so many bytes fewer, and sends no more.
    pub short: usize,
    /// Answers 503, this often.
    pub busy: usize,
}

impl From<&str> for File {
    fn from(text: &str) -> Self {
        Self { bytes: text.into(), ..Self::default() }
    }
}

/// What is served, and what was asked for.
#[derive(Default)]
pub struct State {
    pub files: HashMap<String, File>,
    /// `METHOD path`, with the range and the token that were sent.
    pub log: Vec<String>,
    /// Answer to everything but the storage, such as 401.
    pub status: Option<u16>,
    /// Old name and new name.
    pub moved: Option<(String, String)>,
    pub storage: String,
}

#[derive(Clone)]
pub struct Server {
    pub address: String,
    pub state: Arc<Mutex<State>>,
}

pub const REPO: &str = "org/model";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Server {
    pub fn new(files: &[(&str, File)]) -> Self {
        let state = State {
            files: files.iter().map(|(name, file)| (name.to_string(), file.clone())).collect(),
            ..State::default()
        };
        let server = Self::listen(Arc::new(Mutex::new(state)));
        let storage = Self::listen(server.state.clone());
        server.state.lock().unwrap().storage = storage.address;
        server
    }

    fn listen(state: Arc<Mutex<State>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let this = Self { address, state };
        let server = this.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // A client that goes away in the middle is part of the game.
                std::thread::spawn(move || drop(server.serve(stream)));
            }
        });
        this
    }

    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut File)) {
        change(self.state.lock().unwrap().files.get_mut(name).unwrap());
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_string());
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let range = headers.get("range").cloned().unwrap_or_default();
        let token = headers.get("authorization").cloned().unwrap_or_default();
        let at_storage = self.state.lock().unwrap().storage == self.address;
        let place = if at_storage { "storage " } else { "" };
        let line = format!("{place}{method} {path} {range} {token}");
        self.state.lock().unwrap().log.push(line.trim().replace("  ", " "));
        let start = range.strip_prefix("bytes=").and_then(|r| r.strip_suffix('-'));
        let start = start.and_then(|s| s.parse().ok());
        let answer = self.answer(method, path, start, at_storage);
        let head = answer.0.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        stream.write_all(head.as_bytes())?;
        stream.write_all(&answer.1)?;
        stream.flush()?;
        // Waits for the client to read before the socket goes.
        stream.shutdown(std::net::Shutdown::Write)?;
        drop(reader.read(&mut [0]));
        Ok(())
    }

    fn answer(
        &self,
        method: &str,
        path: &str,
        start: Option<usize>,
        at_storage: bool,
    ) -> (String, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let plain = |status: &str, extra: &str, body: &str| {
            let len = body.len();
            (
                format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{extra}\r\n"),
                body.as_bytes().to_vec(),
            )
        };
        if let Some(status) = state.status.filter(|_| !at_storage) {
            return plain(&format!("{status} No"), "X-Error-Message: because\r\n", "");
        }
        if let Some((old, new)) = &state.moved
            && path.contains(old.as_str())
        {
            let location = format!("Location: {}\r\n", path.replace(old.as_str(), new));
            return plain("307 Moved", &location, "");
        }
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{REPO}/revision/")) {
            if !["main", COMMIT, "refs%2Fpr%2F1"].contains(&revision) {
                return plain("404 Not Found", "", "");
            }
            let names: Vec<String> =
                state.files.keys().map(|n| format!(r#"{{"rfilename":"{n}"}}"#)).collect();
            let body = format!(r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#, names.join(","));
            return plain("200 OK", "", &body);
        }
        let name = path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/")).unwrap_or_default();
        let storage = state.storage.clone();
        match state.files.get_mut(name) {
            Some(file) if file.busy > 0 => {
                file.busy -= 1;
                plain("503 Busy", "", "")
            }
            Some(file) if file.large && !at_storage => {
                let extra = format!(
                    "Location: {storage}{path}\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\nX-Repo-Commit: {COMMIT}\r\n",
                    sha256(&file.bytes),
                    file.bytes.len()
                );
                plain("302 Found", &extra, "")
            }
            // A signed address is signed for one method.
            Some(_) if at_storage && method == "HEAD" => plain("403 Forbidden", "", ""),
            Some(file) => body(file, method, start),
            None => plain("404 Not Found", "X-Error-Code: EntryNotFound\r\n", ""),
        }
    }
}

fn body(file: &mut File, method: &str, start: Option<usize>) -> (String, Vec<u8>) {
    let etag = if file.large { sha256(&file.bytes) } else { git_sha1(&file.bytes) };
    let start = start.filter(|_| !file.no_range);
    let mut bytes = file.bytes.clone();
    if method == "GET"
        && let Some((other, times)) = &mut file.altered
        && *times > 0
    {
        *times -= 1;
        bytes = other.clone();
    }
    if method == "GET" {
        bytes.truncate(bytes.len() - file.short);
    }
    if start.is_some_and(|start| start >= bytes.len()) {
        return ("HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n".into(), vec![]);
    }
    let total = bytes.len();
    let rest = bytes.split_off(start.unwrap_or(0));
    let (status, range) = match start {
        Some(start) => {
            let range = format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1);
            ("206 Partial Content", range)
        }
        None => ("200 OK", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{etag}\"\r\n{range}\r\n",
        rest.len()
    );
    if method == "HEAD" {
        return (head, vec![]);
    }
    match &mut file.cut {
        Some((after, times)) if *times > 0 => {
            *times -= 1;
            (head, rest[..rest.len().min(*after)].to_vec())
        }
        _ => (head, rest),
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

pub fn git_sha1(bytes: &[u8]) -> String {
    hex(&sha1::Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
