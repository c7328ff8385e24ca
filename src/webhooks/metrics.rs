//! The names of the metrics of webhooks; `telemetry/metrics.rs` describes each.

use super::sender::{Response, SendError};

/// Attempts, by endpoint and outcome.
pub(super) const DELIVERIES: &str = "tenure_webhook_deliveries_total";
/// Age of the oldest change that an endpoint has not received; 0 when none waits.
pub(super) const LAG: &str = "tenure_webhook_lag_seconds";
/// 1 while an endpoint is disabled.
pub(super) const DISABLED: &str = "tenure_webhook_endpoint_disabled";

const OUTCOMES: [&str; 5] = ["delivered", "rejected", "timed_out", "unreachable", "not_allowed"];

/// Declares the metrics of an endpoint.
pub(super) fn declare(endpoint: &str) {
    for outcome in OUTCOMES {
        let endpoint = endpoint.to_owned();
        ::metrics::counter!(DELIVERIES, "endpoint" => endpoint, "outcome" => outcome).increment(0);
    }
    ::metrics::gauge!(LAG, "endpoint" => endpoint.to_owned()).increment(0);
}

/// The label of an outcome.
pub(super) fn outcome(outcome: &Result<Response, SendError>) -> &'static str {
    match outcome {
        Ok(response) if response.is_success() => "delivered",
        Ok(_) => "rejected",
        Err(SendError::NotPublic(_)) => "not_allowed",
        Err(SendError::TimedOut) => "timed_out",
        Err(SendError::Unreachable(_)) => "unreachable",
    }
}
