//! `tenure dead`: lists, shows, redrives and discards dead letters.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::context::{Context, UsageError};
use super::output::{self, Safe};
use crate::domain::time::rfc3339;
use crate::engine::{DeadLetterDetails, DeadLetterView, Discard, Outcome, Redrive};
use crate::store::{DeadLetterFilter, DeadLetterStatus, DeadLetterSummary, Store};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  tenure dead list --status open
  tenure dead show 3
  tenure dead redrive 3")]
pub enum DeadCommand {
    /// List dead letters, oldest first
    #[command(after_help = "Examples:\n  tenure dead list --status open")]
    List(ListArgs),
    /// Show one dead letter with its headers and body
    #[command(after_help = "Examples:\n  tenure dead show 3")]
    Show {
        /// The id of the dead letter, from `tenure dead list`
        id: i64,
    },
    /// Ingest dead letters again, after their cause is fixed
    #[command(after_help = "\
Examples:
  tenure dead redrive 3 4
  tenure dead redrive --all
  tenure dead redrive 3 --edited event.json")]
    Redrive(RedriveArgs),
    /// Mark dead letters as discarded; `tenure dead list` still lists them
    #[command(after_help = "Examples:\n  tenure dead discard 3 --reason \"a test message\"")]
    Discard(WhichArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only dead letters with this status
    #[arg(long)]
    status: Option<StatusArg>,
}

#[derive(Debug, Args)]
pub struct WhichArgs {
    /// The ids of the dead letters, from `tenure dead list`
    #[arg(required_unless_present = "all")]
    ids: Vec<i64>,
    /// All open dead letters
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(Debug, Args)]
pub struct RedriveArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Ingest the edited message in this file as a new event instead; if it is still not valid, nothing changes
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    edited: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArg {
    Open,
    Redriven,
    Discarded,
}

/// Number of dead letters read at a time.
const PAGE: u32 = 500;

pub async fn run(context: &Context, command: DeadCommand) -> anyhow::Result<ExitCode> {
    match command {
        DeadCommand::List(args) => list(context, args).await,
        DeadCommand::Show { id } => show(context, id).await,
        DeadCommand::Redrive(args) => redrive(context, args).await,
        DeadCommand::Discard(which) => discard(context, which).await,
    }
}

async fn list(context: &Context, args: ListArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let status = args.status.map(|status| match status {
        StatusArg::Open => DeadLetterStatus::Open,
        StatusArg::Redriven => DeadLetterStatus::Redriven,
        StatusArg::Discarded => DeadLetterStatus::Discarded,
    });
    let lines = all(engine.store().as_ref(), &DeadLetterFilter { status }).await?;
    if context.is_json() {
        for line in &lines {
            output::json(&DeadLetterView::from(line.clone()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = lines.iter().map(|line| {
        vec![
            line.id.to_string(),
            line.status.as_str().to_owned(),
            rfc3339(line.last_seen_at),
            line.times_seen.to_string(),
            output::moment(line.retry_at.filter(|_| line.status == DeadLetterStatus::Open)),
            output::words(line.source.as_deref()),
            line.origin.clone(),
            line.reason.clone(),
        ]
    });
    let head = [
        "id",
        "status",
        "last seen",
        "times",
        "retried at",
        "source",
        "origin",
        "reason",
    ];
    context.print_rows(&head, rows);
    if context.is_table() {
        output::line(output::counted(lines.len(), "dead letter"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(context: &Context, id: i64) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let Some(record) = engine.store().dead_letter(id).await? else {
        output::error_line(format!("no dead letter {id}; `tenure dead list` lists them"));
        return Ok(ExitCode::FAILURE);
    };
    if context.is_json() {
        output::json(&DeadLetterDetails::from(record))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |name: &str, value: String| vec![Safe::from(name), value.into()];
    let mut rows = vec![
        row("id", record.id.to_string()),
        row("status", record.status.as_str().into()),
        row("reason", record.dead_letter.reason.clone()),
        row("source", output::words(record.dead_letter.source.as_deref())),
        row("origin", record.dead_letter.origin.clone()),
        row("first seen", rfc3339(record.first_seen_at)),
        row("last seen", rfc3339(record.last_seen_at)),
        row("times seen", record.times_seen.to_string()),
        row(
            "content type",
            output::words(record.dead_letter.content_type.as_deref()),
        ),
    ];
    if let Some(at) = record.resolved_at {
        rows.push(row("resolved", rfc3339(at)));
    }
    if let Some(at) = record
        .dead_letter
        .retry_at
        .filter(|_| record.status == DeadLetterStatus::Open)
    {
        rows.push(row("retried at", rfc3339(at)));
    }
    if let (Some(at), Some(redrive_outcome)) = (record.redriven_at, &record.redrive_outcome) {
        rows.push(row(
            "last redriven",
            format!("{}: {redrive_outcome}", rfc3339(at)),
        ));
    }
    let headers = record.dead_letter.headers.iter();
    rows.extend(headers.map(|(name, value)| row(&format!("header {name}"), value.clone())));
    let body = String::from_utf8_lossy(&record.dead_letter.body);
    rows.push(vec!["body".into(), Safe::lines(body.split('\n'))]);
    context.print_rows(&["field", "value"], rows);
    Ok(ExitCode::SUCCESS)
}

async fn redrive(context: &Context, args: RedriveArgs) -> anyhow::Result<ExitCode> {
    let edited = args.edited.as_deref().map(edited).transpose()?;
    if edited.is_some() && args.which.ids.len() != 1 {
        return Err(UsageError("--edited redrives one dead letter; pass one id".into()).into());
    }
    let engine = context.maintaining_engine().await?;
    let authority = context.authority();
    let mut failed = false;
    for id in ids(engine.store().as_ref(), args.which).await? {
        let decoder = context.decoder(engine.clock().present());
        let operator = engine.operator(&authority);
        let redriven = match &edited {
            Some(body) => operator.redrive_edited(id, body.clone(), &decoder).await?,
            None => operator.redrive(id, &decoder).await?,
        };
        let Some((word, mut why)) = redriven.refusal() else {
            if let Redrive::Now(outcomes) = redriven {
                failed |= report(context, id, outcomes)?;
            }
            continue;
        };
        if edited.is_some() {
            why.push_str("; the edited message was not ingested");
        }
        // A dead letter that was redriven before is resolved. But an edited message is lost.
        failed |= edited.is_some() || !matches!(redriven, Redrive::Done(_));
        print_outcome(context, id, word, &why)?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The message in a file.
fn edited(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Prints the outcome of each event of a dead letter. True: at least one is still a dead letter.
fn report(context: &Context, id: i64, outcomes: Vec<Outcome>) -> anyhow::Result<bool> {
    let mut dead = false;
    for each in outcomes {
        dead |= matches!(each, Outcome::Dead(_) | Outcome::Deferred { .. });
        match each {
            Outcome::Applied => print_outcome(context, id, "applied", "")?,
            Outcome::Duplicate => print_outcome(context, id, "duplicate", "")?,
            Outcome::Refused { refusal, .. } => print_outcome(context, id, "refused", refusal.code())?,
            Outcome::Dead(reason) => print_outcome(context, id, "dead", &reason)?,
            Outcome::Deferred { reason, .. } => print_outcome(context, id, "deferred", &reason)?,
        }
    }
    Ok(dead)
}

async fn discard(context: &Context, which: WhichArgs) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let authority = context.asked_authority();
    let mut failed = false;
    for id in ids(engine.store().as_ref(), which).await? {
        let discarded = engine.operator(&authority).discard_dead_letter(id).await?;
        failed |= matches!(discarded, Discard::Unknown | Discard::Redriven(_));
        let (outcome, reason) = discarded.refusal().unwrap_or(("discarded", String::new()));
        print_outcome(context, id, outcome, &reason)?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Prints the outcome of one dead letter.
fn print_outcome(context: &Context, id: i64, outcome: &str, reason: &str) -> anyhow::Result<()> {
    if context.is_json() {
        return output::json(&json!({ "id": id, "outcome": outcome, "reason": reason }));
    }
    output::line(match reason {
        "" => format!("{id}: {outcome}"),
        reason => format!("{id}: {outcome}: {reason}"),
    });
    Ok(())
}

async fn ids(store: &dyn Store, which: WhichArgs) -> anyhow::Result<Vec<i64>> {
    if !which.all {
        if which.ids.is_empty() {
            return Err(UsageError("no dead letters selected; pass their ids or --all".into()).into());
        }
        return Ok(which.ids);
    }
    let open = DeadLetterFilter {
        status: Some(DeadLetterStatus::Open),
    };
    Ok(all(store, &open)
        .await?
        .into_iter()
        .map(|record| record.id)
        .collect())
}

async fn all(store: &dyn Store, filter: &DeadLetterFilter) -> anyhow::Result<Vec<DeadLetterSummary>> {
    let mut records: Vec<DeadLetterSummary> = Vec::new();
    loop {
        let after = records.last().map_or(0, |record| record.id);
        let page = store.dead_letters(filter, after, PAGE).await?;
        let ended = page.len() < PAGE as usize;
        records.extend(page);
        if ended {
            return Ok(records);
        }
    }
}
