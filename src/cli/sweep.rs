//! `tenure sweep`: lists the sweeps; runs, previews, pauses or resumes one.

use std::borrow::Cow;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;

use super::context::{Context, UsageError};
use super::output::{self, Safe};
use super::sweep_runs;
use crate::domain::change::Details;
use crate::domain::time::rfc3339;
use crate::domain::{ClientKey, Entry, Sweep};
use crate::engine::{HeldBack, Operator, SweepMode, SweepOptions, SweepReport};
use crate::store::{Halt, RunStatus, SweepRun};
use crate::telemetry;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    group = ArgGroup::new("how").args(["dry_run", "confirm", "pause", "resume"]),
    after_help = "Examples:\n  tenure sweep\n  tenure sweep access-expiry --dry-run\n  \
                  tenure sweep access-expiry --pause \"books are closed\"\n  tenure sweep runs access-expiry"
)]
pub struct SweepArgs {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    /// The sweep to run [default: list all sweeps]
    #[arg(value_parser = sweep_parser())]
    name: Option<Sweep>,
    /// Show the changes without making them; with --json, one line for each client and then the totals
    #[arg(long, requires = "name")]
    dry_run: bool,
    /// Sweep as of this moment (RFC 3339); it may be in the future only with --dry-run
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

#[derive(Debug, Subcommand)]
enum SweepCommand {
    /// List the runs of a sweep, or of all, newest first
    Runs(sweep_runs::RunsArgs),
    /// Show what a run changed; with --json, the run and then each change
    Show(sweep_runs::ShowArgs),
}

/// Maximum number of clients in the table of changes.
const MAX_LISTED: usize = 200;

/// The exit code of a sweep that was held back, stopped, or tripped by the breaker: nothing failed, and due timers are left.
const INCOMPLETE: u8 = 3;

/// Accepts the names of the sweeps.
pub fn sweep_parser() -> impl TypedValueParser<Value = Sweep> {
    PossibleValuesParser::new(Sweep::ALL.map(Sweep::as_str)).map(|name| {
        Sweep::ALL
            .into_iter()
            .find(|sweep| sweep.as_str() == name)
            .expect("the parser accepts only these names")
    })
}

pub async fn run(context: &Context, args: SweepArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(SweepCommand::Runs(args)) => return sweep_runs::list(context, args).await,
        Some(SweepCommand::Show(args)) => return sweep_runs::show(context, args).await,
        None => {}
    }
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
    if let Some(moment) = args.now
        && !args.dry_run
        && moment > engine.clock().present()
    {
        return Err(UsageError(format!(
            "--now {} is in the future, and a sweep would publish changes that have not happened yet; use --dry-run to preview them",
            rfc3339(moment)
        ))
        .into());
    }
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
    let authority = if mode == SweepMode::Confirmed {
        context.asked_authority()
    } else {
        context.authority()
    };
    let operator = engine.operator(&authority);
    let (report, shown) = watched(operator, sweep, options, context.json).await?;
    if context.json {
        output::json(&Totals {
            status: report.status(),
            report: &report,
        })?;
    } else {
        print_report(sweep, &report, &shown);
    }
    Ok(exit_code(&report))
}

/// Prints the changes of a sweep and its totals.
fn print_report(sweep: Sweep, report: &SweepReport, shown: &[(ClientKey, Vec<Entry>)]) {
    if !shown.is_empty() {
        output::line(changes_table(shown));
    }
    let unlisted = report.counts.changed - i64::try_from(shown.len()).unwrap_or(i64::MAX);
    if unlisted > 0 {
        output::line(format!("and {}", output::counted(unlisted, "more client")));
    }
    if let Some(why) = &report.tripped {
        output::error_line(format!("the breaker stopped {sweep}: {why}"));
        return;
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
            n => format!("; {n} failed (see the log)"),
        },
    ));
    if let Some(held_back) = &report.held_back {
        output::error_line(format!(
            "{sweep} is held back, and more clients may be due: {held_back}"
        ));
    } else if report.stopped {
        output::error_line(format!("{sweep} was stopped; run it again to continue"));
    }
}

/// The totals of a sweep, for programs.
#[derive(Serialize)]
struct Totals<'a> {
    #[serde(flatten)]
    report: &'a SweepReport,
    status: RunStatus,
}

/// What a dry run would change of one client, for programs.
#[derive(Serialize)]
struct Preview<'a> {
    client: String,
    changes: Vec<PreviewedChange<'a>>,
}

#[derive(Serialize)]
struct PreviewedChange<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<&'a str>,
    from: Option<Cow<'a, str>>,
    to: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Details>,
    time: String,
}

impl<'a> Preview<'a> {
    fn of((key, entries): &'a (ClientKey, Vec<Entry>)) -> Self {
        let change = |entry: &'a Entry| {
            let text = entry.change.text();
            PreviewedChange {
                kind: text.kind,
                id: text.id,
                from: text.from,
                to: text.to,
                data: text.data,
                time: rfc3339(entry.time),
            }
        };
        Self {
            client: key.to_string(),
            changes: entries.iter().map(change).collect(),
        }
    }
}

/// Sweeps with a progress bar, and collects the first changes for display; the journal has all of them. With `json`, prints
/// the clients that a dry run would change instead, each as soon as it is known.
async fn watched(
    operator: Operator<'_>,
    sweep: Sweep,
    options: SweepOptions,
    json: bool,
) -> anyhow::Result<(SweepReport, Vec<(ClientKey, Vec<Entry>)>)> {
    let bar = output::spinner("clients");
    let mut shown: Vec<(ClientKey, Vec<Entry>)> = Vec::new();
    let mut printed = Ok(());
    let is_listed = json && options.mode == SweepMode::DryRun;
    let report = operator
        .sweep(sweep, options, |chunk| {
            bar.inc(chunk.len() as u64);
            if is_listed && printed.is_ok() {
                printed = bar.suspend(|| {
                    chunk
                        .iter()
                        .try_for_each(|client| output::json(&Preview::of(client)))
                });
            }
            if !json && shown.len() < MAX_LISTED {
                shown.extend_from_slice(chunk);
            }
        })
        .await?;
    bar.finish_and_clear();
    printed?;
    shown.truncate(MAX_LISTED);
    Ok((report, shown))
}

fn exit_code(report: &SweepReport) -> ExitCode {
    match report.status() {
        RunStatus::Done => ExitCode::SUCCESS,
        // A dry run shows what the sweep would do now, and that is complete.
        RunStatus::HeldBack if report.dry_run => ExitCode::SUCCESS,
        RunStatus::HeldBack | RunStatus::Tripped | RunStatus::Stopped => ExitCode::from(INCOMPLETE),
        RunStatus::Failed | RunStatus::Running => ExitCode::FAILURE,
    }
}

async fn pause(context: &Context, sweep: Sweep, why: String) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let authority = context.authority().because(why);
    engine.operator(&authority).pause_sweep(sweep).await?;
    print_result(
        context,
        sweep,
        "paused; only manual runs until `tenure sweep NAME --resume`",
    )
}

async fn resume(context: &Context, sweep: Sweep) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    if engine.operator(&context.authority()).resume_sweep(sweep).await? {
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
    /// The last run that left nothing undone: `last_run`, or an earlier one.
    last_done: Option<SweepRun>,
    next: Option<DateTime<Utc>>,
    /// Why timers that are due would not fire now.
    held_back: Option<HeldBack>,
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
            last_done: engine.store().last_done_run(*sweep).await?,
            next: schedule.cron.next_after(engine.now()),
            held_back: engine.sweep_held_back(*sweep).await?,
        });
    }
    if context.json {
        for sweep in &listed {
            output::json(sweep)?;
        }
    } else {
        let head = ["sweep", "cron (UTC)", "next", "last run", "done up to", "halted"];
        output::line(output::table(&head, listed.iter().map(row)));
        for sweep in &listed {
            if let Some(held_back) = &sweep.held_back {
                output::error_line(format!("{} is held back: {held_back}", sweep.sweep));
            }
        }
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
        output::moment(listed.last_done.as_ref().and_then(|run| run.upto)),
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
