//! The workers that share the store. Each records itself regularly, and removes its record when it stops. One that ends in another
//! way leaves its record, which shows that it is gone.
//!
//! Times are those of the deciding clock, on which workers agree whose own clocks differ. A worker and a command compare their clock
//! before they use one.

mod operator;

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

pub use operator::RemoveWorkerError;

use super::Engine;
use crate::store::{StoreError, WorkerRecord};

/// How often a worker records itself.
pub const RECORD_EVERY: Duration = Duration::from_secs(10);
/// A worker that was not seen for this long is gone.
const GONE_AFTER: TimeDelta = TimeDelta::minutes(1);
/// How long a worker that is gone is listed.
const LISTED_FOR: TimeDelta = TimeDelta::days(1);

/// A worker, as it knows itself.
#[derive(Clone, Debug)]
pub struct ThisWorker {
    pub name: String,
    pub host: String,
    pub started_at: DateTime<Utc>,
    /// The interval of the heartbeats in each lane that it consumes.
    pub heartbeat: Duration,
}

/// A worker that uses this store, and whether it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WorkerStatus {
    /// Its host, and a random part that is new with each start.
    #[schema(example = "tenure-1-5f0c2a9e")]
    pub name: String,
    /// The name of its host, as in the runs of sweeps that it started.
    #[schema(example = "tenure-1")]
    pub host: String,
    /// The version of its program.
    pub version: String,
    /// When it was ready.
    pub started_at: DateTime<Utc>,
    /// When it last recorded itself, which it does every ten seconds.
    pub seen_at: DateTime<Utc>,
    /// Whether it was not seen for a minute: it ended without stopping, or cannot reach the store. After a day it is no longer
    /// listed, or as soon as another worker has started on its host.
    pub gone: bool,
    /// The lanes that it consumes. A lane is consumed by one worker at a time.
    pub lanes: Vec<String>,
    /// Whether it publishes changes over RabbitMQ.
    pub leads_relay: bool,
    /// Whether it delivers changes to the endpoints of webhooks.
    pub leads_webhooks: bool,
}

impl WorkerStatus {
    /// Whether it runs, in a word.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.gone { "gone" } else { "runs" }
    }

    /// What it does for all workers, in words for people.
    #[must_use]
    pub fn leads(&self) -> Vec<&'static str> {
        let leads = [(self.leads_relay, "relay"), (self.leads_webhooks, "webhooks")];
        let leads = leads.into_iter().filter(|(leads, _)| *leads);
        leads.map(|(_, name)| name).collect()
    }
}

impl Engine {
    /// A worker of this host that starts now.
    #[must_use]
    pub fn new_worker(&self, host: &str, heartbeat: Duration) -> ThisWorker {
        ThisWorker {
            name: format!("{host}-{:08x}", rand::random::<u32>()),
            host: host.to_owned(),
            started_at: self.watch.present(),
            heartbeat,
        }
    }

    /// Records a worker that runs on this engine. Removes those that have been gone for long, and those on its host that were gone
    /// before it started: it replaces them.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn record_worker(&self, worker: &ThisWorker) -> Result<(), StoreError> {
        let lanes = self.consumed_lanes(worker.heartbeat).await?;
        let present = self.watch.present();
        let record = WorkerRecord {
            name: worker.name.clone(),
            host: worker.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: worker.started_at,
            seen_at: present,
            lanes,
            leads_relay: self.duties.leads_relay(),
            leads_webhooks: self.duties.leads_webhooks(),
        };
        let replaced = (present - GONE_AFTER).min(worker.started_at);
        self.store
            .record_worker(&record, present - LISTED_FOR, replaced)
            .await
    }

    /// The lanes from which this worker has received messages a short time ago. RabbitMQ delivers those of a lane to one worker.
    async fn consumed_lanes(&self, heartbeat: Duration) -> Result<Vec<String>, StoreError> {
        let (now, limit) = (Instant::now(), RECORD_EVERY.max(heartbeat.saturating_mul(2)));
        let lanes = self.store.lanes().await?.into_iter().map(|lane| lane.lane);
        let is_consumed = |lane: &String| {
            let received = self.vitals.of(lane, now).succeeded;
            received.is_some_and(|ago| ago <= limit)
        };
        Ok(lanes.filter(is_consumed).collect())
    }

    /// The workers that use the store, the one that started first before the others.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, StoreError> {
        let gone_since = self.watch.present() - GONE_AFTER;
        let status = |worker: WorkerRecord| WorkerStatus {
            gone: worker.seen_at < gone_since,
            name: worker.name,
            host: worker.host,
            version: worker.version,
            started_at: worker.started_at,
            seen_at: worker.seen_at,
            lanes: worker.lanes,
            leads_relay: worker.leads_relay,
            leads_webhooks: worker.leads_webhooks,
        };
        let workers = self.store.workers().await?;
        Ok(workers.into_iter().map(status).collect())
    }
}
