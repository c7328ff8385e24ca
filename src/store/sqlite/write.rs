//! What a commit writes: one statement a table, fed with one JSON argument.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::{dead_letters, lanes, micros};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::rows::{self, ClientColumns, json, outcome_columns};
use crate::store::{ClientWrite, Commit, EventWrite, OutcomeUpdate, Result, TouchWrite, hex};

/// Writes all of a commit but its end.
pub(super) async fn all(connection: &mut SqliteConnection, commit: &Commit) -> Result<()> {
    let at = micros(commit.recorded_at);
    clients(connection, &commit.clients).await?;
    end_quiet(connection, &commit.clients).await?;
    touches(connection, &commit.touches).await?;
    closed_runs(connection, &commit.touches).await?;
    events(connection, &commit.events, at).await?;
    outcomes(connection, &commit.outcomes).await?;
    journal(connection, &commit.journal, at).await?;
    clear_deadlines(connection, &commit.deadlines_cleared).await?;
    set_deadlines(connection, &commit.deadlines_set).await?;
    dead_letters::put(connection, &commit.dead_letters, at).await?;
    match &commit.watermark {
        Some(watermark) => lanes::advance(connection, watermark, at).await,
        None => Ok(()),
    }
}

/// Every client must still be as it was read, or not be there if it was not.
async fn clients(connection: &mut SqliteConnection, writes: &[ClientWrite]) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    give_up_names(connection, writes).await?;
    let lines: Vec<_> = writes
        .iter()
        .map(|write| {
            let facets = ClientColumns::of(&write.document);
            (
                &*write.key.partner,
                &*write.key.client,
                facets.name,
                write.name_key.as_deref(),
                facets.link,
                facets.service,
                facets.access,
                facets.as_of.map(micros),
                write.read_version + 1,
                json(&write.document),
            )
        })
        .collect();
    let written = sqlx::query(
        "insert into clients (partner, client, name, name_key, link, service, access, as_of, version, doc)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                value ->> 7, value ->> 8, value ->> 9
         from json_each(?1)
         where value ->> 8 = 1
            or exists (select 1 from clients where partner = value ->> 0 and client = value ->> 1)
         on conflict (partner, client) do update
         set name = excluded.name, name_key = excluded.name_key, link = excluded.link,
             service = excluded.service, access = excluded.access, as_of = excluded.as_of,
             version = excluded.version, doc = excluded.doc
         where clients.version = excluded.version - 1",
    )
    .bind(json(&lines))
    .execute(connection)
    .await?
    .rows_affected();
    rows::expect_written(written, writes)
}

/// Frees the names that are about to be another's: a name is checked row by row, and two clients may swap
/// theirs.
async fn give_up_names(connection: &mut SqliteConnection, writes: &[ClientWrite]) -> Result<()> {
    let lines: Vec<_> = writes
        .iter()
        .filter(|write| write.read_version > 0)
        .map(|write| (&*write.key.partner, &*write.key.client, write.name_key.as_deref()))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update clients
         set name_key = null
         where rowid in (
             select c.rowid
             from json_each(?1) k
             cross join clients c on c.partner = k.value ->> 0 and c.client = k.value ->> 1
             where c.name_key is not k.value ->> 2
         )",
    )
    .bind(json(&lines))
    .execute(connection)
    .await?;
    Ok(())
}

/// What is written of a client ends its quiet stretch. (A write of its touches says itself whether there is another.)
async fn end_quiet(connection: &mut SqliteConnection, writes: &[ClientWrite]) -> Result<()> {
    let known: Vec<(&str, &str)> = writes
        .iter()
        .filter(|write| write.read_version > 0)
        .map(|write| (&*write.key.partner, &*write.key.client))
        .collect();
    if known.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update touches
         set quiet_after = null, quiet_before = null, quiet_policies = null
         from json_each(?1) w
         where partner = w.value ->> 0 and client = w.value ->> 1 and quiet_before is not null",
    )
    .bind(json(&known))
    .execute(connection)
    .await?;
    Ok(())
}

async fn touches(connection: &mut SqliteConnection, writes: &[TouchWrite]) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = writes
        .iter()
        .map(|write| {
            (
                &*write.key.partner,
                &*write.key.client,
                hex(&write.open.pack()),
                write.quiet.map(|quiet| micros(quiet.after)),
                write.quiet.map(|quiet| micros(quiet.before)),
                write.quiet.map(|quiet| quiet.policies),
            )
        })
        .collect();
    sqlx::query(
        "insert into touches (partner, client, open_run, quiet_after, quiet_before, quiet_policies)
         select value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5
         from json_each(?1)
         where true
         on conflict (partner, client) do update
         set open_run = excluded.open_run, quiet_after = excluded.quiet_after, quiet_before = excluded.quiet_before,
             quiet_policies = excluded.quiet_policies",
    )
    .bind(json(&lines))
    .execute(connection)
    .await?;
    Ok(())
}

async fn closed_runs(connection: &mut SqliteConnection, writes: &[TouchWrite]) -> Result<()> {
    let lines: Vec<_> = writes
        .iter()
        .filter_map(|write| {
            let run = write.closed.as_ref()?;
            let first_at = micros(run.iter().next()?.time);
            Some((
                &*write.key.partner,
                &*write.key.client,
                first_at,
                hex(&run.pack()),
            ))
        })
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into touch_runs (partner, client, first_at, run)
         select value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3)
         from json_each(?1)",
    )
    .bind(json(&lines))
    .execute(connection)
    .await?;
    Ok(())
}

async fn events(connection: &mut SqliteConnection, writes: &[EventWrite], at: i64) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = writes
        .iter()
        .map(|write| {
            let event = &write.event;
            let (outcome, reason) = outcome_columns(write.outcome);
            (
                &*event.source,
                &*event.id,
                &*event.key.partner,
                &*event.key.client,
                event.kind.type_name(),
                micros(event.time),
                event.sequence.as_deref(),
                rows::data_of(&event.kind),
                outcome,
                reason,
            )
        })
        .collect();
    sqlx::query(
        "insert into events
             (source, id, partner, client, type, time, sequence, received_at, data, outcome, reason)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, ?2,
                value ->> 7, value ->> 8, value ->> 9
         from json_each(?1)",
    )
    .bind(json(&lines))
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn outcomes(connection: &mut SqliteConnection, updates: &[OutcomeUpdate]) -> Result<()> {
    if updates.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = updates
        .iter()
        .map(|update| {
            let (outcome, reason) = outcome_columns(update.outcome);
            (&*update.source, &*update.id, outcome, reason)
        })
        .collect();
    let changed = sqlx::query(
        "update events
         set outcome = k.value ->> 2, reason = k.value ->> 3
         from json_each(?1) k
         where events.source = k.value ->> 0 and events.id = k.value ->> 1",
    )
    .bind(json(&lines))
    .execute(connection)
    .await?
    .rows_affected();
    rows::expect_logged(changed, updates)
}

async fn journal(connection: &mut SqliteConnection, entries: &[Entry], at: i64) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                &*entry.key.partner,
                &*entry.key.client,
                entry.change.kind,
                entry.change.id.as_deref(),
                entry.change.from.as_deref(),
                entry.change.to.as_deref(),
                micros(entry.time),
                json(&entry.cause),
                entry.correction,
            )
        })
        .collect();
    sqlx::query(
        "insert into journal (partner, client, change, id, before, after, time, cause, correction, recorded_at)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                value ->> 7, value ->> 8, ?2
         from json_each(?1)
         order by key",
    )
    .bind(json(&lines))
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn clear_deadlines(connection: &mut SqliteConnection, cleared: &[(ClientKey, Sweep)]) -> Result<()> {
    if cleared.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = cleared
        .iter()
        .map(|(key, sweep)| (&*key.partner, &*key.client, sweep.as_str()))
        .collect();
    sqlx::query(
        "delete from deadlines
         where (partner, client, sweep) in (
             select value ->> 0, value ->> 1, value ->> 2 from json_each(?1)
         )",
    )
    .bind(json(&lines))
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_deadlines(
    connection: &mut SqliteConnection,
    set: &[(ClientKey, Sweep, DateTime<Utc>)],
) -> Result<()> {
    if set.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = set
        .iter()
        .map(|(key, sweep, due_at)| (&*key.partner, &*key.client, sweep.as_str(), micros(*due_at)))
        .collect();
    sqlx::query(
        "insert into deadlines (partner, client, sweep, due_at)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3
         from json_each(?1)
         where true
         on conflict (partner, client, sweep) do update
         set due_at = excluded.due_at",
    )
    .bind(json(&lines))
    .execute(connection)
    .await?;
    Ok(())
}
