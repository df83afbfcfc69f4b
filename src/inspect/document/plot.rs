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

/// Where points stand in the picture.
struct Frame {
    across: Range,
    up: Range,
}

impl Frame {
    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |x: f64, (low, high): Range| (x - low) / (high - low).max(1e-12);
        let across = share(x, self.across) * (WIDE - LEFT - 16.0);
        (LEFT + across, HIGH - BELOW - share(y, self.up) * (HIGH - ABOVE - BELOW))
    }

    /// Lines at quarters, with their values.
    fn grid(&self, out: &mut String) {
        for tick in 0..=4 {
            let at = |(low, high): Range| low + (high - low) * f64::from(tick) / 4.0;
            let (across, up) = (at(self.across), at(self.up));
            let (x, y) = self.place(across, up);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{WIDE}\"/>\
                 <text x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\" dy=\".35em\">{up:.2}</text>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{across:.0}</text>",
                LEFT - 6.0,
                HIGH - BELOW + 16.0
            );
        }
    }
}

/// `plot`, in colours that a style sheet names `--l0`, `--l1` and so on.
pub(super) fn svg(plot: &Plot) -> String {
    let (across, up) = plot.range();
    let frame = Frame { across, up };
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDE} {HIGH}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&format!("{} against {}", plot.upwards, plot.across))
    );
    frame.grid(&mut out);
    for at in 0..plot.lines.len() {
        line(&mut out, plot, &frame, at);
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

/// A line, its points, each of which says what it is, and its name.
fn line(out: &mut String, plot: &Plot, frame: &Frame, at: usize) {
    let (name, points) = &plot.lines[at];
    let places: Vec<(f64, f64)> = points.iter().map(|(x, y)| frame.place(*x, *y)).collect();
    let along: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let along = along.join("L");
    let _ = writeln!(out, "<path class=\"line\" style=\"stroke:var(--l{at})\" d=\"M{along}\"/>");
    for ((x, y), (across, up)) in places.iter().zip(points) {
        let says = format!("{name}: {across} {}, {} {up:.4}", plot.across, plot.upwards);
        let _ = writeln!(
            out,
            "<circle style=\"fill:var(--l{at})\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\">\
             <title>{}</title></circle>",
            escape(&says)
        );
    }
    let (x, y) = (LEFT + 14.0, ABOVE + 10.0 + 17.0 * at as f64);
    let _ = writeln!(
        out,
        "<circle style=\"fill:var(--l{at})\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>\
         <text x=\"{}\" y=\"{y}\" dy=\".35em\">{}</text>",
        x + 9.0,
        escape(name)
    );
}
