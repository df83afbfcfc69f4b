//! A map as SVG, its tokens as text in full. How it is laid out is `scene.rs`'s affair.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::colour::{Ground, colour};
use super::escape::escape;
use super::map::Map;
use super::png::encode;
use super::scene::{SAMPLE, Scene, Text};
use crate::error::Result;

/// `map` with its tokens, as an SVG that needs no other file.
///
/// # Errors
/// As [`super::png::png`].
pub fn svg(map: &Map, labels: &[String], title: &str, notes: &[String]) -> Result<String> {
    let scene = Scene::new(map, labels, title, notes);
    let (width, height) = (scene.width, scene.height);
    let image = STANDARD.encode(encode(&scene.pixels(), map.side, map.side)?);
    let side = map.side * scene.cell;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">\n\
         <style>text{{font:9px ui-monospace,Menlo,Consolas,monospace;fill:#282c34;\
         dominant-baseline:central;white-space:pre;unicode-bidi:isolate}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <image x=\"{}\" y=\"{}\" width=\"{side}\" height=\"{side}\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{image}\"/>\n",
        escape(title),
        scene.left,
        scene.top,
    );
    for (x, y, weight) in &scene.legend {
        let [r, g, b] = colour(*weight, Ground::Paper);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{SAMPLE}\" height=\"{SAMPLE}\" \
             fill=\"rgb({r},{g},{b})\" stroke=\"#c8c8c8\"/>"
        );
    }
    scene.texts.iter().for_each(|text| line(&mut out, text));
    out.push_str("</svg>\n");
    Ok(out)
}

fn line(out: &mut String, text: &Text) {
    let Text { x, y, .. } = text;
    let anchor = if text.ends { " text-anchor=\"end\"" } else { "" };
    let turn =
        if text.turned { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\"{anchor}{turn}>{}</text>", escape(&text.text));
}
