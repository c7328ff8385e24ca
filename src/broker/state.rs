//! Whether RabbitMQ is there: for readiness, and told once for every turn of events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::Notify;

use super::error::BrokerError;
use super::metrics;
use crate::backoff;

/// What a connection is for. Each part has one of its own: a publisher that RabbitMQ holds back must not
/// hold back acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Consumers,
    /// The reader of the dead queue.
    Dead,
    Heartbeat,
    Relay,
}

impl Part {
    /// The name of the connection, for RabbitMQ's management, logs and metrics.
    pub fn connection_name(self) -> &'static str {
        match self {
            Self::Consumers => "tenure",
            Self::Dead => "tenure dead",
            Self::Heartbeat => "tenure heartbeat",
            Self::Relay => "tenure relay",
        }
    }

    /// Bytes of a frame at most, where less than what RabbitMQ proposes will do. The client library holds 32 frames for
    /// each direction, which at RabbitMQ's 128 KiB is 8 MiB. Whoever consumes has to take those: headers come in one frame,
    /// however long they are.
    pub fn frame_max(self) -> Option<u32> {
        match self {
            Self::Consumers | Self::Dead => None,
            Self::Heartbeat => Some(8 << 10),
            Self::Relay => Some(32 << 10),
        }
    }
}

/// How it stands with RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerStatus {
    /// Everything that should be connected is.
    pub connected: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it has been so. None: nothing has been tried yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// What does not do its work although everything is connected, by its name: a lane, the relay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, (Severity, String)>,
}

/// Whether something keeps a worker from being ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Failure,
}

/// A handle on how it stands with RabbitMQ; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct BrokerState {
    board: Arc<Mutex<Board>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Board {
    url: String,
    /// Why each part is down; None for one that is up.
    parts: BTreeMap<Part, Option<String>>,
    since: Option<DateTime<Utc>>,
    outage: Option<Instant>,
    was_up: bool,
    /// What has been told of this outage.
    told: BTreeSet<String>,
    notes: BTreeMap<String, (Severity, String)>,
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
            notes: board.notes.clone(),
        }
    }

    /// Notes what is wrong with something, or that nothing is. Each is logged when it begins and when it ends.
    pub(super) fn note(&self, name: &str, wrong: Option<(Severity, String)>) {
        let mut board = self.board();
        let before = board.notes.remove(name);
        match (&wrong, &before) {
            (Some((severity, why)), None) => {
                tracing::warn!(
                    broker.part = name,
                    ?severity,
                    why,
                    "a part of the broker does not do its work"
                );
            }
            (None, Some(_)) => tracing::info!(broker.part = name, "it does its work again"),
            _ => {}
        }
        if let Some(wrong) = wrong {
            board.notes.insert(name.to_owned(), wrong);
        }
    }

    /// Forgets notes about what is not there any more.
    pub(super) fn keep_notes(&self, is_there: impl Fn(&str) -> bool) {
        self.board().notes.retain(|name, _| is_there(name));
    }

    /// Waits until everything that should be connected is.
    pub async fn connected(&self) {
        loop {
            let changed = self.changed.notified();
            if self.status().connected {
                return;
            }
            changed.await;
        }
    }

    /// Parts that are to be connected from now on.
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
        board.told.clear();
        let after = board.outage.take().map(|outage| outage.elapsed());
        let url = board.url.as_str();
        if let Some(after) = after.filter(|_| board.was_up) {
            tracing::info!(
                broker.url = url,
                broker.away_seconds = seconds(after),
                "RabbitMQ is back"
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
        // However many connections and attempts an outage has, it is one; a refusal is told for each reason.
        let turn = match error {
            BrokerError::Unreachable(_) => String::new(),
            said => said.to_string(),
        };
        if !board.told.insert(turn) {
            tracing::debug!(broker.connection = connection, %error, "still no connection to RabbitMQ");
            return;
        }
        if matches!(error, BrokerError::Login(_)) {
            tracing::error!(
                broker.url = board.url,
                broker.connection = connection,
                broker.pause_seconds = backoff::PATIENT.as_secs(),
                why = %error,
                "RabbitMQ does not let this worker in; trying again and again"
            );
            drop(board);
            self.changed.notify_waiters();
            return;
        }
        let what = match error {
            BrokerError::Unreachable(_) if was == Some(None) => "RabbitMQ is lost",
            BrokerError::Unreachable(_) => "RabbitMQ is not there",
            _ => "RabbitMQ cannot be used",
        };
        tracing::warn!(
            broker.url = board.url,
            broker.connection = connection,
            broker.longest_pause_seconds = backoff::LONGEST.as_secs(),
            why = %error,
            "{what}; trying again and again"
        );
        drop(board);
        self.changed.notify_waiters();
    }

    /// A part is connected, and waits for something else before it does its work.
    pub(super) fn waiting(&self, part: Part, what: &str) {
        self.board().parts.insert(part, Some(what.to_owned()));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To the tenth.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

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
                notes: BTreeMap::new(),
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
                reason: Some("RabbitMQ refuses: no".into()),
                since: Some(later),
                notes: BTreeMap::new(),
            }
        );
    }
}
