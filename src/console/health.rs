//! Whether all is well, in one sentence, and what to do if not.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::Console;
use crate::engine::{Check, Engine, Issue, Overview, Part, QueueDepth};
use crate::http::{Api, ApiError, Health};
use crate::store::{MinuteCounts, StoreError, hex};

/// How long a summary is reused: readers of live figures share it.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// The state of everything, as of one moment.
pub struct Summary {
    pub overview: Overview,
    pub checks: Vec<(&'static str, Health)>,
    /// The last hour, by minute.
    pub hour: Vec<(DateTime<Utc>, MinuteCounts)>,
    /// The messages that wait in the queue of each lane.
    pub depths: BTreeMap<String, QueueDepth>,
}

impl Deref for Summary {
    type Target = Overview;

    fn deref(&self) -> &Overview {
        &self.overview
    }
}

/// The latest summary.
#[derive(Default)]
pub struct Latest {
    /// With the number of actions before it was read.
    read: Mutex<Option<(Instant, u64, Arc<Summary>)>>,
    actions: AtomicU64,
}

impl Latest {
    /// Lets the next page show what an action has changed.
    pub fn forget(&self) {
        self.actions.fetch_add(1, Ordering::Relaxed);
    }

    /// A summary that is at most two seconds old, and not from before the last action.
    ///
    /// # Errors
    /// The store is not open or fails.
    pub async fn get(&self, api: &Arc<Api>, console: &Arc<Console>) -> Result<Arc<Summary>, ApiError> {
        let mut latest = self.read.lock().await;
        let actions = self.actions.load(Ordering::Relaxed);
        if let Some((at, after, summary)) = &*latest
            && at.elapsed() < FRESH_FOR
            && *after == actions
        {
            return Ok(summary.clone());
        }
        let checks = crate::http::checks(api).await.into_iter().collect();
        let reading = console.clone();
        let summary = api
            .run_detached(move |engine| async move { read(&engine, &reading, checks).await })
            .await?;
        let summary = Arc::new(summary);
        *latest = Some((Instant::now(), actions, summary.clone()));
        Ok(summary)
    }
}

async fn read(
    engine: &Engine,
    console: &Console,
    checks: Vec<(&'static str, Health)>,
) -> Result<Summary, StoreError> {
    Ok(Summary {
        overview: engine.overview(&console.schedules, console.is_relayed).await?,
        checks,
        hour: engine.last_hour().await?,
        depths: engine.queue_depths(),
    })
}

impl Summary {
    /// What is not well, the worst first.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        let check = |(name, health): &(&str, Health)| Check {
            name: (*name).to_owned(),
            ok: health.ok,
            detail: health.detail.clone(),
            warnings: health.warnings.clone(),
        };
        let checks: Vec<Check> = self.checks.iter().map(check).collect();
        self.overview.issues(&checks)
    }

    /// Changes with the issues and what they are about, but not with the ages and numbers in their sentences: by it, a page notices
    /// that its issues are no longer those of now.
    #[must_use]
    pub fn issues_digest(&self) -> String {
        let mut digest = Sha256::new();
        for issue in self.issues() {
            digest.update(format!("{:?} {:?} {}\n", issue.part, issue.tone, issue.then));
        }
        hex(&digest.finalize()[..8])
    }

    /// The sum of the last hour.
    #[must_use]
    pub fn last_hour(&self) -> MinuteCounts {
        let mut sum = MinuteCounts::default();
        for (_, counts) in &self.hour {
            sum += *counts;
        }
        sum
    }
}

/// The page that shows more about a part.
#[must_use]
pub fn url(part: &Part) -> String {
    match part {
        Part::Source(_) | Part::Lane(_) | Part::Relay | Part::Check(_) | Part::Warning(..) => {
            "/sources".into()
        }
        Part::Worker(_) | Part::Workers => "/#workers".into(),
        Part::DeadLetters => "/dead-letters".into(),
        Part::Sweep(sweep) => format!("/sweeps#{sweep}"),
        Part::Run(run) => format!("/sweeps/runs/{run}"),
        Part::Endpoint(name) => format!("/webhooks#{name}"),
    }
}
