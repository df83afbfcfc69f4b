//! What is written is what was read, whatever it lay in. Adapters are tested in tests/adapters.rs.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};

use super::super::checkpoint::Checkpoint;

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case)
}

/// Every tensor's name, shape, dtype, and numbers where it has some.
fn contents(checkpoint: &Checkpoint) -> Vec<(String, Vec<usize>, String, Vec<f32>)> {
    let mut all: Vec<_> = checkpoint
        .tensors()
        .map(|t| {
            let whole = || checkpoint.whole(&t.name, DType::F32, &Device::Cpu).unwrap();
            let numbers =
                t.dtype.dtype().map(|_| whole().flatten_all().unwrap().to_vec1().unwrap());
            let numbers = numbers.unwrap_or_default();
            (t.name.clone(), t.shape.clone(), t.dtype.to_string(), numbers)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn what_is_saved_is_what_was_opened() {
    for (case, most) in [
        ("llama/tied_gqa", u64::MAX),
        ("llama/tied_gqa", 20_000),
        ("llama/sharded", u64::MAX),
        ("gpt2/pickled", 10_000),
        ("gpt_oss/mxfp4", u64::MAX),
    ] {
        let before = Checkpoint::open(&golden(case)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut written = 0;
        before.save_in_shards(folder.path(), most, &mut |bytes| written += bytes).unwrap();
        let after = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(after.files().count() == 1, most == u64::MAX, "{case}");
        assert_eq!(written, before.total_bytes(), "{case}");
        assert_eq!(contents(&after), contents(&before), "{case}");
        // A file of safetensors that other readers take as well.
        for file in after.files() {
            let bytes = std::fs::read(file).unwrap();
            safetensors::SafeTensors::deserialize(&bytes).unwrap();
        }
    }
}
