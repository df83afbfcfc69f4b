//! A report as one HTML file that needs nothing else: the summary, a chart of the error by depth,
//! the table. It decides nothing.

use std::fmt::Write;

use super::judge::Verdict;
use super::report::{Report, Row};
use super::table::summary;
use crate::nn::Site;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#222;background:#fff}h1{font-size:1.4rem}pre{background:#f5f5f5;padding:1rem;\
white-space:pre-wrap;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%;\
font-variant-numeric:tabular-nums}td,th{text-align:right;padding:.15rem .6rem;border-bottom:1px \
solid #ddd}td:first-child,th:first-child,td:last-child,th:last-child{text-align:left}\
.equal{color:#1a7f37}.rounding{color:#9a6700}.different{color:#cf222e;font-weight:600}\
svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}";

/// Sites that the chart has a line for, and their colours.
const LINES: [(Site, &str); 5] = [
    (Site::QPos, "#8250df"),
    (Site::Scores, "#bf8700"),
    (Site::AttnOut, "#0969da"),
    (Site::MlpOut, "#cf222e"),
    (Site::ResidPost, "#24292f"),
];

/// The report as a page.
pub fn html(report: &Report) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let model = escape(&report.model);
    let _ = write!(
        out,
        "<title>{model}: {verdict}</title><style>{STYLE}</style></head><body>\n\
         <h1>{model} <span class=\"{verdict}\">{verdict}</span></h1>\n<p>{tokens} tokens in {dtype}, \
         against a reference of {about}.</p>\n<pre>{summary}</pre>\n",
        verdict = report.verdict,
        tokens = report.tokens,
        dtype = escape(&report.dtype),
        about = escape(&about(report)),
        summary = escape(&summary(report)),
    );
    chart(&mut out, report);
    table(&mut out, &report.sites);
    out.push_str("</body></html>\n");
    out
}

fn about(report: &Report) -> String {
    let pairs = report.reference.iter().filter(|(_, value)| !value.is_empty());
    let words: Vec<String> = pairs.map(|(key, value)| format!("{key} {value}")).collect();
    words.join(", ")
}

fn table(out: &mut String, rows: &[Row]) {
    out.push_str(
        "<table><thead><tr><th>site</th><th>max diff</th><th>mean diff</th><th>relative</th>\
         <th>cosine</th><th>largest value</th><th>verdict</th></tr></thead><tbody>\n",
    );
    for row in rows {
        let d = &row.difference;
        let odd = match (&d.shapes, d.not_finite) {
            (Some((ours, theirs)), _) => format!(": shape {ours:?}, the reference's {theirs:?}"),
            (None, Some(what)) => format!(": {what}"),
            (None, None) => String::new(),
        };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{:.2e}</td><td>{:.2e}</td><td>{:.2e}</td><td>{:.7}</td>\
             <td>{:.3}</td><td class=\"{verdict}\">{verdict}{odd}</td></tr>",
            d.at,
            d.max,
            d.mean,
            d.relative,
            d.cosine,
            d.scale,
            verdict = row.verdict,
        );
    }
    out.push_str("</tbody></table>\n");
}

/// The relative error of some sites over the layers, on a logarithmic scale.
fn chart(out: &mut String, report: &Report) {
    let layers = report.sites.iter().filter_map(|row| row.difference.at.layer).max();
    let Some(last) = layers else { return };
    let frame = Frame { last: last.max(1) as f64 };
    out.push_str("<h2>Relative error by depth</h2>\n<svg viewBox=\"0 0 800 300\" role=\"img\">\n");
    for decade in (Frame::LOW as i32..=Frame::HIGH as i32).step_by(2) {
        let y = frame.y(10f64.powi(decade));
        let _ = writeln!(
            out,
            "<line x1=\"60\" x2=\"680\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"8\" y=\"{:.1}\">1e{decade}</text>",
            y + 4.0
        );
    }
    for layer in (0..=last).step_by((last / 10).max(1)) {
        let x = frame.x(layer);
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"292\" text-anchor=\"middle\">{layer}</text>");
    }
    for (number, (site, colour)) in LINES.iter().enumerate() {
        line(out, report, *site, colour, 30 + 18 * number, &frame);
    }
    out.push_str("</svg>\n");
}

fn line(out: &mut String, report: &Report, site: Site, colour: &str, legend: usize, frame: &Frame) {
    let rows = report.sites.iter().filter(|row| row.difference.at.site == site);
    let points: Vec<(f64, f64, Verdict)> = rows
        .filter_map(|row| {
            let d = &row.difference;
            Some((frame.x(d.at.layer?), frame.y(f64::from(d.relative)), row.verdict))
        })
        .collect();
    if points.is_empty() {
        return;
    }
    let path: Vec<String> = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
        path.join(" ")
    );
    for (x, y, verdict) in points {
        let radius = if verdict == Verdict::Different { 4 } else { 2 };
        let _ =
            writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>");
    }
    let name = site.name();
    let _ = writeln!(out, "<text x=\"700\" y=\"{legend}\" style=\"fill:{colour}\">{name}</text>");
}

/// Where things are in the chart.
struct Frame {
    last: f64,
}

impl Frame {
    /// Powers of ten at the chart's lower and upper end.
    const LOW: f64 = -8.0;
    const HIGH: f64 = 2.0;

    fn x(&self, layer: usize) -> f64 {
        70.0 + 600.0 * layer as f64 / self.last
    }

    fn y(&self, error: f64) -> f64 {
        let power = error.max(1e-300).log10().clamp(Self::LOW, Self::HIGH);
        270.0 - 250.0 * (power - Self::LOW) / (Self::HIGH - Self::LOW)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
