//! Histories: events from the log, and touches out of their runs.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::columns;
use super::session::Session;
use super::sessions::Sessions;
use crate::domain::ClientKey;
use crate::store::rows::{self, LoggedRow};
use crate::store::{Logged, Result};

/// The history of one client, as of one moment.
pub(super) async fn of_one(pool: &Sessions, limit: Duration, key: &ClientKey) -> Result<Vec<Logged>> {
    // Touches move from the open run to a closed one: both must be read as of the same moment.
    let begin = "begin isolation level repeatable read, read only; set local enable_seqscan = off";
    let mut session = Session::begin_reading(pool, limit, begin).await?;
    let (connection, debt) = session.lend()?;
    let mut histories = debt.settled_by(of(connection, std::slice::from_ref(key))).await?;
    session.end("commit").await?;
    Ok(histories.remove(key).unwrap_or_default())
}

/// The histories of clients that nobody else writes to meanwhile. Each key has one, if an empty one.
pub(super) async fn of(
    connection: &mut PgConnection,
    keys: &[ClientKey],
) -> Result<HashMap<ClientKey, Vec<Logged>>> {
    let mut histories: HashMap<ClientKey, Vec<Logged>> =
        keys.iter().map(|key| (key.clone(), Vec::new())).collect();
    for row in events(connection, keys).await? {
        let logged = rows::logged(row)?;
        if let Some(history) = histories.get_mut(&logged.event.key) {
            history.push(logged);
        }
    }
    for (partner, client, run) in runs(connection, keys).await? {
        let key = rows::key(&partner, &client);
        let touched = rows::touched(&key, &run)?;
        if let Some(history) = histories.get_mut(&key) {
            history.extend(touched);
        }
    }
    histories.values_mut().for_each(rows::sort_history);
    Ok(histories)
}

async fn events(connection: &mut PgConnection, keys: &[ClientKey]) -> Result<Vec<LoggedRow<DateTime<Utc>>>> {
    let (partners, clients) = columns(keys);
    let events = sqlx::query_as(
        "select k.partner, k.client, e.source, e.id, e.type, e.time, e.sequence, e.data, e.reason
         from unnest($1::text[], $2::text[]) as k (partner, client)
         cross join lateral (
             select source, id, type, time, sequence, data::text as data, reason
             from events where partner = k.partner and client = k.client
             offset 0
         ) e",
    )
    .bind(partners)
    .bind(clients)
    .fetch_all(connection)
    .await?;
    Ok(events)
}

async fn runs(connection: &mut PgConnection, keys: &[ClientKey]) -> Result<Vec<(String, String, Vec<u8>)>> {
    let (partners, clients) = columns(keys);
    let runs = sqlx::query_as(
        "select k.partner, k.client, t.run
         from unnest($1::text[], $2::text[]) as k (partner, client)
         cross join lateral (
             select open_run as run from touches where partner = k.partner and client = k.client
             union all
             select run from touch_runs where partner = k.partner and client = k.client
             offset 0
         ) t",
    )
    .bind(partners)
    .bind(clients)
    .fetch_all(connection)
    .await?;
    Ok(runs)
}
