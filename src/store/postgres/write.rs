//! Writes a commit: one statement for each table, with typed arrays. The arrays of a statement come from one slice, and
//! so have equal length: PostgreSQL would pad a shorter one with nulls.
//!
//! Statements with many columns unnest each array in the list of a `select`, row by row and in order. In `from`,
//! PostgreSQL would first materialize a table for each array.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::{Held, columns};
use super::session::Session;
use super::{client_writes, dead_letters, lanes, sweeps, touches};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::columns::json;
use crate::store::commit::{data_of, expect_logged, outcome_columns};
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
    step!(session, |connection| async {
        client_writes::look_up(connection, &commit.clients, held).await?;
        client_writes::write(connection, &commit.clients, &commit.journal, &held.places).await?;
        touches::end_windows(connection, commit, &held.renew_only).await?;
        touches::write(connection, &commit.touches).await?;
        touches::write_closed_runs(connection, &commit.touches).await
    });
    for part in commit.events.chunks(ROWS) {
        step!(session, |connection| events(connection, part, at));
    }
    for part in commit.outcomes.chunks(ROWS) {
        step!(session, |connection| outcomes(connection, part));
    }
    for part in commit.journal.chunks(ROWS) {
        step!(session, |connection| journal(connection, part, at));
    }
    step!(session, |connection| async {
        clear_deadlines(connection, &commit.deadlines_cleared).await?;
        set_deadlines(connection, &commit.deadlines_set).await?;
        dead_letters::put(connection, &commit.dead_letters, at).await?;
        if let Some(watermark) = &commit.watermark {
            lanes::advance(connection, watermark, at).await?;
        }
        // Last, because other workers of the same run wait for its row.
        if let Some((run, counts)) = &commit.swept {
            sweeps::add_counts(connection, *run, counts).await?;
        }
        Ok(())
    });
    Ok(())
}

async fn events(connection: &mut PgConnection, writes: &[EventWrite], at: DateTime<Utc>) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(writes.iter().map(|write| &write.event.key));
    let (outcomes, reasons): (Vec<_>, Vec<_>) = writes.iter().map(|w| outcome_columns(w.outcome)).unzip();
    sqlx::query(
        "insert into events
             (source, id, partner, client, type, time, sequence, received_at, data, outcome, reason)
         select unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]),
                unnest($6::timestamptz[]), unnest($7::text[]), $11, unnest($8::text[])::json, unnest($9::text[]),
                unnest($10::text[])",
    )
    .bind(writes.iter().map(|w| &*w.event.source).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| &*w.event.id).collect::<Vec<_>>())
    .bind(partners)
    .bind(clients)
    .bind(writes.iter().map(|w| w.event.kind.type_name()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.event.time).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.event.sequence.as_deref()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| data_of(&w.event.kind)).collect::<Vec<_>>())
    .bind(outcomes)
    .bind(reasons)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn outcomes(connection: &mut PgConnection, updates: &[OutcomeUpdate]) -> Result<()> {
    if updates.is_empty() {
        return Ok(());
    }
    let (outcomes, reasons): (Vec<_>, Vec<_>) = updates.iter().map(|u| outcome_columns(u.outcome)).unzip();
    let changed = sqlx::query(
        "update events
         set outcome = u.outcome, reason = u.reason
         from (
             select k.outcome, k.reason, e.place
             from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as k (source, id, outcome, reason)
             cross join lateral (
                 select ctid as place from events where source = k.source and id = k.id offset 0
             ) e
         ) u
         where events.ctid = u.place",
    )
    .bind(updates.iter().map(|u| &*u.source).collect::<Vec<_>>())
    .bind(updates.iter().map(|u| &*u.id).collect::<Vec<_>>())
    .bind(outcomes)
    .bind(reasons)
    .execute(connection)
    .await?
    .rows_affected();
    expect_logged(changed, updates)
}

async fn journal(connection: &mut PgConnection, entries: &[Entry], at: DateTime<Utc>) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(entries.iter().map(|entry| &entry.key));
    let changes: Vec<_> = entries.iter().map(|entry| entry.change.text()).collect();
    let written = sqlx::query(
        "insert into journal
             (xid, partner, client, change, id, before, after, time, cause, correction, recorded_at)
         select n.number, unnest($1::text[]),
                unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::text[]),
                unnest($7::timestamptz[]), unnest($8::text[])::json, unnest($9::bool[]), $10
         from (select pg_current_xact_id()::text::bigint + xid_shift as number, xid as published from relay) n
         where n.number > n.published",
    )
    .bind(partners)
    .bind(clients)
    .bind(changes.iter().map(|change| change.kind).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.id).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.from.as_deref()).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.to.as_deref()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.time).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| json(&e.cause)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.correction).collect::<Vec<_>>())
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

async fn clear_deadlines(connection: &mut PgConnection, cleared: &[(ClientKey, Sweep)]) -> Result<()> {
    if cleared.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(cleared.iter().map(|(key, _)| key));
    sqlx::query(
        "delete from deadlines
         where ctid = any (array(
             select d.ctid
             from unnest($1::text[], $2::text[], $3::text[]) as k (partner, client, sweep)
             cross join lateral (
                 select ctid from deadlines
                 where partner = k.partner and client = k.client and sweep = k.sweep
                 offset 0
             ) d
         ))",
    )
    .bind(partners)
    .bind(clients)
    .bind(
        cleared
            .iter()
            .map(|(_, sweep)| sweep.as_str())
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_deadlines(
    connection: &mut PgConnection,
    set: &[(ClientKey, Sweep, DateTime<Utc>)],
) -> Result<()> {
    if set.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(set.iter().map(|(key, ..)| key));
    sqlx::query(
        "insert into deadlines (partner, client, sweep, due_at)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
         on conflict (partner, client, sweep) do update
         set due_at = excluded.due_at",
    )
    .bind(partners)
    .bind(clients)
    .bind(set.iter().map(|(_, sweep, _)| sweep.as_str()).collect::<Vec<_>>())
    .bind(set.iter().map(|(.., due_at)| *due_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
