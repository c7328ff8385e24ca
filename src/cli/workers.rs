//! `tenure workers list`: the workers that use the store, and which of them are gone.

use std::process::ExitCode;

use clap::Subcommand;

use super::context::Context;
use super::output;
use crate::engine::WorkerStatus;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  tenure workers list")]
pub enum WorkersCommand {
    /// Show the workers that use the store: when each was last seen, which lanes it consumes, and what it leads
    #[command(after_help = "Examples:\n  tenure workers list\n  tenure workers list --json")]
    List,
}

pub async fn run(context: &Context, command: &WorkersCommand) -> anyhow::Result<ExitCode> {
    let WorkersCommand::List = command;
    let engine = context.engine().await?;
    let workers = engine.workers().await?;
    if context.is_json() {
        for worker in &workers {
            output::json(worker)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "worker",
        "status",
        "version",
        "started",
        "last seen",
        "lanes",
        "leads",
    ];
    context.print_rows(&head, workers.iter().map(row));
    Ok(ExitCode::SUCCESS)
}

fn row(worker: &WorkerStatus) -> Vec<String> {
    let listed = |names: &str| output::words(Some(names).filter(|names| !names.is_empty()));
    vec![
        worker.name.clone(),
        worker.state().to_owned(),
        worker.version.clone(),
        output::moment(Some(worker.started_at)),
        output::moment(Some(worker.seen_at)),
        listed(&worker.lanes.join(", ")),
        listed(&worker.leads().join(", ")),
    ]
}
