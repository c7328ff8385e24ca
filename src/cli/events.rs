//! `tenure ingest` and `tenure publish`: events from a file or standard input, one a line.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::context::{Context, WrongUse};
use super::output;
use crate::broker::publisher::Publisher;
use crate::clock::{Clock, SystemClock};
use crate::domain::Refusal;
use crate::engine::{Answer, Incoming};

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

/// Events in a transaction when a file is taken in.
const BATCH: usize = 2_000;

/// Lines of a file, and how far we are in it.
struct Lines {
    name: String,
    from: Box<dyn AsyncBufRead + Unpin + Send>,
    bar: ProgressBar,
    number: u64,
}

impl Lines {
    async fn open(file: &str, what: &str) -> anyhow::Result<Self> {
        if file == "-" {
            return Ok(Self {
                name: "stdin".into(),
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
            from: Box::new(BufReader::with_capacity(1 << 20, opened)),
            bar: output::bar(about.len(), what),
            number: 0,
        })
    }

    /// The next line that is not empty, with its origin.
    async fn next(&mut self) -> anyhow::Result<Option<(String, Vec<u8>)>> {
        loop {
            let mut line = Vec::new();
            let read = self
                .from
                .read_until(b'\n', &mut line)
                .await
                .with_context(|| format!("{} cannot be read further", self.name))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bar.inc(if self.bar.length().is_some() {
                read as u64
            } else {
                1
            });
            while line.last().is_some_and(u8::is_ascii_whitespace) {
                line.pop();
            }
            if !line.is_empty() {
                return Ok(Some((format!("file:{}:{}", self.name, self.number), line)));
            }
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
    let mut lines = Lines::open(&args.file, "ingesting").await?;
    let engine = context.working_engine().await?;
    let mut tally = Tally::default();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let next = lines.next().await?;
        let ended = next.is_none();
        if let Some((origin, line)) = next {
            let read = context.decoder(engine.now()).line(&origin, &line);
            batch.extend(read.map(|read| read.map_or_else(Incoming::Dead, Incoming::Event)));
        }
        if batch.len() == BATCH || (ended && !batch.is_empty()) {
            for answer in engine.take(std::mem::take(&mut batch)).await? {
                tally.count(answer);
            }
        }
        if ended {
            break;
        }
    }
    lines.bar.finish_and_clear();
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

pub async fn publish(context: &Context, args: PublishArgs) -> anyhow::Result<ExitCode> {
    let Some(url) = &context.settings.broker.url else {
        return Err(WrongUse("there is no broker to publish to: set AMQP_URL or broker.url".into()).into());
    };
    let mut lines = Lines::open(&args.file, "publishing").await?;
    let mut publisher = Publisher::connect(url.reveal(), &context.settings.broker).await?;
    let (mut sent, mut broken) = (0u64, 0u64);
    while let Some((origin, line)) = lines.next().await? {
        let Some(read) = context.decoder(SystemClock.now()).line(&origin, &line) else {
            continue;
        };
        match read {
            Ok(event) => publisher.publish_event(&event, line).await?,
            Err(_) if args.unchecked => publisher.publish_bytes(line).await?,
            Err(letter) => {
                broken += 1;
                output::complain(&format!("{origin}: not published: {}", letter.reason));
                continue;
            }
        }
        sent += 1;
    }
    publisher.finish().await?;
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
