//! A document as one page that needs no other file, no network and no script.

use std::fmt::Write;

use super::plot::svg;
use super::{Cell, Document, Part, Table};
use crate::inspect::escape::escape;

const STYLE: &str = include_str!("../assets/document.css");

/// `document` as a page.
pub fn html(document: &Document) -> String {
    let title = escape(&document.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{title}</h1><p>{}</p></header>\n<nav aria-label=\"Sections\"><ol>\n",
        escape(&document.lead)
    );
    for (at, section) in document.sections.iter().enumerate() {
        let at = at + 1;
        let _ = writeln!(out, "<li><a href=\"#s{at}\">{}</a></li>", escape(&section.title));
    }
    out.push_str("</ol></nav>\n<main>\n");
    for (at, section) in document.sections.iter().enumerate() {
        let (at, title) = (at + 1, escape(&section.title));
        let _ = writeln!(out, "<section id=\"s{at}\"><h2><span>{at}</span>{title}</h2>");
        section.parts.iter().for_each(|part| one(&mut out, part));
        out.push_str("</section>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn one(out: &mut String, part: &Part) {
    let _ = match part {
        Part::Text(text) => writeln!(out, "<p>{}</p>", escape(text)),
        Part::Formula(text) => writeln!(out, "<p class=\"formula\">{}</p>", escape(text)),
        Part::Table(grid) => {
            table(out, grid);
            Ok(())
        }
        Part::Bars(named) => {
            bars(out, named);
            Ok(())
        }
        Part::Plot(plot) => writeln!(out, "<figure>{}</figure>", svg(plot)),
        Part::Picture(svg) => writeln!(out, "<figure class=\"map\">{svg}</figure>"),
        Part::Check(check) => {
            let class = if check.holds() { "check" } else { "check fails" };
            writeln!(out, "<p class=\"{class}\">{}</p>", escape(&check.line()))
        }
    };
}

fn table(out: &mut String, table: &Table) {
    let numeric: Vec<bool> = (0..table.columns.len()).map(|at| table.is_numeric(at)).collect();
    let class = |at: usize| match numeric.get(at) {
        Some(true) => " class=\"n\"",
        _ => "",
    };
    let dense = if table.dense { " class=\"dense\"" } else { "" };
    // A wide table scrolls in its box, which a keyboard reaches.
    let _ = write!(out, "<div class=\"scroll\" tabindex=\"0\"><table{dense}><thead><tr>");
    for (at, name) in table.columns.iter().enumerate() {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(at), escape(name));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        let strong = row.iter().any(|cell| cell.strong);
        out.push_str(if strong { "<tr class=\"strong\">" } else { "<tr>" });
        for (at, cell) in row.iter().enumerate() {
            let text = escape(&cell.text);
            let _ = write!(out, "<td{}{}>{text}</td>", class(at), shade(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// A cell's colour: small shares are shown too.
fn shade(cell: &Cell) -> String {
    match cell.shade > 0.0 {
        true => format!(" style=\"--w:{:.3}\"", cell.shade.clamp(0.0, 1.0).sqrt()),
        false => String::new(),
    }
}

fn bars(out: &mut String, bars: &[(String, f64)]) {
    out.push_str("<ol class=\"bars\">\n");
    for (name, share) in bars {
        let percent = share.clamp(0.0, 1.0) * 100.0;
        let _ = writeln!(
            out,
            "<li><bdi>{}</bdi><i><b style=\"width:{percent:.2}%\"></b></i><span>{:.1}%</span></li>",
            escape(name),
            share * 100.0
        );
    }
    out.push_str("</ol>\n");
}
