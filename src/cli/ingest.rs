//! `tenure ingest`: writes events from a file or standard input directly to the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::{Serialize, Serializer};
use tokio::sync::mpsc;

use super::context::Context;
use super::lines::{EventWarning, Lines};
use super::output;
use crate::engine::Outcome;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure ingest events.ndjson\n  gzip -dc events.ndjson.gz | tenure ingest -"
)]
pub struct IngestArgs {
    /// File of CloudEvents in JSON, one per line or in an array; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Exit with 1 if any event was refused or became a dead letter
    #[arg(long)]
    strict: bool,
}

/// Minimum number of events ingested together.
const MIN_BATCH: usize = 2_000;

/// The outcomes of a file.
#[derive(Debug, Default, Serialize)]
struct Tally {
    lines: u64,
    applied: u64,
    duplicate: u64,
    refused: BTreeMap<&'static str, u64>,
    dead: u64,
    deferred: u64,
    /// The first distinct warnings.
    #[serde(serialize_with = "listed")]
    warnings: BTreeMap<Warned, u64>,
    #[serde(skip)]
    first_dead: Vec<String>,
}

/// A warning about events of one source and type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Warned {
    source: Arc<str>,
    #[serde(rename = "type")]
    kind: &'static str,
    warning: String,
}

/// Maximum number of distinct warnings that are counted.
const MAX_WARNINGS: usize = 20;

/// The warnings as a list, each with the number of its events.
fn listed<S: Serializer>(warnings: &BTreeMap<Warned, u64>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Listed<'a> {
        #[serde(flatten)]
        warned: &'a Warned,
        events: u64,
    }
    to.collect_seq(warnings.iter().map(|(warned, events)| Listed {
        warned,
        events: *events,
    }))
}

impl Tally {
    fn warn(&mut self, warning: EventWarning) {
        let warned = Warned {
            source: warning.source,
            kind: warning.kind,
            warning: warning.text,
        };
        if let Some(events) = self.warnings.get_mut(&warned) {
            *events += 1;
        } else if self.warnings.len() < MAX_WARNINGS {
            self.warnings.insert(warned, 1);
        }
    }

    fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// `origin`: the file and the place of the event in it.
    fn count(&mut self, origin: &str, outcome: Outcome) {
        self.lines += 1;
        match outcome {
            Outcome::Applied => self.applied += 1,
            Outcome::Duplicate => self.duplicate += 1,
            Outcome::Refused { refusal, .. } => *self.refused.entry(refusal.code()).or_default() += 1,
            Outcome::Deferred { .. } => self.deferred += 1,
            Outcome::Dead(reason) => {
                self.dead += 1;
                if self.first_dead.len() < 5 {
                    self.first_dead.push(format!("{origin}: {reason}"));
                }
            }
        }
    }
}

pub async fn ingest(context: &Context, args: IngestArgs) -> anyhow::Result<ExitCode> {
    let lines = Lines::open(&args.file, "ingest", "ingesting", max_line(context)).await?;
    let name = lines.name().to_owned();
    let engine = context.working_engine().await?;
    let mut tally = Tally::default();
    let bar = lines.bar.clone();
    let most = engine.best_batch().max(MIN_BATCH);
    let (sender, mut batches) = mpsc::channel(1);
    let reading = tokio::spawn(lines.read_ahead(context.settings.events, most, sender));
    while let Some(mut batch) = batches.recv().await {
        let outcomes = batch.ingest(&engine).await?;
        for (origin, outcome) in batch.origins().zip(outcomes) {
            tally.count(origin, outcome);
        }
        for warning in batch.warnings {
            tally.warn(warning);
        }
        bar.inc(batch.progress);
    }
    bar.finish_and_clear();
    // Before a read error, print the outcomes of the events before it.
    let read = reading.await?;
    if context.is_json() {
        output::json(&tally)?;
    } else {
        print(&tally);
    }
    read?;
    let is_all_dead = tally.lines > 0 && tally.dead == tally.lines;
    let is_strict_failure = args.strict && tally.refused() + tally.dead > 0;
    if is_all_dead {
        output::error_line(format!(
            "{name} contains no valid event: {}; `tenure dead list` shows the reasons",
            output::counted(tally.lines, "dead letter")
        ));
    } else if is_strict_failure {
        output::error_line(format!(
            "not every event of {name} was applied: {} refused, {}",
            tally.refused(),
            output::counted(tally.dead, "dead letter")
        ));
    } else if tally.lines == 0 && !context.is_json() {
        output::error_line(format!("{name} is empty"));
    }
    Ok(if is_all_dead || is_strict_failure {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(tally: &Tally) {
    output::line(format!(
        "{}: {} applied, {}, {} refused, {}{}",
        output::counted(tally.lines, "event"),
        tally.applied,
        output::counted(tally.duplicate, "duplicate"),
        tally.refused(),
        output::counted(tally.dead, "dead letter"),
        match tally.deferred {
            0 => String::new(),
            events => format!(", {events} deferred"),
        }
    ));
    if !tally.refused.is_empty() {
        output::block(output::refusals(&tally.refused));
    }
    for (warned, events) in &tally.warnings {
        output::error_line(format!(
            "warning: {} of {}: {} ({})",
            warned.kind,
            warned.source,
            warned.warning,
            output::counted(events, "event")
        ));
    }
    for dead in &tally.first_dead {
        output::error_line(format!("dead letter: {dead}"));
    }
    if tally.deferred > 0 {
        output::error_line(
            "deferred events are ahead of this machine's clock; a worker ingests them when their time comes",
        );
    }
    if tally.dead > 0 && tally.dead < tally.lines {
        output::error_line("`tenure dead list` shows all dead letters");
    }
}

/// The longest line to read: an event of the maximum size, a carriage return and a line feed.
pub(super) fn max_line(context: &Context) -> usize {
    context.settings.events.max_event_bytes + 2
}
