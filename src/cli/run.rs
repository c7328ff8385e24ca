//! `tenure run`: the worker.

use std::process::ExitCode;

use super::context::Context;
use crate::worker;

pub async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    worker::run(context.settings.clone()).await?;
    Ok(ExitCode::SUCCESS)
}
