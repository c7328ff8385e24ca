//! `tenure prune`: removes expired records on demand.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::{output, stop};

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Count the records that would be removed, and remove none
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(context: &Context, args: PruneArgs) -> anyhow::Result<ExitCode> {
    let engine = if args.dry_run {
        context.engine().await?
    } else {
        context.maintaining_engine().await?
    };
    let stop = stop::on_signal()?;
    let retention = &context.settings.retention;
    let report = if args.dry_run {
        engine.prune(retention, true, &stop).await?
    } else {
        let authority = context.authority();
        engine.operator(&authority).prune(retention, &stop).await?
    };
    if context.is_json() {
        output::json(&report)?;
    } else {
        let did = if args.dry_run { "would remove" } else { "removed" };
        output::line(format!(
            "{did} {}, {}, {}, {}, {}, {}{}",
            output::counted(report.dead_letters, "dead letter"),
            output::counted(report.sweep_runs, "sweep run"),
            output::counted(report.journal, "journal line"),
            entries(report.accesses, "access log"),
            entries(report.audit, "audit log"),
            output::counted(report.traces, "trace context"),
            if report.stopped {
                "; stopped early, run it again to continue"
            } else {
                ""
            }
        ));
    }
    Ok(if report.stopped {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn entries(number: u64, log: &str) -> String {
    let entries = if number == 1 { "entry" } else { "entries" };
    format!("{number} {entries} of the {log}")
}
