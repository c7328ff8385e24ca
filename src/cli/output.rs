//! Output of commands: tables and progress bars for people, JSON for programs.
//!
//! All output passes through this module, which escapes characters that would control a terminal: see [`crate::escape`].

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anstyle::AnsiColor;
use chrono::{DateTime, NaiveDate, Utc};
use clap::ValueEnum;
use comfy_table::{Cell as TableCell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::colour;
use crate::csv_row::{self, Cell};
use crate::domain::Refusal;
use crate::domain::time::rfc3339;
use crate::escape::{self, visible};
use crate::tone::{self, Tone};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    // Tables and sentences, for people.
    #[default]
    Table,
    // One object, or one object per line for lists.
    Json,
    // Comma-separated values with a header, for lists and reports.
    Csv,
}

/// Text that is safe to print, because converting into it escapes control characters.
#[derive(Clone, Debug)]
pub struct Safe(String);

impl From<&str> for Safe {
    /// One line; line breaks are escaped.
    fn from(text: &str) -> Self {
        Self(visible(text).into_owned())
    }
}

impl From<&String> for Safe {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Safe {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Self> for Safe {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

impl Safe {
    /// Several lines, each escaped.
    pub fn lines<T: Into<Self>>(lines: impl IntoIterator<Item = T>) -> Self {
        let lines: Vec<String> = lines.into_iter().map(|line| line.into().0).collect();
        Self(lines.join("\n"))
    }
}

impl Display for Safe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first failure to write to standard output. Nothing is printed after it.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Prints a sentence, on as many lines as the width of the terminal needs. [`finish`] reports a failure.
pub fn line(text: impl Into<Safe>) {
    block(Safe(
        wrapped("", &text.into().0, columns(&Table::new())).join("\n"),
    ));
}

/// Prints text as it is, and a line break: tables, and what a program reads. [`finish`] reports a failure.
pub fn block(text: impl Into<Safe>) {
    if FAILED.get().is_none() {
        record_write(writeln!(io::stdout().lock(), "{}", text.into()));
    }
}

/// Prints text after `first`, on as many lines as the width of the terminal needs, which are indented by as much. It breaks lines
/// between words only, and not within a moment.
pub fn paragraph(first: &str, text: &str) {
    let lines = wrapped(first, &visible(text), columns(&Table::new()));
    block(Safe(lines.join("\n")));
}

/// The width of the terminal. None: the output is not a terminal, or it does not know its width.
fn columns(of: &Table) -> Option<u16> {
    of.width().filter(|columns| *columns > 0)
}

fn wrapped(first: &str, text: &str, width: Option<u16>) -> Vec<String> {
    let Some(width) = width.map(usize::from) else {
        return vec![format!("{first}{text}")];
    };
    let indent = " ".repeat(first.width());
    let mut lines = Vec::new();
    let (mut line, mut is_begun) = (first.to_owned(), false);
    for unit in units(text) {
        if is_begun && line.width() + 1 + unit.width() > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            is_begun = false;
        }
        // Too long to stand beside the indentation, so alone on its line.
        if !is_begun && line.width() + unit.width() > width {
            if !line.trim().is_empty() {
                lines.push(line.trim_end().to_owned());
            }
            line = " ".repeat(width.saturating_sub(unit.width()).min(indent.len()));
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(&unit);
        is_begun = true;
    }
    lines.push(line);
    lines
}

/// What stays on one line, so that it can be copied and read: a word, a moment such as `3 March 2026 at 09:12 UTC`, or a command
/// between backticks.
fn units(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(' ').collect();
    let mut rest = words.as_slice();
    let mut units = Vec::new();
    while !rest.is_empty() {
        let count = match rest {
            [day, month, year, "at", _, utc, ..]
                if utc.starts_with("UTC")
                    && NaiveDate::parse_from_str(&format!("{day} {month} {year}"), "%d %B %Y").is_ok() =>
            {
                6
            }
            [first, others @ ..] if has_lone_backtick(first) => {
                let last = others.iter().position(|word| has_lone_backtick(word));
                last.map_or(1, |last| last + 2)
            }
            _ => 1,
        };
        let (unit, others) = rest.split_at(count);
        units.push(unit.join(" "));
        rest = others;
    }
    units
}

/// Whether a word begins or ends what is between backticks, but not both.
fn has_lone_backtick(word: &str) -> bool {
    !word.matches('`').count().is_multiple_of(2)
}

/// Flushes standard output.
///
/// # Errors
/// The first failure to write to standard output. A closed pipe (`| head`) is not an error.
pub fn finish() -> Result<(), &'static io::Error> {
    if FAILED.get().is_none() {
        record_write(io::stdout().lock().flush());
    }
    FAILED
        .get()
        .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
        .map_or(Ok(()), Err)
}

/// Records the result of a write to standard output.
pub fn record_write(written: io::Result<()>) {
    if let Err(error) = written {
        let _ = FAILED.set(error);
    }
}

/// Prints a message to standard error. A closed pipe (`2>&1 | head`) is not an error.
pub fn error_line(text: impl Into<Safe>) {
    let width = columns(Table::new().use_stderr());
    let lines = wrapped("tenure: ", &text.into().0, width).join("\n");
    let _ = writeln!(io::stderr().lock(), "{lines}");
}

/// Prints one JSON object on one line.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    block(json_line(&serde_json::to_value(value)?));
    Ok(())
}

/// Prints a row of comma-separated values.
pub fn csv(cells: &[Cell]) {
    if FAILED.get().is_none() {
        let row = csv_row::row(cells).map_err(io::Error::other);
        record_write(row.and_then(|row| io::stdout().lock().write_all(&row)));
    }
}

/// JSON on one line.
pub fn json_line(value: &serde_json::Value) -> Safe {
    Safe(escape::json(&value.to_string()).into_owned())
}

/// Whether tables have colours.
pub fn is_coloured() -> bool {
    colour::is_coloured(&io::stdout())
}

/// The columns with a status.
const STATUSES: [&str; 7] = [
    "status", "link", "service", "access", "outcome", "last run", "halted",
];
/// Of these, the columns in which a person also looks for what waits for somebody.
const WAITING: [&str; 2] = ["last run", "halted"];

/// The tone of a cell that is coloured. None: most cells have no colour, so that the others stand out.
fn coloured_tone(heading: &str, cell: &str) -> Option<Tone> {
    if !STATUSES.contains(&heading) {
        return None;
    }
    // The word of a halt is followed by since when and why.
    let status = if heading == "halted" {
        cell.split(' ').next().unwrap_or_default()
    } else {
        cell
    };
    let tone = tone::tone(status);
    let is_coloured = tone == Tone::Bad || (tone == Tone::Attention && WAITING.contains(&heading));
    is_coloured.then_some(tone)
}

/// A table for people; without rows, only its header. Line breaks in text cells are escaped.
///
/// On a terminal it breaks lines between words only. If that does not fit, each row becomes a record with one field per line.
pub fn table<C: Into<Safe>>(head: &[&str], rows: impl IntoIterator<Item = Vec<C>>) -> Safe {
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(|cell| cell.into().0).collect());
    render(
        head,
        &rows.collect::<Vec<_>>(),
        columns(&Table::new()),
        is_coloured(),
    )
}

/// The space around the text of a cell, and the border of each column and of the table.
const PADDING: usize = 2;
const BORDER: usize = 1;

/// `width` is that of the terminal, in columns. None: the output is not a terminal, and lines may have any length.
fn render(head: &[&str], rows: &[Vec<String>], width: Option<u16>, is_coloured: bool) -> Safe {
    let words = |text: &str| {
        text.split_whitespace()
            .map(UnicodeWidthStr::width)
            .max()
            .unwrap_or(0)
    };
    let narrowest: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let cells = cells.map(String::as_str).chain([head[column]]);
            PADDING + cells.map(words).max().unwrap_or(0)
        })
        .collect();
    let needed = BORDER + narrowest.iter().map(|column| column + BORDER).sum::<usize>();
    if let Some(width) = width.filter(|width| needed > usize::from(*width)) {
        return records(head, rows, width, is_coloured);
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head.iter().copied());
    if let Some(width) = width {
        table.set_width(width);
    }
    table.style_text_only();
    for row in rows {
        table.add_row(head.iter().zip(row).map(|(heading, text)| {
            let cell = TableCell::new(text);
            match coloured_tone(heading, text).filter(|_| is_coloured) {
                Some(Tone::Bad) => cell.fg(Color::DarkRed),
                Some(_) => cell.fg(Color::DarkYellow),
                None => cell,
            }
        }));
    }
    for (column, narrowest) in table.column_iter_mut().zip(narrowest) {
        let narrowest = Width::Fixed(u16::try_from(narrowest).unwrap_or(u16::MAX));
        column.set_constraint(ColumnConstraint::LowerBoundary(narrowest));
    }
    Safe(table.to_string())
}

/// The rows one below the other: each field that is not empty begins a line, and an empty line is between rows. Without rows, the
/// headings.
fn records(head: &[&str], rows: &[Vec<String>], width: u16, is_coloured: bool) -> Safe {
    if rows.is_empty() {
        let head: Vec<&str> = head
            .iter()
            .copied()
            .filter(|heading| !heading.is_empty())
            .collect();
        return Safe(wrapped("no rows: ", &head.join(", "), Some(width)).join("\n"));
    }
    let label = head.iter().map(|heading| heading.width()).max().unwrap_or(0);
    let field = |(heading, cell): (&&str, &String)| {
        let style = match coloured_tone(heading, cell).filter(|_| is_coloured) {
            Some(Tone::Bad) => AnsiColor::Red.on_default(),
            Some(_) => AnsiColor::Yellow.on_default(),
            None => anstyle::Style::new(),
        };
        let starts = [format!("{heading:label$}  "), format!("{:label$}  ", "")];
        let starts = starts.iter().take(1).chain(starts.iter().skip(1).cycle());
        let lines: Vec<String> = cell
            .split('\n')
            .zip(starts)
            .flat_map(|(line, start)| wrapped(start, line, Some(width)))
            .collect();
        let text = lines.join("\n");
        let (heading, cell) = text.split_at(heading.len());
        format!("{heading}{style}{cell}{style:#}")
    };
    let record = |row: &Vec<String>| {
        let fields = head.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        fields.map(field).collect::<Vec<_>>().join("\n")
    };
    Safe(rows.iter().map(record).collect::<Vec<_>>().join("\n\n"))
}

/// The numbers of refused events by code, with what each code means.
pub fn refusals(counts: &BTreeMap<&'static str, u64>) -> Safe {
    let rows = counts.iter().map(|(code, n)| {
        let words = Refusal::from_code(code).map_or("", Refusal::words);
        vec![(*code).to_owned(), words.to_owned(), n.to_string()]
    });
    table(&["refusal", "reason", "events"], rows)
}

/// A progress bar on standard error, if that is a terminal.
pub fn bar(length: u64, label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {bar:40} {percent:>3}% {pos}/{len} {per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length)
        .with_style(style)
        .with_message(label.to_owned())
}

/// A progress counter without a known end.
pub fn spinner(label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {spinner} {pos} {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner()
        .with_style(style)
        .with_message(label.to_owned())
}

/// Progress of a long command on standard error: a running count on a terminal, otherwise a line every few seconds.
pub struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    reported: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(10);

    pub fn new(unit: &'static str) -> Self {
        Self {
            bar: spinner(unit),
            unit,
            reported: Instant::now(),
        }
    }

    /// Reports the number done so far, and the last one.
    pub fn tick(&mut self, done: u64, last: &impl Display) {
        self.bar.set_position(done);
        if self.bar.is_hidden() && self.reported.elapsed() >= Self::EVERY {
            error_line(format!("{done} {}, up to {last}", self.unit));
            self.reported = Instant::now();
        }
    }

    /// Prints something else without disturbing the progress bar.
    pub fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What a cell shows people if it has no value.
pub const NONE: &str = "-";

/// A moment for people, or a dash.
pub fn moment(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| NONE.into(), rfc3339)
}

/// A number with its noun, which is plural unless the number is 1.
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let ending = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// Text for people, or a dash.
pub fn words(text: Option<&str>) -> String {
    text.unwrap_or(NONE).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = [
            "acme/client-0000000001",
            "2026-03-01T09:00:00Z",
            "the customer disabled access on the first day of the month",
        ];
        vec![row.map(str::to_owned).to_vec(); 2]
    }

    const HEAD: [&str; 3] = ["client", "time", "reason"];

    #[test]
    fn a_table_fits_the_terminal_and_breaks_no_word() {
        for width in 62..120 {
            let text = render(&HEAD, &rows(), Some(width), false).to_string();
            assert!(
                text.lines().all(|line| line.width() <= width.into()),
                "{width}\n{text}"
            );
            for word in rows().concat().join(" ").split(' ') {
                assert!(text.contains(word), "{width}: {word}\n{text}");
            }
        }
    }

    #[test]
    fn a_paragraph_breaks_no_word_and_no_moment() {
        let text = "On 8 January 2025 at 09:00 UTC, the client accepted the invitation (event 4 of /space).";
        for width in 40..90 {
            let lines = wrapped("    - ", text, Some(width));
            assert!(
                lines.iter().all(|line| line.width() <= width.into()),
                "{width}: {lines:?}"
            );
            assert!(lines[0].starts_with("    - On"), "{lines:?}");
            assert!(
                lines[1..].iter().all(|line| line.starts_with("      ")),
                "{lines:?}"
            );
            let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            assert_eq!(trimmed.join(" "), format!("- {text}"));
            assert!(
                lines
                    .iter()
                    .any(|line| line.contains("8 January 2025 at 09:00 UTC")),
                "{lines:?}"
            );
        }
        assert_eq!(wrapped("  ", text, None), [format!("  {text}")]);
    }

    #[test]
    fn a_command_between_backticks_stays_on_one_line() {
        let text = "it is paused: run `tenure sweep resume access-expiry`, or (`tenure top`) a `word` and one ` more";
        for width in 10..90 {
            let lines = wrapped("tenure: ", text, Some(width));
            for unit in ["`tenure sweep resume access-expiry`,", "(`tenure top`)"] {
                assert!(lines.iter().any(|line| line.contains(unit)), "{width}: {lines:?}");
            }
            let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            assert_eq!(trimmed.join(" "), format!("tenure: {text}"));
        }
    }

    #[test]
    fn rows_that_do_not_fit_become_records() {
        let mut row = rows().remove(0);
        row[2] = "two\nlines".to_owned();
        let text = render(&HEAD, &[row.clone(), row], Some(50), false).to_string();
        let record =
            "client  acme/client-0000000001\ntime    2026-03-01T09:00:00Z\nreason  two\n        lines";
        assert_eq!(text, format!("{record}\n\n{record}"));
        // Outside of a terminal no line is too long.
        assert!(
            render(&HEAD, &rows(), None, false)
                .to_string()
                .contains("first day of the month")
        );
    }

    #[test]
    fn records_break_no_word_and_no_moment_and_fit_the_terminal() {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let mut row = rows().remove(0);
        row[2] = format!("paused on 8 January 2025 at 09:00 UTC for {id}, which is\nnot known");
        for width in 38..60 {
            let text = records(&HEAD, &[row.clone(), row.clone()], width, false).to_string();
            assert!(
                text.lines().all(|line| line.width() <= width.into()),
                "{width}\n{text}"
            );
            for whole in [id, "8 January 2025 at 09:00 UTC", &row[0], &row[1]] {
                assert_eq!(
                    text.lines().filter(|line| line.contains(whole)).count(),
                    2,
                    "{width}: {whole}\n{text}"
                );
            }
        }
        // What is longer than a line stays whole.
        let text = records(&HEAD, &[row], 20, false).to_string();
        assert!(text.lines().any(|line| line == format!("{id},")));
    }

    #[test]
    fn a_table_without_rows_fits_the_terminal() {
        for width in [12, 20, 40] {
            let text = render(&HEAD, &[], Some(width), false).to_string();
            assert!(
                text.lines().all(|line| line.width() <= width.into()),
                "{width}\n{text}"
            );
            assert!(HEAD.iter().all(|heading| text.contains(heading)), "{text}");
        }
        assert!(
            render(&HEAD, &[], None, false).to_string().contains("reason"),
            "outside of a terminal, a table"
        );
    }
}
