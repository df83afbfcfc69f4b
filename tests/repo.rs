//! Is the repository fit to hand out? What is tracked is small, and names nothing of the machine it
//! was written on. It says nothing about the code.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// Files that may be larger than a megabyte, each with its reason.
const LARGE: &[(&str, &str)] =
    &[("models/stories/model.safetensors", "the model inside the binary")];

#[test]
fn tracked_files_are_small() {
    let files = tracked();
    let mut faults = Vec::new();
    for (path, bytes) in &files {
        let listed = LARGE.iter().any(|(large, _)| Path::new(large) == path);
        let limit = if path.starts_with("models") { 300 << 10 } else { MIB };
        if bytes.len() as u64 > limit && !listed {
            faults.push(format!("{}: {} bytes, more than {limit}", path.display(), bytes.len()));
        }
    }
    for (what, folder, limit) in
        [("everything", "", 30 * MIB), ("the golden data", "tests/golden", 8_000_000)]
    {
        let inside = files.iter().filter(|(path, _)| path.starts_with(folder));
        let total: u64 = inside.map(|(_, bytes)| bytes.len() as u64).sum();
        if total > limit {
            faults.push(format!("{what}: {total} bytes, more than {limit}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn tracked_files_name_no_machine() {
    let files = tracked();
    let faults: Vec<String> = files
        .iter()
        .flat_map(|(path, bytes)| {
            let found = named(bytes).into_iter();
            found
                .filter(|found| !(path.ends_with("Cargo.lock") && found.contains("crates")))
                .map(move |found| format!("{}: {found}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn planted_names_are_found() {
    let slash = |name: &str| format!("see /{name}/there");
    for text in [slash("work"), slash("root"), slash("home"), format!("\"/{}\"", "work")] {
        assert_eq!(named(text.as_bytes()).len(), 1, "{text}");
    }
    assert_eq!(named(format!("from {}", hosts()[0]).as_bytes()).len(), 1);
    for text in ["$root/work/stub", "../work/x", "the /workers", "a/home/b"] {
        assert_eq!(named(text.as_bytes()), Vec::<String>::new(), "{text}");
    }
}

/// The tracked files and their bytes; none in a published crate, which has no history.
fn tracked() -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join(".git").exists() {
        eprintln!("skipped: not a git checkout");
        return Vec::new();
    }
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().unwrap();
    assert!(listed.status.success(), "git ls-files failed");
    let names = String::from_utf8(listed.stdout).unwrap();
    let paths = names.split_terminator('\0').map(PathBuf::from);
    paths.filter_map(|path| Some((path.clone(), std::fs::read(root.join(&path)).ok()?))).collect()
}

/// Put together here, so that this file does not name them either.
fn hosts() -> Vec<String> {
    let dotted = |parts: &[&str]| parts.join(".");
    vec![
        dotted(&["crates", "io"]),
        dotted(&["pypi", "org"]),
        dotted(&["pythonhosted", "org"]),
        dotted(&["registry", "npmjs", "org"]),
        dotted(&["deb", "debian", "org"]),
    ]
}

/// Absolute paths of one machine, and registries' hosts.
fn named(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut found: Vec<String> = hosts().into_iter().filter(|host| text.contains(host)).collect();
    for folder in ["work", "root", "home"] {
        let path = format!("/{folder}");
        let alone = text.match_indices(&path).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + path.len()..].chars().next();
            let is_part = |c: Option<char>, also: &str| {
                c.is_some_and(|c| c.is_alphanumeric() || also.contains(c))
            };
            !is_part(before, "._-$})]") && !is_part(after, "_-")
        });
        if alone {
            found.push(path);
        }
    }
    found
}
