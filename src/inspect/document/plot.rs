//! Lines over common axes, as SVG.

use std::fmt::Write;

use super::Plot;
use crate::inspect::escape::escape;

const WIDE: f64 = 640.0;
const HIGH: f64 = 300.0;
const LEFT: f64 = 56.0;
const BELOW: f64 = 44.0;
const ABOVE: f64 = 14.0;

type Range = (f64, f64);

impl Plot {
    /// The least and the most across, and upwards.
    pub(super) fn range(&self) -> (Range, Range) {
        let points = self.lines.iter().flat_map(|(_, points)| points);
        let start = ((f64::INFINITY, f64::NEG_INFINITY), (f64::INFINITY, f64::NEG_INFINITY));
        points.fold(start, |(across, up), (x, y)| {
            ((across.0.min(*x), across.1.max(*x)), (up.0.min(*y), up.1.max(*y)))
        })
    }
}

/// `plot`, in colours that a style sheet names `--l0`, `--l1` and so on.
pub(super) fn svg(plot: &Plot) -> String {
    let ((left, right), (low, high)) = plot.range();
    let place = |x: f64, y: f64| {
        let across = (x - left) / (right - left).max(1e-12) * (WIDE - LEFT - 16.0);
        let up = (y - low) / (high - low).max(1e-12) * (HIGH - ABOVE - BELOW);
        (LEFT + across, HIGH - BELOW - up)
    };
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDE} {HIGH}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&format!("{} against {}", plot.upwards, plot.across))
    );
    for tick in 0..=4 {
        let (x, y) = place(
            left + (right - left) * f64::from(tick) / 4.0,
            low + (high - low) * f64::from(tick) / 4.0,
        );
        let (across, up) = (
            left + (right - left) * f64::from(tick) / 4.0,
            low + (high - low) * f64::from(tick) / 4.0,
        );
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{WIDE}\"/>\
             <text x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\" dy=\".35em\">{up:.2}</text>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{across:.0}</text>",
            LEFT - 6.0,
            HIGH - BELOW + 16.0
        );
    }
    for (at, (name, points)) in plot.lines.iter().enumerate() {
        let places: Vec<(f64, f64)> = points.iter().map(|(x, y)| place(*x, *y)).collect();
        let along: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = writeln!(
            out,
            "<path class=\"line\" style=\"stroke:var(--l{at})\" d=\"M{}\"/>",
            along.join("L")
        );
        for ((x, y), (across, up)) in places.iter().zip(points) {
            let says =
                escape(&format!("{name}: {across} {}, {} {up:.4}", plot.across, plot.upwards));
            let _ = writeln!(
                out,
                "<circle style=\"fill:var(--l{at})\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"><title>{says}</title></circle>"
            );
        }
        let (x, y) = (LEFT + 14.0, ABOVE + 10.0 + 17.0 * at as f64);
        let _ = writeln!(
            out,
            "<circle style=\"fill:var(--l{at})\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/><text x=\"{}\" y=\"{y}\" dy=\".35em\">{}</text>",
            x + 9.0,
            escape(name)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text></svg>",
        WIDE - 16.0,
        HIGH - 8.0,
        escape(&format!("{} → ({} ↑)", plot.across, plot.upwards))
    );
    out
}
