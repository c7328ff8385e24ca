//! The workers that share the store, as each records itself.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use super::columns::{Moment, RowId, row};

/// The workers that share the store.
#[async_trait]
pub trait Workers: Send + Sync + 'static {
    /// All workers that are recorded, the one that started first before the others.
    async fn workers(&self) -> Result<Vec<WorkerRecord>>;

    /// Records a worker, or replaces its record. Removes the other workers that were not seen since `listed_since`, and those of
    /// its host that were not seen since `replaced`.
    async fn record_worker(
        &self,
        worker: &WorkerRecord,
        listed_since: DateTime<Utc>,
        replaced: DateTime<Utc>,
    ) -> Result<()>;

    /// Removes a worker. It need not be recorded.
    async fn remove_worker(&self, name: &str) -> Result<()>;

    /// Removes all workers, and returns their number. Those that run record themselves again.
    async fn remove_workers(&self) -> Result<u64>;
}

/// What a worker records about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Unlike that of any other worker, also of one that ran before on the same host.
    pub name: String,
    pub host: String,
    /// The version of its program.
    pub version: String,
    pub started_at: DateTime<Utc>,
    /// When it wrote this record.
    pub seen_at: DateTime<Utc>,
    /// The lanes that it consumes.
    pub lanes: Vec<String>,
    /// It publishes changes over RabbitMQ.
    pub leads_relay: bool,
    /// It delivers changes to the endpoints of webhooks.
    pub leads_webhooks: bool,
}

row! {
    WorkerRow<T> {
        name: String,
        host: String,
        version: String,
        started_at: T,
        seen_at: T,
        lanes: String,
        leads_relay: bool,
        leads_webhooks: bool,
    }
}

impl<T: Moment> WorkerRow<T> {
    pub(super) fn read(self) -> Result<WorkerRecord> {
        let id = RowId {
            table: "workers",
            key: &self.name,
        };
        Ok(WorkerRecord {
            started_at: id.moment("started_at", self.started_at)?,
            seen_at: id.moment("seen_at", self.seen_at)?,
            lanes: id.json("lanes", &self.lanes)?,
            host: self.host,
            version: self.version,
            leads_relay: self.leads_relay,
            leads_webhooks: self.leads_webhooks,
            name: self.name,
        })
    }
}
