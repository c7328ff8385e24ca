//! Lines of a file or of standard input, and the events that they are.

use std::mem;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::context::WrongUse;
use super::output;
use crate::clock::{Clock, SystemClock};
use crate::domain::Event;
use crate::engine::Incoming;
use crate::store::DeadLetter;
use crate::wire::{Decoder, Limits};

/// Bytes of lines in a batch, or one line more.
const BATCH_BYTES: usize = 64 << 20;
/// How long nothing may come before what is there is taken.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a line may wait for others to be taken with.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines of a file, and how far we are in it.
pub(super) struct Lines {
    name: String,
    /// Bytes of a line that are held. The rest of a longer one is passed over.
    longest: usize,
    from: Box<dyn AsyncBufRead + Unpin + Send>,
    pub bar: ProgressBar,
    number: u64,
    /// What was read of the next line, and how long it is so far.
    line: Vec<u8>,
    length: u64,
    /// How much further the bar is behind the lines that were empty.
    passed: u64,
}

impl Lines {
    pub async fn open(file: &str, what: &str, longest: usize) -> anyhow::Result<Self> {
        if file == "-" {
            let from = BufReader::new(tokio::io::stdin());
            return Ok(Self::new("stdin", longest, from, output::spinner(what)));
        }
        let opened = tokio::fs::File::open(file)
            .await
            .map_err(|error| WrongUse(format!("{file} cannot be read: {error}")))?;
        let about = opened.metadata().await?;
        if about.is_dir() {
            return Err(WrongUse(format!("{file} cannot be read: it is a folder")).into());
        }
        let from = BufReader::with_capacity(1 << 20, opened);
        Ok(Self::new(file, longest, from, output::bar(about.len(), what)))
    }

    fn new(
        name: &str,
        longest: usize,
        from: impl AsyncBufRead + Unpin + Send + 'static,
        bar: ProgressBar,
    ) -> Self {
        Self {
            name: name.to_owned(),
            longest,
            from: Box::new(from),
            bar,
            number: 0,
            line: Vec::new(),
            length: 0,
            passed: 0,
        }
    }

    /// The next line that is not empty. Cancel-safe: what was read of it stays for the next call.
    pub async fn next(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            self.read()
                .await
                .with_context(|| format!("{} cannot be read further", self.name))?;
            let (mut line, length) = (mem::take(&mut self.line), mem::take(&mut self.length));
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.passed += if self.bar.length().is_some() { length } else { 1 };
            let overlong = (line.len() as u64) < length;
            while !overlong && line.last().is_some_and(u8::is_ascii_whitespace) {
                line.pop();
            }
            if !line.is_empty() {
                return Ok(Some(Line {
                    origin: format!("file:{}:{}", self.name, self.number),
                    bytes: line,
                    overlong: overlong.then_some(length),
                    progress: mem::take(&mut self.passed),
                }));
            }
        }
    }

    /// Reads up to the end of a line, and keeps its beginning.
    async fn read(&mut self) -> std::io::Result<()> {
        loop {
            let there = self.from.fill_buf().await?;
            let end = there.iter().position(|&byte| byte == b'\n');
            let part = &there[..end.map_or(there.len(), |end| end + 1)];
            let room = self.longest.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let read = part.len();
            self.length += read as u64;
            self.from.consume(read);
            if end.is_some() || read == 0 {
                return Ok(());
            }
        }
    }

    /// Reads and decodes the next batch of at most so many while the one before is taken, until there is no more or nobody
    /// takes it.
    pub async fn read_ahead(
        mut self,
        limits: Limits,
        most: usize,
        into: mpsc::Sender<Batch>,
    ) -> anyhow::Result<()> {
        while let Ok(slot) = into.reserve().await {
            let mut batch = Batch::default();
            let filled = self.fill(&mut batch, limits, most).await;
            // What was read before a failure is taken, too.
            slot.send(batch);
            if !filled? {
                break;
            }
        }
        Ok(())
    }

    /// Adds lines to a batch until it is full, or they come slowly. Whether there may be more.
    async fn fill(&mut self, batch: &mut Batch, limits: Limits, most: usize) -> anyhow::Result<bool> {
        let Some(first) = self.next().await? else {
            return Ok(false);
        };
        batch.add(&first, limits);
        let begun = Instant::now();
        while batch.incoming.len() < most && batch.bytes < BATCH_BYTES {
            let waited = (Instant::now() + PAUSE).min(begun + PATIENCE);
            let Ok(next) = timeout_at(waited, self.next()).await else {
                break;
            };
            let Some(line) = next? else {
                return Ok(false);
            };
            batch.add(&line, limits);
        }
        Ok(true)
    }
}

/// A line of a file.
pub(super) struct Line {
    pub origin: String,
    pub bytes: Vec<u8>,
    /// How long it is where only its beginning is here.
    overlong: Option<u64>,
    /// How much further the bar is behind it, and behind the empty lines before it.
    pub progress: u64,
}

impl Line {
    pub fn event(&self, decoder: &Decoder) -> Option<Result<Event, DeadLetter>> {
        match self.overlong {
            Some(length) => Some(Err(decoder.overlong(&self.origin, &self.bytes, length))),
            None => decoder.line(&self.origin, &self.bytes),
        }
    }

    pub fn is_whole(&self) -> bool {
        self.overlong.is_none()
    }
}

/// Lines that are taken together.
#[derive(Default)]
pub(super) struct Batch {
    pub incoming: Vec<Incoming>,
    /// How much further the bar is when they are taken.
    pub progress: u64,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, line: &Line, limits: Limits) {
        self.progress += line.progress;
        self.bytes += line.bytes.len();
        let read = line.event(&Decoder::new(limits, SystemClock.now()));
        self.incoming
            .extend(read.map(|read| read.map_or_else(Incoming::Dead, Incoming::Event)));
    }
}
