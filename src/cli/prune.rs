//! `tenure prune [--dry-run]`: what has grown too old, by hand.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::{output, stop};

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Count what would be removed, and remove nothing.
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
    let report = engine
        .prune(&context.settings.retention, args.dry_run, &stop)
        .await?;
    if context.json {
        output::json(&report)?;
    } else {
        let did = if args.dry_run { "would remove" } else { "removed" };
        output::line(format!(
            "{did} {} dead letters, {} runs of sweeps, {} lines of the journal{}",
            report.dead_letters,
            report.sweep_runs,
            report.journal,
            if report.stopped {
                "; stopped before it was through"
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
