//! The ticks: tokio-cron-scheduler, told to knock and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::Schedule;
use crate::domain::Sweep;

#[derive(Debug, thiserror::Error)]
#[error("the sweeps cannot be scheduled: {0}")]
pub struct TickerError(#[from] JobSchedulerError);

/// Knocks at each sweep's door on its ticks. It polls twice a second, so that a tick is up to half a
/// second late, and never early.
pub(super) async fn start(
    schedules: &BTreeMap<Sweep, Schedule>,
    ticks: &BTreeMap<Sweep, Arc<Notify>>,
) -> Result<JobScheduler, TickerError> {
    let ticker = JobScheduler::new().await?;
    for (sweep, schedule) in schedules {
        let Some(door) = ticks.get(sweep).cloned() else {
            continue;
        };
        let job = Job::new(schedule.cron.with_seconds(), move |_, _| door.notify_one())?;
        ticker.add(job).await?;
    }
    ticker.start().await?;
    Ok(ticker)
}
