//! A picture of a map with its tokens, laid out once: `svg.rs` and `png.rs` write the same scene.

use super::colour::{Ground, colour};
use super::map::Map;
use super::tokens::shortened;

/// What is seen, in pixels.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) map: &'a Map,
    pub(super) left: usize,
    pub(super) top: usize,
    /// A cell's side.
    pub(super) cell: usize,
    pub(super) texts: Vec<Text>,
    /// Samples of the colours: left, top, weight.
    pub(super) legend: Vec<(usize, usize, f32)>,
}

/// A line of text.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    /// Where it begins, or where it ends where `ends`.
    pub(super) x: usize,
    /// Its middle; for a turned one, where it begins at the bottom.
    pub(super) y: usize,
    pub(super) ends: bool,
    /// It runs upwards.
    pub(super) turned: bool,
}

/// A letter's width and a line's height.
pub(super) const LETTER: usize = 6;
pub(super) const LINE: usize = 9;
/// A sample of the legend.
pub(super) const SAMPLE: usize = 14;
const LABEL: usize = 16;
const MARGIN: usize = 14;
/// The map's side aimed at.
const SIDE: usize = 720;
const WEIGHTS: [f32; 7] = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0];

impl<'a> Scene<'a> {
    pub(super) fn new(map: &'a Map, labels: &[String], title: &str, notes: &[String]) -> Self {
        let cell = (SIDE / map.side.max(1)).clamp(1, 28);
        // Tokens beside every cell where they fit; else some positions.
        let each = cell > LINE && map.pool == 1;
        let named = |at: usize| match each {
            true => labels.get(at).map_or_else(String::new, |label| shortened(label, LABEL)),
            false => (at * map.pool).to_string(),
        };
        let step = if each { 1 } else { (map.side / 12).max(1) };
        let ticks: Vec<(usize, String)> =
            (0..map.side).step_by(step).map(|at| (at, named(at))).collect();
        let longest = ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        let room = longest * LETTER + MARGIN;
        let heading = MARGIN + (notes.len() + 1) * (LINE + 4);
        let side = cell * map.side;
        let (left, top) = (room, heading + room);
        let text = |text: &str, x, y| Text { text: text.into(), x, y, ends: false, turned: false };
        let mut texts = vec![text(title, MARGIN, MARGIN)];
        for (line, note) in notes.iter().enumerate() {
            texts.push(text(note, MARGIN, MARGIN + (line + 1) * (LINE + 4)));
        }
        for (at, label) in ticks {
            let middle = at * cell + cell / 2;
            let (row, column) = (label.clone(), label);
            texts.push(Text { text: row, x: left - 5, y: top + middle, ends: true, turned: false });
            let (x, y) = (left + middle, top - 5);
            texts.push(Text { text: column, x, y, ends: false, turned: true });
        }
        let mut legend = Vec::new();
        let below = top + side + MARGIN;
        for (at, weight) in WEIGHTS.into_iter().enumerate() {
            let x = MARGIN + at * 52;
            legend.push((x, below, weight));
            texts.push(text(&weight.to_string(), x + SAMPLE + 4, below + SAMPLE / 2));
        }
        let heading_width = texts.iter().filter(|t| !t.turned && !t.ends);
        let wide = heading_width.map(|t| t.x + t.text.chars().count() * LETTER).max().unwrap_or(0);
        Self {
            width: (left + side).max(wide) + MARGIN,
            height: below + SAMPLE + MARGIN,
            map,
            left,
            top,
            cell,
            texts,
            legend,
        }
    }

    /// The map alone, a pixel a cell, as rows of red, green and blue; the future is grey.
    pub(super) fn pixels(&self) -> Vec<u8> {
        let map = self.map;
        let cells = (0..map.side).flat_map(|row| (0..map.side).map(move |column| (row, column)));
        let pixel = |(row, column): (usize, usize)| match column <= row {
            true => colour(map.at(row, column), Ground::Paper),
            false => FUTURE,
        };
        cells.flat_map(pixel).collect()
    }
}

/// What no query sees.
pub(super) const FUTURE: [u8; 3] = [243, 243, 243];
