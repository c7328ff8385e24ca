//! `tenure top`: the overview of the console, live in the terminal. It only reads.

mod charts;
mod figures;
mod keys;
mod lists;
mod screen;
mod session;

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

pub use figures::{Figures, Reader};
pub use screen::{Screen, Trouble, draw};
pub use session::Drawing;

use super::context::{Context, UsageError};
use super::output;
use crate::config::parse_duration;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tenure top\n  tenure top --every 10s\n  tenure top -o json")]
pub struct TopArgs {
    /// Read the figures again after this time, 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_interval)]
    every: Duration,
}

/// For clap.
fn parse_interval(text: &str) -> Result<Duration, UsageError> {
    let expected = || UsageError("expected a duration such as 500ms, 2s or 1m, 100ms to 1h".into());
    let every = parse_duration(text).map_err(|_| expected())?;
    let every = every.to_std().map_err(|_| expected())?;
    Some(every)
        .filter(|every| (Duration::from_millis(100)..=Duration::from_hours(1)).contains(every))
        .ok_or_else(expected)
}

pub(super) async fn run(context: &Context, args: TopArgs) -> anyhow::Result<ExitCode> {
    if context.is_table() && !stdout().is_terminal() {
        return Err(UsageError(
            "`tenure top` draws on a terminal, and standard output is not one; `tenure top -o json` prints the figures once"
                .into(),
        )
        .into());
    }
    let engine = Arc::new(context.engine().await?);
    let reader = Reader::new(engine.clone(), &context.settings);
    if context.is_json() {
        let mut figures = reader.read().await?;
        figures.expiries = Some(engine.count_expiries().await?);
        output::json(&figures)?;
        return Ok(ExitCode::SUCCESS);
    }
    session::run(reader, context.place(), args.every).await?;
    Ok(ExitCode::SUCCESS)
}
