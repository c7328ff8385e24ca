//! What a commit writes: one statement a table, fed with typed arrays. The arrays of a statement are made
//! from one slice each, and so are equally long: PostgreSQL would fill up a shorter one with nulls.
//!
//! Where many columns are written, each array is taken apart in the list of a `select`, row by row and in their order. In
//! `from`, all of them would first be put down in a table of their own, one for each array.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::batch::{Held, columns};
use super::session::Session;
use super::{dead_letters, lanes, sweeps};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::rows::{self, ClientColumns, json, outcome_columns};
use crate::store::{ClientWrite, Commit, EventWrite, OutcomeUpdate, Result, StoreError, TouchWrite};

/// Rows that one statement writes of what may be as long as a client's history: a late event can change the outcome of
/// everything after it. No statement may take longer than `statement_timeout` for that.
const ROWS: usize = 1_000;

/// Runs one statement, or a few small ones, with the limit on waiting for an answer to itself.
macro_rules! step {
    ($session:expr, |$connection:ident| $done:expr) => {{
        let ($connection, debt) = $session.lend()?;
        debt.paid_by($done).await?
    }};
}

/// Writes all of a commit but its end.
pub(super) async fn all(session: &mut Session, commit: &Commit, held: &mut Held) -> Result<()> {
    let at = commit.recorded_at;
    step!(session, |connection| async {
        look_up(connection, &commit.clients, held).await?;
        clients(connection, &commit.clients, &commit.journal, &held.places).await?;
        end_renew_only(connection, commit, &held.renew_only).await?;
        touches(connection, &commit.touches).await?;
        closed_runs(connection, &commit.touches).await
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
        // Last: other workers at the same run wait for its row.
        if let Some((run, counts)) = &commit.swept {
            sweeps::count(connection, *run, counts).await?;
        }
        Ok(())
    });
    Ok(())
}

/// Where clients are that this transaction writes without having locked them; of their touches nothing is known.
async fn look_up(connection: &mut PgConnection, writes: &[ClientWrite], held: &mut Held) -> Result<()> {
    let missing = writes
        .iter()
        .filter(|write| write.read_version > 0 && !held.places.contains_key(&write.key));
    let (partners, clients) = columns(missing.map(|write| &write.key));
    if partners.is_empty() {
        return Ok(());
    }
    let found: Vec<(String, String, String)> = sqlx::query_as(
        "select k.partner, k.client, c.place
         from unnest($1::text[], $2::text[]) as k (partner, client)
         cross join lateral (
             select ctid::text as place from clients where partner = k.partner and client = k.client offset 0
         ) c",
    )
    .bind(partners)
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for (partner, client, place) in found {
        let key = rows::key(&partner, &client);
        held.renew_only.insert(key.clone());
        held.places.insert(key, place);
    }
    Ok(())
}

/// Every client must still be as it was read, or not be there if it was not. Those that are there come
/// first: they may give up a name that a new one takes.
async fn clients(
    connection: &mut PgConnection,
    writes: &[ClientWrite],
    journal: &[Entry],
    places: &HashMap<ClientKey, String>,
) -> Result<()> {
    let mut journaled: HashSet<&ClientKey> = journal.iter().map(|entry| &entry.key).collect();
    let mut known = ClientArrays::default();
    let mut known_places = Vec::new();
    let mut new = ClientArrays::default();
    for write in writes {
        let journaled = journaled.remove(&write.key);
        if write.read_version > 0 {
            // One that is not there any more is written nowhere, which is a conflict.
            known_places.push(places.get(&write.key).map(String::as_str));
            known.push(write, journaled);
        } else {
            new.push(write, journaled);
        }
    }
    let mut written = 0;
    if !known.partners.is_empty() {
        written += update_clients(connection, known, known_places).await?;
    }
    if !new.partners.is_empty() {
        written += insert_clients(connection, new).await?;
    }
    rows::expect_written(written, writes)?;
    stamp(connection, &journaled).await
}

/// The columns of clients, each as long as the others.
#[derive(Default)]
struct ClientArrays<'a> {
    partners: Vec<&'a str>,
    clients: Vec<&'a str>,
    names: Vec<Option<&'a str>>,
    name_keys: Vec<Option<&'a str>>,
    links: Vec<Option<&'static str>>,
    services: Vec<Option<&'static str>>,
    access: Vec<&'static str>,
    as_of: Vec<Option<DateTime<Utc>>>,
    /// Those that are written.
    versions: Vec<i64>,
    journaled: Vec<bool>,
    docs: Vec<String>,
}

impl<'a> ClientArrays<'a> {
    fn push(&mut self, write: &'a ClientWrite, journaled: bool) {
        let facets = ClientColumns::of(&write.document);
        self.partners.push(&write.key.partner);
        self.clients.push(&write.key.client);
        self.names.push(facets.name);
        self.name_keys.push(write.name_key.as_deref());
        self.links.push(facets.link);
        self.services.push(facets.service);
        self.access.push(facets.access);
        self.as_of.push(facets.as_of);
        self.versions.push(write.read_version + 1);
        self.journaled.push(journaled);
        self.docs.push(json(&write.document));
    }

    fn bind(self, statement: &'static str) -> Query<'a, Postgres, PgArguments> {
        sqlx::query(statement)
            .bind(self.partners)
            .bind(self.clients)
            .bind(self.names)
            .bind(self.name_keys)
            .bind(self.links)
            .bind(self.services)
            .bind(self.access)
            .bind(self.as_of)
            .bind(self.versions)
            .bind(self.journaled)
            .bind(self.docs)
    }
}

/// The rows are where they were when they were locked. The key is compared for safety's sake alone.
async fn update_clients<'a>(
    connection: &mut PgConnection,
    clients: ClientArrays<'a>,
    places: Vec<Option<&'a str>>,
) -> Result<u64> {
    let statement = "update clients
         set name = w.name, name_key = w.name_key, link = w.link, service = w.service, access = w.access,
             as_of = w.as_of, version = w.version, doc = w.doc::json,
             journaled_by = case when w.journaled
                                 then (select pg_current_xact_id()::text::bigint + xid_shift from relay)
                                 else journaled_by end
         from (
             select unnest($1::text[]) as partner, unnest($2::text[]) as client, unnest($3::text[]) as name,
                    unnest($4::text[]) as name_key, unnest($5::text[]) as link, unnest($6::text[]) as service,
                    unnest($7::text[]) as access, unnest($8::timestamptz[]) as as_of, unnest($9::bigint[]) as version,
                    unnest($10::bool[]) as journaled, unnest($11::text[]) as doc, unnest($12::text[]) as place
         ) w
         where clients.ctid = w.place::tid and clients.version = w.version - 1
               and clients.partner = w.partner and clients.client = w.client";
    let done = clients.bind(statement).bind(places).execute(connection).await?;
    Ok(done.rows_affected())
}

async fn insert_clients(connection: &mut PgConnection, clients: ClientArrays<'_>) -> Result<u64> {
    let statement = "insert into clients
             (partner, client, name, name_key, link, service, access, as_of, version, journaled_by, doc)
         select w.partner, w.client, w.name, w.name_key, w.link, w.service, w.access, w.as_of, w.version,
                case when w.journaled
                     then (select pg_current_xact_id()::text::bigint + xid_shift from relay)
                     else 0 end,
                w.doc::json
         from (
             select unnest($1::text[]) as partner, unnest($2::text[]) as client, unnest($3::text[]) as name,
                    unnest($4::text[]) as name_key, unnest($5::text[]) as link, unnest($6::text[]) as service,
                    unnest($7::text[]) as access, unnest($8::timestamptz[]) as as_of, unnest($9::bigint[]) as version,
                    unnest($10::bool[]) as journaled, unnest($11::text[]) as doc
         ) w";
    let done = clients.bind(statement).execute(connection).await?;
    Ok(done.rows_affected())
}

/// Marks clients that are journaled but not written: those that a late event makes no different, but for
/// its refusal.
async fn stamp(connection: &mut PgConnection, journaled: &HashSet<&ClientKey>) -> Result<()> {
    if journaled.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(journaled.iter().copied());
    sqlx::query(
        "update clients
         set journaled_by = (select pg_current_xact_id()::text::bigint + xid_shift from relay)
         where ctid = any (array(
             select c.ctid
             from unnest($1::text[], $2::text[]) as k (partner, client)
             cross join lateral (
                 select ctid from clients where partner = k.partner and client = k.client offset 0
             ) c
         ))",
    )
    .bind(partners)
    .bind(clients)
    .execute(connection)
    .await?;
    Ok(())
}

/// What is written of a client ends its quiet stretch. (A write of its touches says itself whether there is another.)
async fn end_renew_only(
    connection: &mut PgConnection,
    commit: &Commit,
    renew_only: &HashSet<ClientKey>,
) -> Result<()> {
    let touched: HashSet<&ClientKey> = commit.touches.iter().map(|write| &write.key).collect();
    let ended: Vec<&ClientKey> = commit
        .clients
        .iter()
        .map(|write| &write.key)
        .filter(|key| renew_only.contains(*key) && !touched.contains(key))
        .collect();
    if ended.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(ended);
    sqlx::query(
        "update touches
         set quiet_after = null, quiet_before = null, quiet_policies = null
         where ctid = any (array(
             select t.ctid
             from unnest($1::text[], $2::text[]) as k (partner, client)
             cross join lateral (
                 select ctid from touches where partner = k.partner and client = k.client offset 0
             ) t
         ))",
    )
    .bind(partners)
    .bind(clients)
    .execute(connection)
    .await?;
    Ok(())
}

async fn touches(connection: &mut PgConnection, writes: &[TouchWrite]) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(writes.iter().map(|write| &write.key));
    sqlx::query(
        "insert into touches (partner, client, open_run, quiet_after, quiet_before, quiet_policies)
         select * from unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[], $5::timestamptz[], $6::bigint[])
         on conflict (partner, client) do update
         set open_run = excluded.open_run, quiet_after = excluded.quiet_after, quiet_before = excluded.quiet_before,
             quiet_policies = excluded.quiet_policies",
    )
    .bind(partners)
    .bind(clients)
    .bind(writes.iter().map(|w| w.open.pack()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.after)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.before)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.renew_only.map(|q| q.policies)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn closed_runs(connection: &mut PgConnection, writes: &[TouchWrite]) -> Result<()> {
    let closed: Vec<(&ClientKey, DateTime<Utc>, Vec<u8>)> = writes
        .iter()
        .filter_map(|write| {
            let run = write.closed.as_ref()?;
            Some((&write.key, run.iter().next()?.time, run.pack()))
        })
        .collect();
    if closed.is_empty() {
        return Ok(());
    }
    let (partners, clients) = columns(closed.iter().map(|(key, ..)| *key));
    sqlx::query(
        "insert into touch_runs (partner, client, first_at, run)
         select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[])",
    )
    .bind(partners)
    .bind(clients)
    .bind(
        closed
            .iter()
            .map(|(_, first_at, _)| *first_at)
            .collect::<Vec<_>>(),
    )
    .bind(closed.iter().map(|(.., run)| run.as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
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
    .bind(writes.iter().map(|w| rows::data_of(&w.event.kind)).collect::<Vec<_>>())
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
    rows::expect_logged(changed, updates)
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
        // The relay would never come by.
        return Err(StoreError::Conflict(
            "the server numbers transactions below those that are published already: the tables came from another".into(),
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
