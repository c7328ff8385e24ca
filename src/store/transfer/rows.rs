//! Records from the rows of the tables, for both adapters.

use super::{
    LinePlace, MovedAccessLog, MovedBackfill, MovedBody, MovedChange, MovedClient, MovedClock, MovedClosing,
    MovedDeadLetter, MovedEvent, MovedLine, MovedPolicy, MovedRelay, MovedRow, MovedRun, MovedStatement,
    MovedTouches, Record,
};
use crate::store::accesses::AccessRow;
use crate::store::audit::AuditRow;
use crate::store::clients::LoggedRow;
use crate::store::columns::{Both, KeyRow, Moment, RowId, row};
use crate::store::dead_letters::DeadLetterRow;
use crate::store::feed::{Pruned, PrunedRow};
use crate::store::halts::HaltRow;
use crate::store::lanes::LaneRow;
use crate::store::outbox::{JournalRow, read_line};
use crate::store::policies::{BackfillRow, PolicyRow};
use crate::store::sources::SourceRow;
use crate::store::statements::{ClosingRow, StatedRow};
use crate::store::sweeps::RunRow;
use crate::store::touches::{TouchesRow, read_touches};
use crate::store::webhooks::EndpointRow;
use crate::store::{RecordedOutcome, Result, Touches, hex};

row! {
    ClockRow<T> {
        latest: T,
    }
}

row! {
    AccessLogRow<T> {
        since: T,
    }
}

row! {
    DigestRow {
        digest: Vec<u8>,
    }
}

row! {
    /// A client, and its row, if it has one.
    MovedClientRow {
        version: Option<i64>,
        doc: Option<String>,
    }
}

row! {
    RunOfTouchesRow {
        number: i32,
        run: Vec<u8>,
    }
}

row! {
    ReceivedRow<T> {
        received_at: T,
    }
}

row! {
    /// The cursor of the relay, and the last numbers that were assigned.
    NumbersRow {
        epoch: i64,
        xid: i64,
        seq: i64,
        last_line: i64,
        last_dead_letter: i64,
        last_sweep_run: i64,
    }
}

pub(in crate::store) fn policy<T: Moment>(row: PolicyRow<T>) -> Result<Record> {
    let (effective_from, policy) = row.read()?;
    Ok(Record::Policy(MovedPolicy {
        effective_from,
        policy,
    }))
}

pub(in crate::store) fn backfill<T: Moment>(row: BackfillRow<T>) -> Result<Record> {
    let backfill = row.read()?;
    Ok(Record::Backfill(MovedBackfill {
        policy_from: backfill.policy_from,
        after: backfill.after,
    }))
}

pub(in crate::store) fn clock<T: Moment>(row: ClockRow<T>) -> Result<Record> {
    let id = RowId {
        table: "clock",
        key: &"its only row",
    };
    let latest = id.moment("latest", row.latest)?;
    Ok(Record::Clock(MovedClock { latest }))
}

pub(in crate::store) fn lane<T: Moment>(row: LaneRow<T>) -> Result<Record> {
    Ok(Record::Lane(row.read()?))
}

pub(in crate::store) fn source<T: Moment>(row: SourceRow<T>) -> Result<Record> {
    Ok(Record::Source(row.read()?))
}

pub(in crate::store) fn halt<T: Moment>(row: HaltRow<T>) -> Result<Record> {
    Ok(Record::Halt(row.read()?))
}

pub(in crate::store) fn access_log<T: Moment>(row: AccessLogRow<T>) -> Result<Record> {
    let id = RowId {
        table: "access_log_since",
        key: &"its only row",
    };
    let since = id.moment("since", row.since)?;
    Ok(Record::AccessLog(MovedAccessLog { since }))
}

pub(in crate::store) fn audit<T: Moment>(row: AuditRow<T>) -> Result<Record> {
    Ok(Record::Audit(Box::new(row.read()?.entry)))
}

pub(in crate::store) fn sweep_run<T: Moment>(row: RunRow<T>) -> Result<Record> {
    Ok(Record::SweepRun(row.read()?))
}

pub(in crate::store) fn closing<T: Moment>(row: ClosingRow<T>) -> Result<Record> {
    let closing = row.read()?;
    Ok(Record::Closing(MovedClosing {
        month: closing.month,
        closed_by: closing.closed_by,
        started_at: closing.started_at,
        closed_at: closing.closed_at,
        after: closing.after,
        statements: closing.statements,
        adjustments: closing.adjustments,
    }))
}

pub(in crate::store) fn webhook_endpoint<T: Moment>(row: EndpointRow<T>) -> Result<Record> {
    Ok(Record::WebhookEndpoint(Box::new(row.read()?.into())))
}

pub(in crate::store) fn statement(row: Both<KeyRow, StatedRow>) -> Result<Record> {
    let Both(key, row) = row;
    let client = key.read(RowId {
        table: "statement_days",
        key: &row.month,
    })?;
    let stated = row.read(&client)?;
    Ok(Record::Statement(Box::new(MovedStatement {
        client,
        month: stated.month,
        stated_in: stated.stated_in,
        intervals: (&stated.intervals).into(),
        causes: stated.causes,
    })))
}

pub(in crate::store) fn dead_letter<T: Moment>(row: Both<DigestRow, DeadLetterRow<T>>) -> Result<Record> {
    let Both(DigestRow { digest }, row) = row;
    let record = row.read()?;
    let dead_letter = record.dead_letter;
    let body = match String::from_utf8(dead_letter.body) {
        Ok(text) => MovedBody::Text(text),
        Err(error) => MovedBody::Hex(hex(error.as_bytes())),
    };
    Ok(Record::DeadLetter(Box::new(MovedDeadLetter {
        id: record.id,
        digest: hex(&digest),
        origin: dead_letter.origin,
        source: dead_letter.source,
        content_type: dead_letter.content_type,
        headers: dead_letter.headers,
        body,
        bytes: record.bytes,
        reason: dead_letter.reason,
        status: record.status,
        times_seen: record.times_seen,
        first_seen_at: record.first_seen_at,
        last_seen_at: record.last_seen_at,
        retry_at: dead_letter.retry_at,
        resolved_at: record.resolved_at,
        redriven_at: record.redriven_at,
        redrive_outcome: record.redrive_outcome,
    })))
}

pub(in crate::store) fn client(row: Both<KeyRow, MovedClientRow>) -> Result<Record> {
    let Both(key, row) = row;
    let key = key.read(RowId {
        table: "clients",
        key: &"a client",
    })?;
    let id = RowId {
        table: "clients",
        key: &key,
    };
    let read = |(version, doc): (i64, String)| -> Result<MovedRow> {
        let document = id.json("doc", &doc)?;
        Ok(MovedRow { version, document })
    };
    let row = row.version.zip(row.doc).map(read).transpose()?;
    Ok(Record::Client(Box::new(MovedClient { client: key, row })))
}

pub(in crate::store) fn touches<T: Moment>(row: Both<KeyRow, TouchesRow<T>>) -> Result<Record> {
    let Both(key, row) = row;
    let client = key.read(RowId {
        table: "touches",
        key: &"a client",
    })?;
    let (open, renew_only) = read_touches(&client, row)?;
    Ok(Record::Touches(MovedTouches {
        client,
        open,
        renew_only,
    }))
}

pub(in crate::store) fn touch_run(row: Both<KeyRow, RunOfTouchesRow>) -> Result<Record> {
    let Both(key, row) = row;
    let client = key.read(RowId {
        table: "touch_runs",
        key: &row.number,
    })?;
    let id = RowId {
        table: "touch_runs",
        key: &client,
    };
    let touches = Touches::unpack(&row.run).map_err(|error| id.unreadable("run", error))?;
    Ok(Record::TouchRun(MovedRun {
        client,
        number: row.number,
        touches,
    }))
}

pub(in crate::store) fn event<T: Moment>(
    row: Both<KeyRow, Both<LoggedRow<T>, ReceivedRow<T>>>,
) -> Result<Record> {
    let Both(key, Both(logged, received)) = row;
    let client = key.read(RowId {
        table: "events",
        key: &logged.id.0,
    })?;
    let logged = logged.read(&client)?;
    let id = RowId {
        table: "events",
        key: &logged.event.id,
    };
    let received_at = id.moment("received_at", received.received_at)?;
    let event = logged.event;
    Ok(Record::Event(Box::new(MovedEvent {
        client,
        source: event.source,
        id: event.id,
        time: event.time,
        sequence: event.sequence,
        actor: event.actor,
        received_at,
        refused: RecordedOutcome::refusal(logged.outcome),
        kind: event.kind,
    })))
}

pub(in crate::store) fn access<T: Moment>(row: Both<KeyRow, AccessRow<T>>) -> Result<Record> {
    let Both(key, row) = row;
    let client = key.read(RowId {
        table: "accesses",
        key: &row.id.0,
    })?;
    Ok(Record::Access(Box::new(row.read(&client)?)))
}

pub(in crate::store) fn relay<T: Moment>(
    Both(row, pruned): Both<NumbersRow, PrunedRow<T>>,
) -> Result<Record> {
    let (pruned_before, line) = pruned.read()?.map(Pruned::moved).unzip();
    Ok(Record::Relay(MovedRelay {
        epoch: row.epoch,
        published: LinePlace {
            transaction: row.xid,
            sequence: row.seq,
        },
        pruned_before,
        pruned_line: line.flatten().map(|(line, recorded_at)| MovedLine {
            place: line.into(),
            recorded_at,
        }),
        last_line: row.last_line,
        last_dead_letter: row.last_dead_letter,
        last_sweep_run: row.last_sweep_run,
    }))
}

pub(in crate::store) fn change<T: Moment>(line: Both<KeyRow, JournalRow<T>>) -> Result<Record> {
    let recorded = read_line(line)?;
    Ok(Record::Change(Box::new(MovedChange {
        place: recorded.cursor.into(),
        recorded_at: recorded.recorded_at,
        entry: recorded.entry,
    })))
}
