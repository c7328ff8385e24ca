//! Writes a commit with typed arrays, most of it in one statement. The arrays for a table come from one slice, and so have equal
//! length: PostgreSQL would pad a shorter one with nulls.
//!
//! Statements with many columns unnest each array in the list of a `select`, row by row and in order. In `from`,
//! PostgreSQL would first materialize a table for each array.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::batch::Held;
use super::client_writes::{ClientRows, KnownClients, Statement};
use super::combined::combine;
use super::numbers::Numbers;
use super::session::Session;
use super::{
    accesses, checkpoints, client_writes, dead_letters, lanes, numbers, sources, sweeps, touches, traces,
};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::actor::actor_text;
use crate::store::columns::{optional_text, row};
use crate::store::commit::{data_of, expect_added, expect_logged, expect_written};
use crate::store::outbox::ChangeColumns;
use crate::store::words::{cause_details, cause_event, cause_word, corrector_event, corrector_word};
use crate::store::{Commit, EventWrite, OutcomeUpdate, Result, StoreError};

/// The most rows of one statement, where there may be as many rows as a client's history: a late event can change the
/// outcome of every event after it, and no statement may exceed `statement_timeout`.
const ROWS: usize = 1_000;

/// Runs one statement, or a few small ones, within one limit on waiting for an answer.
macro_rules! step {
    ($session:expr, |$connection:ident| $done:expr) => {{
        let ($connection, debt) = $session.lend()?;
        debt.paid_by($done).await?
    }};
}

/// Most of what a commit writes, in one statement: see [`combine`] for what its parts may contain. No two of them write the same
/// row: a deadline is either cleared or set.
static MAIN: LazyLock<String> = LazyLock::new(|| {
    combine(&[
        ("clients_updated", client_writes::UPDATE),
        ("events_added", EVENTS),
        ("lines_added", JOURNAL),
        ("deadlines_cleared", CLEAR_DEADLINES),
        ("deadlines_set", SET_DEADLINES),
    ])
});

row! {
    /// How many rows some parts of [`MAIN`] wrote. A deadline that is cleared may be missing, so nobody counts those.
    Counts {
        clients_updated: i64,
        events_added: i64,
        lines_added: i64,
    }
}

/// Writes everything of a commit, without ending the transaction.
pub(super) async fn all(session: &mut Session, commit: &Commit, held: &mut Held) -> Result<()> {
    debug_assert!(
        commit.has_distinct_deadlines(),
        "a deadline is both set and cleared"
    );
    let at = commit.recorded_at;
    // Numbers first: another transaction that adds the same ones waits until this one ends.
    let numbers = step!(session, |connection| async {
        let numbers = Numbers::of(connection, commit, std::mem::take(&mut held.dictionary)).await?;
        accesses::find_clients(connection, commit, &mut held.numbers).await?;
        numbers::add_clients(connection, commit, &mut held.numbers).await?;
        client_writes::look_up(connection, &commit.clients, held).await?;
        Ok(numbers)
    });
    let clients = ClientRows::of(&commit.clients, &commit.journal, held);
    let (mut written, known) = step!(session, |connection| async {
        let written = clients.write_new(connection).await?;
        touches::end_windows(connection, commit, held).await?;
        touches::write(connection, &commit.touches, held).await?;
        touches::write_closed_runs(connection, &commit.touches, held).await?;
        Ok(written)
    });
    for rows in main_rows(commit, known) {
        written += step!(session, |connection| main(connection, rows, &numbers, held, at));
    }
    expect_written(written, &commit.clients)?;
    for part in commit.outcomes.chunks(ROWS) {
        step!(session, |connection| outcomes(connection, part, &numbers, held));
    }
    for part in commit.accesses.chunks(ROWS) {
        step!(session, |connection| accesses::write(
            connection, part, &numbers, held
        ));
    }
    for part in commit.touch_outcomes.chunks(ROWS) {
        step!(session, |connection| accesses::touch_outcomes(
            connection, part, &numbers, held
        ));
    }
    for part in commit.traces.chunks(ROWS) {
        step!(session, |connection| traces::write(
            connection, part, &numbers, held, at
        ));
    }
    step!(session, |connection| async {
        checkpoints::write(connection, &commit.checkpoints, held).await?;
        dead_letters::put(connection, &commit.dead_letters, at).await?;
        if let Some(watermark) = &commit.watermark {
            lanes::advance(connection, watermark, at).await?;
        }
        sources::advance(connection, &commit.heard, at).await?;
        // Last, because other workers of the same run wait for its row.
        if let Some((run, counts)) = &commit.swept {
            sweeps::add_counts(&mut *connection, *run, counts).await?;
            if !commit.journal.is_empty() {
                sweeps::add_chunk(connection, *run).await?;
            }
        }
        Ok(())
    });
    Ok(())
}

/// The rows of one [`MAIN`] statement.
struct MainRows<'a> {
    clients: KnownClients<'a>,
    events: &'a [EventWrite],
    journal: &'a [Entry],
    cleared: &'a [(ClientKey, Sweep)],
    set: &'a [(ClientKey, Sweep, DateTime<Utc>)],
}

/// The rows of a commit for one [`MAIN`] statement or several. Only the lists of events and lines can be long: the first statement
/// has all clients and deadlines, and each has at most [`ROWS`] events and as many lines. Empty if there is nothing to write.
fn main_rows<'a>(commit: &'a Commit, clients: KnownClients<'a>) -> Vec<MainRows<'a>> {
    fn part<T>(rows: &[T], number: usize) -> &[T] {
        rows.chunks(ROWS).nth(number).unwrap_or_default()
    }
    let rows = |number| MainRows {
        clients: KnownClients::default(),
        events: part(&commit.events, number),
        journal: part(&commit.journal, number),
        cleared: &[],
        set: &[],
    };
    let first = MainRows {
        clients,
        cleared: &commit.deadlines_cleared,
        set: &commit.deadlines_set,
        ..rows(0)
    };
    let is_empty = first.clients.is_empty()
        && first.events.is_empty()
        && first.journal.is_empty()
        && first.cleared.is_empty()
        && first.set.is_empty();
    if is_empty {
        return Vec::new();
    }
    let longest = commit.events.len().max(commit.journal.len());
    let others = (1..longest.div_ceil(ROWS)).map(rows);
    std::iter::once(first).chain(others).collect()
}

/// Returns the number of clients that were written.
async fn main(
    connection: &mut PgConnection,
    rows: MainRows<'_>,
    numbers: &Numbers,
    held: &Held,
    at: DateTime<Utc>,
) -> Result<u64> {
    let (events, lines) = (rows.events, rows.journal.len());
    let written = bind_main(rows, numbers, held, at).fetch_one(connection).await?;
    let written = Counts::from_row(&written)?;
    expect_added(written.events_added.unsigned_abs(), events)?;
    if written.lines_added.unsigned_abs() < lines as u64 {
        return Err(StoreError::Conflict(
            "this server's transaction numbers are below those of published changes: the tables came from another server".into(),
        ));
    }
    Ok(written.clients_updated.unsigned_abs())
}

/// In the order of the parts.
fn bind_main<'a>(rows: MainRows<'a>, numbers: &Numbers, held: &Held, at: DateTime<Utc>) -> Statement<'a> {
    let query = rows.clients.bind(sqlx::query(&MAIN));
    let query = bind_events(query, rows.events, numbers, held, at);
    let query = bind_journal(query, rows.journal, numbers, held, at);
    let query = bind_cleared(query, rows.cleared, numbers, held);
    bind_set(query, rows.set, numbers, held)
}

const EVENTS: &str = "insert into events (time, received_at, client, type, reason, ref, sequence, actor, data)
     select unnest($1::timestamptz[]), $9, unnest($2::integer[]), unnest($3::smallint[]), unnest($4::smallint[]),
            unnest($5::bytea[]), unnest($6::text[]), unnest($7::text[]), unnest($8::text[])";

fn bind_events<'a>(
    query: Statement<'a>,
    writes: &[EventWrite],
    numbers: &Numbers,
    held: &Held,
    at: DateTime<Utc>,
) -> Statement<'a> {
    let name = |write: &EventWrite| numbers.event(&write.event.source, &write.event.id);
    let sequence = |write: &EventWrite| optional_text(write.event.sequence.as_deref());
    query
        .bind(writes.iter().map(|w| w.event.time).collect::<Vec<_>>())
        .bind(held.numbers_of(writes.iter().map(|w| &w.event.key)))
        .bind(
            writes
                .iter()
                .map(|w| numbers.word(w.event.kind.type_name()))
                .collect::<Vec<_>>(),
        )
        .bind(
            writes
                .iter()
                .map(|w| numbers.reason(w.outcome))
                .collect::<Vec<_>>(),
        )
        .bind(writes.iter().map(name).collect::<Vec<_>>())
        .bind(writes.iter().map(sequence).collect::<Vec<_>>())
        .bind(
            writes
                .iter()
                .map(|w| actor_text(&w.event.actor))
                .collect::<Vec<_>>(),
        )
        .bind(writes.iter().map(|w| data_of(&w.event.kind)).collect::<Vec<_>>())
        .bind(at)
}

async fn outcomes(
    connection: &mut PgConnection,
    updates: &[OutcomeUpdate],
    numbers: &Numbers,
    held: &Held,
) -> Result<()> {
    let changed = sqlx::query(
        "update events
         set reason = u.reason
         from (
             select k.reason, e.place
             from unnest($1::integer[], $2::timestamptz[], $3::bytea[], $4::smallint[]) as k (client, time, ref, reason)
             cross join lateral (
                 select ctid as place from events where client = k.client and time = k.time and ref = k.ref offset 0
             ) e
         ) u
         where events.ctid = u.place",
    )
    .bind(held.numbers_of(updates.iter().map(|u| &u.key)))
    .bind(updates.iter().map(|u| u.time).collect::<Vec<_>>())
    .bind(updates.iter().map(|u| numbers.event(&u.source, &u.id)).collect::<Vec<_>>())
    .bind(updates.iter().map(|u| numbers.reason(u.outcome)).collect::<Vec<_>>())
    .execute(connection)
    .await?
    .rows_affected();
    expect_logged(changed, updates)
}

/// Writes nothing if the relay would never publish it, because it has published lines with higher numbers.
const JOURNAL: &str = "insert into journal
         (xid, time, recorded_at, client, change, cause, corrector, cause_ref, corrector_ref, cause_actor,
          cause_reason, id, before, after, data)
     select n.number, unnest($1::timestamptz[]), $14, unnest($2::integer[]), unnest($3::smallint[]),
            unnest($4::smallint[]), unnest($5::smallint[]), unnest($6::bytea[]), unnest($7::bytea[]),
            unnest($8::text[]), unnest($9::text[]), unnest($10::text[]), unnest($11::text[]), unnest($12::text[]),
            unnest($13::text[])
     from (select pg_current_xact_id()::text::bigint + xid_shift as number, xid as published from relay) n
     where n.number > n.published";

fn bind_journal<'a>(
    query: Statement<'a>,
    entries: &'a [Entry],
    numbers: &Numbers,
    held: &Held,
    at: DateTime<Utc>,
) -> Statement<'a> {
    let changes: Vec<_> = entries
        .iter()
        .map(|entry| ChangeColumns::of(&entry.change))
        .collect();
    let (actors, reasons): (Vec<String>, Vec<String>) =
        entries.iter().map(|entry| cause_details(&entry.cause)).unzip();
    let event_ref =
        |event: Option<(&str, &str)>| event.map_or_else(Vec::new, |(source, id)| numbers.event(source, id));
    let corrector = |entry: &Entry| {
        let corrector = entry.corrected_by.as_ref();
        corrector.map_or(0, |corrector| numbers.word(&corrector_word(corrector)))
    };
    query
        .bind(entries.iter().map(|e| e.time).collect::<Vec<_>>())
        .bind(held.numbers_of(entries.iter().map(|e| &e.key)))
        .bind(changes.iter().map(|c| numbers.word(c.change)).collect::<Vec<_>>())
        .bind(
            entries
                .iter()
                .map(|e| numbers.word(&cause_word(&e.cause)))
                .collect::<Vec<_>>(),
        )
        .bind(entries.iter().map(corrector).collect::<Vec<_>>())
        .bind(
            entries
                .iter()
                .map(|e| event_ref(cause_event(&e.cause)))
                .collect::<Vec<_>>(),
        )
        .bind(
            entries
                .iter()
                .map(|e| event_ref(corrector_event(e)))
                .collect::<Vec<_>>(),
        )
        .bind(actors)
        .bind(reasons)
        .bind(changes.iter().map(|c| c.id).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.before.to_string()).collect::<Vec<_>>())
        .bind(changes.iter().map(|c| c.after.to_string()).collect::<Vec<_>>())
        .bind(changes.into_iter().map(|c| c.data).collect::<Vec<_>>())
        .bind(at)
}

const CLEAR_DEADLINES: &str = "delete from deadlines
     where ctid = any (array(
         select d.ctid
         from unnest($1::integer[], $2::smallint[]) as k (client, sweep)
         cross join lateral (
             select ctid from deadlines where client = k.client and sweep = k.sweep offset 0
         ) d
     ))";

fn bind_cleared<'a>(
    query: Statement<'a>,
    cleared: &[(ClientKey, Sweep)],
    numbers: &Numbers,
    held: &Held,
) -> Statement<'a> {
    query
        .bind(held.numbers_of(cleared.iter().map(|(key, _)| key)))
        .bind(
            cleared
                .iter()
                .map(|(_, sweep)| numbers.word(sweep.as_str()))
                .collect::<Vec<_>>(),
        )
}

const SET_DEADLINES: &str = "insert into deadlines (client, sweep, due_at)
     select * from unnest($1::integer[], $2::smallint[], $3::timestamptz[])
     on conflict (client, sweep) do update
     set due_at = excluded.due_at";

fn bind_set<'a>(
    query: Statement<'a>,
    set: &[(ClientKey, Sweep, DateTime<Utc>)],
    numbers: &Numbers,
    held: &Held,
) -> Statement<'a> {
    query
        .bind(held.numbers_of(set.iter().map(|(key, ..)| key)))
        .bind(
            set.iter()
                .map(|(_, sweep, _)| numbers.word(sweep.as_str()))
                .collect::<Vec<_>>(),
        )
        .bind(set.iter().map(|(.., due_at)| *due_at).collect::<Vec<_>>())
}

pub(super) async fn set_deadlines(
    connection: &mut PgConnection,
    set: &[(ClientKey, Sweep, DateTime<Utc>)],
    numbers: &Numbers,
    held: &Held,
) -> Result<()> {
    if !set.is_empty() {
        let query = bind_set(sqlx::query(SET_DEADLINES), set, numbers, held);
        query.execute(connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::{Arguments, Execute};

    use super::*;

    #[test]
    fn every_parameter_of_main_is_bound() {
        let rows = MainRows {
            clients: KnownClients::default(),
            events: &[],
            journal: &[],
            cleared: &[],
            set: &[],
        };
        let mut query = bind_main(rows, &Numbers::default(), &Held::default(), DateTime::UNIX_EPOCH);
        let bound = query.take_arguments().unwrap().unwrap().len();
        let numbers = query.sql().split('$').skip(1).map(|piece| {
            let digits: String = piece.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().unwrap()
        });
        assert_eq!(numbers.max(), Some(bound));
    }
}
