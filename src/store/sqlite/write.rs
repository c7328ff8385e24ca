//! What a commit writes: one statement a table, each over many rows.
//!
//! A statement that fails takes the whole transaction with it, so what it wrote before need not be undone apart: `or fail`
//! spares the copy of every page that SQLite would otherwise keep for that.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::batch::Held;
use super::{client_writes, dead_letters, lanes, many, micros, sweeps};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::rows::{self, json, outcome_columns};
use crate::store::{Commit, EventWrite, OutcomeUpdate, Result, TouchWrite};

/// Writes all of a commit but its end.
pub(super) async fn all(connection: &mut SqliteConnection, commit: &Commit, held: &mut Held) -> Result<()> {
    let at = micros(commit.recorded_at);
    client_writes::write(connection, &commit.clients, held).await?;
    end_renew_only(connection, commit, held).await?;
    touches(connection, &commit.touches).await?;
    closed_runs(connection, &commit.touches).await?;
    events(connection, &commit.events, at).await?;
    outcomes(connection, &commit.outcomes).await?;
    journal(connection, &commit.journal, at).await?;
    clear_deadlines(connection, &commit.deadlines_cleared).await?;
    set_deadlines(connection, &commit.deadlines_set).await?;
    dead_letters::put(connection, &commit.dead_letters, at).await?;
    if let Some(watermark) = &commit.watermark {
        lanes::advance(connection, watermark, at).await?;
    }
    // Last: other workers at the same run wait for its row.
    if let Some((run, counts)) = &commit.swept {
        sweeps::count(connection, *run, counts).await?;
    }
    Ok(())
}

/// What is written of a client ends its quiet stretch. (A write of its touches says itself whether there is another.)
async fn end_renew_only(connection: &mut SqliteConnection, commit: &Commit, held: &Held) -> Result<()> {
    let renew_only: Vec<_> = commit
        .clients
        .iter()
        .filter(|write| held.of(&write.key).is_some_and(|row| row.is_renew_only))
        .collect();
    many::write(
        connection,
        many!(
            "update or fail touches
             set quiet_after = null, quiet_before = null, quiet_policies = null
             from (values " each "(?, ?)" ") w
             where partner = w.column1 and client = w.column2"
        ),
        &renew_only,
        |query, write| query.bind(&*write.key.partner).bind(&*write.key.client),
    )
    .await?;
    Ok(())
}

async fn touches(connection: &mut SqliteConnection, writes: &[TouchWrite]) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into touches (partner, client, open_run, quiet_after, quiet_before, quiet_policies)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?)" ")
             where column1 is not null
             on conflict (partner, client) do update
             set open_run = excluded.open_run, quiet_after = excluded.quiet_after,
                 quiet_before = excluded.quiet_before, quiet_policies = excluded.quiet_policies"
        ),
        writes,
        |query, write| {
            query
                .bind(&*write.key.partner)
                .bind(&*write.key.client)
                .bind(write.open.pack())
                .bind(write.renew_only.map(|renew_only| micros(renew_only.after)))
                .bind(write.renew_only.map(|renew_only| micros(renew_only.before)))
                .bind(write.renew_only.map(|renew_only| renew_only.policies))
        },
    )
    .await?;
    Ok(())
}

async fn closed_runs(connection: &mut SqliteConnection, writes: &[TouchWrite]) -> Result<()> {
    let closed: Vec<_> = writes
        .iter()
        .filter_map(|write| {
            let run = write.closed.as_ref()?;
            Some((&write.key, micros(run.iter().next()?.time), run))
        })
        .collect();
    many::write(
        connection,
        many!(
            "insert or fail into touch_runs (partner, client, first_at, run)
             select *
             from (values " each "(?, ?, ?, ?)" ")
             where column1 is not null"
        ),
        &closed,
        |query, (key, first_at, run)| {
            query
                .bind(&*key.partner)
                .bind(&*key.client)
                .bind(first_at)
                .bind(run.pack())
        },
    )
    .await?;
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
            let (outcome, reason) = outcome_columns(write.outcome);
            query
                .bind(&*event.source)
                .bind(&*event.id)
                .bind(&*event.key.partner)
                .bind(&*event.key.client)
                .bind(event.kind.type_name())
                .bind(micros(event.time))
                .bind(event.sequence.as_deref())
                .bind(at)
                .bind(rows::data_of(&event.kind))
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
            let (outcome, reason) = outcome_columns(update.outcome);
            query
                .bind(&*update.source)
                .bind(&*update.id)
                .bind(outcome)
                .bind(reason)
        },
    )
    .await?;
    rows::expect_logged(changed, updates)
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
            let change = entry.change.text();
            query
                .bind(&*entry.key.partner)
                .bind(&*entry.key.client)
                .bind(change.kind)
                .bind(change.id)
                .bind(change.from)
                .bind(change.to)
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
