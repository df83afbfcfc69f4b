//! Maps made small: weights as whole numbers of 8 or 16 bits, deflated, as base64 for a page.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::map::Map;
use crate::error::{Error, Result};

/// Weights kept exact to 0.00002 up to so many of them in all; beyond, to 0.004.
const FINE: usize = 4 << 20;

/// How weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// A byte each.
    Coarse,
    /// Two bytes each.
    Fine,
}

impl Depth {
    /// For so many heads over so many tokens.
    pub(super) fn fitting(heads: usize, tokens: usize) -> Self {
        if heads * tokens * (tokens + 1) / 2 <= FINE { Self::Fine } else { Self::Coarse }
    }

    pub(super) fn bits(self) -> u8 {
        match self {
            Self::Coarse => 8,
            Self::Fine => 16,
        }
    }
}

/// The lower triangle of an exact map, row after row. What is kept is the square root, so that
/// small weights are told apart; of two bytes all the high ones come first.
pub(super) fn triangle(map: &Map, depth: Depth) -> Vec<u8> {
    let rows = (0..map.side).map(|row| &map.values[row * map.side..=row * map.side + row]);
    let level = |most: f32| move |weight: &f32| (weight.clamp(0.0, 1.0).sqrt() * most).round();
    match depth {
        Depth::Coarse => {
            rows.flatten().map(level(255.0)).map(|level| coarse(level as u8)).collect()
        }
        Depth::Fine => {
            let levels: Vec<u16> =
                rows.flatten().map(level(65535.0)).map(|level| level as u16).collect();
            let high = levels.iter().map(|level| (level >> 8) as u8);
            high.chain(levels.iter().map(|level| *level as u8)).collect()
        }
    }
}

/// Near 0 a square root tells weights apart that differ by less than 0.004, which is all that a
/// byte can promise near 1. Fewer levels there deflate to far less.
fn coarse(level: u8) -> u8 {
    match level {
        0..32 => (level + 4) / 8 * 8,
        32..64 => (level + 2) / 4 * 4,
        level => level,
    }
}

/// A small square, a byte a cell, its future empty.
pub(super) fn thumbnail(map: &Map, side: usize) -> Vec<u8> {
    let small = map.fitted(side);
    let mut cells = vec![0u8; side * side];
    for row in 0..side {
        for column in 0..side {
            // A map smaller than its thumbnail is drawn larger.
            let at = |n: usize| n * small.side / side;
            let weight = small.at(at(row), at(column)).clamp(0.0, 1.0);
            cells[row * side + column] = (weight.sqrt() * 255.0).round() as u8;
        }
    }
    cells
}

/// A blob for [`super::viewer`]'s page: deflated, or as it is where that is no smaller.
///
/// # Errors
/// None but memory's.
pub(super) fn blob(id: &str, bytes: &[u8]) -> Result<String> {
    let fail = |error: std::io::Error| Error::request("html", error);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).map_err(fail)?;
    let deflated = encoder.finish().map_err(fail)?;
    let (raw, kept) = match deflated.len() < bytes.len() {
        true => ("", deflated.as_slice()),
        false => (" data-raw", bytes),
    };
    let text = STANDARD.encode(kept);
    Ok(format!("<script type=\"text/plain\" id=\"{id}\"{raw}>{text}</script>\n"))
}
