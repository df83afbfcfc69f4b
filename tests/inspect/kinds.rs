//! Looking inside what is quantised, and inside every kind of attention that GGUF files have: rows
//! add up, what is computed again is the run's, and a lesson adds up.

use std::path::Path;

use taper::inspect::{Focus, Map, Of, Plan, attend, lens, lesson, page};
use taper::model::{LoadOptions, Model};
use taper::nn::{At, Site};
use taper::parity::record;

use crate::common::{fetched, files, golden};
use crate::near;

#[test]
fn quantised_checkpoints_add_up() {
    let (mut checked, mut windows, mut sinks, mut shared) = (0, 0, 0, 0);
    for file in files(&golden("gguf"), "gguf") {
        if !file.ends_with("model.gguf") {
            continue;
        }
        let model = Model::load(&file, &LoadOptions::default()).unwrap();
        let ids: Vec<u32> = (0..24).map(|at| (at * 7 + 1) % 29).collect();
        // (Rounded activations would turn the order of sums into steps of their rounding.)
        taper::kernels::plainly(|| adds_up(&model, &ids, &file));
        let attention = |layer: &taper::spec::Layer| layer.attention.clone();
        let kinds: Vec<_> = model.spec().layers.iter().map(attention).collect();
        windows += usize::from(kinds.iter().any(|kind| kind.window.is_some()));
        sinks += usize::from(kinds.iter().any(|kind| kind.sinks));
        shared += usize::from(kinds.iter().any(|kind| kind.n_kv_heads < kind.n_heads));
        checked += 1;
    }
    assert!(
        checked > 35 && windows > 3 && sinks > 0 && shared > 10,
        "{checked} {windows} {shared}"
    );
}

#[test]
fn a_real_quantised_checkpoint_adds_up() {
    let Some(file) = fetched("SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    let model = Model::load(&file, &LoadOptions::default()).unwrap();
    let text = "The animal did not cross the street because it was too tired";
    let ids = model.tokenizer.as_ref().unwrap().encode(text, true).unwrap();
    // (Rounded activations would turn the order of sums into steps of their rounding.)
    taper::kernels::plainly(|| adds_up(&model, &ids, &file));
    let page = page(&model, &ids, ids.len()).unwrap();
    assert!(page.contains("id=\"map-h29.8\"") && page.contains("id=\"lens\""));
}

/// Every head's rows, the run's own pattern, the lens' end, and the lesson.
fn adds_up(model: &Model, ids: &[u32], file: &Path) {
    let what = file.display().to_string();
    let run = record(&model.decoder, &[ids.to_vec()], |at| {
        matches!(at.site, Site::Pattern | Site::Logits)
    });
    let run = run.unwrap().sites;
    let plan = Plan { map: Some(ids.len()), top: ids.len(), ..Plan::default() };
    let mut maps: Vec<(Of, Map)> = Vec::new();
    let seen = attend(&model.decoder, ids, &plan, None, &mut |of, map| {
        maps.push((of, map));
        Ok(())
    })
    .unwrap();
    for view in &seen.heads {
        let Some((_, map)) = maps.iter().find(|(of, _)| *of == Of::Head(view.layer, view.head))
        else {
            panic!("{what}: no map of {}.{}", view.layer, view.head)
        };
        let pattern = &run[&At { layer: Some(view.layer), site: Site::Pattern }];
        let pattern = pattern.get(0).unwrap().get(view.head).unwrap().to_vec2::<f32>().unwrap();
        let sinks = model.spec().layers[view.layer].attention.sinks;
        for (query, row) in pattern.iter().enumerate() {
            let sum: f64 = row.iter().map(|x| f64::from(*x)).sum();
            assert!(
                if sinks { sum > 0.0 && sum < 1.0 } else { (sum - 1.0).abs() < 1e-5 },
                "{what}"
            );
            let top: f64 = view.queries[query].top.iter().map(|look| f64::from(look.weight)).sum();
            near(top, sum, &what);
            for (key, weight) in row.iter().enumerate() {
                near(map.at(query, key).into(), (*weight).into(), &what);
            }
        }
    }
    let logits = &run[&At { layer: None, site: Site::Logits }];
    let logits = logits.get(0).unwrap().get(ids.len() - 1).unwrap().to_vec1::<f32>().unwrap();
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    let reading = &lens(&model.decoder, ids, ids.len() - 1..ids.len(), 1).unwrap()[0];
    assert_eq!(reading.answer as usize, best, "{what}");
    assert_eq!(reading.depths.last().unwrap().kl, 0.0, "{what}");
    let focus = Focus { rounded: true, ..Focus::default() };
    let lesson = lesson(model, ids, &focus).unwrap();
    assert!(lesson.failed().is_empty(), "{what}: {:?}", lesson.failed());
    assert!(lesson.document.checks().count() >= 5, "{what}");
}
