//! Reads everything about clients, and counts rows.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::slice;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::Held;
use super::history::NumberRow;
use super::lines::line;
use super::numbers::{ClientNumbers, find_clients};
use super::pages::{Paged, paged};
use super::session::Session;
use super::{PostgresStore, history, pages};
use crate::domain::ClientKey;
use crate::store::clients::{ClientRange, LoggedRow};
use crate::store::columns::{Both, key, row};
use crate::store::verification::{CountsRow, FacetsRow, Snapshots, one};
use crate::store::{Census, ClientSnapshot, Result, StoreError, Verification};

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

    async fn snapshots(
        &self,
        keys: &[ClientKey],
        most: Option<usize>,
    ) -> Result<Vec<Result<ClientSnapshot>>> {
        let mut session = Session::begin_reading(&self.pool, self.limit, pages::BEGIN).await?;
        let numbers = numbers(&mut session, keys).await?;
        let snapshots = read(&mut session, keys, &numbers, most).await?;
        session.end("commit").await?;
        Ok(snapshots)
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

async fn numbers(session: &mut Session, keys: &[ClientKey]) -> Result<ClientNumbers> {
    let mut numbers = ClientNumbers::new();
    let (connection, debt) = session.lend()?;
    debt.paid_by(find_clients(connection, keys, &mut numbers)).await?;
    Ok(numbers)
}

/// Locks the client first. As in `lock`, a faster transaction that began later is a conflict.
pub(super) async fn locked(
    session: &mut Session,
    key: &ClientKey,
    held: &mut Held,
) -> Result<ClientSnapshot> {
    let keys = slice::from_ref(key);
    let numbers = numbers(session, keys).await?;
    if let Some(number) = numbers.get(key).copied() {
        held.numbers.insert(key.clone(), number);
        let (connection, debt) = session.lend()?;
        debt.paid_by(lock(connection, key, number, held)).await?;
    }
    one(read(session, keys, &numbers, None).await?)
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

/// Reads everything about clients, table by table. What grows with the history comes first, in pages, and says how many of the
/// clients are read. Nothing was ever stored about a client without a number.
async fn read(
    session: &mut Session,
    keys: &[ClientKey],
    numbers: &ClientNumbers,
    most: Option<usize>,
) -> Result<Vec<Result<ClientSnapshot>>> {
    let in_order = keys.iter().enumerate();
    let places: HashMap<i32, usize> = in_order
        .filter_map(|(place, key)| Some((*numbers.get(key)?, place)))
        .collect();
    // In key order.
    let mut clients: Vec<i32> = keys.iter().filter_map(|key| numbers.get(key).copied()).collect();
    let mut snapshots = Snapshots::of(keys, most, pruned_before(session).await?);
    let shared = events(session, &clients, &places, &mut snapshots).await?;
    clients.retain(|client| places[client] < snapshots.len());
    closed_runs(session, &clients, &places, &mut snapshots).await?;
    clients.retain(|client| places[client] < snapshots.len());
    journal(session, &clients, &places, &mut snapshots).await?;
    clients.retain(|client| places[client] < snapshots.len());

    let (connection, debt) = session.lend()?;
    let small = async {
        rows(connection, &clients, &places, &mut snapshots).await?;
        touches(connection, &clients, &places, &mut snapshots).await?;
        deadlines(connection, &clients, &places, &mut snapshots).await
    };
    debt.paid_by(small).await?;
    for client in shared {
        shared_events(session, client, places[&client], &mut snapshots).await?;
    }
    Ok(snapshots.end())
}

async fn pruned_before(session: &mut Session) -> Result<Option<DateTime<Utc>>> {
    let (connection, debt) = session.lend()?;
    let read = async {
        let query = sqlx::query_scalar("select pruned_before from relay");
        Ok(query.fetch_one(connection).await?)
    };
    debt.paid_by(read).await
}

row! {
    EventRow {
        client: i32,
        received_at: DateTime<Utc>,
        /// Whether another row of the log has its name.
        is_shared: bool,
    }
}

const EVENTS: Paged = paged!(
    "verified_events",
    4,
    history::events!(
        ",
        e.received_at,
        coalesce((
            select true from events where ref = e.ref and (client, time) <> (e.client, e.time) limit 1
        ), false) as is_shared "
    )
);

/// Reads the events, and returns the clients that share one.
async fn events(
    session: &mut Session,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<BTreeSet<i32>> {
    let mut shared = BTreeSet::new();
    snapshots.begin_table();
    let take = |Both(row, event): Both<EventRow, LoggedRow<DateTime<Utc>>>| {
        if row.is_shared {
            shared.insert(row.client);
        }
        Ok(snapshots.add_event(places[&row.client], &row.received_at, event))
    };
    pages::read(session, &EVENTS, clients, i64::MAX, take).await?;
    Ok(shared)
}

const CLOSED_RUNS: Paged = paged!(
    "closed_runs",
    1,
    "select k.client, t.run
     from unnest($1::integer[]) as k (client)
     cross join lateral (
         select run from touch_runs where client = k.client limit $2::bigint
     ) t"
);

async fn closed_runs(
    session: &mut Session,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    snapshots.begin_table();
    let take = |(client, run): (i32, Vec<u8>)| Ok(snapshots.add_run(places[&client], &run));
    pages::read(session, &CLOSED_RUNS, clients, i64::MAX, take).await
}

const JOURNAL: Paged = paged!(
    "client_journal",
    5,
    concat!(
        "select j.client, ",
        line!(),
        "from unnest($1::integer[]) as k (client)
         cross join lateral (
             select * from journal where client = k.client
             order by seq
             limit $2::bigint
         ) j"
    )
);

async fn journal(
    session: &mut Session,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    snapshots.begin_table();
    let take = |Both(NumberRow { client }, line)| Ok(snapshots.add_line(places[&client], line));
    pages::read(session, &JOURNAL, clients, i64::MAX, take).await
}

async fn rows(
    connection: &mut PgConnection,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select client, version, doc::text, name, name_key, link, service, access, as_of
         from clients
         where client = any ($1)",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_row(places[&client], row);
    }
    Ok(())
}

async fn touches(
    connection: &mut PgConnection,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select client, open_run, renew_after, renew_before, renew_policies
         from touches
         where client = any ($1)",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_touches(places[&client], row);
    }
    Ok(())
}

async fn deadlines(
    connection: &mut PgConnection,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select d.client, (select word from words where number = d.sweep) as sweep, d.due_at
         from deadlines d
         where d.client = any ($1)",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_deadline(places[&client], row);
    }
    Ok(())
}

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
    4,
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

async fn shared_events(
    session: &mut Session,
    client: i32,
    place: usize,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    let take = |Both(OtherRow { other }, row)| {
        if other.is_some() {
            snapshots.add_shared_event(place, row);
        }
        Ok(ControlFlow::Continue(()))
    };
    pages::read(session, &SHARED, &[client], i64::MAX, take).await
}
