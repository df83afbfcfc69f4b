//! All heads together, what comes of them, and the account of what was checked.

use candle_core::Tensor;

use super::Limits;
use super::numbers::{apart, length, size};
use super::seen::Seen;
use crate::error::Result;
use crate::inspect::document::{Cell, Document, Part, Section, Table};
use crate::inspect::logits::{largest, log_sum_exp, rows};
use crate::inspect::tokens::Token;
use crate::model::Model;
use crate::spec::Wiring;

/// Heads that have a row of their own.
const HEADS: usize = 12;

/// Answers that are named.
const NEXT: usize = 8;

/// Heads side by side, through the output projection.
pub(super) fn together(model: &Model, seen: &Seen<'_>, limits: &Limits) -> Result<Section> {
    let attention = seen.attention;
    let mut section = Section::new("All heads together");
    let (heads, width) = (attention.n_heads, attention.n_heads * attention.head_dim);
    section.say(format!(
        "The {heads} heads' answers, {} numbers each, are laid side by side, {width} numbers, and a last \
         matrix turns them into {} numbers for the residual stream. So each head adds its own part:",
        attention.head_dim, seen.spec.dim
    ));
    section.parts.push(Part::Formula(format!(
        "out = concat(z0 … z{}) · Wo   ({width}) · ({width} × {1}) = ({1})",
        heads - 1,
        seen.spec.dim
    )));
    let outs = parts(model, seen)?;
    let (whole, bias, alone) = (&outs[0], &outs[1], &outs[2..]);
    let part = |head: usize| -> Vec<f32> {
        alone[head].iter().zip(bias).map(|(x, bias)| x - bias).collect()
    };
    let lengths = (0..heads).map(|head| (head, length(&part(head)))).collect();
    section.parts.push(Part::Table(ranked(seen, lengths)));
    let mut sum: Vec<f64> = bias.iter().map(|x| f64::from(*x)).collect();
    for head in 0..heads {
        sum.iter_mut().zip(part(head)).for_each(|(sum, x)| *sum += f64::from(x));
    }
    section.check(
        "the heads' parts and the bias add up to the projection of all",
        apart(&sum, whole) / size(whole),
        limits.product,
    );
    added(&mut section, seen, whole, limits);
    Ok(section)
}

/// That the projection is what the run adds, where nothing comes between.
fn added(section: &mut Section, seen: &Seen<'_>, whole: &[f32], limits: &Limits) {
    let layer = &seen.spec.layers[seen.layer];
    let bare = matches!(
        layer.wiring,
        Wiring::Pre | Wiring::Normed | Wiring::PostSum | Wiring::Parallel { .. }
    );
    if bare {
        let scaled: Vec<f64> = whole.iter().map(|x| f64::from(*x) * layer.residual_scale).collect();
        let run = &seen.attn_out[seen.token];
        let off = apart(&scaled, run) / size(run);
        section.check("that is what the run's attention adds", off, limits.product);
    } else {
        section.say("In this model a norm follows before it is added to the residual stream.");
    }
}

/// Heads by the length of what they add, the longest first.
fn ranked(seen: &Seen<'_>, mut lengths: Vec<(usize, f64)>) -> Table {
    lengths.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = lengths.first().map_or(1.0, |(_, length)| length.max(1e-12));
    let mut table = Table::new(&["head", "length of its part", "against the largest"]);
    let listed =
        lengths.iter().enumerate().filter(|(at, (head, _))| *at < HEADS || *head == seen.head);
    for (_, (head, length)) in listed {
        table.rows.push(vec![
            Cell::new(format!("{}.{head}", seen.layer)).strong(*head == seen.head),
            Cell::number(*length, 4),
            Cell::new(format!("{:.0}%", length / most * 100.0)).shaded(length / most),
        ]);
    }
    table
}

/// What the output projection makes of the token's z: all heads', none's, and each alone.
fn parts(model: &Model, seen: &Seen<'_>) -> Result<Vec<Vec<f32>>> {
    let z = seen.all_z.narrow(2, seen.token, 1)?; // (1, heads, 1, head_dim)
    let heads = seen.attention.n_heads;
    let mut masks = vec![1f32; heads];
    masks.resize(2 * heads, 0.0);
    for head in 0..heads {
        masks.extend((0..heads).map(|other| if other == head { 1.0 } else { 0.0 }));
    }
    let masks = Tensor::from_vec(masks, (heads + 2, heads, 1, 1), z.device())?;
    let z = z.broadcast_mul(&masks)?.to_device(model.decoder.device())?;
    let out = model.decoder.merge(seen.layer, &z.to_dtype(model.decoder.dtype())?)?; // (heads + 2, 1, dim)
    Ok(out.to_dtype(candle_core::DType::F32)?.squeeze(1)?.to_vec2()?)
}

/// What is said next.
pub(super) fn next(model: &Model, seen: &Seen<'_>) -> Result<Section> {
    let mut section = Section::new("What comes next");
    let layers = seen.spec.layers.len();
    section.say(format!(
        "Each of the {layers} layers adds what its heads bring, and a feed-forward network's thoughts \
         about it. After the last, {}'s vector is compared with every token of the vocabulary: {} \
         logits, of which a softmax makes probabilities.",
        seen.label(seen.token),
        seen.spec.vocab_size
    ));
    let x = seen.last.narrow(1, seen.token, 1)?.to_device(model.decoder.device())?;
    let logits = rows(&model.decoder.read_out(&x.to_dtype(model.decoder.dtype())?)?)?;
    let Some(logits) = logits.first() else { return Ok(section) };
    let lse = log_sum_exp(logits);
    let chance = |id: usize| (f64::from(logits[id]) - lse).exp();
    let said = seen.tokens.get(seen.token + 1).map(|token| token.id);
    let mut table = Table::new(&["next", "logit", "probability"]);
    let top = largest(logits, NEXT);
    let also = said.map(|id| id as usize).filter(|id| !top.contains(id));
    for id in top.iter().copied().chain(also) {
        let label = Token::of(model, &[id as u32]).first().map(Token::label).unwrap_or_default();
        let follows = said == Some(id as u32);
        let label = if follows { format!("{label} (it does)") } else { label };
        table.rows.push(vec![
            Cell::new(label).strong(follows),
            Cell::number(f64::from(logits[id]), 3),
            Cell::number(chance(id), 4).shaded(chance(id)),
        ]);
    }
    section.parts.push(Part::Table(table));
    let sum: f64 = (0..logits.len()).map(chance).sum();
    section.check("all probabilities are 1 together", (sum - 1.0).abs(), 1e-5);
    Ok(section)
}

/// The account, which [`count`] fills.
pub(super) fn checks() -> Section {
    Section::new("What was checked")
}

/// Fills the last section.
pub(super) fn count(document: &mut Document) {
    let held = document.checks().filter(|check| check.holds()).count();
    let all = document.checks().count();
    let mut table = Table::new(&["what has to be so", "off by", "allowed", ""]);
    for check in document.checks() {
        table.rows.push(vec![
            Cell::new(&check.what),
            Cell::new(format!("{:.1e}", check.off)),
            Cell::new(format!("{:.0e}", check.limit)),
            Cell::new(if check.holds() { "✓" } else { "✗" }).strong(!check.holds()),
        ]);
    }
    if let Some(section) = document.sections.last_mut() {
        section.say(format!(
            "{held} of {all} hold. Deviations are shares of the largest number compared; the rest is \
             rounding."
        ));
        section.parts.push(Part::Table(table));
    }
}
