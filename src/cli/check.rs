//! `tenure check`: what would become of the events in a file, without storing them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use tokio::sync::mpsc;

use super::context::{Context, UsageError};
use super::ingest::max_line;
use super::lines::{Examined, Lines};
use super::output;
use crate::clock::SystemClock;
use crate::domain::time::rfc3339;
use crate::engine::{DryRun, Outcome};
use crate::store::SchemaState;

/// Events that are read ahead.
const BATCH: usize = 1_000;

#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 1 if any event would not be applied.\n\nExamples:\n  tenure check events.ndjson\n  tenure check --empty events.ndjson\n  tenure check --json - < events.ndjson"
)]
pub struct CheckArgs {
    /// File of CloudEvents in JSON, one per line or in an array; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check as if nothing were stored, with the policy in the settings. Needs no store
    #[arg(long)]
    empty: bool,
}

/// What would become of an event, as a line of JSON.
#[derive(Serialize)]
struct Checked<'a> {
    /// The file and the line, or the place in the array.
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    outcome: &'static str,
    /// Of a refusal, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// The client of the same partner that would have the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflicts_with: Option<&'a str>,
    /// When a worker would ingest a deferred event.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

/// The columns of comma-separated values.
const HEAD: [&str; 11] = [
    "origin",
    "source",
    "id",
    "type",
    "subject",
    "outcome",
    "code",
    "reason",
    "conflicts_with",
    "until",
    "warnings",
];

impl<'a> Checked<'a> {
    fn of(examined: &'a Examined) -> Self {
        let event = examined.event.as_ref();
        let mut checked = Self {
            origin: &examined.origin,
            source: event.map(|event| &*event.source),
            id: event.map(|event| &*event.id),
            kind: event.map(|event| event.kind.type_name()),
            subject: event.map(|event| event.key.to_string()),
            outcome: "applied",
            code: None,
            reason: None,
            conflicts_with: None,
            until: None,
            warnings: &examined.warnings,
        };
        match &examined.outcome {
            Outcome::Applied => {}
            Outcome::Duplicate => checked.outcome = "duplicate",
            Outcome::Refused {
                refusal,
                conflicts_with,
            } => {
                checked.outcome = "refused";
                checked.code = Some(refusal.code());
                checked.reason = Some(refusal.words());
                checked.conflicts_with = conflicts_with.as_deref();
            }
            Outcome::Dead(reason) => {
                checked.outcome = "dead";
                checked.reason = Some(reason);
            }
            Outcome::Deferred { until, reason } => {
                checked.outcome = "deferred";
                checked.reason = Some(reason);
                checked.until = Some(rfc3339(*until));
            }
        }
        checked
    }

    /// Under [`HEAD`].
    fn row(&self) -> Vec<String> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        vec![
            self.origin.to_owned(),
            text(self.source),
            text(self.id),
            text(self.kind),
            text(self.subject.as_deref()),
            self.outcome.to_owned(),
            text(self.code),
            text(self.reason),
            text(self.conflicts_with),
            text(self.until.as_deref()),
            self.warnings.join("; "),
        ]
    }

    /// In one line, for people.
    fn line(&self) -> String {
        let mut line = format!("{} {}", self.origin, self.outcome);
        if let (Some(kind), Some(subject)) = (self.kind, &self.subject) {
            let _ = write!(line, " {kind} {subject}");
        }
        if let Some(reason) = self.reason {
            let _ = write!(line, ": {reason}");
        }
        if let Some(code) = self.code {
            let _ = write!(line, " ({code})");
        }
        if let Some(other) = self.conflicts_with {
            let _ = write!(line, "; client {other} has the name");
        }
        for warning in self.warnings {
            let _ = write!(line, "; warning: {warning}");
        }
        line
    }
}

/// The numbers of events by outcome.
#[derive(Default)]
struct Sums {
    events: u64,
    applied: u64,
    duplicate: u64,
    refused: u64,
    dead: u64,
    deferred: u64,
    /// Events with warnings.
    warned: u64,
}

impl Sums {
    fn count(&mut self, examined: &Examined) {
        self.events += 1;
        self.warned += u64::from(!examined.warnings.is_empty());
        *match &examined.outcome {
            Outcome::Applied => &mut self.applied,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Refused { .. } => &mut self.refused,
            Outcome::Dead(_) => &mut self.dead,
            Outcome::Deferred { .. } => &mut self.deferred,
        } += 1;
    }

    fn line(&self) -> String {
        format!(
            "{}: {} would be applied, {}, {} refused, {}, {} deferred",
            output::counted(self.events, "event"),
            self.applied,
            output::counted(self.duplicate, "duplicate"),
            self.refused,
            output::counted(self.dead, "dead letter"),
            self.deferred
        )
    }
}

pub async fn check(context: &Context, args: CheckArgs) -> anyhow::Result<ExitCode> {
    let lines = Lines::open(&args.file, "check", "checking", max_line(context)).await?;
    let name = lines.name().to_owned();
    let dry_run = start(context, args.empty).await?;
    let mut sums = Sums::default();
    context.print_csv_head(&HEAD);
    let bar = lines.bar.clone();
    let (sender, mut batches) = mpsc::channel(1);
    let reading = tokio::spawn(lines.read_ahead(context.settings.events, BATCH, sender));
    while let Some(batch) = batches.recv().await {
        let progress = batch.progress;
        for examined in batch.examine(&dry_run).await? {
            sums.count(&examined);
            let checked = Checked::of(&examined);
            bar.suspend(|| {
                if context.is_json() {
                    return output::json(&checked);
                }
                if context.is_csv() {
                    context.print_more_rows(&[], [checked.row()]);
                } else {
                    output::line(checked.line());
                }
                Ok(())
            })?;
        }
        bar.inc(progress);
    }
    bar.finish_and_clear();
    dry_run.close().await;
    // Before a read error, print what is known of the events before it.
    let read = reading.await?;
    context.print_summary(&sums.line());
    read?;
    if sums.events == 0 {
        output::error_line(format!("{name} is empty"));
    }
    Ok(if sums.applied == sums.events {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn start(context: &Context, is_empty: bool) -> anyhow::Result<DryRun> {
    if is_empty {
        let policy = context.settings.policy();
        return Ok(DryRun::empty(Arc::new(SystemClock), &policy).await?);
    }
    if context.store()?.schema().await? == SchemaState::Missing
        && let Err(error) = context.existing().await
    {
        return Err(UsageError(format!(
            "{error}. To check as if nothing were stored, add --empty"
        ))
        .into());
    }
    Ok(DryRun::over(Arc::new(context.engine().await?)).await?)
}
