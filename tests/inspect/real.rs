//! What is seen inside real checkpoints, against transformers' eager attention
//! (`scripts/golden_inspect_real.py`): entries and norms of every layer's tensors, and the lens.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value;
use taper::inspect::{Of, Plan, attend, lens};
use taper::model::{LoadOptions, Model};
use taper::nn::{At, Run, Site};
use taper::parity::record;

use crate::common::{fetched, golden, shared};
use crate::{ids, near, numbers};

const SITES: [Site; 5] = [Site::Q, Site::K, Site::V, Site::Pattern, Site::Z];

#[test]
fn stories_are_pytorchs_inside() {
    let Some(path) = shared("stories260K") else { return };
    same_inside("stories260K", &path);
}

#[test]
fn smollm2_is_pytorchs_inside() {
    let Some(path) = fetched("SmolLM2-135M-Instruct-f32") else { return };
    same_inside("SmolLM2-135M", &path);
}

fn same_inside(name: &str, path: &Path) {
    let text = std::fs::read_to_string(golden("inspect_real.json")).unwrap();
    let theirs = serde_json::from_str::<Value>(&text).unwrap()[name].clone();
    let model = Model::load(path, &LoadOptions::default()).unwrap();
    let ids = ids(&theirs);
    let layers = theirs["layers"].as_array().unwrap();
    assert_eq!(layers.len(), model.spec().layers.len());
    let ours = record(&model.decoder, std::slice::from_ref(&ids), |at| {
        SITES.contains(&at.site) || at.site == Site::ResidPost || at.layer == Some(0)
    });
    let ours = ours.unwrap().sites;
    for (layer, theirs) in layers.iter().enumerate() {
        for (site, at) in SITES.iter().enumerate() {
            let of = At { layer: Some(layer), site: *at };
            entries_and_norms(&ours[&of], &theirs[at.name()], layer, site, &format!("{name} {of}"));
        }
    }
    recomputed(&model, &ids, layers);
    // Logits after every layer, of the last position.
    let depths = theirs["lens"].as_array().unwrap();
    assert_eq!(depths.len(), layers.len() + 1);
    let reading = &lens(&model.decoder, &ids, ids.len() - 1..ids.len(), 1).unwrap()[0];
    for (depth, theirs) in depths.iter().enumerate() {
        let at = match depth {
            0 => At { layer: Some(0), site: Site::ResidPre },
            depth => At { layer: Some(depth - 1), site: Site::ResidPost },
        };
        let last = ours[&at].narrow(1, ids.len() - 1, 1).unwrap().contiguous().unwrap();
        let logits = flat(&model.decoder.read_out(&last).unwrap());
        let size = most(&logits);
        for (sample, theirs) in numbers(theirs).into_iter().enumerate() {
            let ours = logits[chosen(depth, SITES.len(), sample) as usize % logits.len()];
            near(ours / size, theirs / size, &format!("{name} lens {depth}"));
        }
        // What the lens says is what these logits say.
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        let guess = reading.depths[depth].top[0];
        assert_eq!(guess.id as usize, best);
        near(guess.probability, logits[best].exp() / sum, "probability");
    }
    let input = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let whole =
        flat(&model.decoder.run(&input, Run { last_only: true, ..Run::default() }).unwrap());
    let best = (0..whole.len()).max_by(|a, b| whole[*a].total_cmp(&whole[*b])).unwrap();
    assert_eq!(reading.answer as usize, best);
}

/// Our tensor (1, heads, positions, numbers) and their samples of it.
#[track_caller]
fn entries_and_norms(ours: &Tensor, theirs: &Value, layer: usize, site: usize, what: &str) {
    let (_, heads, rows, columns) = ours.dims4().unwrap();
    let numbers_of = flat(ours);
    let size = most(&numbers_of).max(1.0);
    for (sample, theirs) in numbers(&theirs[1]).into_iter().enumerate() {
        let h = chosen(layer, site, sample) as usize;
        let (head, row) = (h % heads, (h >> 8) % rows);
        let seen = if SITES[site] == Site::Pattern { row + 1 } else { columns };
        let ours = numbers_of[(head * rows + row) * columns + (h >> 16) % seen];
        near(ours / size, theirs / size, what);
    }
    let norms = numbers(&theirs[0]);
    let parts = numbers_of.chunks(numbers_of.len() / norms.len());
    assert_eq!(norms.len(), if SITES[site] == Site::Pattern { heads } else { 1 });
    for (part, theirs) in parts.zip(norms) {
        let ours = part.iter().map(|x| x * x).sum::<f64>().sqrt();
        near(ours / theirs.max(1.0), theirs / theirs.max(1.0), what);
    }
}

/// The rows that `attend` computes again, without a matrix of all of them.
fn recomputed(model: &Model, ids: &[u32], layers: &[Value]) {
    let plan = Plan { map: Some(ids.len()), ..Plan::default() };
    let mut maps = std::collections::BTreeMap::new();
    attend(&model.decoder, ids, &plan, None, &mut |of, map| {
        if let Of::Head(layer, head) = of {
            maps.insert((layer, head), map);
        }
        Ok(())
    })
    .unwrap();
    let site = SITES.iter().position(|site| *site == Site::Pattern).unwrap();
    for (layer, theirs) in layers.iter().enumerate() {
        let heads = model.spec().layers[layer].attention.n_heads;
        for (sample, theirs) in numbers(&theirs["pattern"][1]).into_iter().enumerate() {
            let h = chosen(layer, site, sample) as usize;
            let (head, row) = (h % heads, (h >> 8) % ids.len());
            let map = &maps[&(layer, head)];
            near(map.at(row, (h >> 16) % (row + 1)).into(), theirs, &format!("map {layer}.{head}"));
        }
    }
}

/// As `chosen` in the script.
fn chosen(layer: usize, site: usize, sample: usize) -> u64 {
    ((layer * 1000 + site * 100 + sample + 1) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}

fn flat(x: &Tensor) -> Vec<f64> {
    let numbers = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(numbers.iter().all(|x| x.is_finite()));
    numbers.into_iter().map(f64::from).collect()
}

fn most(numbers: &[f64]) -> f64 {
    numbers.iter().fold(0f64, |most, x| most.max(x.abs()))
}
