//! What a worker reports about itself: metrics, lines of its log, traces.

mod collector;
mod incidents;
mod logs;
mod metrics;
mod traces;
mod traces_of_requests;
mod traces_of_workers;

use serde_json::{Value, json};

/// An event about a client of the partner `p`.
fn event(id: &str, kind: &str, client: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/space", "type": kind, "subject": format!("p/{client}"),
        "time": "2026-01-05T09:00:00Z", "data": data,
    })
}
