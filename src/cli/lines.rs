//! Reads events from a file or standard input, one per line or as values of JSON over several lines.

use std::fmt::Display;
use std::io::Cursor;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::context::UsageError;
use super::input::{self, BYTE_ORDER_MARK, LineScan, Scan, Shape};
use super::{output, shell};
use crate::clock::{Clock, SystemClock};
use crate::domain::Event;
use crate::engine::{DryRun, Engine, Incoming, Outcome};
use crate::store::{DeadLetter, StoreError};
use crate::wire::{Decoded, Decoder, Limits, dead_event};

/// Bytes of lines after which a batch is full.
const BATCH_BYTES: usize = 64 << 20;
/// How long to wait for the next line before ingesting a partial batch.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a line may wait for others.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The events of a file as bytes, and the position in it.
pub(super) struct Lines {
    name: String,
    /// Maximum number of bytes read of an event; the rest of a longer one is skipped.
    max_line: usize,
    from: Box<dyn AsyncBufRead + Unpin + Send>,
    pub bar: ProgressBar,
    shape: Shape,
    /// Number of lines or values so far.
    number: u64,
    /// Number of values on this line before the next one.
    before: u64,
    line_scan: LineScan,
    /// The first bytes of the next value, up to the limit, and its length so far.
    line: Vec<u8>,
    length: u64,
    /// Progress by the bytes between events.
    passed: u64,
    value: Value,
}

/// The position in a file of values.
#[derive(Default)]
struct Value {
    in_array: bool,
    /// The unfinished value.
    scan: Option<Scan>,
}

impl Lines {
    /// Opens a file and detects its shape. `command` is named in advice, `label` on the progress bar.
    pub async fn open(file: &Path, command: &str, label: &str, max_line: usize) -> anyhow::Result<Self> {
        if file == Path::new("-") {
            let from = BufReader::new(tokio::io::stdin());
            return Self::of("stdin", None, command, max_line, from, output::spinner(label)).await;
        }
        let name = file.display().to_string();
        let unreadable = |why: &dyn Display| UsageError(format!("cannot read {name}: {why}"));
        let opened = tokio::fs::File::open(file)
            .await
            .map_err(|error| unreadable(&error))?;
        let about = opened.metadata().await?;
        if about.is_dir() {
            return Err(unreadable(&"it is a directory").into());
        }
        let bar = if about.is_file() {
            output::bar(about.len(), label)
        } else {
            output::spinner(label)
        };
        let from = BufReader::with_capacity(1 << 20, opened);
        let quoted = shell::quoted(file.as_os_str());
        Self::of(&name, Some(&quoted), command, max_line, from, bar).await
    }

    async fn of(
        name: &str,
        file: Option<&str>,
        command: &str,
        max_line: usize,
        mut from: impl AsyncBufRead + Unpin + Send + 'static,
        bar: ProgressBar,
    ) -> anyhow::Result<Self> {
        let recognized = input::recognize(&mut from)
            .await
            .map_err(|error| UsageError(format!("cannot read {name}: {error}")))?;
        let (shape, head) = recognized.map_err(|foreign| {
            UsageError(format!("cannot read {name}: {}", foreign.advice(file, command)))
        })?;
        Ok(Self {
            name: name.to_owned(),
            max_line,
            from: Box::new(Cursor::new(head).chain(from)),
            bar,
            shape,
            number: 0,
            before: 0,
            line_scan: LineScan::default(),
            line: Vec::new(),
            length: 0,
            passed: 0,
            value: Value::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next event as bytes. Cancel-safe: bytes already read stay for the next call.
    pub async fn next(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            let read = match self.shape {
                Shape::Lines(end) => self.read_line(end).await,
                Shape::Values => self.read_value().await.map(|()| true),
            };
            let is_last = read.with_context(|| format!("cannot read the rest of {}", self.name))?;
            let (mut line, length) = (mem::take(&mut self.line), mem::take(&mut self.length));
            if length == 0 {
                return self.at_end();
            }
            let origin = self.origin();
            self.count(is_last);
            self.passed += if self.bar.length().is_some() { length } else { 1 };
            let overlong = (line.len() as u64) < length;
            while !overlong && line.last().is_some_and(|&byte| input::is_between(byte)) {
                line.pop();
            }
            let start = line.iter().position(|&byte| byte != input::RECORD_SEPARATOR);
            line.drain(..start.unwrap_or(line.len()));
            if !line.is_empty() {
                return Ok(Some(Line {
                    origin,
                    bytes: line,
                    overlong: overlong.then_some(length),
                    progress: mem::take(&mut self.passed),
                }));
            }
        }
    }

    fn at_end(&self) -> anyhow::Result<Option<Line>> {
        if self.value.in_array {
            anyhow::bail!(
                "{} ends inside an array after {}: the file is truncated. The events before its end were \
                 processed; it is safe to run this again with the complete file",
                self.name,
                output::counted(self.number, "event")
            );
        }
        Ok(None)
    }

    fn origin(&self) -> String {
        let (name, number) = (&self.name, self.number + 1);
        match (self.shape, self.before) {
            (Shape::Lines(_), 0) => format!("file:{name}:{number}"),
            (Shape::Lines(_), before) => format!("file:{name}:{number}[{}]", before + 1),
            (Shape::Values, _) => format!("file:{name}:[{number}]"),
        }
    }

    /// Counts a value, and its line when it is the last one there.
    fn count(&mut self, is_last: bool) {
        if is_last {
            self.number += 1;
            self.before = 0;
        } else {
            self.before += 1;
        }
    }

    /// Skips events, and returns the number skipped.
    pub async fn skip(&mut self, events: u64) -> anyhow::Result<u64> {
        for skipped in 0..events {
            let Some(line) = self.next().await? else {
                return Ok(skipped);
            };
            self.bar.inc(line.progress);
        }
        Ok(events)
    }

    /// Reads to the end of a line, or to the next object on the line, and keeps up to `max_line` bytes. Returns whether the
    /// line has ended.
    async fn read_line(&mut self, end: u8) -> std::io::Result<bool> {
        loop {
            let there = self.from.fill_buf().await?;
            let line_end = there.iter().position(|&byte| byte == end);
            let part = &there[..line_end.map_or(there.len(), |end| end + 1)];
            let value_end = part.iter().position(|&byte| self.line_scan.is_over_before(byte));
            let part = &part[..value_end.unwrap_or(part.len())];
            let room = self.max_line.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let (read, is_end) = (part.len(), there.is_empty());
            self.length += read as u64;
            self.from.consume(read);
            if value_end.is_some() || line_end.is_some() || is_end {
                self.line_scan = LineScan::default();
                return Ok(value_end.is_none());
            }
        }
    }

    /// Reads to the end of a value, and stores up to `max_line` bytes of it.
    async fn read_value(&mut self) -> std::io::Result<()> {
        loop {
            let there = self.from.fill_buf().await?;
            if there.is_empty() {
                self.value.scan = None;
                return Ok(());
            }
            let mut read = 0;
            let mut is_over = false;
            for &byte in there {
                if self.value.scan.is_some_and(|scan| scan.is_over_before(byte)) {
                    is_over = true;
                    break;
                }
                read += 1;
                if self.value.is_between(byte) {
                    self.passed += u64::from(self.bar.length().is_some());
                    continue;
                }
                self.length += 1;
                if self.line.len() < self.max_line {
                    self.line.push(byte);
                }
                let is_ended = self.value.scan.get_or_insert_default().ends_with(byte);
                if self.line == BYTE_ORDER_MARK {
                    self.line.clear();
                    let length = mem::take(&mut self.length);
                    self.passed += self.bar.length().map_or(0, |_| length);
                    self.value.scan = None;
                } else if is_ended {
                    is_over = true;
                    break;
                }
            }
            self.from.consume(read);
            if is_over {
                self.value.scan = None;
                return Ok(());
            }
        }
    }

    /// Reads and decodes batches ahead of the receiver, until the end of the file or until the receiver is gone.
    pub async fn read_ahead(
        mut self,
        limits: Limits,
        most: usize,
        into: mpsc::Sender<Batch>,
    ) -> anyhow::Result<()> {
        while let Ok(slot) = into.reserve().await {
            let mut batch = Batch::default();
            let filled = self.fill(&mut batch, limits, most).await;
            // A read error comes after the events before it.
            slot.send(batch);
            if !filled? {
                break;
            }
        }
        Ok(())
    }

    /// Adds lines to a batch until it is full or the input pauses. False: the file has ended.
    async fn fill(&mut self, batch: &mut Batch, limits: Limits, most: usize) -> anyhow::Result<bool> {
        let Some(first) = self.next().await? else {
            return Ok(false);
        };
        batch.add(first, limits);
        let begun = Instant::now();
        while batch.incoming.len() < most && batch.bytes < BATCH_BYTES {
            let waited = (Instant::now() + PAUSE).min(begun + MAX_WAIT);
            let Ok(next) = timeout_at(waited, self.next()).await else {
                break;
            };
            let Some(line) = next? else {
                return Ok(false);
            };
            batch.add(line, limits);
        }
        Ok(true)
    }
}

impl Value {
    /// Whether a byte stands between values. Enters and leaves arrays of events.
    fn is_between(&mut self, byte: u8) -> bool {
        if self.scan.is_some() {
            return false;
        }
        match byte {
            b'[' if !self.in_array => self.in_array = true,
            b']' if self.in_array => self.in_array = false,
            b',' if self.in_array => {}
            byte => return input::is_between(byte),
        }
        true
    }
}

/// An event as bytes of a file.
pub(super) struct Line {
    pub origin: String,
    pub bytes: Vec<u8>,
    /// The full length of an event that was truncated.
    overlong: Option<u64>,
    /// Progress by this event and the empty lines before it.
    pub progress: u64,
}

impl Line {
    pub fn event(&self, decoder: &Decoder) -> Option<Result<Decoded, DeadLetter>> {
        match self.overlong {
            Some(length) => Some(Err(decoder.overlong(&self.origin, &self.bytes, length))),
            None => decoder.line(&self.origin, &self.bytes),
        }
    }

    pub fn is_whole(&self) -> bool {
        self.overlong.is_none()
    }
}

/// A warning about the data of an event.
pub(super) struct EventWarning {
    /// The place of the event in its batch.
    pub place: usize,
    pub source: Arc<str>,
    /// The type of the event.
    pub kind: &'static str,
    pub text: String,
}

/// What became of an event of a file.
pub(super) struct Examined {
    /// The file and the place in it.
    pub origin: String,
    /// None: it is not a valid event.
    pub event: Option<Event>,
    pub outcome: Outcome,
    pub warnings: Vec<String>,
}

/// Events that are ingested together.
#[derive(Default)]
pub(super) struct Batch {
    incoming: Vec<Incoming>,
    /// The message of each: its origin and its bytes. No bytes for one that is a dead letter already.
    messages: Vec<(String, Vec<u8>)>,
    /// The events that are ahead of the clock, each with its place in the batch.
    early: Vec<(usize, Event)>,
    pub warnings: Vec<EventWarning>,
    /// Progress by these events.
    pub progress: u64,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, line: Line, limits: Limits) {
        self.progress += line.progress;
        self.bytes += line.bytes.len();
        let decoder = Decoder::new(limits, SystemClock.now());
        let Some(read) = line.event(&decoder) else {
            return;
        };
        let mut message = (line.origin, Vec::new());
        match &read {
            Ok(valid) => {
                self.warn(valid);
                message.1 = line.bytes;
            }
            Err(dead) => {
                if let Some(early) = decoder.early(dead) {
                    self.warn(&early);
                    self.early.push((self.incoming.len(), early.event));
                }
            }
        }
        self.messages.push(message);
        self.incoming.push(Incoming::from(read));
    }

    /// Adds the warnings of the next event.
    fn warn(&mut self, Decoded { event, warnings }: &Decoded) {
        let place = self.incoming.len();
        self.warnings.extend(warnings.iter().map(|warning| EventWarning {
            place,
            source: event.source.clone(),
            kind: event.kind.type_name(),
            text: warning.to_string(),
        }));
    }

    /// Examines the events in a dry run.
    pub async fn examine(self, dry_run: &DryRun) -> Result<Vec<Examined>, StoreError> {
        let event = |incoming: &Incoming| match incoming {
            Incoming::Event(event) => Some(event.clone()),
            Incoming::Dead(_) => None,
        };
        let events: Vec<Option<Event>> = self.incoming.iter().map(event).collect();
        let outcomes = dry_run.examine(self.incoming).await?;
        let origins = self.messages.into_iter().map(|(origin, _)| origin);
        let mut examined: Vec<Examined> = origins
            .zip(events)
            .zip(outcomes)
            .map(|((origin, event), outcome)| Examined {
                origin,
                event,
                outcome,
                warnings: Vec::new(),
            })
            .collect();
        for (place, event) in self.early {
            examined[place].event = Some(event);
        }
        for warning in self.warnings {
            examined[warning.place].warnings.push(warning.text);
        }
        Ok(examined)
    }

    /// The file and the place in it of each event.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().map(|(origin, _)| origin.as_str())
    }

    /// Ingests the events, and returns their outcomes.
    pub async fn ingest(&mut self, engine: &Engine) -> Result<Vec<Outcome>, StoreError> {
        let messages = &self.messages;
        let dead = |place: usize, reason: &str| {
            let (origin, bytes) = &messages[place];
            dead_event(origin, bytes, reason)
        };
        engine
            .ingest_messages(mem::take(&mut self.incoming), &dead, None)
            .await
    }
}
