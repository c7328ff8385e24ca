//! Lines of a file or of standard input, and the events that they are.

use std::mem;
use std::pin::pin;
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
}

impl Lines {
    pub async fn open(file: &str, what: &str, longest: usize) -> anyhow::Result<Self> {
        if file == "-" {
            return Ok(Self {
                name: "stdin".into(),
                longest,
                from: Box::new(BufReader::new(tokio::io::stdin())),
                bar: output::spinner(what),
                number: 0,
            });
        }
        let opened = tokio::fs::File::open(file)
            .await
            .map_err(|error| WrongUse(format!("{file} cannot be read: {error}")))?;
        let about = opened.metadata().await?;
        if about.is_dir() {
            return Err(WrongUse(format!("{file} cannot be read: it is a folder")).into());
        }
        Ok(Self {
            name: file.to_owned(),
            longest,
            from: Box::new(BufReader::with_capacity(1 << 20, opened)),
            bar: output::bar(about.len(), what),
            number: 0,
        })
    }

    /// The next line that is not empty.
    pub async fn next(&mut self) -> anyhow::Result<Option<Line>> {
        let mut progress = 0;
        loop {
            let mut line = Vec::new();
            let length = self
                .read(&mut line)
                .await
                .with_context(|| format!("{} cannot be read further", self.name))?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            progress += if self.bar.length().is_some() { length } else { 1 };
            let overlong = (line.len() as u64) < length;
            while !overlong && line.last().is_some_and(u8::is_ascii_whitespace) {
                line.pop();
            }
            if !line.is_empty() {
                return Ok(Some(Line {
                    origin: format!("file:{}:{}", self.name, self.number),
                    bytes: line,
                    overlong: overlong.then_some(length),
                    progress,
                }));
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
        let mut ended = None;
        while ended.is_none() {
            let Ok(mut slot) = into.reserve().await else {
                break;
            };
            let (mut batch, mut bytes) = (Batch::default(), 0);
            let mut begun = Instant::now();
            while batch.incoming.len() < most && bytes < BATCH_BYTES {
                let next = {
                    let mut next = pin!(self.next());
                    if batch.incoming.is_empty() {
                        begun = Instant::now();
                    }
                    match timeout_at((Instant::now() + PAUSE).min(begun + PATIENCE), &mut next).await {
                        Ok(next) => next,
                        Err(_) if batch.incoming.is_empty() => next.await,
                        // Whoever writes this, writes slowly.
                        Err(_) => {
                            slot.send(mem::take(&mut batch));
                            bytes = 0;
                            let Ok(another) = into.reserve().await else {
                                return Ok(());
                            };
                            slot = another;
                            next.await
                        }
                    }
                };
                let line = match next {
                    Ok(Some(line)) => line,
                    // What was read is taken first.
                    last => {
                        ended = Some(last.map(drop));
                        break;
                    }
                };
                batch.progress += line.progress;
                bytes += line.bytes.len();
                let read = line.event(&Decoder::new(limits, SystemClock.now()));
                batch
                    .incoming
                    .extend(read.map(|read| read.map_or_else(Incoming::Dead, Incoming::Event)));
            }
            slot.send(batch);
        }
        ended.unwrap_or(Ok(()))
    }

    /// Reads up to the end of a line, keeps its beginning, and tells its length.
    async fn read(&mut self, line: &mut Vec<u8>) -> std::io::Result<u64> {
        let mut length = 0;
        loop {
            let there = self.from.fill_buf().await?;
            let end = there.iter().position(|&byte| byte == b'\n');
            let part = &there[..end.map_or(there.len(), |end| end + 1)];
            line.extend_from_slice(&part[..part.len().min(self.longest.saturating_sub(line.len()))]);
            let read = part.len();
            length += read as u64;
            self.from.consume(read);
            if end.is_some() || read == 0 {
                return Ok(length);
            }
        }
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
}
