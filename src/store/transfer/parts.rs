//! Records as an adapter writes them: by table, and in a [`Commit`] if their rows contain numbers that the new store assigns.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::{
    LinePlace, MovedAccessLog, MovedBackfill, MovedBody, MovedChange, MovedClient, MovedClock, MovedClosing,
    MovedDeadLetter, MovedEndpoint, MovedEvent, MovedPolicy, MovedRelay, MovedRun, MovedStatement,
    MovedTouches, Record,
};
use crate::domain::event::NameVerdict;
use crate::domain::intervals::ClientIntervals;
use crate::domain::{ClientKey, Event, MonthDays, Name};
use crate::store::columns::RowId;
use crate::store::{
    AuditEntry, ClientWrite, Commit, EventWrite, ExpectedSource, Halt, LaneProgress, RecordedOutcome, Result,
    Stated, SweepRun, TouchWrite,
};

/// The records of one transaction.
#[derive(Default)]
pub(in crate::store) struct Parts {
    /// The clients, in the order of their first records: the numbers that they get preserve the order of an export.
    pub keys: Vec<ClientKey>,
    /// Rows of clients, touches, deadlines, events, the access log and changes.
    pub commit: Commit,
    /// When each event of the commit was stored.
    pub received_at: Vec<DateTime<Utc>>,
    /// The place of each change of the commit, and when it was written.
    pub lines: Vec<(LinePlace, DateTime<Utc>)>,
    pub runs: Vec<MovedRun>,
    pub dead_letters: Vec<DeadLetterRow>,
    pub policies: Vec<MovedPolicy>,
    pub backfill: Option<MovedBackfill>,
    pub clock: Option<MovedClock>,
    pub lanes: Vec<LaneProgress>,
    pub sources: Vec<ExpectedSource>,
    pub halts: Vec<Halt>,
    pub access_log: Option<MovedAccessLog>,
    pub sweep_runs: Vec<SweepRun>,
    pub closings: Vec<MovedClosing>,
    pub endpoints: Vec<MovedEndpoint>,
    pub audit: Vec<AuditEntry>,
    pub statements: Vec<(ClientKey, Stated)>,
    pub relay: Option<MovedRelay>,
}

/// A dead letter with its digest and its body as bytes.
pub(in crate::store) struct DeadLetterRow {
    pub moved: MovedDeadLetter,
    pub digest: Vec<u8>,
    pub body: Vec<u8>,
}

impl Parts {
    /// # Errors
    /// [`crate::store::StoreError::Inconsistent`] when bytes are not hexadecimal, or a run is empty.
    pub fn of(records: Vec<Record>) -> Result<Self> {
        let mut parts = Self::default();
        let mut known = HashSet::new();
        for record in records {
            if let Some(key) = key(&record)
                && !known.contains(key)
            {
                known.insert(key.clone());
                parts.keys.push(key.clone());
            }
            parts.add(record)?;
        }
        Ok(parts)
    }

    fn add(&mut self, record: Record) -> Result<()> {
        match record {
            Record::Policy(policy) => self.policies.push(policy),
            Record::Backfill(backfill) => self.backfill = Some(backfill),
            Record::Clock(clock) => self.clock = Some(clock),
            Record::Lane(lane) => self.lanes.push(lane),
            Record::Source(source) => self.sources.push(source),
            Record::Halt(halt) => self.halts.push(halt),
            Record::AccessLog(access_log) => self.access_log = Some(access_log),
            Record::SweepRun(run) => self.sweep_runs.push(run),
            Record::Closing(closing) => self.closings.push(closing),
            Record::WebhookEndpoint(endpoint) => self.endpoints.push(*endpoint),
            Record::Audit(entry) => self.audit.push(*entry),
            Record::DeadLetter(dead_letter) => self.dead_letters.push(read(*dead_letter)?),
            Record::Client(client) => self.add_client(*client),
            Record::Touches(touches) => self.add_touches(touches),
            Record::TouchRun(run) => self.add_run(run)?,
            Record::Event(event) => self.add_event(*event),
            Record::Statement(statement) => self.add_statement(*statement),
            Record::Access(access) => self.commit.accesses.push(*access),
            Record::Relay(relay) => self.relay = Some(relay),
            Record::Change(change) => self.add_change(*change),
        }
        Ok(())
    }

    fn add_client(&mut self, moved: MovedClient) {
        let (key, Some(mut row)) = (moved.client, moved.row) else {
            return;
        };
        // Checkpoints do not move: the next replay of the client makes new ones.
        row.document.checkpointed_until = None;
        let deadlines = row.document.deadlines.iter();
        let deadlines = deadlines.map(|(sweep, due_at)| (key.clone(), *sweep, *due_at));
        self.commit.deadlines_set.extend(deadlines);
        self.commit.clients.push(ClientWrite {
            key,
            name_key: row.document.held_name().map(Name::key),
            document: row.document,
            // The written version is one more.
            read_version: row.version - 1,
        });
    }

    fn add_touches(&mut self, moved: MovedTouches) {
        self.commit.touches.push(TouchWrite {
            key: moved.client,
            open: moved.open,
            closed: None,
            renew_only: moved.renew_only,
        });
    }

    fn add_run(&mut self, run: MovedRun) -> Result<()> {
        if run.touches.is_empty() {
            let id = RowId {
                table: "touch_runs",
                key: &run.client,
            };
            return Err(id.unreadable("run", "it is empty"));
        }
        self.runs.push(run);
        Ok(())
    }

    fn add_event(&mut self, moved: MovedEvent) {
        self.received_at.push(moved.received_at);
        self.commit.events.push(EventWrite {
            outcome: RecordedOutcome::from(moved.refused.map_or(Ok(()), Err)),
            event: Event {
                source: moved.source,
                id: moved.id,
                key: moved.client,
                time: moved.time,
                sequence: moved.sequence,
                actor: moved.actor,
                kind: moved.kind,
                // It is not written: it follows from the outcome.
                name_verdict: NameVerdict::Open,
            },
        });
    }

    fn add_statement(&mut self, moved: MovedStatement) {
        let intervals = ClientIntervals::from(moved.intervals);
        let stated = Stated {
            month: moved.month,
            stated_in: moved.stated_in,
            days: MonthDays::of(&intervals, moved.month),
            intervals,
            causes: moved.causes,
        };
        self.statements.push((moved.client, stated));
    }

    fn add_change(&mut self, moved: MovedChange) {
        self.lines.push((moved.place, moved.recorded_at));
        self.commit.journal.push(moved.entry);
    }
}

/// The client that a record belongs to.
fn key(record: &Record) -> Option<&ClientKey> {
    match record {
        Record::Client(moved) => Some(&moved.client),
        Record::Touches(moved) => Some(&moved.client),
        Record::TouchRun(moved) => Some(&moved.client),
        Record::Event(moved) => Some(&moved.client),
        Record::Statement(moved) => Some(&moved.client),
        Record::Access(moved) => Some(&moved.client),
        Record::Change(moved) => Some(&moved.entry.key),
        Record::Policy(_)
        | Record::Backfill(_)
        | Record::Clock(_)
        | Record::Lane(_)
        | Record::Source(_)
        | Record::Halt(_)
        | Record::AccessLog(_)
        | Record::SweepRun(_)
        | Record::Closing(_)
        | Record::WebhookEndpoint(_)
        | Record::Audit(_)
        | Record::DeadLetter(_)
        | Record::Relay(_) => None,
    }
}

fn read(mut moved: MovedDeadLetter) -> Result<DeadLetterRow> {
    let id = moved.id;
    let body = std::mem::replace(&mut moved.body, MovedBody::Text(String::new()));
    Ok(DeadLetterRow {
        digest: unhex(&moved.digest, id, "digest")?,
        body: match body {
            MovedBody::Text(text) => text.into_bytes(),
            MovedBody::Hex(digits) => unhex(&digits, id, "body")?,
        },
        moved,
    })
}

fn unhex(digits: &str, id: i64, column: &'static str) -> Result<Vec<u8>> {
    let id = RowId {
        table: "dead_letters",
        key: &id,
    };
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| id.unreadable(column, "it is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hex;

    #[test]
    fn bytes_read_back_from_hexadecimal() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes), 1, "body").unwrap(), bytes);
        assert_eq!(unhex("", 1, "body").unwrap(), [0; 0]);
        for wrong in ["0", "0g", "000", "+1"] {
            assert!(unhex(wrong, 1, "body").is_err(), "{wrong}");
        }
    }
}
