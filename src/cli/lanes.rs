//! `tenure lanes`: the watermark of each lane.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::output;

#[derive(Debug, Args)]
pub struct LanesArgs {
    /// Remove all lanes, so that timers no longer wait for events from RabbitMQ
    ///
    /// Use this only when no worker will read from RabbitMQ again.
    #[arg(long)]
    remove: bool,
}

pub async fn run(context: &Context, args: LanesArgs) -> anyhow::Result<ExitCode> {
    let engine = if args.remove {
        let engine = context.maintaining_engine().await?;
        engine.operator(&context.asked_authority()).remove_lanes().await?;
        engine
    } else {
        context.engine().await?
    };
    let lanes = engine.store().lanes().await?;
    if context.json {
        for lane in &lanes {
            output::json(lane)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = lanes.iter().map(|lane| {
        let lag = lane
            .watermark
            .and_then(|at| (engine.now() - at).to_std().ok())
            .map(|lag| format!("{} s", lag.as_secs()));
        vec![
            lane.lane.clone(),
            output::moment(lane.watermark),
            output::words(lag.as_deref()),
        ]
    });
    output::line(output::table(&["lane", "watermark", "lag"], rows));
    Ok(ExitCode::SUCCESS)
}
