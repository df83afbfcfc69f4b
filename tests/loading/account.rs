//! Missing, extra and mis-shaped tensors, and what counts as read.

use std::path::Path;

use taper::error::Error;
use taper::weights::{Account, Layout, Names, Param, plain, stored};

use crate::files::{folder, numbers, safetensors, write};
use crate::{DIM, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, VOCAB, load};

const NAMES: Names = Names {
    prefixes: &["model.", ""],
    entries: &[
        plain(Param::TokenEmbedding, "embed_tokens"),
        plain(Param::Head, "lm_head"),
        plain(Param::Up, "layers.{}.mlp.up_proj"),
        stored(Param::Query, "layers.{}.attn.qkv", Layout::FusedQkv),
        stored(Param::Key, "layers.{}.attn.qkv", Layout::FusedQkv),
        stored(Param::Value, "layers.{}.attn.qkv", Layout::FusedQkv),
    ],
    ignored: &["rotary_emb.inv_freq"],
};

fn checkpoint(folder: &Path) -> std::path::PathBuf {
    let qkv = numbers(&[(HEADS + 2 * KV_HEADS) * HEAD_DIM, DIM], 3);
    let bytes = safetensors(&[
        ("model.embed_tokens.weight", &numbers(&[VOCAB, DIM], 0)),
        ("model.layers.0.mlp.up_proj.weight", &numbers(&[HIDDEN, DIM], 1)),
        ("model.layers.0.attn.qkv.weight", &qkv),
        ("model.layers.0.attn.rotary_emb.inv_freq", &numbers(&[3], 2)),
    ]);
    write(folder, "model.safetensors", bytes)
}

fn read(path: &Path, params: &[Param]) -> taper::Result<Account> {
    load(path, &NAMES, |weights| {
        for param in params {
            let (layer, rows) = match param {
                Param::TokenEmbedding => (None, VOCAB),
                Param::Up => (Some(0), HIDDEN),
                Param::Query => (Some(0), HEADS * HEAD_DIM),
                _ => (Some(0), KV_HEADS * HEAD_DIM),
            };
            weights.matrix(*param, layer, (rows, DIM))?;
        }
        weights.finish()
    })
}

#[test]
fn everything_is_accounted_for() {
    let folder = folder();
    let all = [Param::TokenEmbedding, Param::Up, Param::Query, Param::Key, Param::Value];
    let account = read(&checkpoint(folder.path()), &all).unwrap();
    assert_eq!(account.read.len(), 3);
    assert_eq!(account.ignored, ["model.layers.0.attn.rotary_emb.inv_freq"]);
    let rows = VOCAB + HIDDEN + (HEADS + 2 * KV_HEADS) * HEAD_DIM;
    assert_eq!(account.parameters, (rows * DIM) as u64);
    assert_eq!(account.bytes, 4 * account.parameters);
}

#[test]
fn a_fused_tensor_is_read_when_all_of_its_parts_are() {
    let folder = folder();
    let path = checkpoint(folder.path());
    // The same part twice is still one part.
    let parts = [Param::TokenEmbedding, Param::Up, Param::Query, Param::Key, Param::Query];
    match read(&path, &parts) {
        Err(Error::UnreadTensors { names, .. }) => {
            assert_eq!(names, ["model.layers.0.attn.qkv.weight"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_tensor_names_what_was_tried_and_what_is_near() {
    let folder = folder();
    let path = write(
        folder.path(),
        "model.safetensors",
        safetensors(&[
            ("model.layers.0.mlp.upproj.weight", &numbers(&[HIDDEN, DIM], 0)),
            ("other", &numbers(&[1], 0)),
        ]),
    );
    match read(&path, &[Param::Up]) {
        Err(Error::MissingTensor { param, tried, nearest, .. }) => {
            assert_eq!(param, "Up of layer 0");
            assert_eq!(tried, ["model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"]);
            assert_eq!(nearest[0], "model.layers.0.mlp.upproj.weight");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_shape_is_named_with_both() {
    let folder = folder();
    let path = write(
        folder.path(),
        "model.safetensors",
        safetensors(&[("layers.0.mlp.up_proj.weight", &numbers(&[HIDDEN + 1, DIM], 0))]),
    );
    match read(&path, &[Param::Up]) {
        Err(Error::TensorShape { expected, found, .. }) => {
            assert_eq!((expected, found), (vec![HIDDEN, DIM], vec![HIDDEN + 1, DIM]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stored_copy_of_a_tied_head_is_accepted_only_if_it_is_one() {
    let folder = folder();
    for (seed, is_copy) in [(0, true), (1, false)] {
        let path = write(
            folder.path(),
            "model.safetensors",
            safetensors(&[
                ("model.embed_tokens.weight", &numbers(&[VOCAB, DIM], 0)),
                ("lm_head.weight", &numbers(&[VOCAB, DIM], seed)),
            ]),
        );
        let account = load(&path, &NAMES, |weights| {
            weights.table(Param::TokenEmbedding, (VOCAB, DIM))?;
            weights.tied_duplicate(Param::Head, Param::TokenEmbedding)?;
            weights.finish()
        });
        match account {
            Ok(account) if is_copy => assert_eq!(account.ignored, ["lm_head.weight"]),
            Err(Error::ConfigKey { key, .. }) if !is_copy => assert_eq!(key, "tie_word_embeddings"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn integers_are_no_parameters() {
    let folder = folder();
    let header = format!(
        r#"{{"layers.0.mlp.up_proj.weight":{{"dtype":"I8","shape":[{HIDDEN},{DIM}],"data_offsets":[0,{}]}}}}"#,
        HIDDEN * DIM
    );
    let bytes = crate::files::raw_safetensors(&header, &[1; HIDDEN * DIM]);
    let path = write(folder.path(), "model.safetensors", bytes);
    let error = read(&path, &[Param::Up]).unwrap_err().to_string();
    assert!(error.contains("up_proj.weight` is stored as I8"), "{error}");
}
