//! `tenure workers`: lists the workers that use the store, and removes those that are gone.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::context::{Context, UsageError};
use super::output;
use crate::engine::{RemoveWorkerError, WorkerStatus};

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  tenure workers list\n  tenure workers remove tenure-1-5f0c2a9e --reason \"the machine was removed\""
)]
pub enum WorkersCommand {
    /// Show the workers that use the store: when each was last seen, which lanes it consumes, and what it leads
    #[command(after_help = "Examples:\n  tenure workers list\n  tenure workers list --json")]
    List,
    /// Remove a worker that is gone and will not come back; one that runs removes itself when it stops
    #[command(
        after_help = "Examples:\n  tenure workers remove tenure-1-5f0c2a9e --reason \"the machine was removed\""
    )]
    Remove {
        /// The name of the worker, from `tenure workers list`
        name: String,
    },
}

pub async fn run(context: &Context, command: WorkersCommand) -> anyhow::Result<ExitCode> {
    match command {
        WorkersCommand::List => list(context).await,
        WorkersCommand::Remove { name } => remove(context, &name).await,
    }
}

async fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let engine = context.compared_engine().await?;
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

async fn remove(context: &Context, name: &str) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let authority = context.asked_authority();
    engine
        .operator(&authority)
        .remove_worker(name)
        .await
        .map_err(|error| match error {
            RemoveWorkerError::Store(error) => anyhow::Error::from(error),
            error => UsageError(error.to_string()).into(),
        })?;
    if context.is_json() {
        output::json(&json!({ "name": name, "status": "removed" }))?;
    } else {
        output::line(format!("{name} is removed"));
    }
    Ok(ExitCode::SUCCESS)
}
