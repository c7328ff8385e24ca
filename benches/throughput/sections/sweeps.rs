//! Sweeps: a million accesses that expire at once, what that does to events that come meanwhile, and what a sweep costs
//! that finds nothing to do.

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
use crate::pace::Heard;
use crate::population::Population;
use crate::support::tenure::Running;
use crate::{messages, pace};

/// How often the run of a sweep is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Without progress for so long, something is wrong.
const PATIENCE: Duration = Duration::from_mins(2);
/// Ticks of which the median counts.
const TICKS: usize = 50;

pub fn measure(bench: &mut Bench<'_>) {
    expire_untold(bench);
    expire_beside_traffic(bench);
    for (key, deadlines) in ["idle_1", "idle_2", "idle_3"].into_iter().zip(bench.scale.idle) {
        let millis = idle_tick(bench.environment, deadlines);
        bench.note(key, millis);
    }
}

/// A million accesses expire while the relay is off, as it is for those that this is compared with: nothing is told.
fn expire_untold(bench: &mut Bench<'_>) {
    let (environment, expiries) = (bench.environment, bench.scale.expiries);
    let vhost = environment.vhost("sweeps");
    let database = database_of_expiring(bench);
    let running = sweeping(
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
    note_rate(bench, "expiries", &swept);
}

/// A million accesses expire and are told of, beside live traffic.
fn expire_beside_traffic(bench: &mut Bench<'_>) {
    let (environment, scale) = (bench.environment, bench.scale);
    let vhost = environment.vhost("sweeps");
    let database = database_of_expiring(bench);
    let users = bench.population.with_seed(3).add_users(scale.live, bench.present);
    let running = sweeping(environment, &vhost, &database, &[]);
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
    let heard = environment.runtime.block_on(traffic).expect("all was heard");
    assert!(running.stop().success());
    check_expired(&database, scale.expiries);
    note_rate(bench, "expiries_told", &swept);
    note_latencies(bench, &swept, &heard);
}

fn database_of_expiring<'g>(bench: &Bench<'g>) -> Database<'g> {
    let (environment, expiries) = (bench.environment, bench.scale.expiries);
    let database = bench.copy_of_population("sweeps");
    add_expiring(environment, &database, bench.present.from, expiries);
    environment.tell(&format!("    {expiries} accesses are due to expire"));
    database
}

/// A worker whose sweep begins as soon as it may.
fn sweeping(
    environment: &Environment,
    vhost: &Vhost<'_>,
    database: &Database<'_>,
    settings: &[(&str, &str)],
) -> Running {
    let sweeping = [
        ("TENURE_SWEEPS__ACCESS_EXPIRY__ENABLED", "true"),
        ("TENURE_SWEEPS__ACCESS_EXPIRY__CRON", "* * * * * *"),
        // A sweep waits for the first that comes through the lane.
        ("TENURE_BROKER__HEARTBEAT", "1s"),
        // So many at once would wait for a person's word.
        ("TENURE_SWEEPS__BREAKER__PERCENT", "100"),
    ];
    environment
        .tenure(vhost, database, &[&sweeping, settings].concat())
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
        "told once each"
    );
}

/// The run of a sweep, as it was seen.
struct Swept {
    /// When the first chunks had been counted, and how many clients were in them.
    first: (Instant, i64),
    end: (Instant, i64),
}

fn note_rate(bench: &mut Bench<'_>, key: &'static str, swept: &Swept) {
    let took = swept.end.0 - swept.first.0;
    if !took.is_zero() {
        let changed = swept.end.1 - swept.first.1;
        bench.note(key, changed as f64 / took.as_secs_f64());
    }
}

fn note_latencies(bench: &mut Bench<'_>, swept: &Swept, heard: &[Heard]) {
    let meanwhile: Vec<Heard> = heard
        .iter()
        .copied()
        .filter(|heard| (swept.first.0..swept.end.0).contains(&heard.due))
        .collect();
    let millis = millis(&meanwhile);
    for (key, percent) in [("sweep_p50", 50.0), ("sweep_p99", 99.0)] {
        if let Some(millis) = percentile(&millis, percent) {
            bench.note(key, millis);
        }
    }
}

/// One real client, made by the engine, whose access has just become due to expire after its warnings went out; and as
/// many like it as are wanted.
fn add_expiring(environment: &Environment, database: &Database<'_>, now: DateTime<Utc>, clients: usize) {
    let expires = now - TimeDelta::minutes(10);
    let renewed = expires - Policy::default().access_idle;
    let life = Population::new(1, "expiring", 1).become_active(renewed);
    environment.runtime.block_on(async {
        let store = store(database);
        let clock = Arc::new(SimulatedClock::at(renewed));
        let engine = Engine::join(store.clone(), clock.clone(), &Policy::default())
            .await
            .expect("an engine");
        let life = life.into_iter().map(Incoming::Event).collect();
        engine.ingest(life).await.expect("taken");
        // The last warning goes out a day before.
        clock.set(expires - TimeDelta::hours(1));
        let done = engine
            .sweep(
                Sweep::AccessExpiry,
                SweepOptions::new(SweepMode::Confirmed),
                |_| (),
            )
            .await;
        assert_eq!(done.expect("swept").counts.changed, 1, "it is warned");
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
         -- What there is to tell so far has been told.
         update relay
         set (xid, seq) = (select xid, seq from journal order by xid desc, seq desc limit 1)"
    ));
    database.sql("vacuum analyze client_keys, clients, deadlines");
    database.sql("checkpoint");
}

/// Watches the sweep's run until it has changed so many clients. It counts after every chunk.
async fn watch(database: &str, clients: usize, log: impl Fn() -> String) -> Swept {
    let all = i64::try_from(clients).expect("not that many");
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    let mut first = None;
    let mut progress = (Instant::now(), 0);
    loop {
        // The sweep that warned the one client of which all others are copies was long before, by its clock.
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
            "{changed} of {all} clients were swept, and no more\n{}",
            log()
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// How long a sweep takes, in milliseconds, that finds nothing due among so many deadlines.
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
