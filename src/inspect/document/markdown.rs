//! A document as Markdown (CommonMark with GitHub's tables), in which no token is taken for markup.

use std::fmt::Write;

use super::{Cell, Document, Part, Plot, Table};

/// `document` as Markdown.
pub fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n\n{}\n", escaped(&document.title), escaped(&document.lead));
    for (at, section) in document.sections.iter().enumerate() {
        let _ = write!(out, "\n## {}. {}\n", at + 1, escaped(&section.title));
        for part in &section.parts {
            out.push('\n');
            match part {
                Part::Text(text) => {
                    let _ = writeln!(out, "{}", escaped(text));
                }
                Part::Formula(text) => {
                    let _ = writeln!(out, "    {text}");
                }
                Part::Table(grid) => table(&mut out, grid),
                Part::Bars(bars) => table(&mut out, &as_table(bars)),
                Part::Plot(lines) => plot(&mut out, lines),
                Part::Check(check) => {
                    let _ = writeln!(out, "- {}", escaped(&check.line()));
                }
                Part::Picture(_) => {}
            }
        }
    }
    out
}

/// Text in which nothing is markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn table(out: &mut String, table: &Table) {
    let columns: Vec<String> = table.columns.iter().map(|name| escaped(name)).collect();
    let lines = (0..columns.len()).map(|at| if table.is_numeric(at) { "---:" } else { "---" });
    let lines: Vec<&str> = lines.collect();
    let _ = writeln!(out, "| {} |\n| {} |", columns.join(" | "), lines.join(" | "));
    for row in &table.rows {
        let cells = row.iter().map(|cell| match cell.strong && !cell.text.is_empty() {
            true => format!("**{}**", escaped(&cell.text)),
            false => escaped(&cell.text),
        });
        let _ = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

fn as_table(bars: &[(String, f64)]) -> Table {
    let mut table = Table::new(&["", "share"]);
    for (name, share) in bars {
        table.rows.push(vec![Cell::new(name), Cell::new(format!("{:.1}%", share * 100.0))]);
    }
    table
}

fn plot(out: &mut String, plot: &Plot) {
    let names = plot.lines.iter().map(|(name, _)| name.as_str());
    let columns: Vec<&str> = std::iter::once(plot.across.as_str()).chain(names).collect();
    let mut grid = Table::new(&columns);
    let first = plot.lines.first().map(|(_, points)| points.as_slice()).unwrap_or_default();
    for (at, (x, _)) in first.iter().enumerate() {
        let values = plot.lines.iter().map(|(_, points)| match points.get(at) {
            Some((_, y)) => Cell::number(*y, 4),
            None => Cell::default(),
        });
        grid.rows.push(std::iter::once(Cell::new(x.to_string())).chain(values).collect());
    }
    let _ = writeln!(out, "{}:\n", escaped(&plot.upwards));
    table(out, &grid);
}
