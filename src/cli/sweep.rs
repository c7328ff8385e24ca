//! `tenure sweep [NAME]`: what the sweeps do, and running, pausing and resuming one by hand.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::context::{Context, WrongUse};
use super::output::{self, Safe};
use crate::domain::time::rfc3339;
use crate::domain::{ClientKey, Entry, Sweep};
use crate::engine::{Engine, SweepOptions, SweepReport};
use crate::scheduler;
use crate::store::{Halt, HaltKind, SweepRun};
use crate::telemetry;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").args(["dry_run", "confirm", "pause", "resume"]))]
pub struct SweepArgs {
    /// access-expiry, subscription-end, terminated-cleanup or stalled-invitations; without it all are listed.
    name: Option<String>,
    /// Show what would change, and change nothing.
    #[arg(long, requires = "name")]
    dry_run: bool,
    /// Sweep as if it were this moment (RFC 3339). Without --dry-run, what fires ahead of now is published, until `tenure rebuild`
    /// corrects it.
    #[arg(long, value_name = "TIME", requires = "name", conflicts_with_all = ["pause", "resume"])]
    now: Option<DateTime<Utc>>,
    /// Sweep however many clients it changes: what the breaker stopped is meant.
    #[arg(long, requires = "name")]
    confirm: bool,
    /// Keep the sweep from running by itself, and say why.
    #[arg(long, value_name = "WHY", requires = "name")]
    pause: Option<String>,
    /// Let a paused sweep run by itself again.
    #[arg(long, requires = "name")]
    resume: bool,
}

/// Clients listed by name.
const SHOWN: usize = 200;

pub async fn run(context: &Context, args: SweepArgs) -> anyhow::Result<ExitCode> {
    let Some(name) = &args.name else {
        return list(context).await;
    };
    let Some(sweep) = Sweep::from_name(name) else {
        let names = Sweep::ALL.map(Sweep::as_str).join(", ");
        return Err(WrongUse(format!("there is no sweep `{name}`; there are {names}")).into());
    };
    if let Some(why) = args.pause {
        return pause(context, sweep, why).await;
    }
    if args.resume {
        return resume(context, sweep).await;
    }
    sweep_now(context, sweep, &args).await
}

async fn sweep_now(context: &Context, sweep: Sweep, args: &SweepArgs) -> anyhow::Result<ExitCode> {
    // A client that cannot be swept is told of in the log.
    telemetry::start_logs(&context.settings.log)?;
    let engine = if args.dry_run {
        context.engine().await?
    } else {
        context.maintaining_engine().await?
    };
    let settings = &context.settings.sweeps;
    let options = SweepOptions {
        dry_run: args.dry_run,
        now: args.now,
        worker: format!("cli-{}", std::process::id()),
        chunk: settings.chunk,
        breaker: (!args.confirm).then(|| scheduler::breaker(settings)),
        ..SweepOptions::default()
    };
    let (report, told) = watched(&engine, sweep, options, !context.json).await?;
    if context.json {
        output::json(&report)?;
        return Ok(exit_code(&report));
    }
    if !told.is_empty() {
        output::line(changes_table(&told));
    }
    if let Some(why) = &report.tripped {
        output::complain(format!("{sweep} is stopped by the breaker: {why}"));
        return Ok(exit_code(&report));
    }
    let did = if report.dry_run { "would change" } else { "changed" };
    output::line(format!(
        "{sweep} up to {}: looked at {} clients, {did} {} ({} changes){}",
        output::moment(report.until),
        report.counts.examined,
        report.counts.changed,
        report.counts.changes,
        match report.counts.failed {
            0 => String::new(),
            n => format!("; {n} could not be swept, see the log"),
        },
    ));
    if let Some(held_back) = &report.held_back {
        output::line(format!("more seems due, but {held_back}"));
    }
    Ok(exit_code(&report))
}

/// Sweeps with a bar, and keeps what a person can read on a screen; the journal has all of it.
async fn watched(
    engine: &Engine,
    sweep: Sweep,
    options: SweepOptions,
    keep: bool,
) -> anyhow::Result<(SweepReport, Vec<(ClientKey, Vec<Entry>)>)> {
    let bar = output::spinner("clients");
    let mut told: Vec<(ClientKey, Vec<Entry>)> = Vec::new();
    let report = engine
        .sweep(sweep, options, |chunk| {
            bar.inc(chunk.len() as u64);
            if keep && told.len() < SHOWN {
                told.extend_from_slice(chunk);
            }
        })
        .await?;
    bar.finish_and_clear();
    told.truncate(SHOWN);
    Ok((report, told))
}

fn exit_code(report: &SweepReport) -> ExitCode {
    if report.counts.failed == 0 && report.tripped.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn pause(context: &Context, sweep: Sweep, why: String) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let halt = Halt {
        sweep,
        kind: HaltKind::Paused,
        at: engine.now(),
        why,
    };
    engine.store().halt(&halt).await?;
    said(context, sweep, "paused: it runs only by hand until `--resume`")
}

async fn resume(context: &Context, sweep: Sweep) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    if engine.store().resume(sweep, HaltKind::Paused).await? {
        said(context, sweep, "runs by itself again, from its next tick on")
    } else {
        said(context, sweep, "was not paused")
    }
}

fn said(context: &Context, sweep: Sweep, what: &str) -> anyhow::Result<ExitCode> {
    if context.json {
        output::json(&serde_json::json!({ "sweep": sweep, "result": what }))?;
    } else {
        output::line(format!("{sweep}: {what}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A sweep, as it is listed.
#[derive(Serialize)]
struct Listed {
    sweep: Sweep,
    cron: String,
    enabled: bool,
    halts: Vec<Halt>,
    last_run: Option<SweepRun>,
    next: Option<DateTime<Utc>>,
}

async fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let halts = engine.store().halts().await?;
    let mut listed = Vec::new();
    for (sweep, schedule) in &context.settings.sweeps.schedules {
        listed.push(Listed {
            sweep: *sweep,
            cron: schedule.cron.with_seconds().to_owned(),
            enabled: schedule.enabled,
            halts: halts
                .iter()
                .filter(|halt| halt.sweep == *sweep)
                .cloned()
                .collect(),
            last_run: engine.store().runs(Some(*sweep), 1).await?.pop(),
            next: schedule.cron.next_after(engine.now()),
        });
    }
    if context.json {
        for sweep in &listed {
            output::json(sweep)?;
        }
    } else {
        let head = ["sweep", "cron (UTC)", "next", "last run", "up to", "halted"];
        output::line(output::table(&head, listed.iter().map(row)));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(listed: &Listed) -> Vec<String> {
    let next = if listed.enabled {
        output::moment(listed.next)
    } else {
        "by hand".into()
    };
    let run = listed.last_run.as_ref();
    let halts: Vec<String> = listed
        .halts
        .iter()
        .map(|halt| format!("{} since {}: {}", halt.kind.as_str(), rfc3339(halt.at), halt.why))
        .collect();
    vec![
        listed.sweep.to_string(),
        listed.cron.clone(),
        next,
        output::words(run.map(|run| run.status.as_str())),
        output::moment(run.and_then(|run| run.upto)),
        output::words((!halts.is_empty()).then(|| halts.join("; ")).as_deref()),
    ]
}

fn changes_table(told: &[(ClientKey, Vec<Entry>)]) -> Safe {
    let rows = told.iter().flat_map(|(key, entries)| {
        entries.iter().map(move |entry| {
            vec![
                key.to_string(),
                entry.change.kind().to_string(),
                entry
                    .change
                    .id()
                    .map(|id| id.as_str().to_owned())
                    .unwrap_or_default(),
                rfc3339(entry.time),
            ]
        })
    });
    output::table(&["client", "change", "id", "due"], rows)
}
