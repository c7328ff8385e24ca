//! Everything about one client.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::Held;
use super::history;
use super::session::Session;
use super::sessions::Sessions;
use crate::domain::{ClientKey, Entry};
use crate::store::rows::{self, ClientRange, JournalRow, KeptColumns, TouchesRow};
use crate::store::{Armed, Kept, KeptRow, Quiet, Result, StoreError, Touches};

/// Of the log and of the deadlines too: a client's row may be missing.
pub(super) async fn keys(
    pool: &Sessions,
    partner: Option<&str>,
    after: Option<&ClientKey>,
    limit: u32,
) -> Result<Vec<ClientKey>> {
    let range = ClientRange::of(partner, after);
    let keys: Vec<(String, String)> = sqlx::query_as(
        "(select partner, client from clients
          where (partner, client) > ($1, $2) and partner <= $3
          order by partner, client limit $4)
         union
         (select distinct partner, client from events
          where (partner, client) > ($1, $2) and partner <= $3
          order by partner, client limit $4)
         union
         (select distinct partner, client from deadlines
          where (partner, client) > ($1, $2) and partner <= $3
          order by partner, client limit $4)
         order by partner, client
         limit $4",
    )
    .bind(range.after_partner)
    .bind(range.after_client)
    .bind(range.last_partner)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    Ok(keys
        .iter()
        .map(|(partner, client)| rows::key(partner, client))
        .collect())
}

/// As of one moment.
pub(super) async fn one(pool: &Sessions, limit: Duration, key: &ClientKey) -> Result<Kept> {
    let begin = "begin isolation level repeatable read, read only; set local enable_seqscan = off";
    let mut session = Session::begin_reading(pool, limit, begin).await?;
    let (connection, debt) = session.lend()?;
    let kept = debt.settled_by(read(connection, key)).await?;
    session.end("commit").await?;
    Ok(kept)
}

/// Once the client is ours. A transaction that began later and was faster is a conflict, as in `lock`.
pub(super) async fn locked(connection: &mut PgConnection, key: &ClientKey, held: &mut Held) -> Result<Kept> {
    let found: Option<(String, bool)> = sqlx::query_as(
        "select ctid::text, journaled_by <= (select pg_current_xact_id()::text::bigint + xid_shift from relay)
         from clients
         where partner = $1 and client = $2
         for update",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((place, mine)) = found {
        if !mine {
            return Err(StoreError::Conflict(format!(
                "{key} was written by a transaction that began later"
            )));
        }
        held.places.insert(key.clone(), place);
    }
    let is_quiet: Option<bool> = sqlx::query_scalar(
        "select quiet_before is not null from touches
         where partner = $1 and client = $2
         for update",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(&mut *connection)
    .await?;
    if is_quiet == Some(true) {
        held.quiet.insert(key.clone());
    }
    read(connection, key).await
}

async fn read(connection: &mut PgConnection, key: &ClientKey) -> Result<Kept> {
    let row: Option<KeptColumns<DateTime<Utc>>> = sqlx::query_as(
        "select version, doc::text, name, name_key, link, service, access, as_of
         from clients
         where partner = $1 and client = $2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(&mut *connection)
    .await?;
    let row = row.map(|row| rows::kept_row(key, row)).transpose()?;
    beside(connection, key, row).await
}

/// What is kept beside a client's row.
async fn beside(connection: &mut PgConnection, key: &ClientKey, row: Option<KeptRow>) -> Result<Kept> {
    let mut histories = history::of(connection, std::slice::from_ref(key)).await?;
    let (touches, quiet) = touches(connection, key).await?;
    Ok(Kept {
        key: key.clone(),
        row,
        touches,
        quiet,
        deadlines: deadlines(connection, key).await?,
        history: histories.remove(key).unwrap_or_default(),
        journal: journal(connection, key).await?,
        journal_is_pruned: is_pruned(connection, key).await?,
    })
}

async fn touches(connection: &mut PgConnection, key: &ClientKey) -> Result<(Touches, Option<Quiet>)> {
    let row: Option<TouchesRow<DateTime<Utc>>> = sqlx::query_as(
        "select open_run, quiet_after, quiet_before, quiet_policies from touches
         where partner = $1 and client = $2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(connection)
    .await?;
    rows::touches_row(key, row)
}

async fn deadlines(connection: &mut PgConnection, key: &ClientKey) -> Result<Armed> {
    let deadlines: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "select sweep, due_at from deadlines
         where partner = $1 and client = $2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_all(connection)
    .await?;
    rows::armed(key, deadlines)
}

async fn journal(connection: &mut PgConnection, key: &ClientKey) -> Result<Vec<Entry>> {
    let lines: Vec<JournalRow<DateTime<Utc>>> = sqlx::query_as(
        "select xid, seq, partner, client, change, id, before, after, time, cause::text, correction, recorded_at
         from journal
         where partner = $1 and client = $2
         order by seq",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_all(connection)
    .await?;
    lines
        .into_iter()
        .map(|line| rows::recorded(line).map(|recorded| recorded.entry))
        .collect()
}

/// A client that came after the lines that were pruned still has all of its own.
async fn is_pruned(connection: &mut PgConnection, key: &ClientKey) -> Result<bool> {
    let is_pruned = sqlx::query_scalar(
        "select coalesce(pruned_before > (select min(received_at) from events
                                          where partner = $1 and client = $2), false)
         from relay",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_one(connection)
    .await?;
    Ok(is_pruned)
}
