//! `tenure sweep`: lists the sweeps; runs, previews, pauses or resumes one.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::context::Context;
use super::output::{self, Safe};
use crate::domain::time::rfc3339;
use crate::domain::{ClientKey, Entry, Sweep};
use crate::engine::{Engine, SweepMode, SweepOptions, SweepReport};
use crate::store::{Halt, SweepRun};
use crate::telemetry;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("how").args(["dry_run", "confirm", "pause", "resume"]),
    after_help = "Examples:\n  tenure sweep\n  tenure sweep access-expiry --dry-run\n  \
                  tenure sweep access-expiry --pause \"books are closed\""
)]
pub struct SweepArgs {
    /// The sweep to run [default: list all sweeps]
    #[arg(value_parser = sweep_parser())]
    name: Option<Sweep>,
    /// Show the changes without making them
    #[arg(long, requires = "name")]
    dry_run: bool,
    /// Sweep as of this moment (RFC 3339)
    ///
    /// Without --dry-run, timers that fire in the future are published until `tenure rebuild` corrects them.
    #[arg(long, value_name = "TIME", requires = "name", conflicts_with_all = ["pause", "resume"])]
    now: Option<DateTime<Utc>>,
    /// Sweep even if it changes more clients than the breaker allows
    #[arg(long, requires = "name")]
    confirm: bool,
    /// Pause the scheduled runs of the sweep, and record this reason
    #[arg(long, value_name = "WHY", requires = "name")]
    pause: Option<String>,
    /// Resume the scheduled runs of the sweep
    #[arg(long, requires = "name")]
    resume: bool,
}

/// Maximum number of clients listed by name.
const MAX_LISTED: usize = 200;

/// Accepts the names of the sweeps.
fn sweep_parser() -> impl TypedValueParser<Value = Sweep> {
    PossibleValuesParser::new(Sweep::ALL.map(Sweep::as_str)).map(|name| {
        Sweep::ALL
            .into_iter()
            .find(|sweep| sweep.as_str() == name)
            .expect("the parser accepts only these names")
    })
}

pub async fn run(context: &Context, args: SweepArgs) -> anyhow::Result<ExitCode> {
    let Some(sweep) = args.name else {
        return list(context).await;
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
    // Clients that fail are reported in the log.
    telemetry::start_logs(&context.settings.log)?;
    let engine = if args.dry_run {
        context.engine().await?
    } else {
        context.maintaining_engine().await?
    };
    let mode = match (args.dry_run, args.confirm) {
        (true, _) => SweepMode::DryRun,
        (false, true) => SweepMode::Confirmed,
        (false, false) => SweepMode::ByHand,
    };
    let options = SweepOptions {
        as_of: args.now,
        worker: format!("cli-{}", std::process::id()),
        chunk: context.settings.sweeps.chunk,
        ..SweepOptions::new(mode)
    };
    let (report, shown) = watched(&engine, sweep, options, !context.json).await?;
    if context.json {
        output::json(&report)?;
        return Ok(exit_code(&report));
    }
    if !shown.is_empty() {
        output::line(changes_table(&shown));
    }
    if let Some(why) = &report.tripped {
        output::error_line(format!("the breaker stopped {sweep}: {why}"));
        return Ok(exit_code(&report));
    }
    let did = if report.dry_run { "would change" } else { "changed" };
    output::line(format!(
        "{sweep} up to {}: examined {}, {did} {} ({}){}",
        output::moment(report.until),
        output::counted(report.counts.examined, "client"),
        report.counts.changed,
        output::counted(report.counts.changes, "change"),
        match report.counts.failed {
            0 => String::new(),
            n => format!("; {n} failed, see the log"),
        },
    ));
    if let Some(held_back) = &report.held_back {
        output::line(format!("more clients may be due, but {held_back}"));
    }
    Ok(exit_code(&report))
}

/// Sweeps with a progress bar, and collects the first changes for display; the journal has all of them.
async fn watched(
    engine: &Engine,
    sweep: Sweep,
    options: SweepOptions,
    collect: bool,
) -> anyhow::Result<(SweepReport, Vec<(ClientKey, Vec<Entry>)>)> {
    let bar = output::spinner("clients");
    let mut shown: Vec<(ClientKey, Vec<Entry>)> = Vec::new();
    let report = engine
        .sweep(sweep, options, |chunk| {
            bar.inc(chunk.len() as u64);
            if collect && shown.len() < MAX_LISTED {
                shown.extend_from_slice(chunk);
            }
        })
        .await?;
    bar.finish_and_clear();
    shown.truncate(MAX_LISTED);
    Ok((report, shown))
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
    engine.pause_sweep(sweep, why).await?;
    print_result(
        context,
        sweep,
        "paused; only manual runs until `tenure sweep NAME --resume`",
    )
}

async fn resume(context: &Context, sweep: Sweep) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    if engine.resume_sweep(sweep).await? {
        print_result(context, sweep, "resumed; it runs again from its next tick")
    } else {
        print_result(context, sweep, "was not paused")
    }
}

fn print_result(context: &Context, sweep: Sweep, result: &str) -> anyhow::Result<ExitCode> {
    if context.json {
        output::json(&serde_json::json!({ "sweep": sweep, "result": result }))?;
    } else {
        output::line(format!("{sweep}: {result}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A sweep in the list.
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
        "manual only".into()
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

fn changes_table(shown: &[(ClientKey, Vec<Entry>)]) -> Safe {
    let rows = shown.iter().flat_map(|(key, entries)| {
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
