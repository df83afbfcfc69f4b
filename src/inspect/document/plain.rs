//! A document for a terminal or a pipe: no colours, no pictures.

use std::fmt::Write;

use super::{Document, Part, Plot, Table};
use crate::inspect::terminal::{padded, width};

/// Columns of a line.
const WIDE: usize = 96;

/// Columns of a full bar.
const BAR: usize = 40;

/// `document` as lines of text.
pub fn plain(document: &Document) -> String {
    let mut out = format!("{}\n{}\n", document.title, "═".repeat(width(&document.title)));
    wrap(&mut out, &document.lead);
    for (at, section) in document.sections.iter().enumerate() {
        let title = format!("{}. {}", at + 1, section.title);
        let _ = write!(out, "\n{title}\n{}\n", "─".repeat(width(&title)));
        for part in &section.parts {
            match part {
                Part::Text(text) => wrap(&mut out, text),
                Part::Formula(text) => {
                    let _ = writeln!(out, "    {text}");
                }
                Part::Table(grid) => table(&mut out, grid),
                Part::Bars(named) => bars(&mut out, named),
                Part::Plot(lines) => plot(&mut out, lines),
                Part::Check(check) => wrap(&mut out, &check.line()),
                Part::Picture(_) => {}
            }
        }
    }
    out
}

fn wrap(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let wide = width(word);
        if column > 0 && column + 1 + wide > WIDE {
            out.push('\n');
            column = 0;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += wide;
    }
    out.push('\n');
}

/// Each column as wide as its widest cell.
fn table(out: &mut String, table: &Table) {
    let wide = |column: usize| {
        let cells = table.rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|cell| width(&cell.text));
        cells.chain([width(&table.columns[column])]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(wide).collect();
    let numeric: Vec<bool> = (0..widths.len()).map(|column| table.is_numeric(column)).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>, mark: &str| {
        let cells = cells.enumerate().map(|(at, text)| match numeric.get(at) {
            Some(true) => format!("{}{text}", " ".repeat(widths[at].saturating_sub(width(text)))),
            _ => padded(text, widths.get(at).copied().unwrap_or(0)),
        });
        let line = format!("  {}{mark}", cells.collect::<Vec<_>>().join("  "));
        let _ = writeln!(out, "{}", line.trim_end());
    };
    line(&mut table.columns.iter().map(String::as_str), "");
    for row in &table.rows {
        let mark = if row.iter().any(|cell| cell.strong) { " ←" } else { "" };
        line(&mut row.iter().map(|cell| cell.text.as_str()), mark);
    }
}

fn bars(out: &mut String, bars: &[(String, f64)]) {
    let names = bars.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    for (name, share) in bars {
        let bar = "█".repeat((share * BAR as f64).round().clamp(0.0, BAR as f64) as usize);
        let _ = writeln!(out, "  {} {:>6.1}% {bar}", padded(name, names), share * 100.0);
    }
}

/// A line a point, with bars from the least to the most of all lines.
fn plot(out: &mut String, plot: &Plot) {
    let ((_, _), (low, high)) = plot.range();
    for (name, points) in &plot.lines {
        let _ = writeln!(out, "  {name}: {}, {}", plot.across, plot.upwards);
        for (x, y) in points {
            let share = (y - low) / (high - low).max(1e-12);
            let bar = "█".repeat((1.0 + share * (BAR - 1) as f64).round() as usize);
            let _ = writeln!(out, "  {x:>6} {y:>9.4} {bar}");
        }
    }
}

impl Table {
    /// Are a column's cells numbers, or words for there being none?
    pub(super) fn is_numeric(&self, column: usize) -> bool {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let mut texts = cells.map(|cell| cell.text.as_str()).filter(|text| !text.is_empty());
        let number = |text: &str| {
            let first = text.trim_start_matches(['+', '-', '−']).chars().next();
            first.is_some_and(|c| c.is_ascii_digit()) && !text.contains('(')
        };
        texts.clone().next().is_some() && texts.all(number)
    }
}
