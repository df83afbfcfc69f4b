//! The weighted sum of values: what a head brings along.

use super::Limits;
use super::numbers::{apart, most_of, size, weighted};
use super::seen::Seen;
use crate::inspect::document::{Cell, Part, Section, Table};

/// Keys that have a row of their own, and numbers of each vector.
const KEYS: usize = 6;
const NUMBERS: usize = 6;

/// Values times weights, summed, and that the sum is the run's.
pub(super) fn values(seen: &Seen<'_>, limits: &Limits) -> Section {
    let mut section = Section::new("The answer: a weighted sum of values");
    section.say(format!(
        "{} takes from each token's value as much as its weight says, and adds it up. Below, each value is \
         multiplied by its weight already; of {} numbers the first {} are shown.",
        seen.label(seen.token),
        seen.attention.head_dim,
        NUMBERS.min(seen.attention.head_dim)
    ));
    section.parts.push(Part::Formula("z = Σ weight(key) · value(key)".into()));
    section.parts.push(Part::Table(table(seen)));
    let every = (0..seen.len()).map(|query| {
        let row: Vec<f64> = seen.pattern[query].iter().map(|x| f64::from(*x)).collect();
        apart(&weighted(&row, &seen.v), &seen.z[query])
    });
    let off = most_of(every);
    let size = seen.v.iter().map(|v| size(v)).fold(1e-6, f64::max);
    section.check("the weighted sum is the run's z, for every token", off / size, limits.kept);
    section
}

/// A row a key, the others together, the sum, and what the run has.
fn table(seen: &Seen<'_>) -> Table {
    let weights = seen.row();
    let shown = NUMBERS.min(seen.attention.head_dim);
    let names: Vec<String> = (0..shown).map(|at| format!("z{at}")).collect();
    let names = ["key", "weight"].into_iter().chain(names.iter().map(String::as_str));
    let mut table = Table::new(&names.collect::<Vec<_>>());
    let row = |name: String, weight: Option<f64>, numbers: &[f64], strong: bool| {
        let mut row = vec![Cell::new(name).strong(strong)];
        row.push(weight.map_or_else(Cell::default, |w| Cell::number(w, 4).shaded(w)));
        row.extend(numbers.iter().take(shown).map(|x| Cell::number(*x, 4)));
        row
    };
    let keys = seen.keys(KEYS);
    let mut others = (0f64, vec![0f64; seen.attention.head_dim]);
    for (key, (weight, value)) in weights.iter().zip(&seen.v).enumerate() {
        let part: Vec<f64> = value.iter().map(|x| weight * f64::from(*x)).collect();
        if keys.contains(&key) {
            table.rows.push(row(format!("{key} {}", seen.bare(key)), Some(*weight), &part, false));
        } else {
            others.0 += weight;
            others.1.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
    }
    if weights.len() > keys.len() {
        let name = format!("{} others", weights.len() - keys.len());
        table.rows.push(row(name, Some(others.0), &others.1, false));
    }
    let sum = weighted(&weights, &seen.v);
    table.rows.push(row("sum".into(), Some(weights.iter().sum()), &sum, false));
    let run: Vec<f64> = seen.z[seen.token].iter().map(|x| f64::from(*x)).collect();
    table.rows.push(row("z in the run".into(), None, &run, true));
    table
}
