//! What attention costs: time and memory of scores, measured with this layer, and what the cache
//! keeps.

use std::time::Instant;

use candle_core::{DType, Tensor};

use super::numbers::bytes;
use super::seen::Seen;
use crate::error::Result;
use crate::inspect::document::{Cell, Part, Section, Table};
use crate::model::Model;

/// Queries of a block.
const BLOCK: usize = 128;

/// Tokens of the longest text measured, and scores held at most.
const LONGEST: usize = 2048;
const MOST_SCORES: usize = 64 << 20;

/// All scores at once against blocks of them.
pub(super) fn time(model: &Model, seen: &Seen<'_>) -> Result<Section> {
    let heads = seen.attention.n_heads;
    let mut section = Section::new("What it costs");
    section.say(format!(
        "Twice the tokens are four times the scores: n² for each of {heads} heads. They need not be held \
         all at once, though: rows are independent, so {BLOCK} queries at a time do, and memory grows \
         with n alone. Measured here, on layer {} with this text said again and again:",
        seen.layer
    ));
    let mut table = Table::new(&[
        "tokens",
        "scores",
        "held at once",
        "time",
        "held in blocks",
        "time in blocks",
    ]);
    for n in lengths(seen.spec.max_seq_len, heads) {
        table.rows.push(timed(model, seen, n)?);
    }
    section.parts.push(Part::Table(table));
    section.say(
        "Both compute the same numbers. Blocks also leave out most of the future, which is masked \
         anyway (Rabe and Staats 2021, 2112.05682; Dao et al. 2022, 2205.14135).",
    );
    Ok(section)
}

/// Of so many tokens, both ways.
fn timed(model: &Model, seen: &Seen<'_>, n: usize) -> Result<Vec<Cell>> {
    let heads = seen.attention.n_heads;
    let (q, k) = (said(model, &seen.all_q, n)?, said(model, &seen.all_k, n)?);
    let at_once = measured(|| model.decoder.look(seen.layer, &q, &k, 0).map(|_| ()))?;
    let in_blocks = measured(|| {
        for start in (0..n).step_by(BLOCK) {
            let count = BLOCK.min(n - start);
            let keys = k.narrow(2, 0, start + count)?;
            model.decoder.look(seen.layer, &q.narrow(2, start, count)?, &keys, start)?;
        }
        Ok(())
    })?;
    let matrix = |rows: usize| bytes((heads * rows * n * 4) as f64);
    Ok(vec![
        Cell::new(n.to_string()),
        Cell::new((heads * n * n).to_string()),
        Cell::new(matrix(n)),
        Cell::new(format!("{:.2} ms", at_once * 1e3)),
        Cell::new(matrix(BLOCK.min(n))),
        Cell::new(format!("{:.2} ms", in_blocks * 1e3)),
    ])
}

/// A quarter, a half and all of what the model can read, or of what is measured.
fn lengths(positions: usize, heads: usize) -> Vec<usize> {
    let fits = |n: &usize| heads * n * n <= MOST_SCORES;
    let longest = positions.min(LONGEST);
    let mut lengths: Vec<usize> =
        [8, 4, 2, 1].iter().map(|part| (longest / part).max(1)).filter(fits).collect();
    lengths.dedup();
    lengths
}

/// Queries or keys of `n` tokens: those there are, again and again.
fn said(model: &Model, x: &Tensor, n: usize) -> Result<Tensor> {
    let tokens = x.dim(2)?;
    let order: Vec<u32> = (0..n).map(|at| (at % tokens) as u32).collect();
    let x = x.index_select(&Tensor::new(order, x.device())?, 2)?;
    // Windows and biases apply to positions, which queries and keys here share.
    Ok(x.to_dtype(model.decoder.dtype())?.to_device(model.decoder.device())?.contiguous()?)
}

/// Seconds, the less of two.
fn measured(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..2 {
        let begun = Instant::now();
        run()?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// What stays in memory for every token.
pub(super) fn cache(model: &Model, seen: &Seen<'_>) -> Section {
    let mut section = Section::new("What the cache keeps");
    let attention = seen.attention;
    section.say(
        "While a text is continued, keys and values of all tokens before stay in memory, so that each new \
         token costs one row of scores. Fewer key-value heads make that smaller; queries stay as many.",
    );
    let each = match model.decoder.dtype() {
        DType::F16 | DType::BF16 => 2,
        _ => 4,
    };
    let layers = seen.spec.layers.len();
    section.parts.push(Part::Formula(format!(
        "2 (K and V) × {layers} layers × kv heads × {} numbers × {each} bytes",
        attention.head_dim
    )));
    let full = seen.spec.max_seq_len;
    let at_full = format!("for {full} tokens");
    let at_here = format!("for these {}", seen.len());
    let mut table = Table::new(&["way", "kv heads", "for a token", &at_here, &at_full]);
    for kv_heads in ways(attention.n_heads, attention.n_kv_heads) {
        let token = (2 * layers * kv_heads * attention.head_dim * each) as f64;
        let name = way(attention.n_heads, kv_heads);
        let ours = kv_heads == attention.n_kv_heads;
        table.rows.push(vec![
            Cell::new(if ours { format!("{name}, this model") } else { name }).strong(ours),
            Cell::new(kv_heads.to_string()),
            Cell::new(bytes(token)),
            Cell::new(bytes(token * seen.len() as f64)),
            Cell::new(bytes(token * full as f64)),
        ]);
    }
    section.parts.push(Part::Table(table));
    if seen.spec.layers.iter().any(|layer| layer.attention.n_kv_heads != attention.n_kv_heads) {
        section.say("Counted as if all layers were like this one; in this model they differ.");
    }
    section
}

/// What that is called.
fn way(heads: usize, kv_heads: usize) -> String {
    match kv_heads {
        n if n == heads => "MHA: one each".into(),
        1 => "MQA: one for all".into(),
        n => format!("GQA: one for {}", heads / n),
    }
}

/// Numbers of key-value heads to compare: each head's own, this model's, some between, one.
fn ways(heads: usize, ours: usize) -> Vec<usize> {
    let halves = [heads, heads / 2, heads / 4, heads / 8, 1, ours];
    let divides = |n: &usize| *n > 0 && heads.is_multiple_of(*n);
    let mut ways: Vec<usize> = halves.into_iter().filter(divides).collect();
    ways.sort_unstable_by(|a, b| b.cmp(a));
    ways.dedup();
    ways
}
