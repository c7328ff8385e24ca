//! `tenure sweep`: lists the sweeps; runs, previews, confirms, pauses or resumes one.

use std::borrow::Cow;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::context::{Context, UsageError};
use super::moment::{Moment, parse_moment};
use super::output;
use super::sweep_runs;
use crate::domain::change::Details;
use crate::domain::time::rfc3339;
use crate::domain::{ClientKey, Entry, Sweep};
use crate::engine::{NextRun, Operator, SweepMode, SweepOptions, SweepReport, SweepState};
use crate::store::RunStatus;
use crate::telemetry;

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  tenure sweep list\n  tenure sweep preview access-expiry --at +7d\n  \
                        tenure sweep pause access-expiry --reason \"books are closed\"\n  tenure sweep runs access-expiry"
)]
pub enum SweepCommand {
    /// List the sweeps: when each runs next, what its last run did, and what stops it
    #[command(after_help = "Examples:\n  tenure sweep list")]
    List,
    /// Fire the timers of a sweep that are due
    #[command(after_help = "Examples:\n  tenure sweep run access-expiry")]
    Run(RunArgs),
    /// Show what a sweep would change; with --json, one line for each client and then the totals
    #[command(after_help = "\
Examples:
  tenure sweep preview access-expiry
  tenure sweep preview access-expiry --at +7d --json")]
    Preview(RunArgs),
    /// Run a sweep even if it changes more clients than the breaker allows
    #[command(after_help = "Examples:\n  tenure sweep confirm access-expiry --reason \"the partner left\"")]
    Confirm(RunArgs),
    /// Stop the scheduled runs of a sweep; --reason is required, and is shown to everyone
    #[command(after_help = "Examples:\n  tenure sweep pause access-expiry --reason \"books are closed\"")]
    Pause(NameArgs),
    /// Continue the scheduled runs of a sweep
    #[command(after_help = "Examples:\n  tenure sweep resume access-expiry")]
    Resume(NameArgs),
    /// List the runs of a sweep, or of all, newest first
    #[command(after_help = "Examples:\n  tenure sweep runs\n  tenure sweep runs access-expiry --limit 10")]
    Runs(sweep_runs::RunsArgs),
    /// Show what a run changed; with --json, the run and then each change, with CSV only the changes
    #[command(after_help = "Examples:\n  tenure sweep show 17")]
    Show(sweep_runs::ShowArgs),
}

#[derive(Debug, Args)]
pub struct NameArgs {
    /// The sweep
    #[arg(value_parser = sweep_parser())]
    name: Sweep,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The sweep
    #[arg(value_parser = sweep_parser())]
    name: Sweep,
    /// Sweep as of this moment; only a preview may be in the future [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    at: Option<Moment>,
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

pub async fn run(context: &Context, command: SweepCommand) -> anyhow::Result<ExitCode> {
    match command {
        SweepCommand::List => list(context).await,
        SweepCommand::Run(args) => sweep_now(context, SweepMode::ByHand, args).await,
        SweepCommand::Preview(args) => sweep_now(context, SweepMode::DryRun, args).await,
        SweepCommand::Confirm(args) => sweep_now(context, SweepMode::Confirmed, args).await,
        SweepCommand::Pause(args) => pause(context, args.name).await,
        SweepCommand::Resume(args) => resume(context, args.name).await,
        SweepCommand::Runs(args) => sweep_runs::list(context, args).await,
        SweepCommand::Show(args) => sweep_runs::show(context, args).await,
    }
}

async fn sweep_now(context: &Context, mode: SweepMode, args: RunArgs) -> anyhow::Result<ExitCode> {
    // Clients that fail are reported in the log.
    telemetry::start_logs(&context.settings.log)?;
    let is_preview = mode == SweepMode::DryRun;
    let engine = if is_preview {
        context.engine().await?
    } else {
        context.maintaining_engine().await?
    };
    let sweep = args.name;
    let at = args.at.map(|at| at.resolve(engine.now()));
    if let Some(moment) = at
        && !is_preview
        && moment > engine.clock().present()
    {
        return Err(UsageError(format!(
            "--at {} is in the future, and a sweep would publish changes that have not happened yet; \
             `tenure sweep preview` shows them",
            rfc3339(moment)
        ))
        .into());
    }
    let options = SweepOptions {
        as_of: at,
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
    let (report, shown) = watched(operator, sweep, options, context).await?;
    if context.is_json() {
        output::json(&Totals {
            status: report.status(),
            report: &report,
        })?;
    } else {
        print_report(context, sweep, &report, &shown);
    }
    Ok(exit_code(&report))
}

/// Prints the changes of a sweep and its totals.
fn print_report(context: &Context, sweep: Sweep, report: &SweepReport, shown: &[(ClientKey, Vec<Entry>)]) {
    if !shown.is_empty() || context.is_csv() {
        context.print_rows(&["client", "change", "id", "due"], rows_of_changes(shown));
    }
    let unlisted = report.counts.changed - i64::try_from(shown.len()).unwrap_or(i64::MAX);
    if unlisted > 0 {
        output::line(format!("and {}", output::counted(unlisted, "more client")));
    }
    print_totals(context, sweep, report);
}

fn print_totals(context: &Context, sweep: Sweep, report: &SweepReport) {
    if let Some(why) = &report.tripped {
        output::error_line(format!("the breaker stopped {sweep}: {why}"));
        return;
    }
    let did = if report.dry_run { "would change" } else { "changed" };
    context.print_summary(&format!(
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

/// Sweeps with a progress bar, and collects the first changes for display; the journal has all of them. With JSON, prints
/// the clients that a dry run would change instead, each as soon as it is known.
async fn watched(
    operator: Operator<'_>,
    sweep: Sweep,
    options: SweepOptions,
    context: &Context,
) -> anyhow::Result<(SweepReport, Vec<(ClientKey, Vec<Entry>)>)> {
    let bar = output::spinner("clients");
    let mut shown: Vec<(ClientKey, Vec<Entry>)> = Vec::new();
    let mut printed = Ok(());
    let is_listed = context.is_json() && options.mode == SweepMode::DryRun;
    let most = if context.is_csv() { usize::MAX } else { MAX_LISTED };
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
            if !context.is_json() && shown.len() < most {
                shown.extend_from_slice(chunk);
            }
        })
        .await?;
    bar.finish_and_clear();
    printed?;
    shown.truncate(most);
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

async fn pause(context: &Context, sweep: Sweep) -> anyhow::Result<ExitCode> {
    let authority = context.asked_authority();
    if authority.reason.is_none() {
        return Err(
            UsageError("a pause needs a reason, which everyone sees: add --reason WHY".into()).into(),
        );
    }
    let engine = context.maintaining_engine().await?;
    engine.operator(&authority).pause_sweep(sweep).await?;
    print_result(
        context,
        sweep,
        &format!("paused; only manual runs until `tenure sweep resume {sweep}`"),
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
    if context.is_json() {
        output::json(&serde_json::json!({ "sweep": sweep, "result": result }))?;
    } else {
        output::line(format!("{sweep}: {result}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let states = engine.sweep_states(&context.settings.sweeps.schedules).await?;
    if context.is_json() {
        for state in &states {
            output::json(state)?;
        }
    } else {
        let head = ["sweep", "cron (UTC)", "next", "last run", "done up to", "halted"];
        context.print_rows(&head, states.iter().map(row));
        for state in &states {
            if let Some(held_back) = &state.held_back {
                output::error_line(format!("{} is held back: {held_back}", state.sweep));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(state: &SweepState) -> Vec<String> {
    let next = match state.next_run() {
        NextRun::At(at) => output::moment(Some(at)),
        NextRun::Waits(what) => what.into(),
    };
    let run = state.last_run.as_ref();
    let halts: Vec<String> = state
        .halts
        .iter()
        .map(|halt| format!("{} since {}: {}", halt.kind.as_str(), rfc3339(halt.at), halt.why))
        .collect();
    vec![
        state.sweep.to_string(),
        state.cron.clone(),
        next,
        output::words(run.map(|run| run.status.as_str())),
        output::moment(state.last_done.as_ref().and_then(|run| run.upto)),
        output::words((!halts.is_empty()).then(|| halts.join("; ")).as_deref()),
    ]
}

fn rows_of_changes(shown: &[(ClientKey, Vec<Entry>)]) -> impl Iterator<Item = Vec<String>> {
    shown.iter().flat_map(|(key, entries)| {
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
    })
}
