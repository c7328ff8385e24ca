//! `tenure sweep NAME [--dry-run] [--now T]`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;

use super::context::{Context, WrongUse};
use super::output;
use crate::domain::view::rfc3339;
use crate::domain::{ClientKey, Entry, Sweep};
use crate::engine::SweepOptions;
use crate::telemetry;

#[derive(Debug, Args)]
pub struct SweepArgs {
    /// access-expiry, subscription-end, terminated-cleanup or stalled-invitations.
    name: String,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Sweep as if it were this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    now: Option<DateTime<Utc>>,
}

pub async fn run(context: &Context, args: SweepArgs) -> anyhow::Result<ExitCode> {
    let Some(sweep) = Sweep::from_name(&args.name) else {
        let names = Sweep::ALL.map(Sweep::as_str).join(", ");
        return Err(WrongUse(format!("there is no sweep `{}`; there are {names}", args.name)).into());
    };
    // A client that cannot be swept is told of in the log.
    telemetry::start_logs(&context.settings.log)?;
    let engine = if args.dry_run {
        context.engine().await?
    } else {
        context.working_engine().await?
    };
    let options = SweepOptions {
        dry_run: args.dry_run,
        now: args.now,
        worker: format!("cli-{}", std::process::id()),
        chunk: context.settings.sweeps.chunk,
        ..SweepOptions::default()
    };
    let bar = output::spinner("clients");
    let mut told: Vec<(ClientKey, Vec<Entry>)> = Vec::new();
    let keep = !context.json;
    let report = engine
        .sweep(sweep, options, |chunk| {
            bar.inc(chunk.len() as u64);
            // What a person can read on a screen; the journal has all of it.
            if keep && told.len() < SHOWN {
                told.extend_from_slice(chunk);
            }
        })
        .await?;
    bar.finish_and_clear();
    if context.json {
        output::json(&report)?;
        return Ok(exit_code(report.counts.failed));
    }
    told.truncate(SHOWN);
    if !told.is_empty() {
        output::line(&changes_table(&told));
    }
    let did = if args.dry_run { "would change" } else { "changed" };
    output::line(&format!(
        "{sweep} up to {}: looked at {} clients, {did} {} ({} changes){}",
        rfc3339(report.until),
        report.counts.examined,
        report.counts.changed,
        report.counts.changes,
        match report.counts.failed {
            0 => String::new(),
            n => format!("; {n} could not be swept, see the log"),
        },
    ));
    Ok(exit_code(report.counts.failed))
}

/// Clients listed by name.
const SHOWN: usize = 200;

fn exit_code(failed: i64) -> ExitCode {
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn changes_table(told: &[(ClientKey, Vec<Entry>)]) -> String {
    let rows = told.iter().flat_map(|(key, entries)| {
        entries.iter().map(move |entry| {
            vec![
                key.to_string(),
                entry.change.kind.to_owned(),
                entry.change.id.clone().unwrap_or_default(),
                rfc3339(entry.time),
            ]
        })
    });
    output::table(&["client", "change", "id", "due"], rows)
}
