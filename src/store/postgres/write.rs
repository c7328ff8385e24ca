//! Writes a commit: one statement for each table, with typed arrays. The arrays of a statement come from one slice, and
//! so have equal length: PostgreSQL would pad a shorter one with nulls.
//!
//! Statements with many columns unnest each array in the list of a `select`, row by row and in order. In `from`,
//! PostgreSQL would first materialize a table for each array.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::Held;
use super::numbers::Numbers;
use super::session::Session;
use super::{
    accesses, checkpoints, client_writes, dead_letters, lanes, numbers, sources, sweeps, touches, traces,
};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::actor::actor_text;
use crate::store::columns::optional_text;
use crate::store::commit::{data_of, expect_logged};
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

/// Writes everything of a commit, without ending the transaction.
pub(super) async fn all(session: &mut Session, commit: &Commit, held: &mut Held) -> Result<()> {
    let at = commit.recorded_at;
    // Numbers first: another transaction that adds the same ones waits until this one ends.
    let numbers = step!(session, |connection| async {
        let numbers = Numbers::of(connection, commit).await?;
        accesses::find_clients(connection, commit, &mut held.numbers).await?;
        numbers::add_clients(connection, commit, &mut held.numbers).await?;
        Ok(numbers)
    });
    step!(session, |connection| async {
        client_writes::look_up(connection, &commit.clients, held).await?;
        client_writes::write(connection, &commit.clients, &commit.journal, held).await?;
        touches::end_windows(connection, commit, held).await?;
        touches::write(connection, &commit.touches, held).await?;
        touches::write_closed_runs(connection, &commit.touches, held).await
    });
    for part in commit.events.chunks(ROWS) {
        step!(session, |connection| events(connection, part, &numbers, held, at));
    }
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
    for part in commit.journal.chunks(ROWS) {
        step!(session, |connection| journal(
            connection, part, &numbers, held, at
        ));
    }
    step!(session, |connection| async {
        checkpoints::write(connection, &commit.checkpoints, held).await?;
        clear_deadlines(connection, &commit.deadlines_cleared, &numbers, held).await?;
        set_deadlines(connection, &commit.deadlines_set, &numbers, held).await?;
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

async fn events(
    connection: &mut PgConnection,
    writes: &[EventWrite],
    numbers: &Numbers,
    held: &Held,
    at: DateTime<Utc>,
) -> Result<()> {
    let name = |write: &EventWrite| numbers.event(&write.event.source, &write.event.id);
    let sequence = |write: &EventWrite| optional_text(write.event.sequence.as_deref());
    sqlx::query(
        "insert into events (time, received_at, client, type, reason, ref, sequence, actor, data)
         select unnest($1::timestamptz[]), $9, unnest($2::integer[]), unnest($3::smallint[]), unnest($4::smallint[]),
                unnest($5::bytea[]), unnest($6::text[]), unnest($7::text[]), unnest($8::text[])",
    )
    .bind(writes.iter().map(|w| w.event.time).collect::<Vec<_>>())
    .bind(held.numbers_of(writes.iter().map(|w| &w.event.key)))
    .bind(writes.iter().map(|w| numbers.word(w.event.kind.type_name())).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| numbers.reason(w.outcome)).collect::<Vec<_>>())
    .bind(writes.iter().map(name).collect::<Vec<_>>())
    .bind(writes.iter().map(sequence).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| actor_text(&w.event.actor)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| data_of(&w.event.kind)).collect::<Vec<_>>())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
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

async fn journal(
    connection: &mut PgConnection,
    entries: &[Entry],
    numbers: &Numbers,
    held: &Held,
    at: DateTime<Utc>,
) -> Result<()> {
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
    let written = sqlx::query(
        "insert into journal
             (xid, time, recorded_at, client, change, cause, corrector, cause_ref, corrector_ref, cause_actor,
              cause_reason, id, before, after, data)
         select n.number, unnest($1::timestamptz[]), $14, unnest($2::integer[]), unnest($3::smallint[]),
                unnest($4::smallint[]), unnest($5::smallint[]), unnest($6::bytea[]), unnest($7::bytea[]),
                unnest($8::text[]), unnest($9::text[]), unnest($10::text[]), unnest($11::text[]), unnest($12::text[]),
                unnest($13::text[])
         from (select pg_current_xact_id()::text::bigint + xid_shift as number, xid as published from relay) n
         where n.number > n.published",
    )
    .bind(entries.iter().map(|e| e.time).collect::<Vec<_>>())
    .bind(held.numbers_of(entries.iter().map(|e| &e.key)))
    .bind(changes.iter().map(|c| numbers.word(c.change)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| numbers.word(&cause_word(&e.cause))).collect::<Vec<_>>())
    .bind(entries.iter().map(corrector).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| event_ref(cause_event(&e.cause))).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| event_ref(corrector_event(e))).collect::<Vec<_>>())
    .bind(actors)
    .bind(reasons)
    .bind(changes.iter().map(|c| c.id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| &*c.before).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| &*c.after).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| &*c.data).collect::<Vec<_>>())
    .bind(at)
    .execute(connection)
    .await?
    .rows_affected();
    if written < entries.len() as u64 {
        // The relay would never publish these lines.
        return Err(StoreError::Conflict(
            "this server's transaction numbers are below those of published changes: the tables came from another server".into(),
        ));
    }
    Ok(())
}

async fn clear_deadlines(
    connection: &mut PgConnection,
    cleared: &[(ClientKey, Sweep)],
    numbers: &Numbers,
    held: &Held,
) -> Result<()> {
    if cleared.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from deadlines
         where ctid = any (array(
             select d.ctid
             from unnest($1::integer[], $2::smallint[]) as k (client, sweep)
             cross join lateral (
                 select ctid from deadlines where client = k.client and sweep = k.sweep offset 0
             ) d
         ))",
    )
    .bind(held.numbers_of(cleared.iter().map(|(key, _)| key)))
    .bind(
        cleared
            .iter()
            .map(|(_, sweep)| numbers.word(sweep.as_str()))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_deadlines(
    connection: &mut PgConnection,
    set: &[(ClientKey, Sweep, DateTime<Utc>)],
    numbers: &Numbers,
    held: &Held,
) -> Result<()> {
    if set.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into deadlines (client, sweep, due_at)
         select * from unnest($1::integer[], $2::smallint[], $3::timestamptz[])
         on conflict (client, sweep) do update
         set due_at = excluded.due_at",
    )
    .bind(held.numbers_of(set.iter().map(|(key, ..)| key)))
    .bind(
        set.iter()
            .map(|(_, sweep, _)| numbers.word(sweep.as_str()))
            .collect::<Vec<_>>(),
    )
    .bind(set.iter().map(|(.., due_at)| *due_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
