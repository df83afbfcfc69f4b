//! Files that lie. Each is refused with the file and the field, before anything is allocated.

use std::path::Path;

use crate::files::{RawGguf, folder, numbers, pickle, raw_safetensors, safetensors, write, zip};
use crate::problem;

#[track_caller]
fn refused(name: &str, bytes: &[u8], expected: &str) {
    let folder = folder();
    let problem = problem(&write(folder.path(), name, bytes));
    assert!(problem.contains(expected), "{problem}");
    assert!(problem.contains(name), "{problem}");
}

#[track_caller]
fn safetensors_refused(header: &str, data: usize, expected: &str) {
    refused("model.safetensors", &raw_safetensors(header, &vec![0; data]), expected);
}

#[test]
fn safetensors_headers() {
    refused("model.safetensors", b"", "too short");
    refused("model.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff{}", "header claims");
    refused("model.safetensors", b"\x03\0\0\0\0\0\0\0{}", "header claims 3 bytes");
    safetensors_refused("[]", 0, "not valid");
    safetensors_refused("{", 0, "not valid");
    safetensors_refused(&format!("{{\"__metadata__\":{}", "[".repeat(100_000)), 0, "not valid");
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    safetensors_refused(&entry("F32", "[2]", "[0,8]"), 7, "claims the bytes 0 to 8");
    safetensors_refused(&entry("F32", "[2]", "[8,0]"), 8, "claims the bytes 8 to 0");
    safetensors_refused(&entry("F32", "[3]", "[0,8]"), 8, "is 12 bytes, but claims 8");
    safetensors_refused(&entry("F16", "[2]", "[0,8]"), 8, "is 4 bytes, but claims 8");
    safetensors_refused(&entry("F32", "[4294967296,4294967296]", "[0,8]"), 8, "too many");
    safetensors_refused(&entry("F32", "[-1]", "[0,8]"), 8, "not valid");
    safetensors_refused(&entry("Q9", "[2]", "[0,8]"), 8, "unknown dtype `Q9`");
    safetensors_refused(&entry("F32", "[2]", "[0,8]"), 9, "end at byte");
    safetensors_refused(&entry("F32", "[1]", "[4,8]"), 8, "leaves a hole");
}

#[test]
fn safetensors_pairs() {
    let pair = |second: &str, offsets: &str| {
        let first = r#""t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
        let second =
            format!(r#""{second}":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}"#);
        format!("{{{first},{second}}}")
    };
    safetensors_refused(&pair("u", "[4,12]"), 12, "`u` overlaps");
    safetensors_refused(&pair("u", "[0,8]"), 8, "overlaps");
    safetensors_refused(&pair("t", "[8,16]"), 16, "`t` is stored twice");
}

fn gguf_refused(bytes: &[u8], expected: &str) {
    refused("model.gguf", bytes, expected);
}

#[test]
fn gguf_counts() {
    let huge = u64::MAX;
    gguf_refused(b"GGUF", "`version` is cut off");
    gguf_refused(&RawGguf(b"GGUF".to_vec()).u32(9).0, "version 9");
    gguf_refused(&RawGguf(b"GGUF".to_vec()).u32(1).0, "version 1");
    gguf_refused(&RawGguf(b"GGUF\0\0\0\x03".to_vec()).0, "big-endian");
    gguf_refused(&RawGguf::new(huge, 0).0, "`tensor count`");
    gguf_refused(&RawGguf::new(0, huge).0, "`metadata count`");
    let key = |key: &str| RawGguf::new(0, 1).string(key);
    gguf_refused(&RawGguf::new(0, 1).u64(huge).data(64), "`metadata key` claims");
    gguf_refused(&key("k").u32(8).u64(huge).0, "`k` claims");
    gguf_refused(&key("k").u32(9).u32(8).u64(huge).0, "`k` is 18446744073709551615");
    gguf_refused(&key("k").u32(9).u32(0).u64(1 << 40).data(64), "`k` is 1099511627776");
    gguf_refused(&key("k").u32(9).u32(9).u64(1).data(64), "array of arrays");
    gguf_refused(&key("k").u32(77).data(64), "unknown type 77");
    gguf_refused(&key("general.alignment").u32(4).u32(0).data(64), "`general.alignment` is 0");
    gguf_refused(&key("general.alignment").u32(4).u32(48).data(64), "`general.alignment` is 48");
    let twice = RawGguf::new(0, 2).string("k").u32(4).u32(0).string("k").u32(4).u32(0);
    gguf_refused(&twice.data(64), "`k` is given twice");
    gguf_refused(&key("split.count").u32(4).u32(2).data(64), "split GGUF");
}

#[test]
fn gguf_tensors() {
    let one = || RawGguf::new(1, 0);
    gguf_refused(&one().tensor("t", &[2], 0, 0).data(7), "`t` claims 8 bytes");
    gguf_refused(&one().tensor("t", &[2], 0, 1 << 63).data(64), "`t` claims 8 bytes");
    gguf_refused(&one().tensor("t", &[2], 0, 4).data(64), "not a multiple of 32");
    gguf_refused(&one().tensor("t", &[1 << 40, 1 << 40], 0, 0).data(64), "`t` cannot have shape");
    gguf_refused(&one().tensor("t", &[33, 2], 2, 0).data(64), "[2, 33] in Q4_0 (blocks of 32)");
    gguf_refused(&one().tensor("t", &[2], 23, 0).data(64), "IQ4_XS, which is not supported");
    gguf_refused(&one().tensor("t", &[2], 999, 0).data(64), "type 999");
    gguf_refused(&one().tensor("t", &[], 0, 0).data(64), "0 dimensions");
    gguf_refused(&one().string("t").u32(1 << 31).data(64), "2147483648 dimensions");
    let two = |name, offset| {
        RawGguf::new(2, 0).tensor("t", &[16], 0, 0).tensor(name, &[8], 0, offset).data(64)
    };
    gguf_refused(&two("u", 32), "`t` and `u` overlap");
    gguf_refused(&two("t", 32), "`t` is stored twice");
}

#[track_caller]
fn pickle_refused(pickle: &[u8], expected: &str) {
    let members = [("m/data.pkl", pickle), ("m/data/0", &[0; 16])];
    refused("pytorch_model.bin", &zip(&members), expected);
}

#[test]
fn torch_archives() {
    refused("pytorch_model.bin", b"\x80\x02}q\0.", "not a PyTorch checkpoint");
    refused("pytorch_model.bin", b"PK\x03\x04", "zip directory is damaged");
    refused("pytorch_model.bin", &zip(&[("m/version", b"3")]), "no `data.pkl`");
    let whole = zip(&[("m/data.pkl", &pickle(&[])), ("m/data/0", &[0; 16])]);
    refused("pytorch_model.bin", &whole[..whole.len() - 30], "zip directory is damaged");
    refused("pytorch_model.bin", &whole, "holds no tensors");
    pickle_refused(b"", "cut off");
    pickle_refused(b".", "empty stack");
    pickle_refused(b"X\xff\xff\xff\xff.", "cut off");
    pickle_refused(b"\x8a\xff.", "more than 64 bits");
    pickle_refused(b"t.", "no mark");
    pickle_refused(b"(0t.", "empty stack");
    pickle_refused(b"\x87.", "empty stack");
    pickle_refused(b"j\0\0\0\0.", "reference to nothing");
    pickle_refused(b"N.", "no dictionary");
    pickle_refused(b"i__builtin__\neval\n.", "opcode 0x69");
    pickle_refused(b"}X\x01\0\0\0tcos\nsystem\n)Rs.", "`t` is not stored in a form");
}

#[test]
fn torch_tensors() {
    let one =
        |class, key, offset, shape, strides| pickle(&[("t", class, key, offset, shape, strides)]);
    pickle_refused(&one("FloatStorage", "0", 0, &[5], &[1]), "claims 20 bytes");
    pickle_refused(&one("FloatStorage", "0", 1, &[4], &[1]), "claims 16 bytes");
    pickle_refused(&one("FloatStorage", "0", i32::MAX as u32, &[4], &[1]), "claims 16 bytes");
    pickle_refused(&one("FloatStorage", "0", u32::MAX, &[4], &[1]), "not stored in a form");
    pickle_refused(&one("FloatStorage", "9", 0, &[4], &[1]), "`m/data/9`, which is missing");
    pickle_refused(&one("FloatStorage", "0", 0, &[2, 2], &[1, 2]), "has strides [1, 2]");
    pickle_refused(&one("FloatStorage", "0", 0, &[2, 2], &[1]), "has strides [1]");
    pickle_refused(&one("ComplexFloatStorage", "0", 0, &[1], &[1]), "not stored in a form");
    let big = [i32::MAX as u32; 3];
    pickle_refused(&one("FloatStorage", "0", 0, &big, &[0, 0, 1]), "has strides");
    let entry = ("t", "FloatStorage", "0", 0, &[4][..], &[1][..]);
    pickle_refused(&pickle(&[entry, entry]), "`t` is stored twice");
}

#[test]
fn references_are_not_copied() {
    // Each tuple holds the one before twice: 2^60 values if sharing were copying, and a nesting
    // that recursion would not survive.
    let mut bomb = b"N".to_vec();
    for _ in 0..60 {
        bomb.extend(b"q\0h\0\x86");
    }
    bomb.extend(vec![0x85; 1_000_000]);
    bomb.push(b'.');
    pickle_refused(&bomb, "no dictionary");
}

#[test]
fn every_truncation_is_refused() {
    let bytes = safetensors(&[("a", &numbers(&[3, 2], 0)), ("b", &numbers(&[2], 1))]);
    for len in 0..bytes.len() {
        let folder = folder();
        problem(&write(folder.path(), "model.safetensors", &bytes[..len]));
    }
}

#[test]
fn what_is_not_there() {
    let folder = folder();
    assert!(problem(folder.path()).contains("holds no weights: looked for model.safetensors"));
    assert!(problem(&folder.path().join("x.gguf")).contains("x.gguf"));
    assert!(problem(Path::new("/")).contains("holds no weights"));
    write(folder.path(), "a.gguf", b"");
    write(folder.path(), "b.gguf", b"");
    assert!(problem(folder.path()).contains("2 .gguf files"));
}
