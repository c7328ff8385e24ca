//! Draws the screen of `tenure top`.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use unicode_width::UnicodeWidthStr as _;

use super::figures::Figures;
use super::{charts, lists};
use crate::engine::{ExpiryCounts, Issue, tone_of, verdict};
use crate::escape::visible;
use crate::tone::Tone;

/// A read that takes longer is shown.
const SLOW: Duration = Duration::from_secs(5);
/// Lines of issues on a small terminal.
const ISSUE_LINES: u16 = 4;

/// What is shown.
pub struct Screen {
    /// Where the store is.
    place: String,
    every: Duration,
    palette: Palette,
    figures: Option<Figures>,
    expiries: Option<ExpiryCounts>,
    trouble: Option<Trouble>,
    /// When the read that is under way began.
    begun: Option<Instant>,
    is_help: bool,
    is_issues: bool,
}

/// Why the figures are old.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub since: Instant,
    pub why: String,
}

/// The styles, which have no colours if the terminal should have none. No state is told by its colour alone.
#[derive(Clone, Copy)]
pub(super) struct Palette {
    is_coloured: bool,
}

impl Palette {
    pub fn of(self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Good => Color::Green,
            Tone::Neutral => return Style::new(),
            Tone::Attention => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        let style = self.foreground(colour);
        if tone == Tone::Good { style } else { style.bold() }
    }

    pub fn heading(self) -> Style {
        self.foreground(Color::Cyan).bold()
    }

    fn foreground(self, colour: Color) -> Style {
        if self.is_coloured {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// The style of what matters less.
pub(super) fn muted() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

impl Screen {
    #[must_use]
    pub fn new(place: String, every: Duration, is_coloured: bool) -> Self {
        Self {
            place,
            every,
            palette: Palette { is_coloured },
            figures: None,
            expiries: None,
            trouble: None,
            begun: None,
            is_help: false,
            is_issues: false,
        }
    }

    /// A read of the figures has begun.
    pub fn begin(&mut self, at: Instant) {
        self.begun = Some(at);
    }

    /// Shows new figures. Expiries that are not counted stay those of before.
    pub fn show(&mut self, figures: Figures) {
        if let Some(expiries) = &figures.expiries {
            self.expiries = Some(expiries.clone());
        }
        self.figures = Some(figures);
        self.trouble = None;
        self.begun = None;
    }

    /// The store does not answer.
    pub fn fail(&mut self, why: String) {
        let since = self
            .trouble
            .take()
            .map_or_else(Instant::now, |trouble| trouble.since);
        self.trouble = Some(Trouble { since, why });
        self.begun = None;
    }

    /// Shows a new count of expiries.
    pub fn expire(&mut self, expiries: ExpiryCounts) {
        self.expiries = Some(expiries);
    }

    pub fn toggle_help(&mut self) {
        self.is_help = !self.is_help;
        self.is_issues = false;
    }

    pub fn toggle_issues(&mut self) {
        self.is_issues = !self.is_issues;
        self.is_help = false;
    }

    /// Why the figures are old: a failure, or a read that takes long.
    fn trouble(&self) -> Option<Trouble> {
        let slow = || {
            let since = self.begun.filter(|begun| begun.elapsed() > SLOW)?;
            let why = "it does not answer".to_owned();
            Some(Trouble { since, why })
        };
        self.trouble.clone().or_else(slow)
    }
}

/// Draws everything. Text of others is escaped.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let palette = screen.palette;
    let area = frame.area();
    let trouble = screen.trouble();
    let Some(figures) = &screen.figures else {
        let [head, state, _] = rows(area, [1, 3, 0]);
        header(frame, head, screen);
        let waiting = match &trouble {
            Some(trouble) => away(palette, trouble, screen.every),
            None => vec![Line::styled("Reading the figures …", muted())],
        };
        frame.render_widget(Paragraph::new(waiting).wrap(Wrap { trim: false }), state);
        return;
    };
    let issues = figures.issues();
    let state = match &trouble {
        Some(trouble) => away(palette, trouble, screen.every),
        None => well(palette, &issues, figures),
    };
    let state_height = height(&state, area.width).min(1 + ISSUE_LINES.max(area.height / 5));
    let sweeps = lists::sweeps(palette, &figures.overview);
    let sweeps_height = sweeps.height();
    let [
        head,
        state_area,
        activity_area,
        sweeps_area,
        groups_area,
        workers_area,
        expiries_area,
    ] = rows(area, [1, state_height, 7, sweeps_height, 0, 1, 1]);
    header(frame, head, screen);
    states(frame, state_area, state);
    let (left, right) = columns(activity_area);
    charts::activity(frame, left, palette, figures);
    lists::flow(palette, figures).draw(frame, right);
    sweeps.draw(frame, sweeps_area);
    let (left, right) = columns(groups_area);
    lists::dead_letters(palette, &figures.overview).draw(frame, left);
    lists::refusals(palette, &figures.refusals).draw(frame, right);
    frame.render_widget(lists::workers(palette, &figures.overview), workers_area);
    charts::expiries(frame, expiries_area, palette, screen.expiries.as_ref(), figures);
    if screen.is_issues {
        popup(frame, "Issues", all(palette, &issues, figures));
    }
    if screen.is_help {
        popup(frame, "Keys", help(screen.every));
    }
}

/// Rows of these heights. That of height 0 gets the rest.
pub(super) fn rows<const N: usize>(area: Rect, heights: [u16; N]) -> [Rect; N] {
    let constraints = heights.map(|height| match height {
        0 => Constraint::Fill(1),
        height => Constraint::Length(height),
    });
    Layout::vertical(constraints).areas(area)
}

/// Two columns with a gap between them.
fn columns(area: Rect) -> (Rect, Rect) {
    let [left, _, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    (left, right)
}

fn header(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let palette = screen.palette;
    let keys = Line::styled("? help  q quit", muted()).right_aligned();
    let mut title = vec![Span::styled("tenure top", palette.heading())];
    if let Some(figures) = &screen.figures {
        let now = figures.overview.now.format("%Y-%m-%d %H:%M:%S UTC");
        title.push(Span::raw(format!("  {now}")));
    }
    let room = usize::from(area.width.saturating_sub(52));
    let place = lists::fit(&visible(&screen.place), room);
    title.push(Span::styled(format!("  {place}"), muted()));
    frame.render_widget(Line::from(title), area);
    frame.render_widget(keys, area);
}

/// Whether all is well, and what is not.
fn well(palette: Palette, issues: &[Issue], figures: &Figures) -> Vec<Line<'static>> {
    let tone = tone_of(issues);
    let sentence = format!("{} {}", mark(tone), verdict(issues));
    let mut lines = vec![Line::styled(sentence, palette.of(tone))];
    lines.extend(all(palette, issues, figures));
    lines
}

/// Every issue: what is not well, and what to do. Last, what is unknown, and why.
fn all(palette: Palette, issues: &[Issue], figures: &Figures) -> Vec<Line<'static>> {
    let line = |issue: &Issue| {
        Line::from(vec![
            Span::styled(
                format!("{} {}: ", mark(issue.tone), lists::harmless(&issue.what)),
                palette.of(issue.tone),
            ),
            Span::raw(lists::harmless(&issue.then)),
        ])
    };
    let unknown = figures.unknown().map(|(what, why)| {
        let text = format!("{what}: {why}.");
        Line::styled(lists::harmless(&text), muted())
    });
    issues.iter().map(line).chain(unknown).collect()
}

fn mark(tone: Tone) -> char {
    match tone {
        Tone::Good | Tone::Neutral => '✓',
        Tone::Attention => '▲',
        Tone::Bad => '✗',
    }
}

/// That the store is away, and since when.
fn away(palette: Palette, trouble: &Trouble, every: Duration) -> Vec<Line<'static>> {
    let seconds = trouble.since.elapsed().as_secs();
    let sentence = format!("{} The store has been away for {seconds} s.", mark(Tone::Bad));
    vec![
        Line::styled(sentence, palette.of(Tone::Bad)),
        Line::raw(format!(
            "{}. The figures below are old; the next attempt is in at most {}.",
            visible(trouble.why.trim_end_matches('.')),
            humantime::format_duration(every)
        )),
    ]
}

/// The height of lines that are wrapped at a width, between words where that is possible.
fn height(lines: &[Line<'_>], width: u16) -> u16 {
    let width = usize::from(width.max(1));
    let wrapped = |line: &Line<'_>| {
        let (mut rows, mut used) = (1, 0);
        for word in line.to_string().split_inclusive(' ') {
            // A space at the end of a row takes no room.
            let mut text = word.trim_end().width();
            if used > 0 && used + text > width {
                rows += 1;
                used = 0;
            }
            let spaces = word.width() - text;
            while text > width {
                rows += 1;
                text -= width;
            }
            used += text + spaces;
        }
        rows
    };
    u16::try_from(lines.iter().map(wrapped).sum::<usize>()).unwrap_or(u16::MAX)
}

/// The state, with the number of issues that do not fit.
fn states(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>) {
    let mut shown = 0;
    let mut used = 0;
    for line in &lines {
        let next = height(std::slice::from_ref(line), area.width);
        let is_last = shown + 1 == lines.len();
        // The last line says how many others there are.
        if used + next > area.height.saturating_sub(u16::from(!is_last)) && shown > 0 {
            break;
        }
        used += next;
        shown += 1;
    }
    let left = lines.len() - shown;
    let mut lines = lines;
    lines.truncate(shown);
    if left > 0 {
        lines.push(Line::styled(format!("and {left} more: press i"), muted()));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn help(every: Duration) -> Vec<Line<'static>> {
    [
        "q, Esc, Ctrl-C   quit".to_owned(),
        "r                refresh now, and count the expiries again".to_owned(),
        "i                show every issue".to_owned(),
        "?                show or hide these keys".to_owned(),
        String::new(),
        format!(
            "The figures are read every {}.",
            humantime::format_duration(every)
        ),
        "Checks and waiting messages come from the worker at http.listen;".to_owned(),
        "all else comes from the store.".to_owned(),
    ]
    .into_iter()
    .map(Line::raw)
    .collect()
}

/// Text in a frame in the middle of the screen.
fn popup(frame: &mut Frame<'_>, title: &'static str, lines: Vec<Line<'static>>) {
    let area = frame.area();
    let lines = if lines.is_empty() {
        vec![Line::raw("All is well.")]
    } else {
        lines
    };
    let width = area.width.saturating_sub(8).min(100);
    let inner = height(&lines, width.saturating_sub(4));
    let height = (inner + 2).min(area.height);
    let area = area.centered(Constraint::Length(width), Constraint::Length(height));
    let block = Block::bordered()
        .title(title)
        .padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).wrap(Wrap { trim: false }).block(block),
        area,
    );
}

#[cfg(test)]
mod tests {
    use ratatui::text::Line;

    use super::height;

    #[test]
    fn wrapped_lines_are_counted() {
        for (text, width, rows) in [
            ("", 5, 1),
            ("one two", 7, 1),
            ("one two", 6, 2),
            ("one two three", 7, 2),
            ("one two three", 3, 4),
            ("abcdefgh", 3, 3),
            ("abcd", 3, 2),
        ] {
            assert_eq!(height(&[Line::raw(text)], width), rows, "{text} {width}");
        }
    }
}
