//! A map as PNG. How it is laid out is `scene.rs`'s affair.

use super::colour::{Ground, Rgb, colour};
use super::font::{HEIGHT, WIDTH, dots};
use super::map::Map;
use super::scene::{LETTER, SAMPLE, Scene, Text};
use crate::error::{Error, Result};

/// Pixels along a dot of a letter, so that it is read on fine screens too.
const DOT: usize = 2;

/// `map` with its tokens, as the bytes of a PNG.
///
/// # Errors
/// A picture larger than PNG can be.
pub fn png(map: &Map, labels: &[String], title: &str, notes: &[String]) -> Result<Vec<u8>> {
    let scene = Scene::new(map, labels, title, notes);
    let (width, height) = (scene.width * DOT, scene.height * DOT);
    let mut canvas = Canvas { width, height, pixels: vec![255; width * height * 3] };
    let pixels = scene.pixels();
    for (at, pixel) in pixels.chunks_exact(3).enumerate() {
        let (row, column) = (at / map.side, at % map.side);
        let (x, y) = (scene.left + column * scene.cell, scene.top + row * scene.cell);
        canvas.fill(x, y, scene.cell, [pixel[0], pixel[1], pixel[2]]);
    }
    for (x, y, weight) in &scene.legend {
        canvas.fill(*x, *y, SAMPLE, [200, 200, 200]);
        canvas.fill(x + 1, y + 1, SAMPLE - 2, colour(*weight, Ground::Paper));
    }
    scene.texts.iter().for_each(|text| canvas.write(text));
    encode(&canvas.pixels, width, height)
}

/// Rows of red, green and blue as the bytes of a PNG.
pub(super) fn encode(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>> {
    let fail = |problem: String| Error::request("png", problem);
    let side = |n: usize| u32::try_from(n).map_err(|_| fail(format!("{n} pixels are too many")));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side(width)?, side(height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.map_err(|error| fail(error.to_string()))?;
    Ok(bytes)
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// Inks a square of the scene, `side` of its units along.
    fn fill(&mut self, x: usize, y: usize, side: usize, colour: Rgb) {
        for y in (y * DOT..(y + side) * DOT).take_while(|y| *y < self.height) {
            for x in (x * DOT..(x + side) * DOT).take_while(|x| *x < self.width) {
                self.pixels[(y * self.width + x) * 3..][..3].copy_from_slice(&colour);
            }
        }
    }

    fn write(&mut self, text: &Text) {
        let length = text.text.chars().count() * LETTER;
        let start = if text.ends { text.x.saturating_sub(length) } else { text.x };
        for (at, c) in text.text.chars().enumerate() {
            for (across, dots) in dots(c).iter().enumerate() {
                for column in (0..WIDTH).filter(|column| dots[*column]) {
                    let along = at * LETTER + column;
                    let (x, y) = match text.turned {
                        true => {
                            ((start + across).checked_sub(HEIGHT / 2), text.y.checked_sub(along))
                        }
                        false => (Some(start + along), (text.y + across).checked_sub(HEIGHT / 2)),
                    };
                    if let (Some(x), Some(y)) = (x, y) {
                        self.fill(x, y, 1, [40, 44, 52]);
                    }
                }
            }
        }
    }
}
