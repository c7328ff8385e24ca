//! Reads and writes the access log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::PostgresStore;
use super::batch::Held;
use super::event_position::{client_number, reference};
use super::numbers::{self, ClientNumbers, Numbers};
use crate::domain::ClientKey;
use crate::store::accesses::{FoundRow, read_found};
use crate::store::actor::actor_text;
use crate::store::columns::optional_text;
use crate::store::event_position::PositionRow;
use crate::store::{
    Access, AccessFilter, Accesses, AccessesPage, Commit, EventPosition, Result, TouchOutcome,
};

/// The columns of a `FoundRow`, of entries `a` of clients `k`.
macro_rules! entries {
    ($from:literal) => {
        concat!(
            "select k.partner, k.client, a.client::bigint as client_number, ref_source(a.ref)::bigint as source_number,
                    (select source from sources where number = ref_source(a.ref)) as source, a.ref as id,
                    a.time, a.sequence, a.by_staff, a.user_id, a.actor,
                    (select case r.number when 0 then '' else (select word from words where number = r.number) end
                     from (select coalesce(
                               (select e.reason from events e
                                where e.client = a.client and e.time = a.time and e.ref = a.ref),
                               a.reason) as number) r) as reason ",
            $from
        )
    };
}

/// The number of the client is a constant, so that the primary key gives the order: a join would be sorted.
const OF_CLIENT: &str = entries!(
    "from (select $1::text as partner, $2::text as client) k
     cross join accesses a
     where a.client = (select number from client_keys where partner = $1 and client = $2)
       and a.time >= $3 and (a.time, a.ref) < ($4, $5)
     order by a.time desc, a.ref desc
     limit $6"
);

/// `offset 0` keeps the order of time: a join could be planned as a scan and a sort.
const OF_ALL: &str = entries!(
    "from accesses a
     cross join lateral (select partner, client from client_keys where number = a.client offset 0) k
     where (a.time, a.client, a.ref) < ($1, $2, $3) and (a.time, a.client, a.ref) >= ($4, $5, $6)
       and ($7 = '' or k.partner = $7)
     order by a.time desc, a.client desc, a.ref desc
     limit $8"
);

#[async_trait]
impl Accesses for PostgresStore {
    async fn accesses(
        &self,
        key: &ClientKey,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        limit: u32,
    ) -> Result<AccessesPage> {
        self.in_time(async {
            let start = filter.start(after);
            let found: Vec<FoundRow<DateTime<Utc>>> = sqlx::query_as(OF_CLIENT)
                .bind(&*key.partner)
                .bind(&*key.client)
                .bind(filter.end().time)
                .bind(start.time)
                .bind(reference(&start))
                .bind(i64::from(limit) + 1)
                .fetch_all(&self.pool)
                .await?;
            let found = found.into_iter().map(read_found).collect::<Result<_>>()?;
            Ok(AccessesPage::of(found, limit, None))
        })
        .await
    }

    async fn all_accesses(
        &self,
        partner: Option<&str>,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        rows: u32,
        limit: u32,
    ) -> Result<AccessesPage> {
        self.in_time(async {
            let (start, last) = (filter.start(after), filter.end());
            let end = match partner {
                Some(_) => self.end_of_accesses(&start, &last, rows).await?,
                None => None,
            };
            let last = end.as_ref().unwrap_or(&last);
            let found: Vec<FoundRow<DateTime<Utc>>> = sqlx::query_as(OF_ALL)
                .bind(start.time)
                .bind(client_number(&start))
                .bind(reference(&start))
                .bind(last.time)
                .bind(client_number(last))
                .bind(reference(last))
                .bind(partner.unwrap_or_default())
                .bind(i64::from(limit) + 1)
                .fetch_all(&self.pool)
                .await?;
            let found = found.into_iter().map(read_found).collect::<Result<_>>()?;
            Ok(AccessesPage::of(found, limit, end))
        })
        .await
    }

    async fn access_log_since(&self) -> Result<Option<DateTime<Utc>>> {
        self.in_time(async {
            Ok(sqlx::query_scalar("select since from access_log_since")
                .fetch_optional(&self.pool)
                .await?)
        })
        .await
    }

    async fn record_access_log(&self, since: Option<DateTime<Utc>>) -> Result<()> {
        self.in_time(async {
            let statement = match since {
                Some(since) => {
                    sqlx::query("insert into access_log_since (since) values ($1) on conflict do nothing")
                        .bind(since)
                }
                None => sqlx::query("delete from access_log_since"),
            };
            statement.execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn postpone_access_log(&self, since: DateTime<Utc>) -> Result<()> {
        self.in_time(async {
            sqlx::query("update access_log_since set since = greatest(since, $1)")
                .bind(since)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }
}

impl PostgresStore {
    /// The position `rows` entries after another, in the order of a list of all clients. None: there are fewer.
    async fn end_of_accesses(
        &self,
        start: &EventPosition,
        last: &EventPosition,
        rows: u32,
    ) -> Result<Option<EventPosition>> {
        let end: Option<PositionRow<DateTime<Utc>>> = sqlx::query_as(
            "select time, client::bigint as client_number, ref_source(ref)::bigint as source_number, ref as id
             from accesses
             where (time, client, ref) < ($1, $2, $3) and (time, client, ref) >= ($4, $5, $6)
             order by time desc, client desc, ref desc
             limit 1 offset $7",
        )
        .bind(start.time)
        .bind(client_number(start))
        .bind(reference(start))
        .bind(last.time)
        .bind(client_number(last))
        .bind(reference(last))
        .bind(i64::from(rows.saturating_sub(1)))
        .fetch_optional(&self.pool)
        .await?;
        end.map(|end| end.read("accesses")).transpose()
    }
}

/// Reads the numbers of the clients that have entries. A renewal has not read them, and adding a key that is there would use
/// up a number.
pub(super) async fn find_clients(
    connection: &mut PgConnection,
    commit: &Commit,
    known: &mut ClientNumbers,
) -> Result<()> {
    let clients = commit.accesses.iter().map(|access| &access.client);
    let unknown: Vec<&ClientKey> = clients.filter(|key| !known.contains_key(*key)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    numbers::find_clients(connection, unknown, known).await
}

/// Adds entries. One that is there stays as it is: packed touches may arrive again.
pub(super) async fn write(
    connection: &mut PgConnection,
    accesses: &[Access],
    numbers: &Numbers,
    held: &Held,
) -> Result<()> {
    sqlx::query(
        "insert into accesses (time, client, reason, by_staff, ref, sequence, user_id, actor)
         select unnest($1::timestamptz[]), unnest($2::integer[]), unnest($3::smallint[]), unnest($4::boolean[]),
                unnest($5::bytea[]), unnest($6::text[]), unnest($7::text[]), unnest($8::text[])
         on conflict do nothing",
    )
    .bind(accesses.iter().map(|a| a.time).collect::<Vec<_>>())
    .bind(held.numbers_of(accesses.iter().map(|a| &a.client)))
    .bind(accesses.iter().map(|a| numbers.refusal(a.refused)).collect::<Vec<_>>())
    .bind(accesses.iter().map(Access::is_by_staff).collect::<Vec<_>>())
    .bind(accesses.iter().map(|a| numbers.event(&a.source, &a.id)).collect::<Vec<_>>())
    .bind(accesses.iter().map(Access::sequence_text).collect::<Vec<_>>())
    .bind(accesses.iter().map(Access::user_text).collect::<Vec<_>>())
    .bind(accesses.iter().map(|a| actor_text(&a.actor)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes new outcomes of packed touches into their entries, as far as there are any.
pub(super) async fn touch_outcomes(
    connection: &mut PgConnection,
    updates: &[TouchOutcome],
    numbers: &Numbers,
    held: &Held,
) -> Result<()> {
    sqlx::query(
        "update accesses
         set reason = u.reason
         from (
             select k.reason, a.place
             from unnest($1::integer[], $2::timestamptz[], $3::text[], $4::smallint[])
                  as k (client, time, sequence, reason)
             cross join lateral (
                 select ctid as place from accesses
                 where client = k.client and time = k.time and sequence = k.sequence
                 offset 0
             ) a
         ) u
         where accesses.ctid = u.place",
    )
    .bind(held.numbers_of(updates.iter().map(|u| &u.key)))
    .bind(updates.iter().map(|u| u.time).collect::<Vec<_>>())
    .bind(
        updates
            .iter()
            .map(|u| optional_text(u.sequence.as_deref()))
            .collect::<Vec<_>>(),
    )
    .bind(
        updates
            .iter()
            .map(|u| numbers.refusal(u.refusal))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
