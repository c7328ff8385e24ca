//! `tenure ingest` and `tenure publish`: events from a file or standard input, one a line.

use std::collections::BTreeMap;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use super::context::{Context, WrongUse};
use super::output;
use crate::broker::publisher::Publisher;
use crate::clock::{Clock, SystemClock};
use crate::domain::{Event, Refusal};
use crate::engine::{Answer, Incoming};
use crate::store::DeadLetter;
use crate::wire::{Decoder, Limits};

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// A file with one structured JSON event (CloudEvents) a line; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: String,
}

#[derive(Debug, Args)]
pub struct PublishArgs {
    /// A file with one structured JSON event (CloudEvents) a line; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// Publish lines that cannot be events too, as they are.
    #[arg(long)]
    unchecked: bool,
}

/// Events that are taken at a time when a file is taken in, at least.
const BATCH: usize = 2_000;

/// How long RabbitMQ may take to confirm before we say that we wait for it.
const SLOW: Duration = Duration::from_secs(5);

/// Lines of a file, and how far we are in it.
struct Lines {
    name: String,
    /// Bytes of a line that are held. The rest of a longer one is passed over.
    longest: usize,
    from: Box<dyn AsyncBufRead + Unpin + Send>,
    bar: ProgressBar,
    number: u64,
}

impl Lines {
    async fn open(file: &str, what: &str, longest: usize) -> anyhow::Result<Self> {
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
    async fn next(&mut self) -> anyhow::Result<Option<Line>> {
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
            self.bar.inc(if self.bar.length().is_some() { length } else { 1 });
            let overlong = (line.len() as u64) < length;
            while !overlong && line.last().is_some_and(u8::is_ascii_whitespace) {
                line.pop();
            }
            if !line.is_empty() {
                return Ok(Some(Line {
                    origin: format!("file:{}:{}", self.name, self.number),
                    bytes: line,
                    overlong: overlong.then_some(length),
                }));
            }
        }
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
struct Line {
    origin: String,
    bytes: Vec<u8>,
    /// How long it is where only its beginning is here.
    overlong: Option<u64>,
}

impl Line {
    fn event(&self, decoder: &Decoder) -> Option<Result<Event, DeadLetter>> {
        match self.overlong {
            Some(length) => Some(Err(decoder.overlong(&self.origin, &self.bytes, length))),
            None => decoder.line(&self.origin, &self.bytes),
        }
    }
}

/// What came of a file.
#[derive(Debug, Default, Serialize)]
struct Tally {
    lines: u64,
    applied: u64,
    duplicate: u64,
    refused: BTreeMap<&'static str, u64>,
    dead: u64,
    #[serde(skip)]
    first_dead: Vec<String>,
}

impl Tally {
    fn count(&mut self, answer: Answer) {
        self.lines += 1;
        match answer {
            Answer::Applied => self.applied += 1,
            Answer::Duplicate => self.duplicate += 1,
            Answer::Refused(refusal) => *self.refused.entry(refusal.code()).or_default() += 1,
            Answer::Dead(reason) => {
                self.dead += 1;
                if self.first_dead.len() < 5 {
                    self.first_dead.push(reason);
                }
            }
        }
    }
}

pub async fn ingest(context: &Context, args: IngestArgs) -> anyhow::Result<ExitCode> {
    let longest = longest_line(context);
    let lines = Lines::open(&args.file, "ingesting", longest).await?;
    let engine = context.working_engine().await?;
    let mut tally = Tally::default();
    let longest = engine.best_batch().max(BATCH);
    let mut batch = Vec::with_capacity(longest);
    let bar = lines.bar.clone();
    let (sender, mut read) = mpsc::channel(longest);
    let reading = tokio::spawn(read_ahead(lines, context.limits(), sender));
    loop {
        let missing = longest - batch.len();
        let more = read.recv_many(&mut batch, missing).await > 0;
        if more && batch.len() < longest {
            continue;
        }
        if batch.is_empty() {
            break;
        }
        for answer in engine.take(std::mem::take(&mut batch)).await? {
            tally.count(answer);
        }
    }
    reading.await??;
    bar.finish_and_clear();
    if context.json {
        output::json(&tally)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!(
        "{} events: {} applied, {} had come before, {} refused, {} dead",
        tally.lines,
        tally.applied,
        tally.duplicate,
        tally.refused.values().sum::<u64>(),
        tally.dead
    ));
    if !tally.refused.is_empty() {
        let rows = tally.refused.iter().map(|(code, n)| {
            let words = Refusal::from_code(code).map_or("", Refusal::words);
            vec![(*code).to_owned(), words.to_owned(), n.to_string()]
        });
        output::line(&output::table(&["refused", "because", "events"], rows));
    }
    for reason in &tally.first_dead {
        output::complain(&format!("dead letter: {reason}"));
    }
    if tally.dead > 0 {
        output::complain("`tenure dead list` shows all of them");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads and decodes while those before are taken, until there is no more or nobody takes it.
async fn read_ahead(mut lines: Lines, limits: Limits, into: mpsc::Sender<Incoming>) -> anyhow::Result<()> {
    while let Some(line) = lines.next().await? {
        let Some(read) = line.event(&Decoder::new(limits, SystemClock.now())) else {
            continue;
        };
        if into
            .send(read.map_or_else(Incoming::Dead, Incoming::Event))
            .await
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

/// Longer ones are dead letters; one that is just long enough may end with a carriage return and a line feed.
fn longest_line(context: &Context) -> usize {
    context.settings.events.max_bytes + 2
}

/// Waits for RabbitMQ as long as it takes; when that is long, says so once.
async fn confirmed<T>(waiting: impl Future<Output = T>, told: &mut bool) -> T {
    let mut waiting = pin!(waiting);
    if !*told {
        if let Ok(done) = tokio::time::timeout(SLOW, &mut waiting).await {
            return done;
        }
        *told = true;
        output::complain(
            "RabbitMQ does not confirm; waiting for it. Where it is short of memory or disk it holds publishers back: \
             `rabbitmqctl status` shows its alarms",
        );
    }
    waiting.await
}

pub async fn publish(context: &Context, args: PublishArgs) -> anyhow::Result<ExitCode> {
    let Some(url) = &context.settings.broker.url else {
        return Err(WrongUse("there is no broker to publish to: set AMQP_URL or broker.url".into()).into());
    };
    let mut lines = Lines::open(&args.file, "publishing", longest_line(context)).await?;
    let mut publisher = Publisher::connect(url.reveal(), &context.settings.broker).await?;
    let (mut sent, mut broken) = (0u64, 0u64);
    let mut told = false;
    while let Some(line) = lines.next().await? {
        let Some(read) = line.event(&context.decoder(SystemClock.now())) else {
            continue;
        };
        match read {
            Ok(event) => confirmed(publisher.publish_event(&event, line.bytes), &mut told).await?,
            Err(_) if args.unchecked && line.overlong.is_none() => {
                confirmed(publisher.publish_bytes(line.bytes), &mut told).await?;
            }
            Err(letter) => {
                broken += 1;
                output::complain(&format!("{}: not published: {}", line.origin, letter.reason));
                continue;
            }
        }
        sent += 1;
    }
    confirmed(publisher.finish(), &mut told).await?;
    lines.bar.finish_and_clear();
    if context.json {
        output::json(&serde_json::json!({ "published": sent, "not_published": broken }))?;
    } else {
        output::line(&format!("{sent} events published and confirmed"));
    }
    Ok(if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
