//! Charts as SVG. Plotters draws them with colours that stand for classes, and the classes are put in afterwards, so that the
//! style sheet colours one picture for light and dark. See `docs/decisions/`.

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The number of classes for data, `f1` to `f7` and `k1` to `k7`.
const HUES: u8 = 7;
const TEXT: RGBColor = RGBColor(0, 0, 250);
const GRID: RGBColor = RGBColor(0, 0, 251);
const AXIS: RGBColor = RGBColor(0, 0, 252);

/// The colour that stands for a class.
fn hue(number: u8) -> RGBColor {
    RGBColor(1, 0, number)
}

/// A series of bars.
pub struct Series<'a> {
    pub name: &'a str,
    /// The number of its class, 1 to 7.
    pub hue: u8,
    pub values: Vec<u64>,
}

/// Bars over steps of time, stacked.
pub struct Bars<'a> {
    /// What the chart shows, in a sentence, for those who do not see it.
    pub description: &'a str,
    /// One for each step; only some of them are shown.
    pub labels: Vec<String>,
    pub series: Vec<Series<'a>>,
    /// Height in units of which the width has 1 000.
    pub height: u32,
}

/// Draws bars with an axis, a legend, and the numbers in a table.
pub fn bars(bars: &Bars<'_>) -> Markup {
    let shown: Vec<&Series> = bars
        .series
        .iter()
        .filter(|series| series.values.iter().any(|value| *value > 0))
        .collect();
    html! {
        figure.chart {
            div.scroll tabindex="0" role="region" aria-label={ "Chart: " (bars.description) } { (labelled(&draw(bars, 1_000), bars.description)) }
            @if bars.series.len() > 1 && !shown.is_empty() {
                ul.legend {
                    @for series in &shown {
                        li { svg viewBox="0 0 10 10" aria-hidden="true" { rect class={ "f" (series.hue) } width="10" height="10" rx="2" {} } (series.name) }
                    }
                }
            }
            (numbers(bars, &shown))
        }
    }
}

/// The same numbers as a table.
fn numbers(bars: &Bars<'_>, shown: &[&Series]) -> Markup {
    let has_data = |step: &usize| {
        shown
            .iter()
            .any(|series| series.values.get(*step).is_some_and(|value| *value > 0))
    };
    let steps: Vec<usize> = (0..bars.labels.len()).filter(has_data).collect();
    html! {
        @if !steps.is_empty() {
            details {
                summary { "Numbers" }
                div.scroll tabindex="0" role="region" aria-label={ "Numbers: " (bars.description) } {
                    table {
                        thead { tr { th scope="col" { "Time (UTC)" } @for series in shown { th.num scope="col" { (series.name) } } } }
                        tbody {
                            @for step in steps {
                                tr {
                                    th scope="row" { (bars.labels[step]) }
                                    @for series in shown { td.num { (super::ui::number(series.values[step])) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A line without axes, for a figure.
pub fn sparkline(values: &[u64], class: u8) -> Markup {
    let mut svg = String::new();
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let last = i32::try_from(values.len().saturating_sub(1))
        .unwrap_or(i32::MAX)
        .max(1);
    let points = (0..).zip(values.iter().map(|value| scaled(*value, most)));
    let drawn = {
        let root = SVGBackend::with_string(&mut svg, (160, 28)).into_drawing_area();
        ChartBuilder::on(&root)
            .margin(2)
            .build_cartesian_2d(0..last, 0..1_000)
            .and_then(|mut chart| {
                chart
                    .draw_series(std::iter::once(PathElement::new(
                        points.collect::<Vec<_>>(),
                        hue(class).stroke_width(2),
                    )))
                    .map(|_| ())
            })
            .and_then(|()| root.present())
    };
    if drawn.is_err() {
        return html! {};
    }
    let svg = classed(&svg).replacen(
        "<svg ",
        "<svg aria-hidden=\"true\" preserveAspectRatio=\"none\" ",
        1,
    );
    PreEscaped(svg)
}

fn scaled(value: u64, most: u64) -> i32 {
    i32::try_from(u128::from(value) * 1_000 / u128::from(most)).unwrap_or(1_000)
}

fn draw(bars: &Bars<'_>, width: u32) -> String {
    let mut svg = String::new();
    match try_draw(bars, width, &mut svg) {
        Ok(()) => classed(&svg),
        Err(error) => {
            tracing::error!(%error, "cannot draw a chart");
            String::new()
        }
    }
}

type DrawingError = Box<dyn std::error::Error>;

fn try_draw(bars: &Bars<'_>, width: u32, svg: &mut String) -> Result<(), DrawingError> {
    let steps = bars.labels.len().max(1);
    let last = i32::try_from(steps)?;
    let top = round_up((0..steps).map(|step| total(bars, step)).max().unwrap_or(0));
    let root = SVGBackend::with_string(svg, (width, bars.height)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin_top(8)
        .margin_right(4)
        .x_label_area_size(24)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..f64::from(last), 0.0..float(top))?;
    let text = ("sans-serif", 12).into_font().color(&TEXT);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_labels(4)
        .y_label_formatter(&|value: &f64| super::ui::number(whole(*value)))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .label_style(text.clone())
        .draw()?;
    for step in 0..steps {
        let mut base = 0;
        let left = float(step as u64);
        for series in &bars.series {
            let value = series.values.get(step).copied().unwrap_or(0);
            if value > 0 {
                let corners = [(left + 0.12, float(base)), (left + 0.88, float(base + value))];
                chart.draw_series(std::iter::once(Rectangle::new(corners, hue(series.hue).filled())))?;
            }
            base += value;
        }
    }
    chart.draw_series(std::iter::once(PathElement::new(
        vec![(0.0, 0.0), (f64::from(last), 0.0)],
        AXIS.stroke_width(1),
    )))?;
    let style = text.pos(Pos::new(HPos::Center, VPos::Top));
    let every = steps.div_ceil(10);
    for (step, label) in bars.labels.iter().enumerate().step_by(every) {
        let (x, y) = chart.backend_coord(&(float(step as u64) + 0.5, 0.0));
        root.draw(&Text::new(label.clone(), (x, y + 8), style.clone()))?;
    }
    root.present()?;
    Ok(())
}

fn total(bars: &Bars<'_>, step: usize) -> u64 {
    bars.series
        .iter()
        .filter_map(|series| series.values.get(step))
        .sum()
}

/// The next number of the form 1, 2, 4, 5, 8 times a power of ten: a scale that divides well.
fn round_up(most: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [1, 2, 4, 8] {
            let top = power.saturating_mul(step);
            if top >= most.max(4) {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a position in a picture")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a label of an axis, which is a whole number"
)]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

/// Replaces the colours that stand for classes by the classes.
fn classed(svg: &str) -> String {
    let mut svg = svg
        .replace("fill=\"#0000FA\"", "class=\"label\"")
        .replace("stroke=\"#0000FB\"", "class=\"grid-line\"")
        .replace("stroke=\"#0000FC\"", "class=\"axis-line\"")
        .replace(" opacity=\"1\"", "")
        .replace(" font-family=\"sans-serif\"", "");
    for number in 1..=HUES {
        svg = svg
            .replace(
                &format!("fill=\"#0100{number:02X}\" stroke=\"none\""),
                &format!("class=\"f{number}\""),
            )
            .replace(
                &format!("fill=\"#0100{number:02X}\""),
                &format!("class=\"f{number}\""),
            )
            .replace(
                &format!("stroke=\"#0100{number:02X}\""),
                &format!("class=\"k{number}\""),
            );
    }
    svg
}

/// A picture with a description for those who do not see it.
fn labelled(svg: &str, description: &str) -> Markup {
    let label = html! { (description) }.into_string();
    let attributes = format!(
        "<svg role=\"img\" aria-label=\"{}\" ",
        label.replace('"', "&quot;")
    );
    PreEscaped(svg.replacen("<svg ", &attributes, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bars<'static> {
        Bars {
            description: "Events \"by\" <minute>",
            labels: (0..30).map(|day| format!("{day}")).collect(),
            series: vec![
                Series {
                    name: "applied",
                    hue: 1,
                    values: (0..30).collect(),
                },
                Series {
                    name: "refused",
                    hue: 3,
                    values: vec![2; 30],
                },
            ],
            height: 220,
        }
    }

    #[test]
    fn a_chart_has_classes_and_no_colours_or_styles() {
        let svg = bars(&sample()).into_string();
        for part in [
            "class=\"f1\"",
            "class=\"f3\"",
            "class=\"label\"",
            "class=\"grid-line\"",
            "class=\"axis-line\"",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("=\"#") && !svg.contains("style="), "{svg}");
        assert!(
            svg.contains("aria-label=\"Events &quot;by&quot; &lt;minute&gt;\""),
            "{svg}"
        );
        let line = sparkline(&[0, 5, 2], 1).into_string();
        assert!(line.contains("class=\"k1\"") && !line.contains("=\"#"), "{line}");
    }

    #[test]
    fn the_scale_divides_into_whole_numbers() {
        for (most, top) in [(0, 4), (3, 4), (5, 8), (9, 10), (11, 20), (79, 80), (801, 1_000)] {
            assert_eq!(round_up(most), top, "{most}");
        }
    }
}
