//! A report as text for a terminal. It decides nothing.

use std::fmt::Write;

use super::judge::Verdict;
use super::report::{Report, Row};
use crate::nn::{At, Site};

const HEAD: &str = "site            max diff   mean diff    relative      cosine";

/// The sites as a table: one line a site and layer, or, without `every`, the worst layer of each.
pub fn sites(report: &Report, every: bool) -> String {
    let mut out = format!("{HEAD}\n");
    for row in if every { report.sites.iter().collect() } else { worst(report) } {
        let d = &row.difference;
        let _ = write!(
            out,
            "{:<13} {:>10.2e}  {:>10.2e}  {:>10.2e}  {:>10.7}",
            d.at.to_string(),
            d.max,
            d.mean,
            d.relative,
            d.cosine
        );
        if row.verdict != Verdict::Equal {
            let _ = write!(out, "  {}", row.verdict);
        }
        if let Some((ours, theirs)) = &d.shapes {
            let _ = write!(out, ": shape {ours:?}, the reference's {theirs:?}");
        }
        if let Some(what) = d.not_finite {
            let _ = write!(out, ": {what}");
        }
        out.push('\n');
    }
    if !every && report.sites.len() > 18 {
        out.push_str("(each site's worst layer; -v shows all)\n");
    }
    out
}

/// Per site the layer that is furthest off.
fn worst(report: &Report) -> Vec<&Row> {
    let of = |site: Site| {
        let rows = report.sites.iter().filter(|row| row.difference.at.site == site);
        // The first of the worst: what comes after it may only follow from it.
        rows.reduce(|a, b| {
            let key = |row: &Row| (row.verdict, row.difference.relative);
            if key(b).partial_cmp(&key(a)) == Some(std::cmp::Ordering::Greater) { b } else { a }
        })
    };
    Site::ALL.into_iter().filter_map(of).collect()
}

/// Everything but the table.
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    if let Some(logits) = &report.logits {
        let _ = writeln!(
            out,
            "logits: KL {:.2e} nats (at most {:.2e}), same likeliest token {:.1}%, same five \
             likeliest {:.1}%, NMSE {:.2e}",
            logits.kl_mean(),
            logits.kl_max(),
            100.0 * logits.top1,
            100.0 * logits.top5,
            logits.nmse
        );
    }
    out.push_str(&continuation(report));
    for (what, list) in [
        ("never reached here", &report.missing),
        ("not in the reference", &report.not_in_reference),
    ] {
        if !list.is_empty() {
            let _ = writeln!(out, "{what}: {}", grouped(list));
        }
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    if let Some(first) = report.first {
        let _ = writeln!(out, "first past the tolerance: {first}");
    }
    for cause in &report.causes {
        let _ = write!(out, "why: {} ({}): {}", cause.trap, cause.key, cause.says);
        if cause.max.is_finite() {
            let _ = write!(out, "; so computed, {:.1e} are left of {:.1e}", cause.max, cause.was);
        }
        let then = cause.then.map(|at| format!(", but {at} then differs"));
        let _ = writeln!(out, "{}", then.unwrap_or_default());
    }
    if report.first.is_some() && report.causes.is_empty() {
        out.push_str("why: none of the known faults explains it\n");
    }
    let _ = writeln!(out, "verdict: {}", report.verdict);
    out
}

fn continuation(report: &Report) -> String {
    let Some(ours) = &report.greedy else { return String::new() };
    let Some(parting) = &report.parting else {
        return format!("greedy: the same {} tokens\n", ours.ids.len());
    };
    let tie = if parting.near_tie { ", a near tie" } else { "" };
    format!(
        "greedy: token {} of {} is {} here (margin {:.2e}) and {} there (margin {:.2e}){tie}\n",
        parting.place + 1,
        ours.ids.len(),
        parting.ours,
        parting.our_margin,
        parting.theirs,
        parting.their_margin
    )
}

/// Places by site, layers together: `q (0-29), logits`.
pub(super) fn grouped(list: &[At]) -> String {
    let mut words = Vec::new();
    for site in Site::ALL {
        let layers: Vec<Option<usize>> =
            list.iter().filter(|at| at.site == site).map(|at| at.layer).collect();
        match (layers.first(), layers.last()) {
            (Some(Some(a)), Some(Some(b))) if a == b => words.push(format!("{a}.{}", site.name())),
            (Some(Some(a)), Some(Some(b))) if b - a + 1 == layers.len() => {
                words.push(format!("{a}-{b}.{}", site.name()));
            }
            (None, _) => {}
            _ => words.extend(list.iter().filter(|at| at.site == site).map(At::to_string)),
        }
    }
    words.join(", ")
}
