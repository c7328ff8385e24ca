//! `tenure lanes`: how far each lane of the broker has come.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::output;

#[derive(Debug, Args)]
pub struct LanesArgs {
    /// Forget them all: no worker reads from RabbitMQ any more, and timers need not wait for what may come from there.
    #[arg(long)]
    forget: bool,
}

pub async fn run(context: &Context, args: LanesArgs) -> anyhow::Result<ExitCode> {
    let engine = if args.forget {
        let engine = context.maintaining_engine().await?;
        engine.keep_lanes(&[]).await?;
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
    output::line(output::table(&["lane", "has come to", "behind"], rows));
    Ok(ExitCode::SUCCESS)
}
