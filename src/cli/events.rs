//! `tenure ingest` and `tenure publish`: events from a file or standard input, one a line.

use std::collections::BTreeMap;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::mpsc;

use super::context::{Context, WrongUse};
use super::lines::Lines;
use super::output;
use crate::broker::publisher::Publisher;
use crate::clock::{Clock, SystemClock};
use crate::domain::Refusal;
use crate::engine::Answer;

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

/// What came of a file.
#[derive(Debug, Default, Serialize)]
struct Tally {
    lines: u64,
    applied: u64,
    duplicate: u64,
    refused: BTreeMap<&'static str, u64>,
    dead: u64,
    deferred: u64,
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
            Answer::Deferred { .. } => self.deferred += 1,
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
    let bar = lines.bar.clone();
    let most = engine.best_batch().max(BATCH);
    let (sender, mut batches) = mpsc::channel(1);
    let reading = tokio::spawn(lines.read_ahead(context.limits(), most, sender));
    while let Some(batch) = batches.recv().await {
        for answer in engine.take(batch.incoming).await? {
            tally.count(answer);
        }
        bar.inc(batch.progress);
    }
    reading.await??;
    bar.finish_and_clear();
    if context.json {
        output::json(&tally)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!(
        "{} events: {} applied, {} had come before, {} refused, {} dead{}",
        tally.lines,
        tally.applied,
        tally.duplicate,
        tally.refused.values().sum::<u64>(),
        tally.dead,
        match tally.deferred {
            0 => String::new(),
            events => format!(", {events} deferred"),
        }
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
    if tally.deferred > 0 {
        output::complain(
            "deferred events are ahead of the clock here; a worker ingests them by itself when their time has come",
        );
    }
    if tally.dead > 0 {
        output::complain("`tenure dead list` shows all of them");
    }
    Ok(ExitCode::SUCCESS)
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
        lines.bar.inc(line.progress);
        let Some(read) = line.event(&context.decoder(SystemClock.now())) else {
            continue;
        };
        match read {
            Ok(event) => confirmed(publisher.publish_event(&event, line.bytes), &mut told).await?,
            Err(_) if args.unchecked && line.is_whole() => {
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
