//! Whether RabbitMQ is available: for readiness, and logged once per change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::Notify;

use super::error::BrokerError;
use super::metrics;
use crate::backoff;

/// The purpose of a connection. Each part has its own: a publisher that RabbitMQ blocks must not block
/// acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Consumers,
    /// The consumer of the dead queue.
    Dead,
    Heartbeat,
    Relay,
}

impl Part {
    /// The name of the connection in RabbitMQ's management UI, logs and metrics.
    pub fn connection_name(self) -> &'static str {
        match self {
            Self::Consumers => "tenure",
            Self::Dead => "tenure dead",
            Self::Heartbeat => "tenure heartbeat",
            Self::Relay => "tenure relay",
        }
    }

    /// Maximum frame size in bytes. The client library buffers 32 frames per direction: 8 MiB at the 128 KiB that RabbitMQ
    /// proposes. A body may take several frames. Properties arrive in a single frame, however long they are:
    /// [`super::screen`] withholds longer ones from the library.
    pub fn frame_max(self) -> u32 {
        match self {
            Self::Consumers | Self::Dead => 64 << 10,
            Self::Heartbeat => 8 << 10,
            Self::Relay => 32 << 10,
        }
    }
}

/// The status of the RabbitMQ connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerStatus {
    /// Every expected part is connected.
    pub connected: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when the status holds. None: no connection attempt yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Components that do not work although everything is connected, by name: a lane, the relay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub problems: BTreeMap<String, (Severity, String)>,
}

/// Whether a problem makes a worker unready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Failure,
}

/// A handle on the status of the RabbitMQ connections; clones share it.
#[derive(Clone, Debug, Default)]
pub struct BrokerState {
    board: Arc<Mutex<Board>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Board {
    url: String,
    /// Why each part is down; None for a part that is up.
    parts: BTreeMap<Part, Option<String>>,
    since: Option<DateTime<Utc>>,
    outage: Option<Instant>,
    was_up: bool,
    /// The problems of this outage that are already logged.
    logged: BTreeSet<String>,
    problems: BTreeMap<String, (Severity, String)>,
}

impl Board {
    fn reason(&self) -> Option<&str> {
        self.parts.values().flatten().next().map(String::as_str)
    }
}

impl BrokerState {
    #[must_use]
    pub fn status(&self) -> BrokerStatus {
        let board = self.board();
        let reason = match board.reason() {
            None if board.parts.is_empty() => Some("not started"),
            reason => reason,
        };
        BrokerStatus {
            connected: reason.is_none(),
            reason: reason.map(str::to_owned),
            since: board.since,
            problems: board.problems.clone(),
        }
    }

    /// Records a component's problem, or its end. Logs each when it begins and when it ends.
    pub(super) fn report(&self, name: &str, wrong: Option<(Severity, String)>) {
        let mut board = self.board();
        let before = board.problems.remove(name);
        match (&wrong, &before) {
            (Some((severity, why)), None) => {
                tracing::warn!(
                    broker.part = name,
                    ?severity,
                    why,
                    "a component of the RabbitMQ adapter has a problem"
                );
            }
            (None, Some(_)) => tracing::info!(broker.part = name, "the component works again"),
            _ => {}
        }
        if let Some(wrong) = wrong {
            board.problems.insert(name.to_owned(), wrong);
        }
    }

    /// Removes the problems of components that no longer exist.
    pub(super) fn retain_problems(&self, exists: impl Fn(&str) -> bool) {
        self.board().problems.retain(|name, _| {
            let is_kept = exists(name);
            if !is_kept {
                tracing::info!(broker.part = name, "the component that had a problem is gone");
            }
            is_kept
        });
    }

    /// Waits until every expected part is connected.
    pub async fn connected(&self) {
        loop {
            let changed = self.changed.notified();
            if self.status().connected {
                return;
            }
            changed.await;
        }
    }

    /// Adds the parts that are expected to be connected from now on.
    pub(super) fn expect(&self, url: &str, parts: &[Part], now: DateTime<Utc>) {
        let mut board = self.board();
        url.clone_into(&mut board.url);
        board.parts = parts
            .iter()
            .map(|&part| (part, Some("not yet connected".into())))
            .collect();
        board.since = Some(now);
        board.outage = Some(Instant::now());
    }

    pub(super) fn up(&self, part: Part, now: DateTime<Utc>) {
        let mut board = self.board();
        board.parts.insert(part, None);
        ::metrics::gauge!(metrics::CONNECTED, "connection" => part.connection_name()).set(1);
        if board.reason().is_some() {
            return;
        }
        board.since = Some(now);
        board.logged.clear();
        let after = board.outage.take().map(|outage| outage.elapsed());
        let url = board.url.as_str();
        if let Some(after) = after.filter(|_| board.was_up) {
            tracing::info!(
                broker.url = url,
                broker.away_seconds = seconds(after),
                "reconnected to RabbitMQ"
            );
        } else {
            tracing::info!(broker.url = url, "connected to RabbitMQ");
        }
        board.was_up = true;
        drop(board);
        self.changed.notify_waiters();
    }

    pub(super) fn down(&self, part: Part, error: &BrokerError, now: DateTime<Utc>) {
        let mut board = self.board();
        let was = board.parts.insert(part, Some(error.to_string()));
        let connection = part.connection_name();
        if was == Some(None) {
            ::metrics::counter!(metrics::LOST, "connection" => connection).increment(1);
        }
        ::metrics::gauge!(metrics::CONNECTED, "connection" => connection).set(0);
        if board.outage.is_none() {
            board.outage = Some(Instant::now());
            board.since = Some(now);
        }
        // An outage is logged once, however many connections and attempts it has; a refusal is logged once per reason.
        let problem = match error {
            BrokerError::Unreachable(_) => String::new(),
            refusal => refusal.to_string(),
        };
        if !board.logged.insert(problem) {
            tracing::debug!(broker.connection = connection, %error, "still no connection to RabbitMQ");
            return;
        }
        if matches!(error, BrokerError::Login(_)) {
            tracing::error!(
                broker.url = board.url,
                broker.connection = connection,
                broker.pause_seconds = backoff::PATIENT.as_secs(),
                why = %error,
                "RabbitMQ refuses this worker's login; retrying"
            );
            drop(board);
            self.changed.notify_waiters();
            return;
        }
        let what = match error {
            BrokerError::Unreachable(_) if was == Some(None) => "the connection to RabbitMQ is lost",
            BrokerError::Unreachable(_) => "RabbitMQ is unreachable",
            _ => "RabbitMQ cannot be used",
        };
        tracing::warn!(
            broker.url = board.url,
            broker.connection = connection,
            broker.longest_pause_seconds = backoff::LONGEST.as_secs(),
            why = %error,
            "{what}; retrying"
        );
        drop(board);
        self.changed.notify_waiters();
    }

    /// A part is connected, but waits for something else before it starts.
    pub(super) fn waiting(&self, part: Part, what: &str) {
        self.board().parts.insert(part, Some(what.to_owned()));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rounds to tenths.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// The log of this work.
    fn log_of(work: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = tracing_subscriber::fmt()
            .with_writer(Mutex::new(file.reopen().unwrap()))
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(lines, work);
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn the_problem_of_a_component_is_a_line_when_it_begins_and_one_when_it_ends() {
        let state = BrokerState::default();
        let wrong = |why: &str| Some((Severity::Warning, why.to_owned()));
        let log = log_of(|| {
            state.report("relay", None);
            for why in ["late", "later", "latest"] {
                state.report("relay", wrong(why));
                state.report("tenure.events.7", wrong(why));
            }
            state.report("relay", None);
            state.report("relay", None);
            for _ in 0..2 {
                state.retain_problems(|name| name == "relay");
            }
        });
        let said = |words: &str| log.lines().filter(|line| line.contains(words)).count();
        assert_eq!(
            said("a component of the RabbitMQ adapter has a problem"),
            2,
            "{log}"
        );
        assert_eq!(said("the component works again"), 1, "{log}");
        assert_eq!(said("the component that had a problem is gone"), 1, "{log}");
        assert_eq!(log.lines().count(), 4, "{log}");
    }

    #[test]
    fn connected_when_every_part_is() {
        let state = BrokerState::default();
        assert_eq!(state.status().reason.as_deref(), Some("not started"));
        state.expect("amqp://h", &[Part::Consumers, Part::Relay], NOW);
        assert!(!state.status().connected);
        state.up(Part::Consumers, NOW);
        assert!(!state.status().connected);
        state.up(Part::Relay, NOW);
        assert_eq!(
            state.status(),
            BrokerStatus {
                connected: true,
                reason: None,
                since: Some(NOW),
                problems: BTreeMap::new(),
            }
        );
        let later = NOW + chrono::TimeDelta::hours(1);
        state.down(Part::Relay, &BrokerError::Unreachable("gone".into()), later);
        state.down(
            Part::Relay,
            &BrokerError::Refused("no".into()),
            later + chrono::TimeDelta::hours(1),
        );
        assert_eq!(
            state.status(),
            BrokerStatus {
                connected: false,
                reason: Some("RabbitMQ refused the operation: no".into()),
                since: Some(later),
                problems: BTreeMap::new(),
            }
        );
    }
}
