//! Between the domain and the columns of a table: the same for both adapters.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::commit::{ClientWrite, OutcomeUpdate, RecordedOutcome};
use super::touches::{RenewOnlyWindow, Touch, Touches};
use super::{
    Census, Columns, Cursor, DeadLetter, DeadLetterRecord, DeadLetterStatus, DeadLetterSummary,
    DeadlineBackfill, Deadlines, Document, Due, Halt, HaltKind, LaneProgress, Logged, Recorded, Result,
    RunCounts, RunStatus, SnapshotRow, StoreError, Stored, SweepRun,
};
use crate::domain::change::ChangeText;
use crate::domain::event::NameVerdict;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::{Change, ClientKey, Entry, Event, EventKind, Policy, Refusal, Sweep};

/// A time as a column gives it: PostgreSQL has a type for it, SQLite whole microseconds since 1970.
pub(super) trait Moment {
    fn moment(self) -> Option<DateTime<Utc>>;
}

impl Moment for DateTime<Utc> {
    fn moment(self) -> Option<DateTime<Utc>> {
        Some(self)
    }
}

impl Moment for i64 {
    fn moment(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self)
    }
}

/// The place of a row, for whoever has to look for one that cannot be read.
#[derive(Clone, Copy)]
struct Row<'a> {
    table: &'static str,
    key: &'a dyn std::fmt::Display,
}

impl Row<'_> {
    fn unreadable(self, column: &'static str, reason: impl std::fmt::Display) -> StoreError {
        StoreError::Inconsistent {
            table: self.table,
            column,
            key: self.key.to_string(),
            reason: reason.to_string(),
        }
    }

    fn moment(self, column: &'static str, time: impl Moment) -> Result<DateTime<Utc>> {
        time.moment()
            .ok_or_else(|| self.unreadable(column, "the time is out of range"))
    }

    fn json<T: DeserializeOwned>(self, column: &'static str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.unreadable(column, error))
    }

    fn word<T>(self, column: &'static str, word: &str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        read(word).ok_or_else(|| self.unreadable(column, format!("`{word}` is unknown")))
    }

    fn touches(self, column: &'static str, bytes: &[u8]) -> Result<Touches> {
        Touches::unpack(bytes).map_err(|reason| self.unreadable(column, reason))
    }
}

/// JSON of our own types: plain data with text for keys, which cannot fail.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data with text for keys")
}

/// Takes out what a text column cannot hold.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "")
}

pub(super) fn key(partner: &str, client: &str) -> ClientKey {
    ClientKey {
        partner: partner.into(),
        client: client.into(),
    }
}

/// `partner, client, version, doc, open_run`
pub(super) type StoredRow = (String, String, i64, String, Option<Vec<u8>>);

pub(super) fn stored_row((partner, client, version, doc, open): StoredRow) -> Result<Stored> {
    stored(key(&partner, &client), version, &doc, open.as_deref())
}

pub(super) fn stored(key: ClientKey, version: i64, doc: &str, open: Option<&[u8]>) -> Result<Stored> {
    let row = Row {
        table: "clients",
        key: &key,
    };
    let document = row.json("doc", doc)?;
    let touches = open_run(&key, open.unwrap_or_default())?;
    Ok(Stored {
        key,
        document,
        version,
        touches,
    })
}

pub(super) fn open_run(key: &ClientKey, bytes: &[u8]) -> Result<Touches> {
    Row {
        table: "touches",
        key,
    }
    .touches("open_run", bytes)
}

/// `open_run, after, before, policies`
pub(super) type TouchesRow<T> = (Vec<u8>, Option<T>, Option<T>, Option<i64>);

/// A client's touches, if it has any. Where a part of the quiet stretch is missing there is none.
pub(super) fn touches_row<T: Moment>(
    key: &ClientKey,
    row: Option<TouchesRow<T>>,
) -> Result<(Touches, Option<RenewOnlyWindow>)> {
    let Some((run, after, before, policies)) = row else {
        return Ok((Touches::default(), None));
    };
    let place = Row {
        table: "touches",
        key,
    };
    let moment = |column, time: Option<T>| time.map(|time| place.moment(column, time)).transpose();
    let after = moment("quiet_after", after)?;
    let before = moment("quiet_before", before)?;
    let renew_only = after
        .zip(before)
        .zip(policies)
        .map(|((after, before), policies)| RenewOnlyWindow {
            after,
            before,
            policies,
        });
    Ok((open_run(key, &run)?, renew_only))
}

/// `version, doc, name, name_key, link, service, access, as_of`
pub(super) type SnapshotColumns<T> = (
    i64,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    Option<T>,
);

pub(super) fn snapshot_row<T: Moment>(key: &ClientKey, row: SnapshotColumns<T>) -> Result<SnapshotRow> {
    let (version, doc, name, name_key, link, service, access, as_of) = row;
    let place = Row {
        table: "clients",
        key,
    };
    Ok(SnapshotRow {
        version,
        document: serde_json::from_str(&doc).map_err(|error| error.to_string()),
        columns: Columns {
            name,
            name_key,
            link,
            service,
            access,
            as_of: as_of.map(|time| place.moment("as_of", time)).transpose()?,
        },
    })
}

/// The deadlines of one client, from rows of `sweep, due_at`.
pub(super) fn deadlines<T: Moment>(key: &ClientKey, rows: Vec<(String, T)>) -> Result<Deadlines> {
    let place = Row {
        table: "deadlines",
        key,
    };
    rows.into_iter()
        .map(|(sweep, due_at)| {
            let sweep = place.word("sweep", &sweep, Sweep::from_name)?;
            Ok((sweep, place.moment("due_at", due_at)?))
        })
        .collect()
}

/// What a client can be asked for by, taken from its document.
pub(super) struct ClientColumns<'a> {
    pub name: Option<&'a str>,
    pub link: Option<&'static str>,
    pub service: Option<&'static str>,
    pub access: &'static str,
    pub as_of: Option<DateTime<Utc>>,
}

impl<'a> ClientColumns<'a> {
    pub(super) fn of(document: &'a Document) -> Self {
        let client = &document.client;
        Self {
            name: client.name.as_ref().map(crate::domain::Name::as_str),
            link: client.link_status().map(LinkStatus::as_str),
            service: client.service_status().map(ServiceStatus::as_str),
            access: client.access_status().as_str(),
            as_of: client.as_of(),
        }
    }
}

/// The data of an event as it stands in the log: what was understood of it, not what was sent.
pub(super) fn data_of(kind: &EventKind) -> String {
    // Cut out of the whole, which is `{"type":"…","data":…}`: no type is written in another way than it is called.
    let whole = json(kind);
    let before = r#"{"type":"","data":"#.len() + kind.type_name().len();
    whole[before..whole.len() - 1].to_owned()
}

/// `applied` or `refused`, and the code of the refusal.
pub(super) fn outcome_columns(outcome: RecordedOutcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        RecordedOutcome::Applied => ("applied", None),
        RecordedOutcome::Refused(refusal) => ("refused", Some(refusal.code())),
    }
}

/// `partner, client, source, id, type, time, sequence, data, reason`
pub(super) type LoggedRow<T> = (
    String,
    String,
    String,
    String,
    String,
    T,
    Option<String>,
    String,
    Option<String>,
);

pub(super) fn logged<T: Moment>(row: LoggedRow<T>) -> Result<Logged> {
    let (partner, client, source, id, kind, time, sequence, data, reason) = row;
    let name = format!("{source} {id}");
    let row = Row {
        table: "events",
        key: &name,
    };
    let kind = format!(r#"{{"type":{},"data":{data}}}"#, json(&kind));
    let kind: EventKind = row.json("data", &kind)?;
    let outcome = match reason {
        None => RecordedOutcome::Applied,
        Some(code) => RecordedOutcome::Refused(row.word("reason", &code, Refusal::from_code)?),
    };
    // A name is asked for only once an event could be applied, so these two outcomes, and no others,
    // tell that it was.
    let name_verdict = match (kind.claimed_name(), outcome) {
        (Some(_), RecordedOutcome::Applied) => NameVerdict::Granted,
        (Some(_), RecordedOutcome::Refused(Refusal::NameTaken)) => NameVerdict::Taken,
        _ => NameVerdict::Open,
    };
    let event = Event {
        source: source.as_str().into(),
        id: id.as_str().into(),
        key: key(&partner, &client),
        time: row.moment("time", time)?,
        sequence: sequence.map(Into::into),
        kind,
        name_verdict,
    };
    Ok(Logged { event, outcome })
}

/// The touches of one run as events.
pub(super) fn touched(key: &ClientKey, run: &[u8]) -> Result<Vec<Logged>> {
    let row = Row {
        table: "touch_runs",
        key,
    };
    let logged = |touch: &Touch| Logged {
        event: touch.to_event(key),
        outcome: RecordedOutcome::Applied,
    };
    Ok(row.touches("run", run)?.iter().map(logged).collect())
}

/// Brings a history into its order; of the same touch in two runs, one stays.
pub(super) fn sort_history(history: &mut Vec<Logged>) {
    history.sort_by_cached_key(|logged| logged.event.position());
    history.dedup_by(|a, b| a.event == b.event);
}

/// `xid, seq, partner, client, change, id, before, after, time, cause, correction, recorded_at`
pub(super) type JournalRow<T> = (
    i64,
    i64,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    T,
    String,
    bool,
    T,
);

pub(super) fn recorded<T: Moment>(row: JournalRow<T>) -> Result<Recorded> {
    let (transaction, sequence, partner, client, kind, id, from, to, time, cause, correction, recorded_at) =
        row;
    let row = Row {
        table: "journal",
        key: &sequence,
    };
    let change = Change::try_from(ChangeText {
        kind: &kind,
        id: id.as_deref(),
        from: from.map(Into::into),
        to: to.map(Into::into),
    })
    .map_err(|error| row.unreadable("change", error))?;
    Ok(Recorded {
        cursor: Cursor {
            transaction,
            sequence,
        },
        entry: Entry {
            key: key(&partner, &client),
            change,
            time: row.moment("time", time)?,
            cause: row.json("cause", &cause)?,
            correction,
        },
        recorded_at: row.moment("recorded_at", recorded_at)?,
    })
}

/// `took_effect_at, policy`
pub(super) fn policy<T: Moment>((from, policy): (T, String)) -> Result<(DateTime<Utc>, Policy)> {
    let from = Row {
        table: "policies",
        key: &"a policy",
    }
    .moment("took_effect_at", from)?;
    let row = Row {
        table: "policies",
        key: &from,
    };
    Ok((from, row.json("policy", &policy)?))
}

/// `due_at, partner, client`
pub(super) fn deadline<T: Moment>((due_at, partner, client): (T, String, String)) -> Result<Due> {
    let key = key(&partner, &client);
    let row = Row {
        table: "deadlines",
        key: &key,
    };
    Ok((row.moment("due_at", due_at)?, key))
}

/// The error of a run that has not ended when the next one begins.
pub(super) const OVERTAKEN: &str =
    "it had not ended when the next run began: its worker went away, or is still at it";

/// `id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed, error, worker`
pub(super) type RunRow<T> = (
    i64,
    String,
    T,
    T,
    Option<T>,
    Option<T>,
    String,
    i64,
    i64,
    i64,
    i64,
    Option<String>,
    String,
);

pub(super) fn run<T: Moment>(row: RunRow<T>) -> Result<SweepRun> {
    let (
        id,
        sweep,
        scheduled_at,
        started_at,
        finished_at,
        upto,
        status,
        examined,
        changed,
        journaled,
        failed,
        error,
        worker,
    ) = row;
    let row = Row {
        table: "sweep_runs",
        key: &id,
    };
    Ok(SweepRun {
        id,
        sweep: row.word("sweep", &sweep, Sweep::from_name)?,
        scheduled_at: row.moment("scheduled_at", scheduled_at)?,
        started_at: row.moment("started_at", started_at)?,
        finished_at: finished_at
            .map(|time| row.moment("finished_at", time))
            .transpose()?,
        upto: upto.map(|time| row.moment("upto", time)).transpose()?,
        status: row.word("status", &status, RunStatus::from_name)?,
        counts: RunCounts {
            examined,
            changed,
            changes: journaled,
            failed,
        },
        error,
        worker,
    })
}

/// `id, origin, content_type, reason, status, bytes, times_seen, first_seen_at, last_seen_at, settled_at, redriven_at,
/// came_of`
pub(super) type DeadLineRow<T> = (
    i64,
    String,
    Option<String>,
    String,
    String,
    i64,
    i64,
    T,
    T,
    Option<T>,
    Option<T>,
    Option<String>,
    Option<T>,
);

pub(super) fn dead_line<T: Moment>(row: DeadLineRow<T>) -> Result<DeadLetterSummary> {
    let (
        id,
        origin,
        content_type,
        reason,
        status,
        bytes,
        times_seen,
        first,
        last,
        settled,
        redriven,
        redrive_outcome,
        retry,
    ) = row;
    let row = Row {
        table: "dead_letters",
        key: &id,
    };
    let moment = |column, time: Option<T>| time.map(|time| row.moment(column, time)).transpose();
    Ok(DeadLetterSummary {
        id,
        origin,
        content_type,
        reason,
        status: row.word("status", &status, DeadLetterStatus::from_name)?,
        bytes,
        times_seen,
        first_seen_at: row.moment("first_seen_at", first)?,
        last_seen_at: row.moment("last_seen_at", last)?,
        resolved_at: moment("settled_at", settled)?,
        redriven_at: moment("redriven_at", redriven)?,
        redrive_outcome,
        retry_at: moment("retry_at", retry)?,
    })
}

/// As [`DeadLineRow`], and after that `headers, body`.
pub(super) type DeadRow<T> = (
    i64,
    String,
    Option<String>,
    String,
    String,
    i64,
    i64,
    T,
    T,
    Option<T>,
    Option<T>,
    Option<String>,
    Option<T>,
    String,
    Vec<u8>,
);

pub(super) fn dead<T: Moment>(row: DeadRow<T>) -> Result<DeadLetterRecord> {
    let (
        id,
        origin,
        content_type,
        reason,
        status,
        bytes,
        times_seen,
        first,
        last,
        settled,
        redriven,
        redrive_outcome,
        retry,
        headers,
        body,
    ) = row;
    let headers = Row {
        table: "dead_letters",
        key: &id,
    }
    .json("headers", &headers)?;
    let line = dead_line((
        id,
        origin,
        content_type,
        reason,
        status,
        bytes,
        times_seen,
        first,
        last,
        settled,
        redriven,
        redrive_outcome,
        retry,
    ))?;
    Ok(DeadLetterRecord {
        id,
        dead_letter: DeadLetter {
            origin: line.origin,
            content_type: line.content_type,
            headers,
            body,
            reason: line.reason,
            retry_at: line.retry_at,
        },
        status: line.status,
        times_seen: line.times_seen,
        first_seen_at: line.first_seen_at,
        last_seen_at: line.last_seen_at,
        resolved_at: line.resolved_at,
        bytes: line.bytes,
        redriven_at: line.redriven_at,
        redrive_outcome: line.redrive_outcome,
    })
}

/// Every client written must be one that was still as it had been read.
pub(super) fn expect_written(written: u64, writes: &[ClientWrite]) -> Result<()> {
    if usize::try_from(written).is_ok_and(|written| written == writes.len()) {
        return Ok(());
    }
    let expected = writes.len();
    Err(StoreError::Conflict(format!(
        "{written} of {expected} clients were still as they had been read"
    )))
}

/// Every outcome that became different must be one of an event in the log.
pub(super) fn expect_logged(changed: u64, updates: &[OutcomeUpdate]) -> Result<()> {
    if usize::try_from(changed).is_ok_and(|changed| changed == updates.len()) {
        return Ok(());
    }
    let row = Row {
        table: "events",
        key: &"a batch",
    };
    let expected = updates.len();
    Err(row.unreadable(
        "outcome",
        format!("{changed} of {expected} events whose outcome is different now are in the log"),
    ))
}

/// Adds up `link, service, access, count`.
pub(super) fn census(facets: Vec<(String, String, String, i64)>) -> Census {
    let mut census = Census::default();
    for (link, service, access, count) in facets {
        *census.link.entry(link).or_default() += count;
        *census.service.entry(service).or_default() += count;
        *census.access.entry(access).or_default() += count;
    }
    census
}

/// `sweep, kind, at, why`
pub(super) fn halt<T: Moment>((sweep, kind, at, why): (String, String, T, String)) -> Result<Halt> {
    let row = Row {
        table: "sweep_halts",
        key: &sweep,
    };
    Ok(Halt {
        sweep: row.word("sweep", &sweep, Sweep::from_name)?,
        kind: row.word("kind", &kind, HaltKind::from_name)?,
        at: row.moment("at", at)?,
        why,
    })
}

/// `lane, watermark, recorded_at, partition_key`
pub(super) type LaneRow<T> = (String, Option<T>, T, Option<String>);

pub(super) fn lane<T: Moment>(
    (lane, watermark, recorded_at, partition_key): LaneRow<T>,
) -> Result<LaneProgress> {
    let row = Row {
        table: "lanes",
        key: &lane,
    };
    Ok(LaneProgress {
        watermark: watermark.map(|time| row.moment("watermark", time)).transpose()?,
        recorded_at: row.moment("recorded_at", recorded_at)?,
        partition_key,
        lane,
    })
}

/// `policy_from, partner, client`
pub(super) fn deadline_backfill<T: Moment>(
    (policy_from, partner, client): (T, Option<String>, Option<String>),
) -> Result<DeadlineBackfill> {
    let row = Row {
        table: "arming",
        key: &"policy",
    };
    Ok(DeadlineBackfill {
        policy_from: row.moment("policy_from", policy_from)?,
        after: partner
            .zip(client)
            .map(|(partner, client)| key(&partner, &client)),
    })
}
