//! Does what the hub has arrive, whole, checked and once, whatever happens on the way?
//! The hub is a small server on 127.0.0.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod server;

use std::path::{Path, PathBuf};

use server::{COMMIT, File, REPO, Server, git_sha1, sha256};
use taper::error::Error;
use taper::weights::hub::{Hub, HubId, Progress, Source, resolve};

/// Keeps what it is told.
#[derive(Default)]
struct Told {
    started: Vec<(String, u64)>,
    notes: Vec<String>,
    arrived: u64,
    finished: usize,
}

impl Progress for Told {
    fn start(&mut self, file: &str, _: Option<u64>, have: u64) {
        self.started.push((file.into(), have));
    }
    fn advance(&mut self, bytes: u64) {
        self.arrived += bytes;
    }
    fn finish(&mut self) {
        self.finished += 1;
    }
    fn note(&mut self, text: &str) {
        self.notes.push(text.into());
    }
}

fn weights() -> File {
    let bytes = (0..300_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    File { bytes, large: true, ..File::default() }
}

fn model(weights: File) -> Server {
    Server::new(&[
        ("config.json", "{}".into()),
        ("tokenizer.json", "{\"a\":1}".into()),
        ("vocab.json", "not needed beside tokenizer.json".into()),
        ("pytorch_model.bin", "not needed beside safetensors".into()),
        ("README.md", "not needed".into()),
        ("model.safetensors", weights),
    ])
}

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub { endpoint: server.address.clone(), cache: cache.into(), token: None, offline: false }
}

fn get(server: &Server, cache: &Path) -> (Result<PathBuf, Error>, Told) {
    let mut told = Told::default();
    (resolve(REPO, &hub(server, cache), &mut told), told)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn blobs(cache: &Path) -> Vec<String> {
    names(&cache.join("models--org--model/blobs"))
}

#[track_caller]
fn problem(result: Result<PathBuf, Error>) -> String {
    match result {
        Err(error @ Error::Hub { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn cache() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn only_what_is_needed_arrives_and_only_once() {
    let (server, cache) = (model(weights()), cache());
    let (path, told) = get(&server, cache.path());
    let path = path.unwrap();
    assert_eq!(path, cache.path().join("models--org--model/snapshots").join(COMMIT));
    assert_eq!(names(&path), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(std::fs::read(path.join("model.safetensors")).unwrap(), weights().bytes);
    assert_eq!((told.started.len(), told.finished), (3, 3));
    assert_eq!(told.arrived, 300_000 + 2 + 7);
    let mut expected = [sha256(&weights().bytes), git_sha1(b"{}"), git_sha1(b"{\"a\":1}")];
    expected.sort();
    assert_eq!(blobs(cache.path()), expected);
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(path.join("config.json")).unwrap(),
        Path::new("../../blobs").join(git_sha1(b"{}"))
    );
    let reference = cache.path().join("models--org--model/refs/main");
    assert_eq!(std::fs::read_to_string(reference).unwrap(), COMMIT);

    server.log();
    assert_eq!(get(&server, cache.path()).0.unwrap(), path);
    assert_eq!(server.log(), [format!("GET /api/models/{REPO}/revision/main")]);

    // A whole commit needs no request at all.
    let id = format!("{REPO}@{COMMIT}");
    assert_eq!(resolve(&id, &hub(&server, cache.path()), &mut Told::default()).unwrap(), path);
    assert_eq!(server.log(), [""; 0]);
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let (server, cache) = (model(weights()), cache());
    let mut hub = hub(&server, cache.path());
    hub.token = Some("secret".into());
    resolve(REPO, &hub, &mut Told::default()).unwrap();
    let log = server.log();
    let (storage, own): (Vec<_>, Vec<_>) = log.iter().partition(|l| l.starts_with("storage"));
    assert!(own.len() >= 7 && own.iter().all(|line| line.ends_with("Bearer secret")), "{log:?}");
    assert!(storage.len() == 1 && !storage[0].contains("secret"), "{log:?}");
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let file = File { cut: Some((70_000, 3)), ..weights() };
    let (server, cache) = (model(file), cache());
    let (path, told) = get(&server, cache.path());
    let bytes = std::fs::read(path.unwrap().join("model.safetensors")).unwrap();
    assert!(bytes == weights().bytes);
    assert_eq!(told.arrived, 300_000 + 2 + 7, "nothing arrives twice");
    assert_eq!(told.notes.len(), 3, "{:?}", told.notes);
    let log = server.log();
    let ranges: Vec<&String> = log.iter().filter(|l| l.starts_with("storage")).collect();
    assert!(ranges.len() == 4 && ranges[3].contains("bytes=210000-"), "{log:?}");
}

#[test]
fn what_a_run_did_not_finish_the_next_one_does() {
    let (server, cache) = (model(File { cut: Some((100_000, 1)), ..weights() }), cache());
    let mut told = StopAfterCut { server: server.clone() };
    let error = problem(resolve(REPO, &hub(&server, cache.path()), &mut told));
    assert!(error.contains("100000 bytes are kept"), "{error}");
    let etag = sha256(&weights().bytes);
    assert!(blobs(cache.path()).contains(&format!("{etag}.incomplete")));
    assert!(!cache.path().join("models--org--model/refs/main").exists());

    server.change("model.safetensors", |file| file.busy = 0);
    let (path, told) = get(&server, cache.path());
    assert!(std::fs::read(path.unwrap().join("model.safetensors")).unwrap() == weights().bytes);
    assert_eq!(told.started, [("model.safetensors".to_string(), 100_000)]);
    assert_eq!(told.arrived, 200_000);
}

/// Makes the hub busy for good as soon as something goes wrong.
struct StopAfterCut {
    server: Server,
}

impl Progress for StopAfterCut {
    fn start(&mut self, _: &str, _: Option<u64>, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self) {}
    fn note(&mut self, _: &str) {
        self.server.change("model.safetensors", |file| file.busy = 1000);
    }
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let file = File { cut: Some((70_000, 1)), no_range: true, ..weights() };
    let (server, cache) = (model(file), cache());
    let (path, told) = get(&server, cache.path());
    assert!(std::fs::read(path.unwrap().join("model.safetensors")).unwrap() == weights().bytes);
    assert_eq!(told.arrived, 370_000 + 2 + 7);
}

#[test]
fn what_arrives_altered_or_short_is_deleted_and_reported() {
    let mut other = weights().bytes;
    other[1234] ^= 1;
    let altered = |times| File { altered: Some((other.clone(), times)), ..weights() };
    let long = File { altered: Some((vec![1; 300_001], 9)), ..weights() };
    let small = File { altered: Some((b"[]".to_vec(), 9)), ..File::from("{}") };
    let cases = [
        ("model.safetensors", altered(1), "is not what the hub has"),
        ("model.safetensors", File { short: 10, ..weights() }, "299990 bytes arrived of 300000"),
        ("model.safetensors", long, "bytes arrived of 300000"),
        ("config.json", small, "is not what the hub has"),
    ];
    for (name, file, expected) in cases {
        let (server, cache) = (model(weights()), cache());
        server.change(name, |f| *f = file);
        let error = problem(get(&server, cache.path()).0);
        assert!(error.contains(expected) && error.contains(name), "{error}");
        assert!(error.contains("deleted"), "{error}");
        assert!(!blobs(cache.path()).iter().any(|blob| blob.ends_with("incomplete")));
        assert!(
            !cache.path().join("models--org--model/snapshots").join(COMMIT).join(name).exists()
        );
    }
}

#[test]
fn a_damaged_part_is_not_built_upon() {
    let (server, cache) = (model(weights()), cache());
    let blobs = cache.path().join("models--org--model/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", sha256(&weights().bytes)));
    for damage in [vec![9; 1000], vec![9; 300_000], vec![9; 400_000]] {
        std::fs::write(&partial, damage).unwrap();
        let (path, _) = get(&server, cache.path());
        let path = path.unwrap();
        assert!(std::fs::read(path.join("model.safetensors")).unwrap() == weights().bytes);
        std::fs::remove_file(path.join("model.safetensors")).unwrap();
        std::fs::remove_file(partial.with_extension("")).unwrap();
    }
}

#[test]
fn shards_are_those_of_the_index() {
    let index = r#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#;
    let server = Server::new(&[
        ("config.json", "{}".into()),
        ("model.safetensors.index.json", index.into()),
        ("model-1.safetensors", weights()),
        ("model-2.safetensors", File { large: true, ..File::from("two") }),
        ("model-3.safetensors", "not in the index".into()),
    ]);
    let cache = cache();
    let path = get(&server, cache.path()).0.unwrap();
    let expected = [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
    ];
    assert_eq!(names(&path), expected);

    let mut offline = hub(&server, cache.path());
    offline.offline = true;
    assert_eq!(resolve(REPO, &offline, &mut Told::default()).unwrap(), path);
    std::fs::remove_file(path.join("model-2.safetensors")).unwrap();
    let error = problem(resolve(REPO, &offline, &mut Told::default()));
    assert!(error.contains("lacks its model-2.safetensors"), "{error}");

    server.change("model.safetensors.index.json", |file| {
        file.bytes = br#"{"weight_map":{"a":"../../secret"}}"#.to_vec();
    });
    std::fs::remove_dir_all(cache.path().join("models--org--model")).unwrap();
    assert!(get(&server, cache.path()).0.unwrap_err().to_string().contains("../../secret"));
}

#[test]
fn one_gguf_of_many() {
    let gguf = |text: &str| File { large: true, ..File::from(text) };
    let server = Server::new(&[
        ("m-Q4_K_M.gguf", gguf("four")),
        ("m-Q8_0.gguf", gguf("eight")),
        ("sub/m-F16.gguf", gguf("sixteen")),
        ("README.md", "".into()),
    ]);
    let cache = cache();
    let get = |name: &str| resolve(name, &hub(&server, cache.path()), &mut Told::default());
    for (name, text) in [
        ("org/model:q4_k_m", "four"),
        ("org/model/m-Q8_0.gguf", "eight"),
        ("org/model/sub/m-F16.gguf@main", "sixteen"),
    ] {
        let path = get(name).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
    let error = problem(get("org/model"));
    assert!(error.contains("several GGUF files") && error.contains("m-Q8_0.gguf"), "{error}");
    assert!(problem(get("org/model:Q5_0")).contains("no such GGUF"));
}

#[test]
fn offline_the_cache_is_all_there_is() {
    let (server, cache) = (model(weights()), cache());
    let mut offline = hub(&server, cache.path());
    offline.offline = true;
    let error = problem(resolve(REPO, &offline, &mut Told::default()));
    assert!(error.contains("offline") && error.contains("taper pull org/model"), "{error}");
    let path = get(&server, cache.path()).0.unwrap();
    server.log();
    assert_eq!(resolve(REPO, &offline, &mut Told::default()).unwrap(), path);
    assert!(server.log().is_empty());
    let other = Hub { endpoint: "http://127.0.0.1:1".into(), ..hub(&server, cache.path()) };
    let error = problem(resolve("org/other", &other, &mut Told::default()));
    assert!(error.contains("cannot be reached") && error.contains("does not have it"), "{error}");
    // Without the flag but without a network: the same, and it is said.
    offline.offline = false;
    offline.endpoint = "http://127.0.0.1:1".into();
    let mut told = Told::default();
    assert_eq!(resolve(REPO, &offline, &mut told).unwrap(), path);
    assert!(told.notes[0].contains("going on with what the cache has"), "{:?}", told.notes);
}

#[test]
fn refusals_say_what_to_do() {
    for (status, token, expected) in [
        (401, None, "set HF_TOKEN"),
        (401, Some("x"), "does not accept the token"),
        (403, Some("x"), "accept the licence"),
        (404, None, "no such repository"),
        (418, None, "status 418"),
    ] {
        let (server, cache) = (model(weights()), cache());
        server.state.lock().unwrap().status = Some(status);
        let mut hub = hub(&server, cache.path());
        hub.token = token.map(Into::into);
        let error = problem(resolve(REPO, &hub, &mut Told::default()));
        assert!(error.contains(expected) && error.contains("because"), "{error}");
    }
    let (server, cache) = (model(weights()), cache());
    let hub = hub(&server, cache.path());
    let error = problem(resolve("org/model@v9", &hub, &mut Told::default()));
    assert!(error.contains("no such repository or revision"), "{error}");
    assert!(problem(resolve("org/other", &hub, &mut Told::default())).contains("org/other"));
}

#[test]
fn a_renamed_repository_is_followed() {
    let (server, cache) = (model(weights()), cache());
    server.state.lock().unwrap().moved = Some(("old".into(), REPO.into()));
    let mut hub = hub(&server, cache.path());
    hub.token = Some("secret".into());
    let path = resolve("old", &hub, &mut Told::default()).unwrap();
    assert_eq!(names(&path).len(), 3);
    let path = resolve("org/model@refs/pr/1", &hub, &mut Told::default()).unwrap();
    assert!(path.ends_with(COMMIT));
}

#[test]
fn a_hub_that_redirects_in_circles() {
    let (server, cache) = (model(weights()), cache());
    server.state.lock().unwrap().moved = Some((REPO.into(), REPO.into()));
    assert!(problem(get(&server, cache.path()).0).contains("redirects without end"));
}

#[test]
fn several_at_once_do_not_disturb_each_other() {
    let (server, cache) = (model(File { cut: Some((90_000, 2)), ..weights() }), cache());
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| get(&server, cache.path()).0.unwrap())).collect();
        for run in runs {
            let bytes = std::fs::read(run.join().unwrap().join("model.safetensors")).unwrap();
            assert!(bytes == weights().bytes);
        }
    });
    let log = server.log();
    let downloads = log.iter().filter(|l| l.starts_with("storage GET")).count();
    assert_eq!(downloads, 3, "{log:?}");
    assert_eq!(blobs(cache.path()).len(), 3);
}

#[test]
fn names_of_models() {
    let hub = |name: &str| match Source::of(name) {
        Ok(Source::Hub(id)) => id,
        other => panic!("{name}: {other:?}"),
    };
    let id =
        |repo: &str| HubId { repo: repo.into(), revision: None, file: None, quantisation: None };
    assert_eq!(hub("gpt2"), id("gpt2"));
    assert_eq!(hub("org/name"), id("org/name"));
    let revision = Some("refs/pr/1".into());
    assert_eq!(hub("org/name@refs/pr/1"), HubId { revision, ..id("org/name") });
    let file = Some("a/b.gguf".into());
    assert_eq!(hub("org/name/a/b.gguf"), HubId { file, ..id("org/name") });
    let quantisation = Some("Q4_K_M".into());
    assert_eq!(hub("org/name:Q4_K_M"), HubId { quantisation, ..id("org/name") });
    for name in ["org/name:Q4@v1", "org/name@v1", "gpt2"] {
        assert_eq!(hub(name).to_string(), name);
    }
    for path in ["./model", "/nowhere", "~/model", "model.gguf", "models/m.safetensors", "a\\b"] {
        assert!(matches!(Source::of(path), Err(Error::File { .. })), "{path}");
    }
    for name in
        ["", "org/", "org//name", "a/b/c", "org/..", "org/na me", "org/name@", "o/n@../x", "o/n?x"]
    {
        assert!(matches!(Source::of(name), Err(Error::Request { .. })), "{name}");
    }
    assert_eq!(Source::of("src").unwrap(), Source::Local("src".into()));
}

#[test]
fn the_environment() {
    let hub = |vars: &[(&str, &str)]| {
        let vars: Vec<(String, String)> =
            vars.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Hub::from_vars(move |name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    };
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("token"), "from-file\n").unwrap();
    let home = home.path().to_str().unwrap();
    let plain = hub(&[("HOME", "/u/me")]);
    assert_eq!(plain.cache, Path::new("/u/me/.cache/huggingface/hub"));
    assert_eq!((plain.token, plain.offline), (None, false));
    let set = hub(&[("HF_HOME", home), ("HF_ENDPOINT", "http://x/"), ("HF_HUB_OFFLINE", "1")]);
    assert_eq!(set.cache, Path::new(home).join("hub"));
    assert_eq!(set.token.as_deref(), Some("from-file"));
    assert_eq!((set.endpoint.as_str(), set.offline), ("http://x", true));
    let set = hub(&[
        ("HF_HOME", home),
        ("HF_HUB_CACHE", "/cache"),
        ("HF_TOKEN", "own"),
        ("HF_HUB_OFFLINE", "0"),
    ]);
    assert_eq!((set.cache.as_path(), set.token.as_deref()), (Path::new("/cache"), Some("own")));
    assert!(!set.offline);
    let set = hub(&[("HOME", "/u/me"), ("HF_HOME", "~/hf")]);
    assert_eq!(set.cache, Path::new("/u/me/hf/hub"));
}

#[test]
fn the_command() {
    let (server, cache) = (model(weights()), cache());
    let run = |args: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("taper").unwrap();
        command.env("HF_ENDPOINT", &server.address).env("HF_HOME", cache.path());
        command.env_remove("HF_HUB_CACHE").env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN");
        command.arg("pull").args(args).output().unwrap()
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let output = run(&["--offline", REPO]);
    assert_eq!((output.status.code(), text(output.stdout)), (Some(1), String::new()));
    assert!(text(output.stderr).contains("offline"));
    let output = run(&[REPO]);
    let folder = text(output.stdout);
    assert_eq!(names(Path::new(folder.trim_end())).len(), 3);
    assert!(text(output.stderr).contains("downloading model.safetensors"));
    let output = run(&["-q", REPO]);
    assert_eq!((text(output.stdout), text(output.stderr)), (folder, String::new()));
}
