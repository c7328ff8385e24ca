//! `tenure health`: asks a running worker on this machine whether it is ready, for container health checks and scripts.

use std::process::ExitCode;
use std::time::Duration;

use super::context::{Context, UsageError};
use super::output;
use super::worker::Worker;

/// A worker gives each of its checks less time than this.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    /// Ask only whether the process is alive, not whether it is ready
    #[arg(long)]
    live: bool,
}

pub async fn run(context: &Context, args: HealthArgs) -> anyhow::Result<ExitCode> {
    let Some(worker) = Worker::of(&context.settings.http) else {
        return Err(
            UsageError("http.listen is empty; set it to the address of the worker to ask".into()).into(),
        );
    };
    let path = if args.live { "/livez" } else { "/readyz" };
    let (status, answer) = worker.get(path, TIMEOUT).await?;
    if context.is_json() {
        output::json(&answer)?;
    } else {
        output::line(if status.is_success() {
            "healthy"
        } else {
            "unhealthy"
        });
        for (name, check) in answer["checks"].as_object().into_iter().flatten() {
            if check["ok"] == false {
                output::error_line(format!(
                    "{name}: {}",
                    check["detail"].as_str().unwrap_or("failing")
                ));
            }
        }
    }
    Ok(if status.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
