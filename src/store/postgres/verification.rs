//! Reads everything about clients, and counts rows.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::slice;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::Held;
use super::event_ref::EventRef;
use super::history::NumberRow;
use super::numbers::{ClientNumbers, find_clients};
use super::pages::{Paged, paged};
use super::session::Session;
use super::{PostgresStore, pages};
use crate::domain::ClientKey;
use crate::store::clients::{ClientRange, LoggedRow};
use crate::store::columns::{Both, KeyRow, key, row};
use crate::store::outbox::JournalRow;
use crate::store::verification::{CountsRow, DeadlineRow, FacetsRow, SharedRow, Snapshots, one};
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
    let dictionary = Dictionary::read(session).await?;
    let shared = events(session, &dictionary, &clients, &places, &mut snapshots).await?;
    clients.retain(|client| places[client] < snapshots.len());
    closed_runs(session, &clients, &places, &mut snapshots).await?;
    clients.retain(|client| places[client] < snapshots.len());
    journal(session, &dictionary, &clients, &places, &mut snapshots).await?;
    clients.retain(|client| places[client] < snapshots.len());

    let (connection, debt) = session.lend()?;
    let small = async {
        rows(connection, &clients, &places, &mut snapshots).await?;
        touches(connection, &clients, &places, &mut snapshots).await?;
        deadlines(connection, &dictionary, &clients, &places, &mut snapshots).await?;
        checkpoints(connection, &clients, &places, &mut snapshots).await
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

/// What the numbers of words and sources stand for. Looking them up row by row would cost as much as all else that the server does.
struct Dictionary {
    words: HashMap<i16, String>,
    /// The first thousand: few stores have more. The others come with the rows.
    sources: HashMap<i32, String>,
}

impl Dictionary {
    async fn read(session: &mut Session) -> Result<Self> {
        let (connection, debt) = session.lend()?;
        let read = async {
            let words: Vec<(i16, String)> = sqlx::query_as("select number, word from words")
                .fetch_all(&mut *connection)
                .await?;
            let sources: Vec<(i32, String)> =
                sqlx::query_as("select number, source from sources where number <= 1000")
                    .fetch_all(connection)
                    .await?;
            Ok(Self {
                words: words.into_iter().collect(),
                sources: sources.into_iter().collect(),
            })
        };
        debt.paid_by(read).await
    }

    fn word(&self, number: i16) -> Option<String> {
        self.words.get(&number).cloned()
    }

    /// The source of an event. `other` is that of a row whose source is not among the first.
    fn source(&self, event: &EventRef, other: Option<String>) -> Option<String> {
        other.or_else(|| self.sources.get(&event.source?).cloned())
    }
}

row! {
    EventRow {
        client: i32,
        event_ref: EventRef,
        other_source: Option<String>,
        event_type: i16,
        time: DateTime<Utc>,
        sequence: String,
        actor: String,
        data: String,
        reason: i16,
        received_at: DateTime<Utc>,
        /// Whether another row of the log has its name.
        is_shared: bool,
    }
}

impl EventRow {
    fn read(self, dictionary: &Dictionary) -> LoggedRow<DateTime<Utc>> {
        LoggedRow {
            source: dictionary.source(&self.event_ref, self.other_source),
            id: self.event_ref.id,
            event_type: dictionary.word(self.event_type),
            time: self.time,
            sequence: self.sequence,
            actor: self.actor,
            data: self.data,
            reason: match self.reason {
                0 => Some(String::new()),
                reason => dictionary.word(reason),
            },
        }
    }
}

const EVENTS: Paged = paged!(
    "verified_events",
    4,
    "select e.client, e.ref as event_ref, e.type as event_type, e.time, e.sequence, e.actor, e.data, e.reason,
            e.received_at,
            case when ref_source(e.ref) > 1000 then
                (select source from sources where number = ref_source(e.ref))
            end as other_source,
            coalesce((
                select true from events where ref = e.ref and (client, time) <> (e.client, e.time) limit 1
            ), false) as is_shared
     from unnest($1::integer[]) as k (client)
     cross join lateral (
         select * from events where client = k.client
         order by time, ref
         limit $2::bigint
     ) e"
);

/// Reads the events, and returns the clients that share one.
async fn events(
    session: &mut Session,
    dictionary: &Dictionary,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<BTreeSet<i32>> {
    let mut shared = BTreeSet::new();
    snapshots.begin_table();
    let take = |row: EventRow| {
        if row.is_shared {
            shared.insert(row.client);
        }
        let (place, received_at) = (places[&row.client], row.received_at);
        Ok(snapshots.add_event(place, &received_at, row.read(dictionary)))
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

row! {
    LineRow {
        client: i32,
        xid: i64,
        seq: i64,
        change: i16,
        id: String,
        before: String,
        after: String,
        time: DateTime<Utc>,
        cause: i16,
        cause_ref: EventRef,
        cause_actor: String,
        cause_reason: String,
        other_source: Option<String>,
        corrector: i16,
        corrector_ref: EventRef,
        other_corrector: Option<String>,
        data: String,
        recorded_at: DateTime<Utc>,
    }
}

impl LineRow {
    fn read(self, dictionary: &Dictionary) -> JournalRow<DateTime<Utc>> {
        JournalRow {
            xid: self.xid,
            seq: self.seq,
            change: dictionary.word(self.change),
            id: self.id,
            before: self.before,
            after: self.after,
            time: self.time,
            cause: dictionary.word(self.cause),
            cause_source: dictionary.source(&self.cause_ref, self.other_source),
            cause_id: self.cause_ref.id,
            cause_actor: self.cause_actor,
            cause_reason: self.cause_reason,
            corrector: match self.corrector {
                0 => Some(String::new()),
                corrector => dictionary.word(corrector),
            },
            corrector_source: dictionary.source(&self.corrector_ref, self.other_corrector),
            corrector_id: self.corrector_ref.id,
            data: self.data,
            recorded_at: self.recorded_at,
        }
    }
}

const JOURNAL: Paged = paged!(
    "verified_journal",
    5,
    "select j.client, j.xid, j.seq, j.change, j.id, j.before, j.after, j.time, j.cause, j.cause_ref, j.cause_actor,
            j.cause_reason, j.corrector, j.corrector_ref, j.data, j.recorded_at,
            case when ref_source(j.cause_ref) > 1000 then
                (select source from sources where number = ref_source(j.cause_ref))
            end as other_source,
            case when ref_source(j.corrector_ref) > 1000 then
                (select source from sources where number = ref_source(j.corrector_ref))
            end as other_corrector
     from unnest($1::integer[]) as k (client)
     cross join lateral (
         select * from journal where client = k.client
         order by seq
         limit $2::bigint
     ) j"
);

async fn journal(
    session: &mut Session,
    dictionary: &Dictionary,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    snapshots.begin_table();
    let take = |row: LineRow| Ok(snapshots.add_line(places[&row.client], row.read(dictionary)));
    pages::read(session, &JOURNAL, clients, i64::MAX, take).await
}

async fn rows(
    connection: &mut PgConnection,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select client, version, doc::text, name, name_key, link, service, access, as_of, account
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
    dictionary: &Dictionary,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    let rows: Vec<(i32, i16, DateTime<Utc>)> =
        sqlx::query_as("select client, sweep, due_at from deadlines where client = any ($1)")
            .bind(clients)
            .fetch_all(connection)
            .await?;
    for (client, sweep, due_at) in rows {
        let sweep = dictionary.word(sweep);
        snapshots.add_deadline(places[&client], DeadlineRow { sweep, due_at });
    }
    Ok(())
}

async fn checkpoints(
    connection: &mut PgConnection,
    clients: &[i32],
    places: &HashMap<i32, usize>,
    snapshots: &mut Snapshots<DateTime<Utc>>,
) -> Result<()> {
    let rows = sqlx::query_as(
        "select client, time, events, policies, state::text as state
         from checkpoints
         where client = any ($1)
         order by client, time",
    )
    .bind(clients)
    .fetch_all(connection)
    .await?;
    for Both(NumberRow { client }, row) in rows {
        snapshots.add_checkpoint(places[&client], row);
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
    let take = |Both(OtherRow { other }, row): Both<OtherRow, Both<KeyRow, SharedRow>>| {
        if other.is_some() {
            snapshots.add_shared_event(place, row);
        }
        Ok(ControlFlow::Continue(()))
    };
    pages::read(session, &SHARED, &[client], i64::MAX, take).await
}
