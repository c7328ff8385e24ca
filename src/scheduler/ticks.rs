//! The ticks of cron lines: when the next one comes, and the wake-ups by tokio-cron-scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::{CronLine, Schedule};
use crate::domain::Sweep;

/// The longest wait for a tick. The clock may be set meanwhile, and a later tick may then be the next one.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The shortest wait, however close two ticks are.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
#[error("the sweeps cannot be scheduled: {0}")]
pub struct TickerError(#[from] JobSchedulerError);

/// Notifies each sweep on its ticks. It polls twice a second, so a notification is up to half a second late, and never
/// early.
pub(super) async fn start(
    schedules: &BTreeMap<Sweep, Schedule>,
    ticks: &BTreeMap<Sweep, Arc<Notify>>,
) -> Result<JobScheduler, TickerError> {
    let cron = JobScheduler::new().await?;
    for (sweep, schedule) in schedules {
        let Some(ticked) = ticks.get(sweep).cloned() else {
            continue;
        };
        let job = Job::new(schedule.cron.with_seconds(), move |_, _| ticked.notify_one())?;
        cron.add(job).await?;
    }
    cron.start().await?;
    Ok(cron)
}

/// How long to wait before the next check of the clock.
pub(super) fn until_next_tick(cron: &CronLine, now: DateTime<Utc>) -> Duration {
    cron.next_after(now)
        .and_then(|next| (next - now).to_std().ok())
        .map_or(LONGEST_WAIT, |wait| wait.clamp(SHORTEST_WAIT, LONGEST_WAIT))
}
