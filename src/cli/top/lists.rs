//! The lists of `tenure top`: lanes, relay and sources; sweeps; dead letters; refusals; workers.

use chrono::{DateTime, Utc};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::figures::Figures;
use super::screen::{Palette, muted};
use crate::engine::{NextRun, Overview, RefusalCounts, SourceStatus, SweepState};
use crate::escape::visible;
use crate::phrases::{ago, distance, duration, number, title, words};
use crate::store::LaneProgress;
use crate::tone::{Tone, tone};

/// A cell: its text and its style.
pub(super) type Cell = (String, Style);

/// A list with a heading for each column. The first column is as wide as the others leave room for.
pub(super) struct List {
    head: Vec<String>,
    heading: Style,
    rows: Vec<Vec<Cell>>,
}

impl List {
    fn new(palette: Palette, head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            head: head.into_iter().map(Into::into).collect(),
            heading: palette.heading(),
            rows: Vec::new(),
        }
    }

    /// The lines of the list, with its heading.
    pub fn height(&self) -> u16 {
        u16::try_from(self.rows.len() + 1).unwrap_or(u16::MAX)
    }

    /// Draws as many rows as fit, and says how many do not.
    pub fn draw(mut self, frame: &mut Frame<'_>, area: Rect) {
        let room = usize::from(area.height.saturating_sub(1));
        if self.rows.len() > room {
            let left = self.rows.len() - room.saturating_sub(1);
            self.rows.truncate(room.saturating_sub(1));
            self.rows.push(vec![(format!("and {left} more"), muted())]);
        }
        let widths: Vec<u16> = (1..self.head.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let cells = cells.map(|(text, _)| text.width());
                let widest = cells.chain([self.head[column].width()]).max();
                u16::try_from(widest.unwrap_or(0)).unwrap_or(u16::MAX)
            })
            .collect();
        let head = self.head.iter().map(|heading| (heading.clone(), self.heading));
        let lines = std::iter::once(head.collect::<Vec<Cell>>()).chain(std::mem::take(&mut self.rows));
        for (line, y) in lines.zip(area.y..area.bottom()) {
            let area = Rect { y, height: 1, ..area };
            row(frame, area, &line, &widths);
        }
    }
}

fn row(frame: &mut Frame<'_>, area: Rect, cells: &[Cell], widths: &[u16]) {
    let constraints =
        std::iter::once(Constraint::Fill(1)).chain(widths.iter().map(|width| Constraint::Length(*width)));
    let areas = Layout::horizontal(constraints).spacing(2).split(area);
    for (place, (text, style)) in cells.iter().enumerate() {
        let Some(area) = areas.get(place) else { break };
        let text = fit(text, area.width.into());
        // Numbers and times stand in columns.
        let line = Line::from(Span::styled(text, *style));
        frame.render_widget(if place == 0 { line } else { line.right_aligned() }, *area);
    }
}

/// The beginning of a text that fits into a width, with an ellipsis if it is not all.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut fitting = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        fitting.push(c);
    }
    if width > 0 {
        fitting.push('…');
    }
    fitting
}

/// Text of others or of ours, harmless, and with the spaces that every terminal draws.
pub(super) fn harmless(text: &str) -> String {
    visible(text).replace(['\u{a0}', '\u{202f}'], " ")
}

fn plain(text: impl AsRef<str>) -> Cell {
    (harmless(text.as_ref()), Style::new())
}

/// Lanes, the relay and expected sources: what is behind comes first.
pub(super) fn flow(palette: Palette, figures: &Figures) -> List {
    let overview = &figures.overview;
    let mut list = List::new(palette, ["Lanes, sources", "waiting", "state"]);
    let (bad, good): (Vec<_>, Vec<_>) = overview
        .sources
        .iter()
        .partition(|source| source.silent_since.is_some());
    list.rows
        .extend(bad.into_iter().map(|of| source(palette, overview.now, of)));
    if let Some(relay) = overview.relay {
        let lag = match relay.oldest {
            Some(oldest) => format!("{} behind", duration(overview.now - oldest)),
            None => "published".to_owned(),
        };
        list.rows
            .push(vec![plain("relay"), plain(number(relay.changes)), plain(lag)]);
    } else {
        list.rows.push(vec![plain("no broker"), plain(""), plain("")]);
    }
    let mut lanes: Vec<&LaneProgress> = overview.lanes.iter().collect();
    lanes.sort_by_key(|lane| lane.watermark);
    list.rows.extend(lanes.into_iter().map(|of| lane(figures, of)));
    list.rows
        .extend(good.into_iter().map(|of| source(palette, overview.now, of)));
    list
}

fn lane(figures: &Figures, lane: &LaneProgress) -> Vec<Cell> {
    let behind = match lane.watermark {
        Some(at) => format!("{} behind", duration(figures.overview.now - at)),
        None => "no heartbeat".to_owned(),
    };
    let waiting = figures.depth(&lane.lane);
    let waiting = waiting.map_or_else(|| "?".to_owned(), |depth| number(depth.messages));
    vec![plain(&lane.lane), plain(waiting), plain(behind)]
}

fn source(palette: Palette, now: DateTime<Utc>, source: &SourceStatus) -> Vec<Cell> {
    let heard = source.last_heard.map(|at| ago(now, at));
    let state = if source.silent_since.is_some() {
        let heard = heard.map_or_else(|| "silent".to_owned(), |heard| format!("silent, {heard}"));
        (heard, palette.of(Tone::Bad))
    } else {
        plain(heard.unwrap_or_else(|| "not heard yet".to_owned()))
    };
    vec![plain(&source.source), plain(""), state]
}

/// The sweeps, in the order of the rules.
pub(super) fn sweeps(palette: Palette, overview: &Overview) -> List {
    let mut list = List::new(palette, ["Sweeps", "state", "last run", "changed", "next"]);
    list.rows = overview
        .sweeps
        .iter()
        .map(|state| sweep(palette, overview.now, state))
        .collect();
    list
}

fn sweep(palette: Palette, now: DateTime<Utc>, state: &SweepState) -> Vec<Cell> {
    let status = state.status();
    let tone = tone(status);
    let style = if tone == Tone::Good {
        Style::new()
    } else {
        palette.of(tone)
    };
    let run = state.last_run.as_ref();
    vec![
        plain(title(state.sweep.as_str())),
        (words(status), style),
        plain(run.map_or_else(|| "-".to_owned(), |run| ago(now, run.started_at))),
        plain(run.map_or_else(|| "-".to_owned(), |run| number(run.counts.changed))),
        plain(match state.next_run() {
            NextRun::At(at) => distance(now, at),
            NextRun::Waits(what) => what.to_owned(),
        }),
    ]
}

/// The open dead letters by reason.
pub(super) fn dead_letters(palette: Palette, overview: &Overview) -> List {
    let summary = &overview.dead_letters;
    let total = format!(
        "{}{}",
        harmless(&number(summary.total)),
        if summary.complete { "" } else { "+" }
    );
    let mut list = List::new(palette, ["Open dead letters, by reason".to_owned(), total]);
    list.rows = summary
        .groups
        .iter()
        .map(|group| {
            let reason = format!(
                "{} ({}, {})",
                group.common,
                group.key.source_name(),
                group.key.origin
            );
            vec![plain(reason), plain(number(group.count))]
        })
        .collect();
    if list.rows.is_empty() {
        list.rows.push(vec![("none".to_owned(), muted())]);
    }
    list
}

/// The refusals of the last day by code.
pub(super) fn refusals(palette: Palette, refusals: &RefusalCounts) -> List {
    let total: u64 = refusals.codes.iter().map(|count| count.events).sum();
    let mark = if refusals.complete { "" } else { "+" };
    let mut list = List::new(
        palette,
        [
            "Refusals of the last day".to_owned(),
            harmless(&format!("{}{mark}", number(total))),
        ],
    );
    list.rows = refusals
        .codes
        .iter()
        .map(|count| {
            let what = format!("{}: {}", words(count.code), count.reason);
            vec![plain(what), plain(format!("{}{mark}", number(count.events)))]
        })
        .collect();
    if list.rows.is_empty() {
        list.rows.push(vec![("none".to_owned(), muted())]);
    }
    list
}

/// The number of workers that run and of those that are gone, and the host of each with what it does for the others. The end of a long
/// line is not drawn, so those that are gone are counted at the beginning and named at the end.
pub(super) fn workers(palette: Palette, overview: &Overview) -> Line<'static> {
    let (running, gone): (Vec<_>, Vec<_>) = overview.workers.iter().partition(|worker| !worker.gone);
    let mut spans = vec![
        Span::styled("Workers ", palette.heading()),
        Span::raw(running.len().to_string()),
    ];
    if !gone.is_empty() {
        let counted = format!(", {} gone", gone.len());
        spans.push(Span::styled(counted, palette.of(Tone::Attention)));
    }
    for (place, worker) in running.into_iter().chain(gone).enumerate() {
        spans.push(Span::raw(if place == 0 { ": " } else { ", " }));
        let (notes, style) = if worker.gone {
            (vec![worker.state()], palette.of(Tone::Attention))
        } else {
            (worker.leads(), Style::new())
        };
        let notes = match notes.join(", ").as_str() {
            "" => String::new(),
            notes => format!(" ({notes})"),
        };
        spans.push(Span::styled(harmless(&format!("{}{notes}", worker.host)), style));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn text_that_does_not_fit_ends_with_an_ellipsis() {
        for (text, width, fitting) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("東京都", 4, "東…"),
            ("東京都", 5, "東京…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(fit(text, width), fitting, "{text} {width}");
        }
    }
}
