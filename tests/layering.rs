//! Does `src/` point one way? A room uses only rooms of a lower rank, and what belongs to one room
//! (unsafe code, printing, a family's name) stands in no other. It runs nothing of the crate.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "layering/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::Path;

use source::{Kind, Source};

/// Every room with its rank. A new room gets its rank here.
const RANKS: [(&str, u8); 14] = [
    ("error", 0),
    ("spec", 1),
    ("kernels", 1),
    ("text", 1),
    ("weights", 2),
    ("family", 3),
    ("nn", 3),
    ("model", 4),
    ("generate", 5),
    ("inspect", 5),
    ("parity", 5),
    ("train", 5),
    ("bench", 5),
    ("cli", 6),
];

const MAX_FILE: usize = 300;
const MAX_FUNCTION: usize = 40;

/// Files that are longer, each with its reason.
const LONG_FILES: &[(&str, &str)] =
    &[("spec.rs", "everything a decoder can be, on one page, most of it documentation")];

/// Functions that are longer, by file and name, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    ("cli/attend.rs", "run", "a line for each way of showing"),
    ("cli/score.rs", "print", "a line for each format"),
    ("family/gguf.rs", "common", "a row for each GGUF key"),
    ("family/rope.rs", "scaling", "an arm for each kind of scaling"),
    ("generate/run.rs", "batch", "the loop, whole"),
    ("inspect/lesson/seen.rs", "new", "what is kept, field by field"),
    ("inspect/scene.rs", "new", "the measures of a picture, one after another"),
    ("kernels/fill.rs", "write_row", "an arm for each format"),
    ("kernels/rotate.rs", "rotate", "what it serves, and what a thread is given"),
    ("kernels/quads.rs", "unpack", "an arm for each format"),
    ("parity/against.rs", "against", "two models side by side, window by window"),
    ("parity/identity.rs", "identify", "a check for each thing that may not fit"),
    ("parity/report.rs", "judge_against", "the report's parts in their order"),
    ("parity/table.rs", "summary", "a line for each part of the verdict"),
    ("spec/validate.rs", "validate", "an arm for each kind of scaling"),
    ("weights/read.rs", "packed", "an arm for each way in which rows may lie"),
];

/// Words of the numerics that are also a family's name.
const NOT_A_FAMILY: [&str; 1] = ["llama3"]; // `RopeScaling::Llama3`: a value of `rope_type`

/// Files that may ask for a cargo feature outside of kernels/, each with its reason.
const FEATURES: &[(&str, &str)] =
    &[("model/built_in.rs", "whether the binary has a model of its own is a feature")];

type Rule = fn(&[Source]) -> Vec<String>;

const RULES: [(&str, Rule); 9] = [
    ("a room uses only lower ranks", ranks),
    ("only kernels/ has unsafe code, SIMD, custom ops and cargo features", kernels_only),
    ("only cli/ prints", printing),
    ("no file in nn/ knows a family's name", families_in_nn),
    ("no file in family/ touches a tensor", tensors_in_family),
    ("every file says what it does", heads),
    ("no file is too long", file_lengths),
    ("no function is too long", function_lengths),
    ("no exception is needless", stale_exceptions),
];

#[test]
fn the_rooms_point_one_way() {
    let sources = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 20, "src/ was not read");
    let faults: Vec<String> = RULES
        .iter()
        .flat_map(|(rule, check)| {
            check(&sources).into_iter().map(move |fault| format!("{fault} ({rule})"))
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A gate that lets everything through would look just like a clean house.
#[test]
fn planted_faults_are_found() {
    let function = format!("fn long() {{\n{}}}\n", "    work();\n".repeat(MAX_FUNCTION));
    let file = "//! Long.\n".to_string() + &"const A: u8 = 1;\n".repeat(MAX_FILE);
    let cases: &[(Rule, &str, &str)] = &[
        (ranks, "nn/a.rs", "use crate::family::llama;"),
        (ranks, "nn/a.rs", "use crate::{error::Error, generate::{Sampler as S, *}, nn};"),
        (ranks, "family/a.rs", "fn f() -> crate::nn::Block { x }"),
        (ranks, "kernels/a/b.rs", "use super::super::super::nn::attend;"),
        (ranks, "kernels/mod.rs", "mod tests { use super::super::nn::attend; }"),
        (ranks, "spec.rs", "use super::text::Tokenizer;"),
        (ranks, "error.rs", "use crate::Spec;"),
        (ranks, "weights/a.rs", "use crate::*;"),
        (
            ranks,
            "weights/a.rs",
            "fn f() { let x = 'a'; let s: &'static str = \"\"; crate::model::load(); }",
        ),
        (ranks, "main.rs", "use taper::nn::Decoder;"),
        (ranks, "zoo/a.rs", "fn f() {}"),
        (ranks, "text/a.rs", "use crate::zoo;"),
        (kernels_only, "nn/a.rs", "fn f() { unsafe { g() } }"),
        (kernels_only, "nn/a.rs", "#[cfg(feature = \"cuda\")] fn f() {}"),
        (kernels_only, "cli/a.rs", "fn f() { if cfg!(feature = \"metal\") {} }"),
        (kernels_only, "nn/a.rs", "impl CustomOp1 for Packed {}"),
        (kernels_only, "nn/a.rs", "use candle_core::InplaceOp2;"),
        (kernels_only, "nn/a.rs", "use std::arch::x86_64::*;"),
        (printing, "nn/a.rs", "fn f() { println!(\"x\") }"),
        (printing, "generate/mod.rs", "fn f() { print!(\"x\") }"),
        (printing, "weights/hub.rs", "fn f() { eprintln!(\"x\") }"),
        (families_in_nn, "nn/a.rs", "fn llama_block() {}"),
        (families_in_nn, "nn/a.rs", "fn f(n: &str) -> bool { n == \"gpt_neox\" }"),
        (families_in_nn, "nn/a.rs", "enum Kind { GptNeoX }"),
        (families_in_nn, "nn/a.rs", "struct OptBlock;"),
        (tensors_in_family, "family/a.rs", "use candle_core::DType;"),
        (tensors_in_family, "family/a.rs", "fn f(x: &Tensor) {}"),
        (heads, "nn/a.rs", "use std::fmt;"),
        (file_lengths, "nn/a.rs", &file),
        (function_lengths, "nn/a.rs", &function),
    ];
    for (rule, path, text) in cases {
        let found = rule(&with(path, text));
        assert!(!found.is_empty(), "{path}: nothing found in: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    let cases: &[(Rule, &str, &str)] = &[
        (
            ranks,
            "nn/a/b.rs",
            "use super::c; use crate::{Error, spec::Spec, nn::d}; pub(crate) fn f() {}",
        ),
        (
            ranks,
            "nn/a.rs",
            "// use crate::cli;\n/* crate::cli /* crate::cli */ */ const A: &str = \"crate::cli::x\";",
        ),
        (
            ranks,
            "nn/a.rs",
            "const A: &str = r#\"\" crate::cli::x\"#; const B: char = '\"'; const C: u8 = b'\\'';",
        ),
        (ranks, "nn/mod.rs", "mod tests { use super::*; mod deep { use super::super::x; } }"),
        (kernels_only, "kernels/a.rs", "#[cfg(feature = \"cuda\")] unsafe fn f() {}"),
        (kernels_only, "nn/a.rs", "#[cfg(test)] mod tests; #[cfg(unix)] fn f() {}"),
        (printing, "cli/a.rs", "fn f() { println!(\"x\") }"),
        (printing, "nn/tests.rs", "fn f() { println!(\"x\") }"),
        (
            families_in_nn,
            "nn/a.rs",
            "// as Llama does\nmatch s { RopeScaling::Llama3 { .. } => 1 }",
        ),
        (families_in_nn, "nn/a.rs", "fn f(x: Option<u8>) -> bool { x.is_empty() }"),
        (function_lengths, "nn/a.rs", "trait T { fn f(x: [u8; 3]); fn g(); }"),
    ];
    for (rule, path, text) in cases {
        let found = rule(&with(path, text));
        assert!(found.is_empty(), "{path}: {text}: {found:?}");
    }
}

/// A small clean house, and one file more.
fn with(path: &str, text: &str) -> Vec<Source> {
    vec![
        Source::new(
            "lib.rs",
            "//! Crate.\npub mod nn; pub use error::{Error, Result}; pub use spec::Spec;",
        ),
        Source::new("family/llama.rs", "//! Llama.\npub fn spec() {}"),
        Source::new("family/gpt_neox.rs", "//! NeoX.\npub(crate) fn spec(x: u8) {}"),
        Source::new("family/opt.rs", "//! OPT.\npub(crate) fn spec(x: u8) {}"),
        Source::new("family/mpt.rs", "//! MPT.\npub(crate) fn spec(x: u8) {}"),
        Source::new(path, text),
    ]
}

fn read(folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(Source::new(name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn room(source: &Source) -> Option<String> {
    source.module().first().cloned()
}

fn in_room(source: &Source, name: &str) -> bool {
    room(source).is_some_and(|room| room == name)
}

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

fn ranks(sources: &[Source]) -> Vec<String> {
    let exports = exports(sources);
    let mut faults = Vec::new();
    for source in sources {
        let Some(from) = room(source) else {
            faults.extend(outside_cli(source));
            continue;
        };
        let Some(own) = rank(&from) else {
            faults.push(format!("src/{}: `{from}` has no rank", source.path));
            continue;
        };
        for (path, line) in source.paths() {
            let first = path.first().map_or("*", String::as_str);
            let to = exports.get(first).map_or(first, String::as_str);
            let why = match rank(to) {
                _ if to == from => continue,
                Some(rank) if rank < own => continue,
                Some(rank) => format!("`{from}` (rank {own}) uses `{to}` (rank {rank})"),
                None => format!("`crate::{to}` is no room"),
            };
            faults.push(format!("src/{}:{line}: {why}", source.path));
        }
    }
    faults
}

/// `main.rs` hands over to the command line and knows nothing else.
fn outside_cli(source: &Source) -> Vec<String> {
    let pairs = source.tokens.windows(3);
    pairs
        .filter(|t| t[0].is(Kind::Word, "taper") && t[1].text == "::" && t[2].text != "cli")
        .filter(|_| source.path == "main.rs")
        .map(|t| format!("src/main.rs:{}: uses `{}`", t[0].line, t[2].text))
        .collect()
}

/// The names that `lib.rs` exports at the crate's root, with the room each is from.
fn exports(sources: &[Source]) -> BTreeMap<String, String> {
    let lib = sources.iter().find(|source| source.path == "lib.rs").expect("src/lib.rs");
    let mut found = BTreeMap::new();
    for statement in lib.tokens.split(|token| token.text == ";") {
        let words: Vec<&str> =
            statement.iter().filter(|t| t.kind == Kind::Word).map(|t| t.text.as_str()).collect();
        if let Some(at) = words.iter().position(|word| *word == "use") {
            let names = words.iter().skip(at + 1).skip_while(|word| **word == "crate");
            let names: Vec<&&str> = names.collect();
            for name in names.iter().skip(1) {
                found.insert(name.to_string(), names[0].to_string());
            }
        }
    }
    found
}

fn kernels_only(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !in_room(source, "kernels")) {
        let featured = FEATURES.iter().any(|(path, _)| *path == source.path);
        for (at, token) in source.tokens.iter().enumerate() {
            let after = |n: usize| source.tokens.get(at + n).map_or("", |t| t.text.as_str());
            let word = token.text.as_str();
            let found = token.kind == Kind::Word
                && (word == "unsafe"
                    || word.starts_with("CustomOp")
                    || word.starts_with("InplaceOp")
                    || (word == "feature" && after(1) == "=" && !featured)
                    || (["std", "core"].contains(&word) && after(2) == "arch"));
            if found {
                faults.push(format!("src/{}:{}: `{word}`", source.path, token.line));
            }
        }
    }
    faults
}

fn printing(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !in_room(source, "cli") && !source.is_test()) {
        for pair in source.tokens.windows(2) {
            let prints = ["print", "println", "eprint", "eprintln", "dbg"];
            if prints.contains(&pair[0].text.as_str()) && pair[1].text == "!" {
                faults.push(format!("src/{}:{}: `{}!`", source.path, pair[0].line, pair[0].text));
            }
        }
    }
    faults
}

/// A family's file is one in `family/` with a function `spec`.
fn families_in_nn(sources: &[Source]) -> Vec<String> {
    let has_spec = |source: &&Source| source.functions().iter().any(|(name, ..)| name == "spec");
    let plain = |word: &str| word.to_lowercase().replace(['_', '-'], "");
    let families: Vec<String> = sources
        .iter()
        .filter(|source| in_room(source, "family") && has_spec(source))
        .filter_map(|source| source.module().get(1).map(|name| plain(name)))
        .collect();
    assert!(!families.is_empty(), "no file in src/family/ has a function `spec`");
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| in_room(source, "nn") && !source.is_test()) {
        for token in &source.tokens {
            let word = plain(&token.text);
            // A name of three letters is part of too many words: it must be one by itself.
            let named = |family: &String| match family.len() {
                0..=3 => parts(&token.text).contains(family),
                _ => word.contains(family.as_str()),
            };
            if !NOT_A_FAMILY.contains(&token.text.to_lowercase().as_str())
                && families.iter().any(named)
            {
                faults.push(format!("src/{}:{}: `{}`", source.path, token.line, token.text));
            }
        }
    }
    faults
}

/// The words of an identifier: `OptBlock` and `opt_block` are two each.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in identifier.chars() {
        if !letter.is_alphanumeric() || letter.is_uppercase() {
            parts.push(String::new());
        }
        let part = parts.last_mut().expect("there is one from the start");
        part.extend(letter.to_lowercase().filter(|l| l.is_alphanumeric()));
    }
    parts
}

fn tensors_in_family(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| in_room(source, "family")) {
        for token in source.words() {
            if token.text.starts_with("candle") || token.text == "Tensor" {
                faults.push(format!("src/{}:{}: `{}`", source.path, token.line, token.text));
            }
        }
    }
    faults
}

fn heads(sources: &[Source]) -> Vec<String> {
    let bare = sources.iter().filter(|source| !source.text.starts_with("//! "));
    bare.map(|source| format!("src/{}: no `//!` head", source.path)).collect()
}

fn file_lengths(sources: &[Source]) -> Vec<String> {
    let listed = |source: &Source| LONG_FILES.iter().any(|(path, _)| *path == source.path);
    let long = sources.iter().filter(|source| lines(source) > MAX_FILE && !listed(source));
    long.map(|source| format!("src/{}: {} lines", source.path, lines(source))).collect()
}

fn lines(source: &Source) -> usize {
    source.text.lines().count()
}

/// Unit tests may list their cases at length.
fn function_lengths(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for (name, line, lines) in source.functions() {
            let listed = LONG_FUNCTIONS.iter().any(|l| l.0 == source.path && l.1 == name);
            if lines > MAX_FUNCTION && !listed {
                faults.push(format!("src/{}:{line}: `{name}` has {lines} lines", source.path));
            }
        }
    }
    faults
}

/// An exception that has become needless would hide the next long one.
fn stale_exceptions(sources: &[Source]) -> Vec<String> {
    let is_long = |path: &str, long: &dyn Fn(&Source) -> bool| {
        sources.iter().any(|source| source.path == path && long(source))
    };
    let files = LONG_FILES
        .iter()
        .filter(|(path, _)| !is_long(path, &|source| lines(source) > MAX_FILE))
        .map(|(path, _)| format!("src/{path} is short"));
    let functions = LONG_FUNCTIONS.iter().filter(|(path, name, _)| {
        !is_long(path, &|source| {
            source.functions().iter().any(|(n, _, lines)| n == name && *lines > MAX_FUNCTION)
        })
    });
    files.chain(functions.map(|(path, name, _)| format!("src/{path}: `{name}` is short"))).collect()
}
