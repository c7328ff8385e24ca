//! The cost of an event as the number of clients and the length of histories grow. It uses the engine without RabbitMQ,
//! because only the store grows.
//!
//! The engine creates one client from its events. SQL creates all others as complete copies, with their own names and
//! event ids in the log, in the journal and in the document. If there are few enough, Tenure verifies each of them at
//! the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tenure::broker::topology;
use tenure::clock::SystemClock;
use tenure::domain::{ClientKey, Event, Policy};
use tenure::engine::{Engine, Incoming, Outcome};

use super::latency::in_millis;
use crate::bench::{Bench, store};
use crate::environment::Database;
use crate::figures::Spread;
use crate::growth::{Disk, Growth, TABLES};
use crate::population::{Period, Population};
use crate::preload;

/// The shortest history: five events link a client. One touch is stored in addition. Where the number of clients grows,
/// each client has only these.
const LINKED: usize = 5;
/// Clients per partner, as in the rest of the benchmark.
const CLIENTS_OF_A_PARTNER: usize = 100;
/// Maximum number of clients that are verified.
const VERIFIED: usize = 10_000;

/// Measures growing numbers of clients, and then growing histories.
pub fn measure(bench: &mut Bench<'_>) {
    for clients in bench.scale.growing_clients {
        grow(bench, clients, LINKED);
    }
    for (place, history) in bench.scale.growing_history.into_iter().enumerate() {
        grow(bench, bench.scale.history_clients, history);
        // A few short histories: every page is in the WAL soon, and later writes of it are small.
        if let (0, Some(few)) = (place, bench.growth.last()) {
            let bytes = few.wal_bytes;
            bench.record("wal_bytes", bytes);
        }
    }
}

/// Measures as many clients as fill a disk.
pub fn measure_most(bench: &mut Bench<'_>) {
    grow(bench, bench.scale.most_clients, LINKED);
}

fn grow(bench: &mut Bench<'_>, clients: usize, history: usize) {
    let (environment, scale) = (bench.environment, bench.scale);
    let database = environment.database("growth");
    let life = Life::of(history, bench.present.from);
    environment
        .runtime
        .block_on(preload::into(store(&database), &life.events));
    let began = Instant::now();
    add_copies(&database, clients - 1);
    assert_eq!(database.count("clients_now"), clients, "clients");
    assert_eq!(
        database.count("event_log"),
        clients * history,
        "events in the log"
    );
    assert_eq!(database.count("touches"), clients, "touches");
    environment.progress(&format!(
        "    {clients} clients with {history} events each, loaded in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    let disk = TABLES.map(|table| Disk::of(&database, table));
    let document_bytes = database.number("select octet_length(doc::text) from clients_now limit 1");

    // The first batch is not measured: it opens the connection and plans the statements.
    let events = (scale.growth_batches + 1) * scale.growth_batch;
    let (mut population, order) = life.chosen(events, clients);
    let in_order = population.next_events(&order, bench.present);
    let late = population.late_users(scale.growth_late, life.late);
    let measured = environment.runtime.block_on(ingest(
        &database,
        &in_order,
        scale.growth_batch,
        late,
        clients <= VERIFIED,
    ));
    assert_eq!(
        database.count("event_log"),
        clients * history + events + scale.growth_late,
        "events in the log"
    );
    let spread = |values: &[f64]| Spread::of(values).expect("something was measured");
    let growth = Growth {
        clients,
        history,
        document_bytes,
        disk,
        in_order: spread(&measured.in_order),
        wal_bytes: measured.wal_bytes,
        late: spread(&measured.late),
    };
    environment.progress(&format!(
        "    {:.1} µs for an event in order, {:.2} ms for a late one, {:.0} bytes on disk for a client",
        growth.in_order.median,
        growth.late.median,
        growth.bytes() / clients as f64
    ));
    bench.growth.push(growth);
}

/// The client that all others are copies of.
struct Life {
    population: Population,
    events: Vec<Event>,
    /// The period of its late events.
    late: Period,
}

impl Life {
    /// A client with this number of events in the log and one touch, long before the measured events.
    fn of(history: usize, present: DateTime<Utc>) -> Self {
        let period = |from, until| Period {
            from: present - TimeDelta::days(from),
            until: present - TimeDelta::days(until),
        };
        let more = history - LINKED;
        let mut population = Population::new(9, "growth", 1);
        let mut events = population.activate(present - TimeDelta::days(40));
        assert_eq!(events.len(), LINKED, "it is linked");
        events.extend(population.touches(1, period(38, 37)));
        events.extend(population.steady_events(more, period(37, 1)));
        // In the middle of the history, or after it if all events have one time.
        let late = if more == 0 { period(39, 38) } else { period(20, 19) };
        Self {
            population,
            events,
            late,
        }
    }

    /// Chooses a random client for each event. Returns the chosen clients, and their order.
    fn chosen(&self, events: usize, clients: usize) -> (Population, Vec<usize>) {
        let mut rng = StdRng::seed_from_u64(10);
        let mut places = HashMap::new();
        let mut keys = Vec::new();
        let order = (0..events)
            .map(|_| {
                let number = rng.random_range(1..clients);
                *places.entry(number).or_insert_with(|| {
                    keys.push(key(number));
                    keys.len() - 1
                })
            })
            .collect();
        (self.population.copies(11, keys), order)
    }
}

/// The key of a copy, as the SQL below creates it.
fn key(number: usize) -> ClientKey {
    let partner = format!("growth-{:06}", number / CLIENTS_OF_A_PARTNER);
    ClientKey::new(&partner, &format!("client-{number:08}")).expect("plain ids")
}

/// Creates complete copies of the only client.
fn add_copies(database: &Database<'_>, copies: usize) {
    database.sql(&format!(
        "-- Random, like real ids, so that the index grows in the same way.
         create function id_of_copy(id text, n integer) returns uuid
         language sql immutable as 'select md5(id || n)::uuid';
         create function ref_of_copy(ref bytea, n integer) returns bytea
         language sql immutable as 'select event_ref(ref_source(ref), uuid_send(id_of_copy(ref_id(ref), n)))';
         -- If the last event of a client is a touch, its document has no id.
         create table one_client as
         select *, coalesce(doc -> 'client' -> 'seen' ->> 'id', '(no id)') as seen from clients;
         create table one_log as
         select e.*, w.word = 'client.added' as names_it from events e join words w on w.number = e.type;
         create table one_journal as select * from journal order by seq;
         create table one_deadlines as select * from deadlines;
         create table one_touches as select * from touches;
         insert into client_keys (partner, client)
         select 'growth-' || lpad((n / {CLIENTS_OF_A_PARTNER})::text, 6, '0'), 'client-' || lpad(n::text, 8, '0')
         from generate_series(1, {copies}) n;
         create table copies as
         select substr(client, 8)::integer as n, number, partner
         from client_keys
         where number not in (select client from one_client)
         order by n;
         analyze copies"
    ));
    database.load(&[
        "insert into clients
             (client, partner, name, name_key, link, service, access, as_of, version, journaled_by, doc)
         select number, copies.partner, name || n, name_key || n, link, service, access, as_of, version, journaled_by,
                replace(replace(doc::text, to_json(name)::text, to_json(name || n)::text),
                        seen, id_of_copy(seen, n)::text)::json
         from copies, one_client;

         insert into events (client, time, ref, type, reason, received_at, sequence, actor, data)
         select number, time, ref_of_copy(ref, n), type, reason, received_at, sequence, actor,
                case when names_it
                     then replace(data, to_json(data::json ->> 'name')::text,
                                  to_json((data::json ->> 'name') || n)::text)
                     else data end
         from copies, one_log"
            .to_owned(),
        "insert into deadlines (client, sweep, due_at)
         select number, sweep, due_at from copies, one_deadlines;

         insert into touches (client, open_run, renew_after, renew_before, renew_policies)
         select number, open_run, renew_after, renew_before, renew_policies from copies, one_touches;

         insert into journal
             (xid, client, change, id, before, after, data, time, cause, cause_ref, cause_actor, cause_reason, corrector,
              corrector_ref, recorded_at)
         select xid, number, change, id, before,
                case when change = (select number from words where word = 'client.named') then after || n else after end,
                data, time, cause,
                case cause_ref when '' then cause_ref else ref_of_copy(cause_ref, n) end, cause_actor, cause_reason, corrector,
                case corrector_ref when '' then corrector_ref else ref_of_copy(corrector_ref, n) end, recorded_at
         from copies cross join lateral (select * from one_journal order by seq offset 0) one"
            .to_owned(),
    ]);
    database.sql("drop table one_client, one_log, one_journal, one_deadlines, one_touches, copies");
    database.sql_at_once(&TABLES.map(|table| format!("vacuum analyze {table}")));
    database.sql("checkpoint");
}

/// The measured times.
#[derive(Default)]
struct Measured {
    /// Microseconds per event, one value per batch.
    in_order: Vec<f64>,
    wal_bytes: f64,
    /// Milliseconds per late event.
    late: Vec<f64>,
}

async fn ingest(
    database: &Database<'_>,
    in_order: &[Event],
    batch: usize,
    late: Vec<Event>,
    is_verified: bool,
) -> Measured {
    let store = store(database);
    let engine = Engine::join(store.clone(), Arc::new(SystemClock), &Policy::default())
        .await
        .expect("an engine");
    // As with a backlog in the queue: no timer fires before its end.
    engine.set_lanes(&[topology::lane(0)]).await.expect("a lane");
    let mut measured = Measured::default();
    let (unmeasured, in_order) = in_order.split_at(batch);
    ingest_batch(&engine, unmeasured).await;
    let wal_before = database.sql("select pg_current_wal_insert_lsn()");
    for batch in in_order.chunks(batch) {
        let millis = ingest_batch(&engine, batch).await;
        measured.in_order.push(millis * 1_000.0 / batch.len() as f64);
    }
    let wal_bytes = database.number(&format!(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{wal_before}')"
    ));
    measured.wal_bytes = wal_bytes / in_order.len() as f64;
    assert_eq!(
        database.count("change_log where correction"),
        0,
        "corrections: no event was late so far"
    );
    for event in late {
        let began = Instant::now();
        let outcomes = engine
            .ingest(vec![Incoming::Event(event)])
            .await
            .expect("ingested");
        measured.late.push(in_millis(began.elapsed()));
        assert!(
            matches!(outcomes[..], [Outcome::Applied | Outcome::Refused { .. }]),
            "{outcomes:?}"
        );
    }
    if is_verified {
        let report = engine.verify(|_| ()).await.expect("verified");
        // The copies are complete: they agree with their logs.
        assert!(report.drifts.is_empty(), "{:?}", report.drifts);
    }
    store.close().await;
    measured
}

/// Ingests a batch, and returns how long that took in milliseconds.
async fn ingest_batch(engine: &Engine, batch: &[Event]) -> f64 {
    let batch: Vec<Incoming> = batch.iter().cloned().map(Incoming::Event).collect();
    let began = Instant::now();
    let outcomes = engine.ingest(batch).await.expect("ingested");
    let millis = in_millis(began.elapsed());
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Applied),
        "nothing is refused"
    );
    millis
}
