//! Everything about one client.

use super::SqliteStore;
use crate::store::{Census, Verification};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::history;
use crate::domain::{ClientKey, Entry};
use crate::store::clients::ClientRange;
use crate::store::rows::{self, JournalRow, SnapshotColumns, TouchesRow};
use crate::store::{ClientSnapshot, Deadlines, RenewOnlyWindow, Result, Touches};

#[async_trait]
impl Verification for SqliteStore {
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        keys(&self.readers, partner, after, limit).await
    }

    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        one(&self.readers, key).await
    }

    async fn census(&self) -> Result<Census> {
        census(&self.readers).await
    }
}

/// Of the log and of the deadlines too: a client's row may be missing.
pub(super) async fn keys(
    readers: &SqlitePool,
    partner: Option<&str>,
    after: Option<&ClientKey>,
    limit: u32,
) -> Result<Vec<ClientKey>> {
    let range = ClientRange::of(partner, after);
    let keys: Vec<(String, String)> = sqlx::query_as(
        "select * from (select partner, client from clients
                        where (partner, client) > (?1, ?2) and partner <= ?3
                        order by partner, client limit ?4)
         union
         select * from (select distinct partner, client from events
                        where (partner, client) > (?1, ?2) and partner <= ?3
                        order by partner, client limit ?4)
         union
         select * from (select distinct partner, client from deadlines
                        where (partner, client) > (?1, ?2) and partner <= ?3
                        order by partner, client limit ?4)
         order by partner, client
         limit ?4",
    )
    .bind(range.after_partner)
    .bind(range.after_client)
    .bind(range.last_partner)
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await?;
    Ok(keys
        .iter()
        .map(|(partner, client)| rows::key(partner, client))
        .collect())
}

/// As of one moment.
pub(super) async fn one(readers: &SqlitePool, key: &ClientKey) -> Result<ClientSnapshot> {
    let mut transaction = readers.begin().await?;
    let snapshot = of(&mut transaction, key).await?;
    transaction.commit().await?;
    Ok(snapshot)
}

/// In a transaction.
pub(super) async fn of(connection: &mut SqliteConnection, key: &ClientKey) -> Result<ClientSnapshot> {
    let row: Option<SnapshotColumns<i64>> = sqlx::query_as(
        "select version, doc, name, name_key, link, service, access, as_of
         from clients
         where partner = ?1 and client = ?2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(&mut *connection)
    .await?;
    let mut histories = history::of(connection, std::slice::from_ref(key)).await?;
    let (touches, renew_only) = touches(connection, key).await?;
    Ok(ClientSnapshot {
        key: key.clone(),
        row: row.map(|row| rows::snapshot_row(key, row)).transpose()?,
        touches,
        renew_only,
        deadlines: deadlines(connection, key).await?,
        history: histories.remove(key).unwrap_or_default(),
        journal: journal(connection, key).await?,
        journal_is_pruned: is_pruned(connection, key).await?,
    })
}

async fn touches(
    connection: &mut SqliteConnection,
    key: &ClientKey,
) -> Result<(Touches, Option<RenewOnlyWindow>)> {
    let row: Option<TouchesRow<i64>> = sqlx::query_as(
        "select open_run, quiet_after, quiet_before, quiet_policies from touches
         where partner = ?1 and client = ?2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(connection)
    .await?;
    rows::touches_row(key, row)
}

async fn deadlines(connection: &mut SqliteConnection, key: &ClientKey) -> Result<Deadlines> {
    let deadlines: Vec<(String, i64)> = sqlx::query_as(
        "select sweep, due_at from deadlines
         where partner = ?1 and client = ?2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_all(connection)
    .await?;
    rows::deadlines(key, deadlines)
}

async fn journal(connection: &mut SqliteConnection, key: &ClientKey) -> Result<Vec<Entry>> {
    let lines: Vec<JournalRow<i64>> = sqlx::query_as(
        "select 0, seq, partner, client, change, id, before, after, time, cause, correction, recorded_at
         from journal
         where partner = ?1 and client = ?2
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
async fn is_pruned(connection: &mut SqliteConnection, key: &ClientKey) -> Result<bool> {
    let is_pruned = sqlx::query_scalar(
        "select coalesce(pruned_before > (select min(received_at) from events
                                          where partner = ?1 and client = ?2), 0)
         from relay",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_one(connection)
    .await?;
    Ok(is_pruned)
}

pub(super) async fn census(readers: &SqlitePool) -> Result<Census> {
    let facets = sqlx::query_as(
        "select link, service, access, count(*)
         from clients
         where link is not null
         group by link, service, access",
    )
    .fetch_all(readers)
    .await?;
    let (events, journal, dead_letters_open) = sqlx::query_as(
        "select (select count(*) from events),
                (select count(*) from journal),
                (select count(*) from dead_letters where status = 'open' and retry_at is null)",
    )
    .fetch_one(readers)
    .await?;
    let mut census = rows::census(facets);
    census.events = events;
    census.journal = journal;
    census.dead_letters_open = dead_letters_open;
    Ok(census)
}
