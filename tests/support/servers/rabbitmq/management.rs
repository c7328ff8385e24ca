//! Manages a RabbitMQ server: vhosts, queues, connections and definitions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{http, unique_name};
use super::{COUNT_EVERY_MS, RabbitMq};

impl RabbitMq {
    /// Creates a vhost for one test and returns its AMQP URL; `servers::name_in` extracts its name.
    pub fn vhost(&self, hint: &str) -> String {
        let name = unique_name(hint, self.vhosts.fetch_add(1, Ordering::Relaxed));
        let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
        self.manage("PUT", &format!("vhosts/{name}"), Some(&json!({})));
        self.manage("PUT", &format!("permissions/{name}/guest"), Some(&everything));
        self.url(&name)
    }

    /// Publishes through the management API, which accepts the message as JSON: its headers may be nested deeper than a
    /// client library can write. The message must reach a queue.
    pub fn publish_as_json(&self, vhost: &str, exchange: &str, message: &str) {
        let path = format!(
            "/api/exchanges/{}/{}/publish",
            http::segment(vhost),
            http::segment(exchange)
        );
        let answer = http::send(self.ports.management, "POST", &path, message);
        let (status, body) = answer.unwrap_or_else(|why| panic!("{why}"));
        assert!(status == 200 && body.contains("true"), "{status} {body}");
    }

    /// Runs `rabbitmqctl` with these arguments and returns its output.
    pub fn control(&self, args: &[&str]) -> String {
        let done = self
            .with_environment(&self.script.with_file_name("rabbitmqctl"))
            .args(args)
            .output()
            .expect("rabbitmqctl can be started");
        assert!(
            done.status.success(),
            "rabbitmqctl {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Writes to disk what RabbitMQ knows of its quorum queues. It does so every few seconds on its own; if it is killed
    /// before, RabbitMQ 3.10 loses a queue that it has just declared or recovered (`INTERNAL_ERROR` from then on).
    pub fn sync(&self) {
        self.control(&[
            "eval",
            "[ok = dets:sync(Table) || Table <- dets:all()], catch mnesia:sync_log().",
        ]);
    }

    /// The number of messages in a queue, ready and unacknowledged; `None` if the queue does not exist or has no sample
    /// yet. The sample may be half a second old: wait for the number you expect.
    pub fn queue_depth(&self, vhost: &str, queue: &str) -> Option<u64> {
        // Without statistics the list shows what the queues last reported. With them, or for a single queue, the API
        // samples at most once a second.
        let path = format!(
            "queues/{}?disable_stats=true&enable_queue_totals=true",
            http::segment(vhost)
        );
        let queues = self.try_manage("GET", &path, None).ok()?;
        let found = queues.as_array()?.iter().find(|it| it["name"] == queue)?;
        found["messages"].as_u64()
    }

    /// Waits until a queue holds this many messages in two samples; panics after `limit`.
    pub fn wait_for_depth(&self, vhost: &str, queue: &str, expected: u64, limit: Duration) {
        let end = Instant::now() + limit;
        let mut agreed_since = None;
        loop {
            let depth = self.queue_depth(vhost, queue);
            if depth != Some(expected) {
                agreed_since = None;
                assert!(
                    Instant::now() < end,
                    "{queue} in {vhost} holds {depth:?} messages after {limit:?}, not {expected}"
                );
            } else if agreed_since.get_or_insert_with(Instant::now).elapsed()
                > Duration::from_millis(3 * u64::from(COUNT_EVERY_MS))
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(u64::from(COUNT_EVERY_MS) / 4));
        }
    }

    /// A queue as the management API shows it (`messages_ready`, `consumers`, `arguments` …). Its figures are up to two
    /// seconds old.
    pub fn queue(&self, vhost: &str, queue: &str) -> Option<Value> {
        let path = format!("queues/{}/{}", http::segment(vhost), http::segment(queue));
        self.try_manage("GET", &path, None).ok()
    }

    /// Closes all connections to a vhost, as an administrator would, and returns their number. It waits up to five seconds
    /// for the first: a new connection is not on the list yet.
    pub fn close_all_connections(&self, vhost: &str) -> usize {
        let list = format!("vhosts/{}/connections", http::segment(vhost));
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let connections = self.manage("GET", &list, None);
            let connections = connections.as_array().map_or(&[][..], Vec::as_slice);
            // A connection may close in the meantime: that is no error.
            let closed = connections
                .iter()
                .filter_map(|connection| connection["name"].as_str())
                .filter(|name| {
                    let path = format!("connections/{}", http::segment(name));
                    self.try_manage("DELETE", &path, None).is_ok()
                })
                .count();
            if closed > 0 || Instant::now() > end {
                return closed;
            }
            std::thread::sleep(Duration::from_millis(u64::from(COUNT_EVERY_MS) / 2));
        }
    }

    /// The definitions of a vhost: `exchanges`, `queues`, `bindings`, `policies`.
    pub fn definitions(&self, vhost: &str) -> Value {
        let path = format!("definitions/{}", http::segment(vhost));
        self.manage("GET", &path, None)
    }

    /// Imports a definitions file, as `rabbitmqctl import_definitions` does. The file names its vhosts.
    pub fn import_definitions(&self, definitions: &Value) {
        self.manage("POST", "definitions", Some(definitions));
    }

    /// One call of the management API, with the path after `/api/`; panics unless the status is 2xx.
    pub fn manage(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_manage(method, path, body)
            .unwrap_or_else(|why| panic!("{why}"))
    }

    pub(super) fn try_manage(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let path = format!("/api/{path}");
        match http::call(self.ports.management, method, &path, body)? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => Err(format!("{method} {path}: {status} {answer}")),
        }
    }
}
