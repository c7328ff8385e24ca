//! The copy of a client as records: all that decides about its events. Without its journal and its checkpoints, on which no decision
//! depends.

use std::collections::HashSet;

use chrono::DateTime;

use super::{MovedClient, MovedEvent, MovedRow, MovedRun, MovedTouches, Record};
use crate::store::columns::RowId;
use crate::store::touches::RUN_LENGTH;
use crate::store::{ClientSnapshot, Logged, Result, Touch};

impl ClientSnapshot {
    /// # Errors
    /// When its document cannot be read.
    pub fn into_records(self) -> Result<Vec<Record>> {
        let key = self.key;
        let row = match self.row {
            None => None,
            Some(row) => {
                let id = RowId {
                    table: "clients",
                    key: &key,
                };
                let document = row.document.map_err(|error| id.unreadable("doc", error))?;
                Some(MovedRow {
                    version: row.version,
                    document,
                })
            }
        };
        let mut records = vec![Record::Client(Box::new(MovedClient {
            client: key.clone(),
            row,
        }))];
        let (packed, logged): (Vec<Logged>, Vec<Logged>) = self
            .history
            .into_iter()
            .partition(|logged| Touch::is_packed(&logged.event));
        let open: HashSet<&Touch> = self.touches.iter().collect();
        let closed: Vec<Touch> = packed
            .into_iter()
            .map(|logged| Touch {
                time: logged.event.time,
                sequence: logged.event.sequence,
            })
            .filter(|touch| !open.contains(touch))
            .collect();
        for (number, run) in (1..).zip(closed.chunks(RUN_LENGTH)) {
            records.push(Record::TouchRun(MovedRun {
                client: key.clone(),
                number,
                touches: run.iter().cloned().collect(),
            }));
        }
        if !self.touches.is_empty() || self.renew_only.is_some() {
            records.push(Record::Touches(MovedTouches {
                client: key,
                open: self.touches,
                renew_only: self.renew_only,
            }));
        }
        records.extend(logged.into_iter().map(|Logged { event, outcome }| {
            Record::Event(Box::new(MovedEvent {
                client: event.key,
                source: event.source,
                id: event.id,
                time: event.time,
                sequence: event.sequence,
                actor: event.actor,
                // No decision depends on it.
                received_at: DateTime::UNIX_EPOCH,
                refused: outcome.refusal(),
                kind: event.kind,
            }))
        }));
        Ok(records)
    }
}
