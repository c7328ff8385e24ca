//! What people read (tables, bars) and what programs read (JSON).
//!
//! Everything that a command prints passes through here, and leaves it without characters that a terminal would obey: see
//! [`crate::escape`].

use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::domain::time::rfc3339;
use crate::escape::{self, visible};

/// Text that is safe to print. Text that others have written becomes so by being turned into it.
#[derive(Clone, Debug)]
pub struct Safe(String);

impl From<&str> for Safe {
    /// One line, whatever is in it.
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
    /// Several lines, each of them safe.
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

/// Prints a line, or what is safe and may have several. A reader that has gone away (`| head`) is no failure.
pub fn line(text: impl Into<Safe>) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.into());
}

/// Says on standard error what went wrong. Nobody may be there to read it (`2>&1 | head`), and that is no
/// failure either.
pub fn complain(text: impl Into<Safe>) {
    let _ = writeln!(std::io::stderr().lock(), "tenure: {}", text.into());
}

/// Prints one JSON object on one line.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(json_line(&serde_json::to_value(value)?));
    Ok(())
}

/// JSON on one line.
pub fn json_line(value: &serde_json::Value) -> Safe {
    Safe(escape::json(&value.to_string()).into_owned())
}

/// A table for people; without rows, only its head. A cell of text is one line, whatever is in it.
pub fn table<C: Into<Safe>>(head: &[&str], rows: impl IntoIterator<Item = Vec<C>>) -> Safe {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| cell.into().0));
    }
    Safe(table.to_string())
}

/// A bar on standard error; nothing where that is no terminal.
pub fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {bar:40} {percent:>3}% {pos}/{len} {per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length)
        .with_style(style)
        .with_message(what.to_owned())
}

/// A count without a known end.
pub fn spinner(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {spinner} {pos} {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner()
        .with_style(style)
        .with_message(what.to_owned())
}

/// How far a long command has come, on standard error: a running count on a terminal, elsewhere a plain line now
/// and then.
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    told: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(10);

    pub fn new(what: &'static str) -> Self {
        Self {
            bar: spinner(what),
            what,
            told: Instant::now(),
        }
    }

    /// So many are done; the last was this.
    pub fn tick(&mut self, done: u64, last: &impl Display) {
        self.bar.set_position(done);
        if self.bar.is_hidden() && self.told.elapsed() >= Self::EVERY {
            complain(format!("{done} {}, up to {last}", self.what));
            self.told = Instant::now();
        }
    }

    /// Writes something else, without the count in the way.
    pub fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A moment for people, or a dash.
pub fn moment(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "-".into(), rfc3339)
}

/// A few words, or a dash.
pub fn words(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}
