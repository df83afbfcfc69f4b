//! The losses of a run, drawn: as an SVG for its folder, and in characters for a terminal. What
//! they mean is not judged.

use std::fmt::Write;

use super::log::Line;

const WIDE: f64 = 720.0;
const HIGH: f64 = 320.0;
const LEFT: f64 = 48.0;
const BELOW: f64 = 34.0;
const ABOVE: f64 = 16.0;

/// Points of (step, loss): of what is learned, and of what is not.
fn points(lines: &[Line]) -> [Vec<(f64, f64)>; 2] {
    let of = |loss: fn(&Line) -> Option<f64>| {
        let point = |line: &Line| Some((line.step as f64, loss(line)?));
        lines.iter().filter_map(point).filter(|(_, loss)| loss.is_finite()).collect()
    };
    [of(|line| line.loss), of(|line| line.valid_loss)]
}

/// The least and the greatest of steps, and of losses; `None` where there is nothing to draw.
fn range(all: &[Vec<(f64, f64)>; 2]) -> Option<[(f64, f64); 2]> {
    let points = || all.iter().flatten();
    let widest = |of: fn(&(f64, f64)) -> f64| {
        points()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    points().next()?;
    Some([widest(|point| point.0), widest(|point| point.1)])
}

fn share(x: f64, (low, high): (f64, f64)) -> f64 {
    (x - low) / (high - low).max(1e-12)
}

/// Where a point stands in the picture.
fn place((step, loss): (f64, f64), steps: (f64, f64), losses: (f64, f64)) -> (f64, f64) {
    let x = LEFT + share(step, steps) * (WIDE - LEFT - 16.0);
    (x, HIGH - BELOW - share(loss, losses) * (HIGH - ABOVE - BELOW))
}

/// Lines at quarters, with their values.
fn grid(out: &mut String, steps: (f64, f64), losses: (f64, f64)) {
    for tick in 0..=4 {
        let at = |(low, high): (f64, f64)| low + (high - low) * f64::from(tick) / 4.0;
        let (step, loss) = (at(steps), at(losses));
        let (x, y) = place((step, loss), steps, losses);
        let _ = writeln!(
            out,
            "<path stroke=\"#ddd\" d=\"M{LEFT} {y:.1}H{}\"/>\
             <text x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\" dy=\".35em\">{loss:.2}</text>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{step:.0}</text>",
            WIDE - 16.0,
            LEFT - 6.0,
            HIGH - BELOW + 16.0
        );
    }
}

/// The curve as an SVG that needs no other file; empty where no loss was measured.
pub fn svg(lines: &[Line]) -> String {
    let all = points(lines);
    let Some([steps, losses]) = range(&all) else { return String::new() };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDE} {HIGH}\" width=\"{WIDE}\" \
         height=\"{HIGH}\" role=\"img\" aria-label=\"loss by step\">\n\
         <style>text{{font:11px system-ui,sans-serif;fill:#444}}path{{fill:none}}</style>\n\
         <rect width=\"{WIDE}\" height=\"{HIGH}\" fill=\"#fff\"/>\n"
    );
    grid(&mut out, steps, losses);
    let of = [("#4078c0", "training loss"), ("#d9480f", "validation loss")];
    for (row, (points, (colour, name))) in all.iter().zip(of).enumerate() {
        let Some((_, last)) = points.last() else { continue };
        let places = points.iter().map(|point| place(*point, steps, losses));
        let along: Vec<String> = places.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let y = ABOVE + 4.0 + 16.0 * row as f64;
        let _ = writeln!(
            out,
            "<path stroke=\"{colour}\" stroke-width=\"1.5\" d=\"M{}\"/>\
             <text x=\"{}\" y=\"{y}\" text-anchor=\"end\" style=\"fill:{colour}\">{name}, nats a token, \
             last {last:.3}</text>",
            along.join("L"),
            WIDE - 20.0,
        );
    }
    out + "</svg>\n"
}

/// The curve in characters: `·` what is learned, `o` what is not.
pub fn text(lines: &[Line], columns: usize, rows: usize) -> String {
    let all = points(lines);
    let (columns, rows) = (columns.max(20) - 9, rows.max(4));
    let Some([steps, losses]) = range(&all) else { return String::new() };
    let mut cells = vec![vec![' '; columns]; rows];
    for (points, mark) in all.iter().zip(['·', 'o']) {
        for (step, loss) in points {
            let column = (share(*step, steps) * (columns - 1) as f64).round() as usize;
            let row = ((1.0 - share(*loss, losses)) * (rows - 1) as f64).round() as usize;
            cells[row.min(rows - 1)][column.min(columns - 1)] = mark;
        }
    }
    let mut out = String::new();
    for (row, cells) in cells.iter().enumerate() {
        let loss = losses.1 - (losses.1 - losses.0) * row as f64 / (rows - 1) as f64;
        let line: String = cells.iter().collect();
        let _ = writeln!(out, "{loss:7.3} │{}", line.trim_end());
    }
    let (first, last) = (format!("{}", steps.0), format!("{}", steps.1));
    let gap = columns.saturating_sub(first.len() + last.len());
    let _ = writeln!(
        out,
        "        └{}\n         {first}{}{last}",
        "─".repeat(columns),
        " ".repeat(gap)
    );
    out
}

#[cfg(test)]
mod tests;
