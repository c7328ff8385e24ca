//! `tenure lanes list`: the watermark of each lane.

use std::process::ExitCode;

use clap::Subcommand;

use super::context::Context;
use super::output;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  tenure lanes list")]
pub enum LanesCommand {
    /// Show the watermark of each lane; timers fire up to the lowest one
    #[command(after_help = "Examples:\n  tenure lanes list")]
    List,
    /// Remove all lanes, so that timers no longer wait for events from RabbitMQ
    ///
    /// Use this only when no worker will read from RabbitMQ again.
    #[command(after_help = "\
Examples:
  tenure lanes remove --reason \"events are now ingested from files\"")]
    Remove,
}

pub async fn run(context: &Context, command: LanesCommand) -> anyhow::Result<ExitCode> {
    if matches!(command, LanesCommand::Remove) {
        return remove(context).await;
    }
    let engine = context.compared_engine().await?;
    let lanes = engine.store().lanes().await?;
    if context.is_json() {
        for lane in &lanes {
            output::json(lane)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = lanes.iter().map(|lane| {
        let lag = lane
            .watermark
            .and_then(|at| (engine.clock().present() - at).to_std().ok())
            .map(|lag| format!("{} s", lag.as_secs()));
        vec![
            lane.lane.clone(),
            output::moment(lane.watermark),
            output::words(lag.as_deref()),
        ]
    });
    context.print_rows(&["lane", "watermark", "lag"], rows);
    Ok(ExitCode::SUCCESS)
}

async fn remove(context: &Context) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let before = engine.store().lanes().await?.len();
    engine.operator(&context.asked_authority()).remove_lanes().await?;
    context.print_removed(before, "lane")?;
    Ok(ExitCode::SUCCESS)
}
