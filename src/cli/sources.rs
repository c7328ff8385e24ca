//! `tenure sources list`: the expected sources, and which of them are silent.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::context::Context;
use super::output;
use crate::engine::interval;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  tenure sources list")]
pub enum SourcesCommand {
    /// Show the expected sources, and which of them are silent
    #[command(after_help = "Examples:\n  tenure sources list")]
    List,
    /// Stop expecting sources, so that timers no longer wait for silent ones
    ///
    /// A worker that starts with sources in its settings expects them again.
    #[command(after_help = "Examples:\n  tenure sources remove")]
    Remove,
}

pub async fn run(context: &Context, command: SourcesCommand) -> anyhow::Result<ExitCode> {
    if matches!(command, SourcesCommand::Remove) {
        return remove(context).await;
    }
    let engine = context.compared_engine().await?;
    let sources = engine.sources().await?;
    if context.is_json() {
        for source in &sources {
            output::json(source)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = sources.iter().map(|source| {
        vec![
            source.source.clone(),
            interval(source.every_seconds),
            output::moment(source.last_heard),
            source.events_per_hour.to_string(),
            output::moment(source.silent_since),
        ]
    });
    let head = [
        "source",
        "expected every",
        "last heard",
        "events per hour",
        "silent since",
    ];
    context.print_rows(&head, rows);
    Ok(ExitCode::SUCCESS)
}

async fn remove(context: &Context) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let before = engine.sources().await?.len();
    let authority = context.asked_authority();
    engine
        .operator(&authority)
        .record("source.remove", None, Value::Null)
        .await?;
    engine.expect_sources(&BTreeMap::new()).await?;
    context.print_removed(before, "expected source")?;
    Ok(ExitCode::SUCCESS)
}
