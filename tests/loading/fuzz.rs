//! Damaged files of every format: never a panic, never more memory than the file accounts for.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use proptest::prelude::*;
use taper::weights::{Checkpoint, Names, Param, Weights, plain, stored};

use crate::files::{folder, gguf, numbers, safetensors, torch, write};
use crate::{DIM, HEAD_DIM, HEADS, HIDDEN, spec};

/// Counts what a thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

// SAFETY: hands every call on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `f` holds at once, in bytes.
fn most(f: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    f();
    (MOST.get() - before) as usize
}

const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::Up, "layers.{}.up"),
        stored(Param::Query, "layers.{}.q", taper::weights::Layout::PermutedHeads),
    ],
    ignored: &[],
};

/// Opens and reads what can be read, whatever comes.
fn exercise(path: &Path) {
    let Ok(checkpoint) = Checkpoint::open(path) else { return };
    let spec = spec();
    let (device, dtype) = (candle_core::Device::Cpu, candle_core::DType::F32);
    for dequantise in [false, true] {
        let device = device.clone();
        let weights = Weights::new(&checkpoint, &NAMES, &spec, device, dtype, dequantise);
        drop(weights.matrix(Param::Up, Some(0), (HIDDEN, DIM)));
        drop(weights.matrix(Param::Query, Some(0), (HEADS * HEAD_DIM, DIM)));
        drop(weights.bias(Param::Up, Some(0), HIDDEN));
        drop(weights.finish());
    }
    if let Some(gguf) = checkpoint.gguf() {
        for key in gguf.keys() {
            drop((gguf.strings(key), gguf.f64s(key), gguf.i64s(key), gguf.f64(key)));
        }
    }
    drop((checkpoint.fingerprint(), checkpoint.quick_fingerprint(), checkpoint.stored_dtype()));
}

fn samples() -> [(&'static str, Vec<u8>); 3] {
    let (up, q) = (numbers(&[HIDDEN, DIM], 1), numbers(&[HEADS * HEAD_DIM, DIM], 2));
    let bias = numbers(&[HIDDEN], 3);
    let plain = [
        ("model.layers.0.up.weight", &up),
        ("model.layers.0.q.weight", &q),
        ("model.layers.0.up.bias", &bias),
    ];
    let keys = [
        ("general.architecture", Value::String("llama".into())),
        ("tokens", Value::Array(vec![Value::String("a".into()); 5])),
        ("scores", Value::Array(vec![Value::F32(1.); 5])),
    ];
    let quantised = [
        ("layers.0.up.weight", &up, GgmlDType::Q4_1),
        ("layers.0.q.weight", &q, GgmlDType::Q8_0),
        ("layers.0.up.bias", &bias, GgmlDType::F32),
    ];
    [
        ("model.safetensors", safetensors(&plain)),
        ("pytorch_model.bin", torch(&plain)),
        ("model.gguf", gguf(&keys, &quantised)),
    ]
}

/// One change: where (as a part of the region chosen), and what is put there.
#[derive(Debug, Clone)]
enum Change {
    Byte(usize, u8),
    Word(usize, u64),
    Cut(usize),
    Copy(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let word = prop_oneof![
        Just(u64::MAX),
        Just(1 << 63),
        Just(u32::MAX as u64),
        Just(1 << 40),
        0u64..100,
        any::<u64>()
    ];
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        4 => (any::<usize>(), word).prop_map(|(at, word)| Change::Word(at, word)),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => (any::<usize>(), any::<usize>(), 1usize..40).prop_map(|(a, b, n)| Change::Copy(a, b, n)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    // The header is where it hurts: most changes fall into the first (or, for an archive, the
    // last) kilobyte.
    let place = |at: usize, len: usize| match at % 4 {
        0 => at % len.max(1),
        1 => len.saturating_sub(1 + at % 600),
        _ => at % len.clamp(1, 600),
    };
    let len = bytes.len();
    match *change {
        Change::Byte(at, byte) => {
            if let Some(b) = bytes.get_mut(place(at, len)) {
                *b = byte;
            }
        }
        Change::Word(at, word) => {
            let at = place(at, len);
            for (b, new) in bytes.iter_mut().skip(at).zip(word.to_le_bytes()) {
                *b = new;
            }
        }
        Change::Cut(at) => bytes.truncate(place(at, len)),
        Change::Copy(from, to, n) => {
            let (from, to) = (place(from, len), place(to, len));
            let piece: Vec<u8> = bytes.iter().skip(from).take(n).copied().collect();
            for (b, new) in bytes.iter_mut().skip(to).zip(piece) {
                *b = new;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damage_does_no_harm(which in 0usize..3, changes in prop::collection::vec(change(), 1..5)) {
        let (name, mut bytes) = samples()[which].clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        let folder = folder();
        let path = write(folder.path(), name, &bytes);
        let most = most(|| exercise(&path));
        // Buffers of files are 8 KiB each, and reports of errors repeat names.
        prop_assert!(most < 16 * bytes.len() + (1 << 17), "{most} bytes for {}", bytes.len());
    }
}
