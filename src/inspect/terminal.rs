//! A map in a terminal: two cells a character, as half blocks in 24-bit colours. It writes a text
//! and prints nothing.

use std::fmt::Write;

use super::colour::{Ground, Rgb, colour};
use super::map::Map;
use super::tokens::shortened;

/// Characters of a token beside its row.
const LABEL: usize = 14;

/// What ends a line's colours.
const RESET: &str = "\x1b[0m";

/// Room for a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub lines: usize,
}

impl Room {
    /// Cells along a map's side that fit.
    pub fn cells(&self) -> usize {
        let across = self.columns.saturating_sub(LABEL + 1);
        across.min(2 * self.lines.saturating_sub(3)).max(2)
    }
}

/// `map` as lines of half blocks, queries downwards and keys to the right. Where there is room a
/// query has a line of its own, with its token; else a line is two of them, with the first one's
/// position.
pub fn heat(map: &Map, labels: &[String], room: Room) -> String {
    let map = map.fitted(room.cells());
    let zoom = if map.pool == 1 && 2 * map.side <= room.cells() { 2 } else { 1 };
    let side = map.side * zoom;
    let mut out = String::new();
    for upper in (0..side).step_by(2) {
        let query = upper / zoom * map.pool;
        let label = match (zoom, labels.get(query)) {
            (2, Some(label)) => shortened(label, LABEL),
            _ => query.to_string(),
        };
        let _ = write!(out, "{}{label} ", " ".repeat(LABEL.saturating_sub(width(&label))));
        for column in 0..side {
            let at = |row: usize| {
                let (query, key) = (row / zoom, column / zoom);
                (row < side && key <= query).then(|| colour(map.at(query, key), Ground::Night))
            };
            half(&mut out, at(upper), at(upper + 1));
        }
        out.push_str(RESET);
        out.push('\n');
    }
    out.push_str(&legend());
    out
}

/// A character of two cells, above and below; nothing where the future is.
fn half(out: &mut String, upper: Option<Rgb>, lower: Option<Rgb>) {
    let _ = match (upper, lower) {
        (None, None) => write!(out, "{RESET} "),
        (Some([r, g, b]), None) => write!(out, "{RESET}\x1b[38;2;{r};{g};{b}m▀"),
        (None, Some([r, g, b])) => write!(out, "{RESET}\x1b[38;2;{r};{g};{b}m▄"),
        (Some([r, g, b]), Some([below_r, below_g, below_b])) => {
            write!(out, "\x1b[38;2;{r};{g};{b};48;2;{below_r};{below_g};{below_b}m▀")
        }
    };
}

/// The colours of some weights.
fn legend() -> String {
    let mut out = " ".repeat(LABEL + 1);
    for weight in [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0] {
        let [r, g, b] = colour(weight, Ground::Night);
        let _ = write!(out, "\x1b[48;2;{r};{g};{b}m  {RESET} {weight} ");
    }
    out.push('\n');
    out
}

/// Columns that a terminal gives a text, near enough: wide characters take two.
pub fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
            | '\u{1f300}'..='\u{1faff}')
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// `text` filled up with spaces to so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}
