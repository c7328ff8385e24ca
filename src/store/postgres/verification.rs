//! Reads everything about one client, and counts rows.

use std::ops::ControlFlow;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::Held;
use super::lines::line;
use super::pages::{Paged, paged};
use super::session::Session;
use super::{PostgresStore, history, numbers, pages};
use crate::domain::{ClientKey, Entry};
use crate::store::clients::ClientRange;
use crate::store::columns::{Both, KeyRow, key, row};
use crate::store::outbox::JournalRow;
use crate::store::touches::{TouchesRow, read_touches};
use crate::store::verification::{
    ClientRow, CountsRow, DeadlineRow, FacetsRow, SharedRow, read_deadlines, read_shared,
};
use crate::store::{
    Census, ClientSnapshot, Deadlines, RenewOnlyWindow, Result, SharedEvent, SnapshotRow, StoreError,
    Touches, Verification,
};

#[async_trait]
impl Verification for PostgresStore {
    /// Keys are never deleted: those of clients whose row is missing are there too.
    async fn keys(
        &self,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<ClientKey>> {
        self.in_time(async {
            let range = ClientRange::of(partner, after);
            let keys: Vec<(String, String)> = sqlx::query_as(
                "select partner, client
                 from client_keys
                 where (partner, client) > ($1, $2) and partner <= $3
                 order by partner, client
                 limit $4",
            )
            .bind(range.after_partner)
            .bind(range.after_client)
            .bind(range.last_partner)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            Ok(keys
                .iter()
                .map(|(partner, client)| key(partner, client))
                .collect())
        })
        .await
    }

    async fn snapshot(&self, key: &ClientKey) -> Result<ClientSnapshot> {
        let mut session = Session::begin_reading(&self.pool, self.limit, pages::BEGIN).await?;
        let number = number(&mut session, key).await?;
        let snapshot = read(&mut session, key, number).await?;
        session.end("commit").await?;
        Ok(snapshot)
    }

    async fn shared_events(&self, key: &ClientKey) -> Result<Vec<SharedEvent>> {
        let mut session = Session::begin_reading(&self.pool, self.limit, pages::BEGIN).await?;
        let number = number(&mut session, key).await?;
        let mut shared: Vec<Both<KeyRow, SharedRow>> = Vec::new();
        pages::read(
            &mut session,
            &SHARED,
            number.as_slice(),
            i64::MAX,
            |Both(OtherRow { other }, row)| {
                if other.is_some() {
                    shared.push(row);
                }
                Ok(ControlFlow::Continue(()))
            },
        )
        .await?;
        session.end("commit").await?;
        read_shared(key, shared)
    }

    async fn census(&self) -> Result<Census> {
        self.in_time(async {
            let facets: Vec<FacetsRow> = sqlx::query_as(
                "select link, service, access, count(*) as clients
                 from clients
                 where link is not null
                 group by link, service, access",
            )
            .fetch_all(&self.pool)
            .await?;
            let counts: CountsRow = sqlx::query_as(
                "select (select count(*) from events) as events,
                        (select count(*) from journal) as journal,
                        (select count(*) from dead_letters where status = 'open' and retry_at is null) as dead_letters_open",
            )
            .fetch_one(&self.pool)
            .await?;
            Ok(Census::of(facets, &counts))
        })
        .await
    }
}

async fn number(session: &mut Session, key: &ClientKey) -> Result<Option<i32>> {
    let (connection, debt) = session.lend()?;
    debt.paid_by(numbers::of_client(connection, key)).await
}

/// Locks the client first. As in `lock`, a faster transaction that began later is a conflict.
pub(super) async fn locked(
    session: &mut Session,
    key: &ClientKey,
    held: &mut Held,
) -> Result<ClientSnapshot> {
    let number = number(session, key).await?;
    if let Some(number) = number {
        held.numbers.insert(key.clone(), number);
        let (connection, debt) = session.lend()?;
        debt.paid_by(lock(connection, key, number, held)).await?;
    }
    read(session, key, number).await
}

async fn lock(connection: &mut PgConnection, key: &ClientKey, number: i32, held: &mut Held) -> Result<()> {
    let found: Option<(String, bool)> = sqlx::query_as(
        "select ctid::text, journaled_by <= (select pg_current_xact_id()::text::bigint + xid_shift from relay)
         from clients
         where client = $1
         for update",
    )
    .bind(number)
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
    let is_renew_only: Option<bool> = sqlx::query_scalar(
        "select renew_before is not null from touches
         where client = $1
         for update",
    )
    .bind(number)
    .fetch_optional(&mut *connection)
    .await?;
    if is_renew_only == Some(true) {
        held.renew_only.insert(key.clone());
    }
    Ok(())
}

/// Reads the row and the other small parts in one round trip, and in pages what grows with the history. Without a number,
/// nothing was ever stored about the client.
async fn read(session: &mut Session, key: &ClientKey, number: Option<i32>) -> Result<ClientSnapshot> {
    let (connection, debt) = session.lend()?;
    let small = async {
        Ok((
            row(connection, key, number).await?,
            touches(connection, key, number).await?,
            deadlines(connection, key, number).await?,
        ))
    };
    let (row, (touches, renew_only), deadlines) = debt.paid_by(small).await?;
    let mut histories = history::of(session, std::slice::from_ref(key), |_| number, None).await?;
    Ok(ClientSnapshot {
        key: key.clone(),
        row,
        touches,
        renew_only,
        deadlines,
        history: histories.remove(key).unwrap_or_default(),
        journal: journal(session, key, number).await?,
        journal_is_pruned: is_pruned(session, number).await?,
    })
}

async fn row(
    connection: &mut PgConnection,
    key: &ClientKey,
    number: Option<i32>,
) -> Result<Option<SnapshotRow>> {
    let row: Option<ClientRow<DateTime<Utc>>> = sqlx::query_as(
        "select version, doc::text, name, name_key, link, service, access, as_of
         from clients
         where client = $1",
    )
    .bind(number)
    .fetch_optional(connection)
    .await?;
    row.map(|row| row.read(key)).transpose()
}

async fn touches(
    connection: &mut PgConnection,
    key: &ClientKey,
    number: Option<i32>,
) -> Result<(Touches, Option<RenewOnlyWindow>)> {
    let row: Option<TouchesRow<DateTime<Utc>>> = sqlx::query_as(
        "select open_run, renew_after, renew_before, renew_policies from touches
         where client = $1",
    )
    .bind(number)
    .fetch_optional(connection)
    .await?;
    read_touches(key, row)
}

async fn deadlines(connection: &mut PgConnection, key: &ClientKey, number: Option<i32>) -> Result<Deadlines> {
    let deadlines: Vec<DeadlineRow<DateTime<Utc>>> = sqlx::query_as(
        "select (select word from words where number = d.sweep) as sweep, d.due_at
         from deadlines d
         where d.client = $1",
    )
    .bind(number)
    .fetch_all(connection)
    .await?;
    read_deadlines(key, deadlines)
}

const JOURNAL: Paged = paged!(
    "client_journal",
    concat!(
        "select ",
        line!(),
        "from unnest($1::integer[]) as k (client)
         cross join lateral (
             select * from journal where client = k.client
             order by seq
             limit $2::bigint
         ) j"
    )
);

async fn journal(session: &mut Session, key: &ClientKey, number: Option<i32>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    pages::read(
        session,
        &JOURNAL,
        number.as_slice(),
        i64::MAX,
        |line: JournalRow<DateTime<Utc>>| {
            entries.push(line.read(key.clone())?.entry);
            Ok(ControlFlow::Continue(()))
        },
    )
    .await?;
    Ok(entries)
}

const RECEIVED: Paged = paged!(
    "client_received",
    "select e.received_at
     from unnest($1::integer[]) as k (client)
     cross join lateral (
         select received_at from events where client = k.client limit $2::bigint
     ) e"
);

row! {
    /// The number of the client that an event is shared with. None: it is not shared.
    OtherRow {
        other: Option<i32>,
    }
}

/// The events of a client, each with another row of the log that has its name. An event without one is a row too: otherwise a
/// page would look for shared events through the whole history.
const SHARED: Paged = paged!(
    "shared_events",
    "select o.client as other, (select partner from client_keys where number = o.client) as partner,
            (select client from client_keys where number = o.client) as client,
            (select source from sources where number = ref_source(e.ref)) as source, e.ref as id
     from unnest($1::integer[]) as k (client)
     cross join lateral (
         select client, time, ref from events where client = k.client limit $2::bigint
     ) e
     left join lateral (
         select client, time from events where ref = e.ref offset 0
     ) o on (o.client, o.time) <> (e.client, e.time)"
);

/// A client whose first event came after the pruned lines still has all of its own lines.
async fn is_pruned(session: &mut Session, number: Option<i32>) -> Result<bool> {
    let (connection, debt) = session.lend()?;
    let pruned_before = async {
        let query = sqlx::query_scalar("select pruned_before from relay");
        Ok(query.fetch_one(connection).await?)
    };
    let pruned_before: Option<DateTime<Utc>> = debt.paid_by(pruned_before).await?;
    let Some(pruned_before) = pruned_before else {
        return Ok(false);
    };
    let mut is_pruned = false;
    pages::read(
        session,
        &RECEIVED,
        number.as_slice(),
        i64::MAX,
        |(received_at,): (DateTime<Utc>,)| {
            is_pruned = received_at < pruned_before;
            Ok(if is_pruned {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        },
    )
    .await?;
    Ok(is_pruned)
}
