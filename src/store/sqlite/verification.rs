//! Reads everything about one client, and counts rows.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteStore, history};
use crate::domain::{ClientKey, Entry};
use crate::store::clients::ClientRange;
use crate::store::columns::{Both, KeyRow, key};
use crate::store::outbox::{JournalRow, read_line};
use crate::store::touches::{TouchesRow, read_touches};
use crate::store::verification::{ClientRow, CountsRow, DeadlineRow, FacetsRow, read_deadlines};
use crate::store::{
    Census, ClientSnapshot, Deadlines, RenewOnlyWindow, Result, SharedEvent, Touches, Verification,
};

#[async_trait]
impl Verification for SqliteStore {
    /// Also searches the event log and the deadlines: a client's row may be missing.
    async fn keys(
        &self,
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
        .fetch_all(&self.readers)
        .await?;
        Ok(keys
            .iter()
            .map(|(partner, client)| key(partner, client))
            .collect())
    }

    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        let mut transaction = self.readers.begin().await?;
        let snapshot = of(&mut transaction, key).await?;
        transaction.commit().await?;
        Ok(snapshot)
    }

    /// None: the primary key of the log is `(source, id)`.
    async fn shared_events(&self, _: &ClientKey) -> Result<Vec<SharedEvent>> {
        Ok(Vec::new())
    }

    async fn census(&self) -> Result<Census> {
        let facets: Vec<FacetsRow> = sqlx::query_as(
            "select link, service, access, count(*) as clients
             from clients
             where link is not null
             group by link, service, access",
        )
        .fetch_all(&self.readers)
        .await?;
        let counts: CountsRow = sqlx::query_as(
            "select (select count(*) from events) as events,
                    (select count(*) from journal) as journal,
                    (select count(*) from dead_letters where status = 'open' and retry_at is null) as dead_letters_open",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(Census::of(facets, &counts))
    }
}

/// Runs in a transaction.
pub(super) async fn of(connection: &mut SqliteConnection, key: &ClientKey) -> Result<ClientSnapshot> {
    let row: Option<ClientRow<i64>> = sqlx::query_as(
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
        row: row.map(|row| row.read(key)).transpose()?,
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
        "select open_run, renew_after, renew_before, renew_policies from touches
         where partner = ?1 and client = ?2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(connection)
    .await?;
    read_touches(key, row)
}

async fn deadlines(connection: &mut SqliteConnection, key: &ClientKey) -> Result<Deadlines> {
    let deadlines: Vec<DeadlineRow<i64>> = sqlx::query_as(
        "select sweep, due_at from deadlines
         where partner = ?1 and client = ?2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_all(connection)
    .await?;
    read_deadlines(key, deadlines)
}

async fn journal(connection: &mut SqliteConnection, key: &ClientKey) -> Result<Vec<Entry>> {
    let lines: Vec<Both<KeyRow, JournalRow<i64>>> = sqlx::query_as(
        "select 0 as xid, seq, partner, client, change, coalesce(id, '') as id, coalesce(before, '') as before,
                coalesce(after, '') as after, time, cause, null as cause_source, '' as cause_id, correction, recorded_at
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
        .map(|line| read_line(line).map(|recorded| recorded.entry))
        .collect()
}

/// A client whose first event came after the pruned lines still has all of its own lines.
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
