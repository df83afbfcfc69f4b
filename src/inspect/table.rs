//! Heads and queries as plain tables, for terminals without colour, pipes and people who listen.
//! It draws no map.

use std::fmt::Write;

use super::attention::{Attended, HeadView};
use super::terminal::padded;
use super::tokens::shortened;

/// What is read off a head.
type Measure = fn(&HeadView) -> f64;

/// Heads told of at most; a table of more is nobody's.
const MOST: usize = 48;

/// Every head's numbers, a line each; of many heads the means of each layer, and the heads that
/// stand out.
pub fn heads(seen: &Attended) -> String {
    let mut out = String::new();
    if seen.heads.len() > MOST {
        layers(&mut out, seen);
        outstanding(&mut out, seen);
        return out;
    }
    for layer in &seen.layers {
        let _ = writeln!(out, "layer {}: {}", layer.layer, layer.describe());
    }
    let sinks = seen.heads.iter().any(|head| head.statistics.sink > 0.0);
    out.push_str("  head  kv   entropy   first  previous    self  distance");
    out.push_str(if sinks { "    sink\n" } else { "\n" });
    for head in &seen.heads {
        let name = format!("{}.{}", head.layer, head.head);
        let s = &head.statistics;
        let _ = write!(
            out,
            "{name:>6} {:>3} {:>9.3} {:>7.3} {:>9.3} {:>7.3} {:>9.1}",
            head.kv_head, s.entropy, s.first, s.previous, s.own, s.distance
        );
        let _ = if sinks { writeln!(out, " {:>7.3}", s.sink) } else { writeln!(out) };
    }
    out
}

fn layers(out: &mut String, seen: &Attended) {
    out.push_str(" layer  heads  entropy   first  previous    self  distance\n");
    for layer in &seen.layers {
        let heads: Vec<&HeadView> =
            seen.heads.iter().filter(|head| head.layer == layer.layer).collect();
        let mean = |of: fn(&HeadView) -> f64| {
            heads.iter().map(|head| of(head)).sum::<f64>() / heads.len().max(1) as f64
        };
        let _ = writeln!(
            out,
            "{:>6} {:>6} {:>8.3} {:>7.3} {:>9.3} {:>7.3} {:>9.1}",
            layer.layer,
            heads.len(),
            mean(|head| head.statistics.entropy),
            mean(|head| head.statistics.first),
            mean(|head| head.statistics.previous),
            mean(|head| head.statistics.own),
            mean(|head| head.statistics.distance),
        );
    }
}

/// The heads that do most of one thing.
fn outstanding(out: &mut String, seen: &Attended) {
    let kinds: [(&str, Measure); 4] = [
        ("look at the token before", |head| head.statistics.previous),
        ("look at themselves", |head| head.statistics.own),
        ("look at the first token", |head| head.statistics.first),
        ("spread their weight", |head| head.statistics.entropy),
    ];
    for (what, of) in kinds {
        let mut heads: Vec<&HeadView> = seen.heads.iter().collect();
        heads.sort_by(|a, b| of(b).total_cmp(&of(a)));
        let named = heads.iter().take(6);
        let named = named.map(|head| format!("{}.{} {:.2}", head.layer, head.head, of(head)));
        let _ = writeln!(out, "{}: {}", what, named.collect::<Vec<_>>().join(", "));
    }
}

/// What each query of `head` looks at most.
pub fn queries(head: &HeadView, labels: &[String]) -> String {
    const WIDE: usize = 16;
    let label = |at: usize| labels.get(at).map_or_else(String::new, |text| shortened(text, WIDE));
    let mut out = format!("head {}.{}, each query's keys\n", head.layer, head.head);
    for row in &head.queries {
        let looks = row.top.iter().map(|look| {
            format!(
                "{} {}",
                padded(&format!("{} {}", look.key, label(look.key)), 20),
                percent(look.weight)
            )
        });
        let query = padded(&format!("{:>5} {}", row.query, label(row.query)), WIDE + 6);
        let _ = writeln!(out, "{query} → {}", looks.collect::<Vec<_>>().join("  "));
    }
    out
}

fn percent(weight: f32) -> String {
    format!("{:>3.0}%", weight * 100.0)
}
