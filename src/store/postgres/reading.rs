//! Clients, the journal and the rest, as last committed.

use chrono::{DateTime, Utc};

use super::sessions::Sessions;
use crate::domain::ClientKey;
use crate::store::rows::{self, ClientRange, JournalRow, StoredRow};
use crate::store::{Census, ClientFilter, Recorded, Result, Stored};

pub(super) async fn client(pool: &Sessions, key: &ClientKey) -> Result<Option<Stored>> {
    let client: Option<StoredRow> = sqlx::query_as(
        "select c.partner, c.client, c.version, c.doc::text, t.open_run
         from clients c
         left join touches t on t.partner = c.partner and t.client = c.client
         where c.partner = $1 and c.client = $2",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .fetch_optional(pool)
    .await?;
    client.map(rows::stored_row).transpose()
}

pub(super) async fn clients(
    pool: &Sessions,
    filter: &ClientFilter,
    after: Option<&ClientKey>,
    limit: u32,
) -> Result<Vec<Stored>> {
    let range = ClientRange::of(filter.partner.as_deref(), after);
    let clients: Vec<StoredRow> = sqlx::query_as(
        "select c.partner, c.client, c.version, c.doc::text, t.open_run
         from (
             select partner, client, version, doc
             from clients
             where (partner, client) > ($1, $2) and partner <= $3
               and link is not null
               and (cardinality($4::text[]) = 0 or link = any ($4))
               and (cardinality($5::text[]) = 0 or service = any ($5))
               and (cardinality($6::text[]) = 0 or access = any ($6))
               and ($7::timestamptz is null or as_of > $7)
             order by partner, client
             limit $8
         ) c
         left join touches t on t.partner = c.partner and t.client = c.client
         order by c.partner, c.client",
    )
    .bind(range.after_partner)
    .bind(range.after_client)
    .bind(range.last_partner)
    .bind(
        filter
            .links
            .iter()
            .map(|status| status.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        filter
            .services
            .iter()
            .map(|status| status.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        filter
            .access
            .iter()
            .map(|status| status.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(filter.beyond)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    clients.into_iter().map(rows::stored_row).collect()
}

pub(super) async fn journal(
    pool: &Sessions,
    key: &ClientKey,
    after: i64,
    limit: u32,
) -> Result<Vec<Recorded>> {
    let lines: Vec<JournalRow<DateTime<Utc>>> = sqlx::query_as(
        "select xid, seq, partner, client, change, id, before, after, time, cause::text, correction, recorded_at
         from journal
         where partner = $1 and client = $2 and seq > $3
         order by seq
         limit $4",
    )
    .bind(&*key.partner)
    .bind(&*key.client)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    lines.into_iter().map(rows::recorded).collect()
}

pub(super) async fn census(pool: &Sessions) -> Result<Census> {
    let facets = sqlx::query_as(
        "select link, service, access, count(*)
         from clients
         where link is not null
         group by link, service, access",
    )
    .fetch_all(pool)
    .await?;
    let (events, journal, dead_letters_open) = sqlx::query_as(
        "select (select count(*) from events),
                (select count(*) from journal),
                (select count(*) from dead_letters where status = 'open' and retry_at is null)",
    )
    .fetch_one(pool)
    .await?;
    let mut census = rows::census(facets);
    census.events = events;
    census.journal = journal;
    census.dead_letters_open = dead_letters_open;
    Ok(census)
}
