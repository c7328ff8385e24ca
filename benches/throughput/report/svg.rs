//! The rates as an SVG bar chart for the README. It is a dozen rectangles, so it needs no library.

use std::fmt::Write as _;

use super::lines::LINES;
use super::markdown::grouped;
use crate::figures::{Figures, Spread};

/// The figures that are drawn, in this order, and whether each is Tenure.
const BARS: [(&str, bool); 7] = [
    ("in_order", false),
    ("at_once", false),
    ("bare_batch", false),
    ("relay", true),
    ("tenure", true),
    ("embedded", true),
    ("publish", false),
];

const WIDTH: f64 = 800.0;
/// The left end of the bars, with room for the longest name in a wide font, and the length of the longest.
const LEFT: f64 = 320.0;
const LONGEST: f64 = 360.0;
const TOP: f64 = 64.0;
const ROW: f64 = 34.0;
const BAR: f64 = 20.0;

/// A chart for light and dark backgrounds.
pub fn bars(figures: &Figures, machine: &str) -> String {
    let bars: Vec<(&str, bool, Spread)> = BARS
        .iter()
        .filter_map(|(key, ours)| {
            let line = LINES.iter().find(|line| line.key == *key)?;
            Some((line.what, *ours, figures.get(key)?))
        })
        .collect();
    let most = bars.iter().map(|(.., spread)| spread.most).fold(1.0, f64::max);
    let height = TOP + ROW * bars.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"Events per second\">\n\
         <style>\n\
         text {{ font: 13px system-ui, sans-serif; fill: #1f2328 }}\n\
         .title {{ font-size: 16px; font-weight: 600 }}\n\
         .small {{ font-size: 11px; fill: #59636e }}\n\
         .ours {{ fill: #0969da }}\n\
         .other {{ fill: #9aa4af }}\n\
         .range {{ stroke: #1f2328; stroke-width: 1.5 }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         text {{ fill: #f0f6fc }} .small {{ fill: #9198a1 }} .ours {{ fill: #4493f8 }} .other {{ fill: #656c76 }}\n\
         .range {{ stroke: #f0f6fc }}\n\
         }}\n\
         </style>\n\
         <text class=\"title\" x=\"16\" y=\"28\">Events per second, committed</text>\n\
         <text class=\"small\" x=\"16\" y=\"46\">median of all rounds; the line spans the slowest and the fastest round</text>\n"
    );
    for (row, (what, ours, spread)) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let at = |value: f64| LEFT + LONGEST * value / most;
        let class = if *ours { "ours" } else { "other" };
        let (base, middle) = (y + BAR * 0.72, y + BAR / 2.0);
        let end = LEFT - 10.0;
        let _ = writeln!(
            svg,
            "<text x=\"{end}\" y=\"{base:.1}\" text-anchor=\"end\">{what}</text>\n\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
             <line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\n\
             <text x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            (at(spread.median) - LEFT).max(1.0),
            at(spread.least),
            at(spread.most),
            at(spread.most) + 8.0,
            grouped(spread.median),
        );
    }
    let foot = height - 16.0;
    let _ = writeln!(
        svg,
        "<text class=\"small\" x=\"16\" y=\"{foot}\">{}</text>",
        escaped(machine)
    );
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
