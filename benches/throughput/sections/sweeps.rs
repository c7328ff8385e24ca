//! Sweeps: a million accesses that expire at once, their effect on concurrent events, and the cost of a sweep that
//! finds nothing due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};
use tenure::clock::{SimulatedClock, SystemClock};
use tenure::domain::{Policy, Sweep};
use tenure::engine::{Engine, Incoming, SweepMode, SweepOptions};
use tokio_util::sync::CancellationToken;

use super::latency::{in_millis, millis};
use crate::bench::{Bench, store};
use crate::environment::{Database, Environment, Vhost};
use crate::figures::{Spread, percentile};
use crate::pace::Received;
use crate::population::Population;
use crate::support::tenure::Running;
use crate::{messages, pace};

/// How often the progress of a sweep is read.
const POLL: Duration = Duration::from_millis(50);
/// The longest time without progress.
const PATIENCE: Duration = Duration::from_mins(2);
/// Number of idle sweeps that are measured.
const TICKS: usize = 50;

pub fn measure(bench: &mut Bench<'_>) {
    expire_without_relay(bench);
    expire_beside_traffic(bench);
    for (key, deadlines) in ["idle_1", "idle_2", "idle_3"].into_iter().zip(bench.scale.idle) {
        let millis = idle_tick(bench.environment, deadlines);
        bench.record(key, millis);
    }
}

/// A million accesses expire while the relay is off, as in the programs that this is compared with.
fn expire_without_relay(bench: &mut Bench<'_>) {
    let (environment, expiries) = (bench.environment, bench.scale.expiries);
    let vhost = environment.vhost("sweeps");
    let database = database_with_expiring(bench);
    let running = sweeping_worker(
        environment,
        &vhost,
        &database,
        &[("TENURE_BROKER__RELAY", "false")],
    );
    let swept = environment
        .runtime
        .block_on(watch(&database.url, expiries, || running.log()));
    assert!(running.stop().success());
    check_expired(&database, expiries);
    record_rate(bench, "expiries", &swept);
}

/// A million accesses expire and are published, with concurrent events.
fn expire_beside_traffic(bench: &mut Bench<'_>) {
    let (environment, scale) = (bench.environment, bench.scale);
    let vhost = environment.vhost("sweeps");
    let database = database_with_expiring(bench);
    let users = bench.population.with_seed(3).add_users(scale.live, bench.present);
    let running = sweeping_worker(environment, &vhost, &database, &[]);
    let stop = CancellationToken::new();
    let traffic = environment.runtime.spawn({
        let (vhost, stop) = (vhost.url.clone(), stop.clone());
        let messages = messages::of(&users);
        async move { pace::run(&vhost, messages, "user.added", scale.live_per_second, stop).await }
    });
    let swept = environment
        .runtime
        .block_on(watch(&database.url, scale.expiries, || running.log()));
    stop.cancel();
    let received = environment.runtime.block_on(traffic).expect("all was received");
    assert!(running.stop().success());
    check_expired(&database, scale.expiries);
    record_rate(bench, "expiries_published", &swept);
    record_latencies(bench, &swept, &received);
}

fn database_with_expiring<'g>(bench: &Bench<'g>) -> Database<'g> {
    let (environment, expiries) = (bench.environment, bench.scale.expiries);
    let database = bench.copy_of_population("sweeps");
    add_expiring(environment, &database, bench.present.from, expiries);
    environment.progress(&format!("    {expiries} accesses are due to expire"));
    database
}

/// A worker whose sweep starts immediately.
fn sweeping_worker(
    environment: &Environment,
    vhost: &Vhost<'_>,
    database: &Database<'_>,
    settings: &[(&str, &str)],
) -> Running {
    let sweep = [
        ("TENURE_SWEEPS__ACCESS_EXPIRY__ENABLED", "true"),
        ("TENURE_SWEEPS__ACCESS_EXPIRY__CRON", "* * * * * *"),
        // A sweep waits for the first heartbeat of the lane.
        ("TENURE_BROKER__HEARTBEAT", "1s"),
        // So many changes would trip the breaker.
        ("TENURE_SWEEPS__BREAKER__PERCENT", "100"),
    ];
    environment
        .tenure(vhost, database, &[&sweep, settings].concat())
        .run()
}

fn check_expired(database: &Database<'_>, expiries: usize) {
    assert_eq!(
        database.count("clients_now where access = 'expired' and partner like 'expiring-%'"),
        expiries,
        "expired"
    );
    assert_eq!(
        database.count("change_log where change = 'access.expired'"),
        expiries,
        "published once each"
    );
}

/// The observed progress of a sweep.
struct Swept {
    /// The first and the last reading: the time, and the number of changed clients.
    first: (Instant, i64),
    end: (Instant, i64),
}

fn record_rate(bench: &mut Bench<'_>, key: &'static str, swept: &Swept) {
    let took = swept.end.0 - swept.first.0;
    if !took.is_zero() {
        let changed = swept.end.1 - swept.first.1;
        bench.record(key, changed as f64 / took.as_secs_f64());
    }
}

fn record_latencies(bench: &mut Bench<'_>, swept: &Swept, received: &[Received]) {
    let meanwhile: Vec<Received> = received
        .iter()
        .copied()
        .filter(|received| (swept.first.0..swept.end.0).contains(&received.due))
        .collect();
    let millis = millis(&meanwhile);
    for (key, percent) in [("sweep_p50", 50.0), ("sweep_p99", 99.0)] {
        if let Some(millis) = percentile(&millis, percent) {
            bench.record(key, millis);
        }
    }
}

/// Adds clients whose access has just become due to expire, after its warnings. The engine creates one of them, and SQL
/// creates the others as copies.
fn add_expiring(environment: &Environment, database: &Database<'_>, now: DateTime<Utc>, clients: usize) {
    let expires = now - TimeDelta::minutes(10);
    let renewed = expires - Policy::default().access_idle;
    let events = Population::new(1, "expiring", 1).activate(renewed);
    environment.runtime.block_on(async {
        let store = store(database);
        let clock = Arc::new(SimulatedClock::at(renewed));
        let engine = Engine::join(store.clone(), clock.clone(), &Policy::default())
            .await
            .expect("an engine");
        let events = events.into_iter().map(Incoming::Event).collect();
        engine.ingest(events).await.expect("ingested");
        // The last warning is published a day before.
        clock.set(expires - TimeDelta::hours(1));
        let done = engine
            .sweep(
                Sweep::AccessExpiry,
                SweepOptions::new(SweepMode::Confirmed),
                |_| (),
            )
            .await;
        assert_eq!(done.expect("swept").counts.changed, 1, "the warning is published");
        store.close().await;
    });
    let others = clients - 1;
    database.sql(&format!(
        "create table one as
         select number from client_keys where partner = 'expiring-0000' and client = 'client-0000000';
         create table copies as
         select n, 'expiring-' || lpad((n / 100)::text, 4, '0') as partner, 'client-' || lpad(n::text, 7, '0') as client
         from generate_series(1, {others}) n;
         insert into client_keys (partner, client) select partner, client from copies order by n;
         insert into clients
             (client, partner, name, name_key, link, service, access, as_of, version, journaled_by, doc)
         select k.number, k.partner, c.name || n, c.name_key || n, c.link, c.service, c.access, c.as_of, c.version,
                c.journaled_by, replace(c.doc::text, to_json(c.name)::text, to_json(c.name || n)::text)::json
         from one join clients c on c.client = one.number, copies join client_keys k using (partner, client);
         insert into deadlines (client, sweep, due_at)
         select k.number, d.sweep, d.due_at
         from one join deadlines d on d.client = one.number, copies join client_keys k using (partner, client);
         drop table one, copies;
         -- Mark all changes as published.
         update relay
         set (xid, seq) = (select xid, seq from journal order by xid desc, seq desc limit 1)"
    ));
    database.sql("vacuum analyze client_keys, clients, deadlines");
    database.sql("checkpoint");
}

/// Reads the progress of a sweep, which is stored after every chunk, until it has changed this number of clients.
async fn watch(database: &str, clients: usize, log: impl Fn() -> String) -> Swept {
    let all = i64::try_from(clients).expect("not that many");
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    let mut first = None;
    let mut progress = (Instant::now(), 0);
    loop {
        // Leave out the sweep that published the warnings, which ran earlier by its clock.
        let changed: i64 = sqlx::query_scalar(
            "select coalesce(sum(changed), 0)::bigint
             from sweep_runs
             where sweep = 'access-expiry' and started_at > now() - interval '1 hour'",
        )
        .fetch_one(&mut connection)
        .await
        .expect("counts");
        let now = Instant::now();
        if changed > 0 {
            first.get_or_insert((now, changed));
        }
        if let (Some(first), true) = (first, changed >= all) {
            return Swept {
                first,
                end: (now, changed),
            };
        }
        if changed > progress.1 {
            progress = (now, changed);
        }
        assert!(
            progress.0.elapsed() < PATIENCE,
            "the sweep stays at {changed} of {all} clients\n{}",
            log()
        );
        tokio::time::sleep(POLL).await;
    }
}

/// The median duration, in milliseconds, of a sweep that finds nothing due among this number of deadlines.
fn idle_tick(environment: &Environment, deadlines: u64) -> f64 {
    let database = environment.database("idle");
    let millis: Vec<f64> = environment.runtime.block_on(async {
        let store = store(&database);
        store.migrate().await.expect("the tables");
        database.sql(&format!(
            "insert into client_keys (partner, client)
             select 'partner-' || lpad((n / 100)::text, 6, '0'), 'client-' || lpad(n::text, 8, '0')
             from generate_series(1, {deadlines}) n;
             insert into deadlines (client, sweep, due_at)
             select k.number, w.number, now() + interval '1 day' + k.number * interval '1 second'
             from client_keys k, words w
             where w.word = 'access-expiry'"
        ));
        database.sql("vacuum analyze deadlines");
        database.sql("checkpoint");
        let engine = Engine::join(store.clone(), Arc::new(SystemClock), &Policy::default())
            .await
            .expect("an engine");
        let mut millis = Vec::new();
        for _ in 0..TICKS {
            let options = SweepOptions::new(SweepMode::ByHand);
            let began = Instant::now();
            let report = engine.sweep(Sweep::AccessExpiry, options, |_| ()).await;
            millis.push(in_millis(began.elapsed()));
            assert_eq!(report.expect("swept").counts.examined, 0, "nothing is due");
        }
        store.close().await;
        millis
    });
    Spread::of(&millis).map_or(0.0, |spread| spread.median)
}
