//! `tenure sweep runs|show`: the runs of sweeps, and what each of them changed.

use std::process::ExitCode;

use clap::Args;

use super::client::{JOURNAL_COLUMNS, journal_row, journal_table};
use super::context::Context;
use super::output;
use super::sweep::sweep_parser;
use crate::domain::Sweep;
use crate::engine::{Engine, JournalLine};
use crate::store::{Cursor, SweepRun};

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Only runs of this sweep
    #[arg(value_parser = sweep_parser())]
    name: Option<Sweep>,
    /// List at most N runs
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Only runs with a smaller number
    #[arg(long, value_name = "RUN")]
    before: Option<i64>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The number of the run: `tenure sweep runs` lists them
    run: i64,
}

/// The lines of the journal in a page.
const PAGE: u32 = 1_000;
/// Maximum number of changes in the table; the other formats have all.
const MAX_LISTED: u32 = 500;
/// Why the store lacks changes of a run.
const GONE: &str = "retention has removed them from the journal, or the store was moved since";

pub async fn list(context: &Context, args: RunsArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let before = args.before.unwrap_or(i64::MAX);
    let runs = engine.store().runs_before(args.name, before, args.limit).await?;
    if context.is_json() {
        for run in &runs {
            output::json(run)?;
        }
    } else {
        print_runs(context, &runs);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_runs(context: &Context, runs: &[SweepRun]) {
    let head = [
        "run", "sweep", "started", "up to", "status", "examined", "changed", "changes", "failed", "error",
    ];
    let rows = runs.iter().map(|run| {
        vec![
            run.id.to_string(),
            run.sweep.to_string(),
            output::moment(Some(run.started_at)),
            output::moment(run.upto),
            run.status.to_string(),
            run.counts.examined.to_string(),
            run.counts.changed.to_string(),
            run.counts.changes.to_string(),
            run.counts.failed.to_string(),
            output::words(run.error.as_deref()),
        ]
    });
    context.print_rows(&head, rows);
}

pub async fn show(context: &Context, args: ShowArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let Some(run) = engine.store().run(args.run).await? else {
        output::error_line(format!(
            "there is no run {}, or it is older than retention.sweep_runs; `tenure sweep runs` lists the runs",
            args.run
        ));
        return Ok(ExitCode::FAILURE);
    };
    if context.is_json() {
        output::json(&run)?;
        let listed = each_change(&engine, run.id, |line| output::json(&line)).await?;
        report_missing(&run, listed);
        return Ok(ExitCode::SUCCESS);
    }
    if context.is_csv() {
        context.print_csv_head(&JOURNAL_COLUMNS);
        let listed = each_change(&engine, run.id, |line| {
            context.print_more_rows(&[], [journal_row(&line)]);
            Ok(())
        })
        .await?;
        context.print_summary(&summary(&run));
        report_missing(&run, listed);
        return Ok(ExitCode::SUCCESS);
    }
    print_runs(context, std::slice::from_ref(&run));
    let lines = engine
        .store()
        .run_changes(run.id, Cursor::default(), MAX_LISTED)
        .await?;
    let lines: Vec<JournalLine> = lines.into_iter().map(JournalLine::from).collect();
    output::block(journal_table(&lines, true));
    let missing = run.counts.changes - i64::try_from(lines.len()).unwrap_or(i64::MAX);
    if missing > 0 {
        let why = if lines.len() == MAX_LISTED as usize {
            "--output json or csv lists all"
        } else {
            GONE
        };
        output::line(format!("and {}: {why}", output::counted(missing, "more change")));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the rows of the changes do not say about a run.
fn summary(run: &SweepRun) -> String {
    let error = run.error.as_ref().map(|error| format!(": {error}"));
    format!(
        "run {} of {} up to {}: {}, examined {}, changed {} ({}), {} failed{}",
        run.id,
        run.sweep,
        output::moment(run.upto),
        run.status,
        output::counted(run.counts.examined, "client"),
        run.counts.changed,
        output::counted(run.counts.changes, "change"),
        run.counts.failed,
        error.unwrap_or_default(),
    )
}

/// Says how many changes of a run are not listed, if any.
fn report_missing(run: &SweepRun, listed: i64) {
    let missing = run.counts.changes - listed;
    if missing > 0 {
        output::error_line(format!("and {}: {GONE}", output::counted(missing, "more change")));
    }
}

/// Passes every change of a run to `print`, page by page. Returns their number.
async fn each_change(
    engine: &Engine,
    run: i64,
    print: impl Fn(JournalLine) -> anyhow::Result<()>,
) -> anyhow::Result<i64> {
    let (mut after, mut listed) = (Cursor::default(), 0);
    loop {
        let lines = engine.store().run_changes(run, after, PAGE).await?;
        let Some(last) = lines.last() else {
            return Ok(listed);
        };
        after = last.cursor;
        for line in lines {
            print(JournalLine::from(line))?;
            listed += 1;
        }
    }
}
