//! Writes a commit: one statement for each table, over many rows.
//!
//! A failed statement fails the whole transaction, so its own writes need no separate undo: `or fail` spares SQLite a
//! copy of every page for that.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::batch::Held;
use super::{client_writes, dead_letters, lanes, many, micros, sweeps, touches};
use crate::domain::Refusal;
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::columns::json;
use crate::store::commit::{data_of, expect_logged};
use crate::store::outbox::ChangeColumns;
use crate::store::{Commit, EventWrite, OutcomeUpdate, Result};

/// Writes everything of a commit, without ending the transaction.
pub(super) async fn all(connection: &mut SqliteConnection, commit: &Commit, held: &mut Held) -> Result<()> {
    let at = micros(commit.recorded_at);
    client_writes::write(connection, &commit.clients, held).await?;
    touches::end_windows(connection, commit, held).await?;
    touches::write(connection, &commit.touches).await?;
    touches::write_closed_runs(connection, &commit.touches).await?;
    events(connection, &commit.events, at).await?;
    outcomes(connection, &commit.outcomes).await?;
    journal(connection, &commit.journal, at).await?;
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
}

async fn events(connection: &mut SqliteConnection, writes: &[EventWrite], at: i64) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert or fail into events
                 (source, id, partner, client, type, time, sequence, received_at, data, outcome, reason)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        writes,
        |query, write| {
            let event = &write.event;
            let reason = write.outcome.refusal().map(Refusal::code);
            let outcome = if reason.is_some() { "refused" } else { "applied" };
            query
                .bind(&*event.source)
                .bind(&*event.id)
                .bind(&*event.key.partner)
                .bind(&*event.key.client)
                .bind(event.kind.type_name())
                .bind(micros(event.time))
                .bind(event.sequence.as_deref())
                .bind(at)
                .bind(data_of(&event.kind))
                .bind(outcome)
                .bind(reason)
        },
    )
    .await?;
    Ok(())
}

async fn outcomes(connection: &mut SqliteConnection, updates: &[OutcomeUpdate]) -> Result<()> {
    let changed = many::write(
        connection,
        many!(
            "update or fail events
             set outcome = w.column3, reason = w.column4
             from (values " each "(?, ?, ?, ?)" ") w
             where events.source = w.column1 and events.id = w.column2"
        ),
        updates,
        |query, update| {
            let reason = update.outcome.refusal().map(Refusal::code);
            let outcome = if reason.is_some() { "refused" } else { "applied" };
            query
                .bind(&*update.source)
                .bind(&*update.id)
                .bind(outcome)
                .bind(reason)
        },
    )
    .await?;
    expect_logged(changed, updates)
}

async fn journal(connection: &mut SqliteConnection, entries: &[Entry], at: i64) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert or fail into journal
                 (partner, client, change, id, before, after, time, cause, correction, recorded_at)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        entries,
        |query, entry| {
            let change = ChangeColumns::of(&entry.change);
            query
                .bind(&*entry.key.partner)
                .bind(&*entry.key.client)
                .bind(change.change)
                .bind(change.id)
                .bind(change.before)
                .bind(change.after)
                .bind(micros(entry.time))
                .bind(json(&entry.cause))
                .bind(entry.correction)
                .bind(at)
        },
    )
    .await?;
    Ok(())
}

async fn clear_deadlines(connection: &mut SqliteConnection, cleared: &[(ClientKey, Sweep)]) -> Result<()> {
    many::write(
        connection,
        many!(
            "delete from deadlines
             where (partner, client, sweep) in (values " each "(?, ?, ?)" ")"
        ),
        cleared,
        |query, (key, sweep)| query.bind(&*key.partner).bind(&*key.client).bind(sweep.as_str()),
    )
    .await?;
    Ok(())
}

async fn set_deadlines(
    connection: &mut SqliteConnection,
    set: &[(ClientKey, Sweep, DateTime<Utc>)],
) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into deadlines (partner, client, sweep, due_at)
             select *
             from (values " each "(?, ?, ?, ?)" ")
             where column1 is not null
             on conflict (partner, client, sweep) do update
             set due_at = excluded.due_at"
        ),
        set,
        |query, (key, sweep, due_at)| {
            query
                .bind(&*key.partner)
                .bind(&*key.client)
                .bind(sweep.as_str())
                .bind(micros(*due_at))
        },
    )
    .await?;
    Ok(())
}
