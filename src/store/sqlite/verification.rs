//! Reads everything about one client, and counts rows.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::numbers::Numbers;
use super::{SqliteStore, history};
use crate::domain::{ClientKey, Entry};
use crate::store::clients::ClientRange;
use crate::store::columns::key;
use crate::store::outbox::JournalRow;
use crate::store::touches::{TouchesRow, read_touches};
use crate::store::verification::{ClientRow, CountsRow, DeadlineRow, FacetsRow, read_deadlines};
use crate::store::{Census, ClientSnapshot, Deadlines, Result, SharedEvent, Verification};

#[async_trait]
impl Verification for SqliteStore {
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        let range = ClientRange::of(partner, after);
        let keys: Vec<(String, String)> = sqlx::query_as(
            "select partner, client
             from client_keys
             where (partner, client) > (?1, ?2) and partner <= ?3
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
        let snapshot = of(&mut transaction, &mut Numbers::default(), key).await?;
        transaction.commit().await?;
        Ok(snapshot)
    }

    /// None: the index `events_by_id` is unique.
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
pub(super) async fn of(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    key: &ClientKey,
) -> Result<ClientSnapshot> {
    let mut histories = history::of(connection, numbers, std::slice::from_ref(key)).await?;
    // Nothing is stored under 0, which stands for a client without a number.
    let client = numbers.find_client(key).unwrap_or(0);
    let row: Option<ClientRow<i64>> = sqlx::query_as(
        "select version, doc, name, name_key, link, service, access, as_of
         from clients
         where client = ?1",
    )
    .bind(client)
    .fetch_optional(&mut *connection)
    .await?;
    let touches: Option<TouchesRow<i64>> = sqlx::query_as(
        "select open_run, renew_after, renew_before, renew_policies
         from touches
         where client = ?1",
    )
    .bind(client)
    .fetch_optional(&mut *connection)
    .await?;
    let (touches, renew_only) = read_touches(key, touches)?;
    Ok(ClientSnapshot {
        key: key.clone(),
        row: row.map(|row| row.read(key)).transpose()?,
        touches,
        renew_only,
        deadlines: deadlines(connection, client, key).await?,
        history: histories.remove(key).unwrap_or_default(),
        journal: journal(connection, client, key).await?,
        journal_is_pruned: is_pruned(connection, client).await?,
    })
}

async fn deadlines(connection: &mut SqliteConnection, client: i64, key: &ClientKey) -> Result<Deadlines> {
    let deadlines: Vec<DeadlineRow<i64>> = sqlx::query_as(
        "select w.word as sweep, d.due_at
         from deadlines d
         left join words w on w.number = d.sweep
         where d.client = ?1",
    )
    .bind(client)
    .fetch_all(connection)
    .await?;
    read_deadlines(key, deadlines)
}

async fn journal(connection: &mut SqliteConnection, client: i64, key: &ClientKey) -> Result<Vec<Entry>> {
    let lines: Vec<JournalRow<i64>> = sqlx::query_as(
        "select 0 as xid, j.seq, w.word as change, j.id, j.before, j.after, j.time, c.word as cause,
                s.source as cause_source, j.cause_id, j.cause_actor, j.cause_reason, j.correction, j.recorded_at
         from journal j
         left join words w on w.number = j.change
         left join words c on c.number = j.cause
         left join sources s on s.number = j.cause_source
         where j.client = ?1
         order by j.seq",
    )
    .bind(client)
    .fetch_all(connection)
    .await?;
    lines
        .into_iter()
        .map(|line| line.read(key.clone()).map(|recorded| recorded.entry))
        .collect()
}

/// A client whose first event came after the pruned lines still has all of its own lines.
async fn is_pruned(connection: &mut SqliteConnection, client: i64) -> Result<bool> {
    let is_pruned = sqlx::query_scalar(
        "select coalesce(pruned_before > (select min(received_at) from events where client = ?1), 0)
         from relay",
    )
    .bind(client)
    .fetch_one(connection)
    .await?;
    Ok(is_pruned)
}
