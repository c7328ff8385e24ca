//! Reads lists over all partners.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::PostgresStore;
use super::event_position::{client_number, reference};
use super::sessions::Sessions;
use crate::domain::Refusal;
use crate::store::clients::{LoggedRow, StoredRow};
use crate::store::columns::Both;
use crate::store::event_position::PositionRow;
use crate::store::lists::{ClientOrder, ListRange, PlaceRow, RefusedRow, read_refused};
use crate::store::verification::FacetsRow;
use crate::store::{
    ClientSearch, EventPosition, Facets, ListPosition, Lists, RefusalFilter, RefusalsPage, Result, Stored,
};

/// The columns of a `StoredRow`, of clients `c` whose statuses are those of a filter.
macro_rules! search {
    ($from:literal, $order:literal) => {
        concat!(
            "select k.partner, k.client, c.version, c.doc::text as doc,
                    (select open_run from touches where client = c.client) as open_run ",
            $from,
            " and starts_with(k.client, $5)
              and c.link is not null
              and (cardinality($6::text[]) = 0 or c.link = any ($6))
              and (cardinality($7::text[]) = 0 or c.service = any ($7))
              and (cardinality($8::text[]) = 0 or c.access = any ($8))
              and position($9 in coalesce(c.name_key, '')) > 0
              order by ",
            $order,
            " limit $10"
        )
    };
}

/// `offset 0` keeps the order of the keys: a join could be planned as a scan of all clients and a sort.
const BY_KEY: &str = search!(
    "from client_keys k
     cross join lateral (select * from clients where client = k.number offset 0) c
     where (k.partner, k.client) >= ($1, $2) and (k.partner, k.client) <= ($3, $4)",
    "k.partner, k.client"
);

const BY_NAME: &str = search!(
    "from clients c
     cross join lateral (select partner, client from client_keys where number = c.client offset 0) k
     where c.name_key is not null and (c.partner, c.name_key) >= ($1, $2) and (c.partner, c.name_key) <= ($3, $4)",
    "c.partner, c.name_key"
);

const BY_ID: &str = search!(
    "from client_keys k
     cross join lateral (select * from clients where client = k.number offset 0) c
     where (k.client, k.partner) >= ($1, $2) and (k.client, k.partner) <= ($3, $4)",
    "k.client, k.partner"
);

const BY_NAME_OF_ALL: &str = search!(
    "from clients c
     cross join lateral (select partner, client from client_keys where number = c.client offset 0) k
     where c.name_key is not null and (c.name_key, c.partner) >= ($1, $2) and (c.name_key, c.partner) <= ($3, $4)",
    "c.name_key, c.partner"
);

/// The place of one row after others, in a range.
macro_rules! end_of_walk {
    ($place:literal, $from:literal, $order:literal) => {
        concat!(
            "select partner, ",
            $place,
            " as place from ",
            $from,
            " and (",
            $order,
            ") >= ($1, $2) and (",
            $order,
            ") <= ($3, $4) order by ",
            $order,
            " limit 1 offset $5"
        )
    };
}

const END_BY_KEY: &str = end_of_walk!("client", "client_keys where true", "partner, client");
const END_BY_ID: &str = end_of_walk!("client", "client_keys where true", "client, partner");
const END_BY_NAME: &str = end_of_walk!(
    "name_key",
    "clients where name_key is not null",
    "partner, name_key"
);
const END_BY_NAME_OF_ALL: &str = end_of_walk!(
    "name_key",
    "clients where name_key is not null",
    "name_key, partner"
);

#[async_trait]
impl Lists for PostgresStore {
    async fn end_of_walk(
        &self,
        search: &ClientSearch,
        after: Option<&ListPosition>,
        rows: u32,
    ) -> Result<Option<ListPosition>> {
        self.in_time(async {
            let range = ListRange::of(search, after, None);
            let statement = match search.order() {
                ClientOrder::Keys => END_BY_KEY,
                ClientOrder::Names => END_BY_NAME,
                ClientOrder::Ids => END_BY_ID,
                ClientOrder::NamesOfAll => END_BY_NAME_OF_ALL,
            };
            let end: Option<PlaceRow> = sqlx::query_as(statement)
                .bind(&range.from.0)
                .bind(&range.from.1)
                .bind(&range.upto.0)
                .bind(&range.upto.1)
                .bind(i64::from(rows.saturating_sub(1)))
                .fetch_optional(&self.pool)
                .await?;
            Ok(end.map(PlaceRow::read))
        })
        .await
    }

    async fn search(
        &self,
        search: &ClientSearch,
        after: Option<&ListPosition>,
        upto: Option<&ListPosition>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        self.in_time(async {
            let filter = &search.filter;
            let range = ListRange::of(search, after, upto);
            let statement = match search.order() {
                ClientOrder::Keys => BY_KEY,
                ClientOrder::Names => BY_NAME,
                ClientOrder::Ids => BY_ID,
                ClientOrder::NamesOfAll => BY_NAME_OF_ALL,
            };
            let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
            let clients: Vec<StoredRow> = sqlx::query_as(statement)
                .bind(&range.from.0)
                .bind(&range.from.1)
                .bind(&range.upto.0)
                .bind(&range.upto.1)
                .bind(&search.id_prefix)
                .bind(names(&mut filter.links.iter().map(|status| status.as_str())))
                .bind(names(&mut filter.services.iter().map(|status| status.as_str())))
                .bind(names(&mut filter.access.iter().map(|status| status.as_str())))
                .bind(search.name_part.as_deref().unwrap_or_default())
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?;
            clients.into_iter().map(StoredRow::read).collect()
        })
        .await
    }

    async fn partners(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        self.in_time(async {
            // One index lookup for each partner, however many clients it has.
            let partners = sqlx::query_scalar(
                "with recursive found (partner) as (
                     select min(partner) from client_keys where partner > $1
                     union all
                     select (select min(k.partner) from client_keys k where k.partner > found.partner)
                     from found
                     where found.partner is not null
                 )
                 select partner from found where partner is not null limit $2",
            )
            .bind(after.unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            Ok(partners)
        })
        .await
    }

    async fn facets(&self, partner: &str) -> Result<Facets> {
        self.in_time(async {
            let rows: Vec<FacetsRow> = sqlx::query_as(
                "select c.link, c.service, c.access, count(*) as clients
                 from client_keys k
                 cross join lateral (select link, service, access from clients where client = k.number offset 0) c
                 where k.partner = $1 and c.link is not null
                 group by c.link, c.service, c.access",
            )
            .bind(partner)
            .fetch_all(&self.pool)
            .await?;
            Ok(Facets::of(rows))
        })
        .await
    }

    async fn refusals(
        &self,
        filter: &RefusalFilter,
        before: Option<&EventPosition>,
        rows: u32,
        limit: u32,
    ) -> Result<RefusalsPage> {
        self.in_time(async {
            let (before, first) = (filter.start(before), filter.end());
            let end = nth_refusal(&self.pool, &before, &first, rows).await?;
            let down_to = end.as_ref().unwrap_or(&first);
            let refused: Vec<Both<RefusedRow<DateTime<Utc>>, LoggedRow<DateTime<Utc>>>> = sqlx::query_as(
                "select k.partner, k.client, e.client::bigint as client_number,
                        ref_source(e.ref)::bigint as source_number, e.received_at,
                        (select source from sources where number = ref_source(e.ref)) as source, e.ref as id,
                        (select word from words where number = e.type) as event_type, e.time, e.sequence, e.actor, e.data,
                        (select word from words where number = e.reason) as reason
                 from events e
                 cross join lateral (select partner, client from client_keys where number = e.client offset 0) k
                 where e.reason <> 0 and (e.time, e.client, e.ref) < ($1, $2, $3)
                   and (e.time, e.client, e.ref) >= ($4, $5, $6)
                   and ($7 = '' or e.reason = (select number from words where word = $7))
                   and ($8 = '' or ref_source(e.ref) = (select number from sources where source = $8))
                 order by e.time desc, e.client desc, e.ref desc
                 limit $9",
            )
            .bind(before.time)
            .bind(client_number(&before))
            .bind(reference(&before))
            .bind(down_to.time)
            .bind(client_number(down_to))
            .bind(reference(down_to))
            .bind(filter.code.map_or("", Refusal::code))
            .bind(filter.source.as_deref().unwrap_or_default())
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.pool)
            .await?;
            let refused = refused.into_iter().map(read_refused).collect::<Result<_>>()?;
            Ok(RefusalsPage::of(refused, limit, end))
        })
        .await
    }
}

/// The position of the refusal with this number, counted from 1 and from the newest, between two positions. None: there are fewer.
async fn nth_refusal(
    pool: &Sessions,
    before: &EventPosition,
    first: &EventPosition,
    number: u32,
) -> Result<Option<EventPosition>> {
    let found: Option<PositionRow<DateTime<Utc>>> = sqlx::query_as(
        "select time, client::bigint as client_number, ref_source(ref)::bigint as source_number, ref as id
         from events
         where reason <> 0 and (time, client, ref) < ($1, $2, $3) and (time, client, ref) >= ($4, $5, $6)
         order by time desc, client desc, ref desc
         limit 1 offset $7",
    )
    .bind(before.time)
    .bind(client_number(before))
    .bind(reference(before))
    .bind(first.time)
    .bind(client_number(first))
    .bind(reference(first))
    .bind(i64::from(number.saturating_sub(1)))
    .fetch_optional(pool)
    .await?;
    found.map(|row| row.read("events")).transpose()
}
