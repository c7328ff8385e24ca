//! Pruning of old rows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;

/// Counts and prunes old rows.
#[async_trait]
pub trait Retention: Send + Sync + 'static {
    /// Counts the rows that are older than `before` and that [`Retention::prune`] would remove.
    async fn count_prunable(&self, target: RetentionTarget, before: DateTime<Utc>) -> Result<u64>;

    /// Removes rows that are older than `before`, the oldest first, at most `limit`, and returns their number. Several
    /// workers may prune at once.
    async fn prune(&self, target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> Result<u64>;
}

/// Rows that retention removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionTarget {
    /// Redriven or discarded dead letters, by the time of that.
    DeadLetters,
    /// Ended runs, by their end. The last `keep` of each sweep stay.
    SweepRuns { keep: u32 },
    /// Published lines that every active endpoint of a webhook has received, by the time of their recording.
    Journal,
    /// Entries of the access log, by the time at which somebody entered.
    Accesses,
    /// Entries of the audit log, by their time.
    Audit,
    /// Trace contexts of events, by the time at which the event was stored.
    Traces,
}

impl RetentionTarget {
    /// One of each, with any parameters.
    pub const ALL: [Self; 6] = [
        Self::DeadLetters,
        Self::SweepRuns { keep: 0 },
        Self::Journal,
        Self::Accesses,
        Self::Audit,
        Self::Traces,
    ];

    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            Self::SweepRuns { .. } => "sweep_runs",
            Self::Journal => "journal",
            Self::Accesses => "accesses",
            Self::Audit => "audit_log",
            Self::Traces => "event_traces",
        }
    }
}
