//! Reads clients and their journals.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::lines::line;
use super::{PostgresStore, history};
use crate::domain::{ClientKey, Id};
use crate::store::clients::{ClientRange, StoredRow};
use crate::store::columns::{key, text};
use crate::store::outbox::JournalRow;
use crate::store::{ClientFilter, Clients, Logged, NameClaim, Recorded, Result, Stored};

#[async_trait]
impl Clients for PostgresStore {
    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>> {
        self.in_time(async {
            let client: Option<StoredRow> = sqlx::query_as(
                "select k.partner, k.client, c.version, c.doc, t.open_run
                 from client_keys k
                 cross join lateral (
                     select version, doc::text as doc from clients where client = k.number offset 0
                 ) c
                 left join lateral (select open_run from touches where client = k.number offset 0) t on true
                 where k.partner = $1 and k.client = $2",
            )
            .bind(&*key.partner)
            .bind(&*key.client)
            .fetch_optional(&self.pool)
            .await?;
            client.map(StoredRow::read).transpose()
        })
        .await
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        self.in_time(async {
            let range = ClientRange::of(filter.partner.as_deref(), after);
            let clients: Vec<StoredRow> = sqlx::query_as(
                "select k.partner, k.client, c.version, c.doc, t.open_run
                 from client_keys k
                 cross join lateral (
                     select version, doc::text as doc
                     from clients
                     where client = k.number
                       and link is not null
                       and (cardinality($4::text[]) = 0 or link = any ($4))
                       and (cardinality($5::text[]) = 0 or service = any ($5))
                       and (cardinality($6::text[]) = 0 or access = any ($6))
                       and ($7::timestamptz is null or as_of > $7)
                     offset 0
                 ) c
                 left join lateral (select open_run from touches where client = k.number offset 0) t on true
                 where (k.partner, k.client) > ($1, $2) and k.partner <= $3
                 order by k.partner, k.client
                 limit $8",
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
            .fetch_all(&self.pool)
            .await?;
            clients.into_iter().map(StoredRow::read).collect()
        })
        .await
    }

    async fn clients_by_key(&self, keys: &[ClientKey]) -> Result<Vec<Stored>> {
        self.in_time(async {
            let (partners, clients): (Vec<&str>, Vec<&str>) =
                keys.iter().map(|key| (&*key.partner, &*key.client)).unzip();
            let clients: Vec<StoredRow> = sqlx::query_as(
                "select w.partner, w.client, c.version, c.doc, t.open_run
                 from unnest($1::text[], $2::text[]) as w (partner, client)
                 cross join lateral (
                     select number from client_keys where partner = w.partner and client = w.client offset 0
                 ) k
                 cross join lateral (
                     select version, doc::text as doc from clients where client = k.number offset 0
                 ) c
                 left join lateral (select open_run from touches where client = k.number offset 0) t on true",
            )
            .bind(partners)
            .bind(clients)
            .fetch_all(&self.pool)
            .await?;
            clients.into_iter().map(StoredRow::read).collect()
        })
        .await
    }

    async fn clients_of_account(
        &self,
        account: &Id,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        self.in_time(async {
            let range = ClientRange::of(partner, after);
            let clients: Vec<StoredRow> = sqlx::query_as(
                "select k.partner, k.client, c.version, c.doc::text as doc, t.open_run
                 from clients c
                 cross join lateral (select partner, client from client_keys where number = c.client offset 0) k
                 left join touches t on t.client = c.client
                 where c.account = $1 and c.account <> '' and c.partner <= $4
                   and (c.partner, c.client)
                       > ($2, coalesce((select number from client_keys where partner = $2 and client = $3), 0))
                 order by c.partner, c.client
                 limit $5",
            )
            .bind(text(account.as_str()))
            .bind(range.after_partner)
            .bind(range.after_client)
            .bind(range.last_partner)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            clients.into_iter().map(StoredRow::read).collect()
        })
        .await
    }

    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>> {
        history::of_one(&self.pool, self.limit, key).await
    }

    async fn histories(&self, keys: &[ClientKey], longest: usize) -> Result<HashMap<ClientKey, Vec<Logged>>> {
        history::of_many(&self.pool, self.limit, keys, longest).await
    }

    async fn holder(&self, name: &NameClaim) -> Result<Option<ClientKey>> {
        self.in_time(async {
            let client: Option<String> = sqlx::query_scalar(
                "select k.client
                 from clients c
                 join client_keys k on k.number = c.client
                 where c.partner = $1 and c.name_key = $2",
            )
            .bind(&*name.partner)
            .bind(&*name.name_key)
            .fetch_optional(&self.pool)
            .await?;
            Ok(client.map(|client| key(&name.partner, &client)))
        })
        .await
    }

    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>> {
        self.in_time(async {
            let lines: Vec<JournalRow<DateTime<Utc>>> = sqlx::query_as(concat!(
                "select ",
                line!(),
                "from journal j
                 where j.client = (select number from client_keys where partner = $1 and client = $2) and j.seq > $3
                 order by j.seq
                 limit $4"
            ))
            .bind(&*key.partner)
            .bind(&*key.client)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            lines.into_iter().map(|line| line.read(key.clone())).collect()
        })
        .await
    }
}
