//! The bars of `tenure top`: events and changes by minute, accesses that expire by day.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Sparkline};

use super::figures::Figures;
use super::lists;
use super::screen::{Palette, muted, rows};
use crate::engine::ExpiryCounts;
use crate::http::Minute;
use crate::phrases::number;
use crate::tone::Tone;

/// The columns of the name of a minute's outcome, and of its sum.
const NAME: u16 = 10;
const SUM: u16 = 9;

/// What is counted of a minute.
type Count = fn(&Minute) -> u64;

/// Events by outcome and changes, for each minute of the last hour.
pub(super) fn activity(frame: &mut Frame<'_>, area: Rect, palette: Palette, figures: &Figures) {
    let [title, rest] = rows(area, [1, 0]);
    let heading = "Events and changes/min, last hour";
    frame.render_widget(Line::styled(heading, palette.heading()), title);
    let series: [(&str, Tone, Count); 6] = [
        ("applied", Tone::Good, |minute| minute.applied),
        ("duplicate", Tone::Neutral, |minute| minute.duplicate),
        ("refused", Tone::Attention, |minute| minute.refused),
        ("deferred", Tone::Neutral, |minute| minute.deferred),
        ("dead", Tone::Bad, |minute| minute.dead),
        ("changes", Tone::Neutral, |minute| minute.changes),
    ];
    let areas: [Rect; 6] = rows(rest, [1; 6]);
    for ((name, tone, of), area) in series.into_iter().zip(areas) {
        let values: Vec<u64> = figures.minutes.iter().map(of).collect();
        let sum: u64 = values.iter().sum();
        // A state without events needs no colour.
        let style = if sum == 0 { Style::new() } else { palette.of(tone) };
        bars(frame, area, (name, style), sum, &values);
    }
}

/// A name, bars, and the sum of all values.
fn bars(frame: &mut Frame<'_>, area: Rect, (name, style): (&str, Style), sum: u64, values: &[u64]) {
    let columns = [
        Constraint::Length(NAME),
        Constraint::Fill(1),
        Constraint::Length(SUM),
    ];
    let [name_area, bars_area, sum_area] = Layout::horizontal(columns).areas(area);
    frame.render_widget(Span::raw(name.to_owned()), name_area);
    let values = merged(values, bars_area.width.into());
    let bars = Sparkline::default()
        .data(&values)
        .direction(RenderDirection::LeftToRight)
        .style(style);
    let width = u16::try_from(values.len())
        .unwrap_or(u16::MAX)
        .min(bars_area.width);
    frame.render_widget(bars, Rect { width, ..bars_area });
    frame.render_widget(
        Line::styled(lists::harmless(&number(sum)), style).right_aligned(),
        sum_area,
    );
}

/// The values, of which as many are added up as it takes to fit into a width.
fn merged(values: &[u64], width: usize) -> Vec<u64> {
    if values.is_empty() || width == 0 {
        return Vec::new();
    }
    let each = values.len().div_ceil(width);
    // The newest values are at the end, and all of them count.
    let first = values.len() % each;
    let (head, rest) = values.split_at(first);
    let head = (!head.is_empty()).then(|| head.iter().sum());
    let rest = rest.chunks(each).map(|part| part.iter().sum());
    head.into_iter().chain(rest).collect()
}

/// The accesses that expire, by day. None: they are being counted.
pub(super) fn expiries(
    frame: &mut Frame<'_>,
    area: Rect,
    palette: Palette,
    counted: Option<&ExpiryCounts>,
    figures: &Figures,
) {
    let heading = "Accesses that expire in 30 days ";
    let width = u16::try_from(heading.len()).unwrap_or(u16::MAX);
    let [name, rest] = Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Span::styled(heading, palette.heading()), name);
    let Some(counted) = counted else {
        frame.render_widget(Span::styled("being counted …", muted()), rest);
        return;
    };
    let mark = if counted.complete { "" } else { "+" };
    let total = lists::harmless(&format!("{}{mark} ", number(counted.total())));
    let values: Vec<u64> = counted
        .by_day(figures.overview.now)
        .into_iter()
        .map(|(_, count)| count)
        .collect();
    let days = u16::try_from(values.len()).unwrap_or(u16::MAX);
    let width = u16::try_from(total.chars().count()).unwrap_or(u16::MAX);
    let columns = [
        Constraint::Length(width),
        Constraint::Length(days),
        Constraint::Fill(1),
    ];
    let [total_area, bars_area, _] = Layout::horizontal(columns).areas(rest);
    frame.render_widget(Span::raw(total), total_area);
    frame.render_widget(
        Sparkline::default()
            .data(&values)
            .style(palette.of(Tone::Attention)),
        bars_area,
    );
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn bars_that_do_not_fit_are_added_up_from_the_newest() {
        assert_eq!(merged(&[1, 2, 3, 4, 5], 5), [1, 2, 3, 4, 5]);
        assert_eq!(merged(&[1, 2, 3, 4, 5], 3), [1, 5, 9]);
        assert_eq!(merged(&[1, 2, 3, 4], 9), [1, 2, 3, 4]);
        assert!(merged(&[], 3).is_empty() && merged(&[1], 0).is_empty());
    }
}
