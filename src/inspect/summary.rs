//! What a checkpoint is, told without reading its weights.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::family::KeyReport;
use crate::model::Opened;
use crate::spec::{Layer, Spec};
use crate::text::{Fate, tokenizer_keys};

/// What a checkpoint is.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What it was asked for by.
    pub name: String,
    /// Its family.
    pub family: String,
    /// The container of its weights.
    pub format: String,
    /// Tells it from every other checkpoint, cheaply: headers, sizes and samples of its bytes.
    pub fingerprint: String,
    /// Numbers in its weights.
    pub parameters: u64,
    /// Bytes of its weights, as stored.
    pub bytes: u64,
    /// Bytes by stored type.
    pub types: BTreeMap<String, u64>,
    /// Positions it has.
    pub max_seq_len: usize,
    /// Numbers that the cache keeps for one position; times the dtype's bytes.
    pub cache_numbers_per_position: usize,
    /// Layers, equal neighbours together.
    pub layers: Vec<LayerGroup>,
    /// Everything about the decoder but its layers.
    pub decoder: BTreeMap<String, String>,
    /// What became of the configuration's keys.
    pub keys: KeyReport,
    /// What became of those of `tokenizer_config.json`.
    pub tokenizer_keys: KeyReport,
}

/// Neighbouring layers that are alike.
#[derive(Debug, Clone, Serialize)]
pub struct LayerGroup {
    /// The first one's number.
    pub first: usize,
    /// The last one's number.
    pub last: usize,
    /// What they are.
    pub layer: String,
}

impl Summary {
    /// Of a checkpoint that is open.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(opened: &Opened) -> Result<Self> {
        let spec = &opened.described.spec;
        let mut types = BTreeMap::new();
        let mut parameters = 0;
        for tensor in opened.checkpoint.tensors() {
            *types.entry(tensor.dtype.to_string()).or_default() += tensor.bytes;
            parameters += tensor.shape.iter().map(|n| *n as u64).product::<u64>();
        }
        Ok(Self {
            name: opened.name.clone(),
            family: opened.described.family.name.into(),
            format: format!("{:?}", opened.checkpoint.format()).to_lowercase(),
            fingerprint: opened.checkpoint.quick_fingerprint()?,
            parameters,
            bytes: opened.checkpoint.total_bytes(),
            types,
            max_seq_len: spec.max_seq_len,
            cache_numbers_per_position: spec.layers.iter().map(cached).sum(),
            layers: groups(spec),
            decoder: decoder(spec),
            keys: opened.described.keys.clone(),
            tokenizer_keys: tokenizer_report(opened)?,
        })
    }
}

fn tokenizer_report(opened: &Opened) -> Result<KeyReport> {
    let (config, whole_file) = opened.tokenizer_config()?;
    let mut report = KeyReport::default();
    for (key, fate) in tokenizer_keys(&config, whole_file) {
        let pair = || (key.to_string(), config.get(key).cloned().unwrap_or_default());
        match fate {
            Fate::Used => report.used.push(pair()),
            Fate::Defaulted => report.defaulted.push(pair()),
            Fate::Irrelevant => report.irrelevant.push(key.into()),
            Fate::Unknown => report.unknown.push(key.into()),
        }
    }
    Ok(report)
}

/// Keys and values that a layer keeps for one position.
fn cached(layer: &Layer) -> usize {
    2 * layer.attention.n_kv_heads * layer.attention.head_dim
}

fn groups(spec: &Spec) -> Vec<LayerGroup> {
    let mut groups: Vec<LayerGroup> = Vec::new();
    for (index, layer) in spec.layers.iter().enumerate() {
        let layer = format!("{layer:#?}");
        match groups.last_mut() {
            Some(group) if group.layer == layer => group.last = index,
            _ => groups.push(LayerGroup { first: index, last: index, layer }),
        }
    }
    groups
}

fn decoder(spec: &Spec) -> BTreeMap<String, String> {
    [
        ("vocab_size", spec.vocab_size.to_string()),
        ("dim", spec.dim.to_string()),
        ("n_layers", spec.layers.len().to_string()),
        ("embedding", format!("{:?}", spec.embedding)),
        ("final_norm", format!("{:?}", spec.final_norm)),
        ("head", format!("{:?}", spec.head)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_string(), value))
    .collect()
}
