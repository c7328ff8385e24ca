//! The counters of the engine, from the start: a counter that appears with its first event hides that event from `increase`.

use super::ingest::OUTCOMES;
use super::warnings::{MISTAKES, OTHER};
use crate::domain::Refusal;
use crate::domain::access::DECISION_REASONS;
use crate::store::RetentionTarget;

/// Declares the counters of the engine with all labels that are known in advance.
pub fn declare_counters() {
    for outcome in OUTCOMES {
        metrics::counter!("tenure_events_total", "outcome" => outcome).increment(0);
    }
    for refusal in Refusal::ALL {
        metrics::counter!("tenure_refusals_total", "code" => refusal.code()).increment(0);
    }
    for reason in DECISION_REASONS {
        metrics::counter!("tenure_access_decisions_total", "reason" => reason).increment(0);
    }
    for target in RetentionTarget::ALL {
        metrics::counter!("tenure_pruned_total", "table" => target.table()).increment(0);
    }
    for name in MISTAKES {
        metrics::counter!(name, "source" => OTHER).increment(0);
    }
    for name in [
        "tenure_batch_conflicts_total",
        "tenure_histories_replayed_total",
        "tenure_checkpoints_used_total",
    ] {
        metrics::counter!(name).increment(0);
    }
    // Also registers the histogram.
    let _ = metrics::histogram!("tenure_event_to_commit_seconds");
}
