//! How many messages wait in the queues of lanes, as a worker knows it.

use serde_json::{Value, json};

use crate::support::gate::Gate;
use crate::support::site::Site;

#[test]
fn a_worker_knows_how_many_messages_wait() {
    const ALL: usize = 40;
    let site = Site::alone("depths");
    let tenure = site.tenure(&[
        ("TENURE_BROKER__PREFETCH", "2"),
        ("TENURE_BROKER__BATCH_MAX", "1"),
        ("TENURE_BROKER__HEARTBEAT", "200ms"),
    ]);
    tenure.ok(&["migrate"]);
    let gate = Gate::close(&site, "true");
    let running = tenure.run();
    let events = (0..ALL).map(|n| {
        json!({
            "specversion": "1.0", "id": n.to_string(), "source": "/space", "type": "client.added",
            "subject": format!("p/c{n}"), "time": "2026-01-05T09:00:00Z", "data": { "name": format!("Client {n}") },
        })
    });
    let file = site.file(events);
    tenure.ok(&["publish", &file]);
    let waiting = || {
        let (_, body) = running.get("/v1/worker");
        let worker: Value = serde_json::from_str(&body).ok()?;
        worker["queues"]["tenure.events.0"]["messages"].as_u64()
    };
    // The worker holds two messages, and the others wait in the queue, some heartbeats among them.
    let held = u64::try_from(ALL - 2).expect("a number");
    running.wait_until("messages that wait", || {
        waiting().is_some_and(|messages| messages >= held)
    });
    let metric = || running.metric(r#"tenure_broker_queue_messages{queue="tenure.events.0"}"#);
    let least = f64::from(u32::try_from(held).expect("a small number"));
    running.wait_until("the metric", || metric() >= least);
    gate.open();
    running.wait_until("an empty queue", || waiting() == Some(0));
    running.wait_until("the metric", || metric().abs() < 0.5);
    assert!(running.stop().success());
}
