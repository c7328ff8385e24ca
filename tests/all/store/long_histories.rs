//! A history that takes longer to read than the statement timeout is read in pages, and delays no other batch.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tenure::clock::SimulatedClock;
use tenure::domain::{ClientKey, Event, Policy};
use tenure::engine::{Engine, Incoming, Outcome, Scope};
use tenure::store::postgres::{PostgresOptions, PostgresStore};

use super::given::*;
use super::{Database, Fresh};

/// More events than a shared transaction reads.
const EVENTS: i64 = 1_200;

/// Every tenth row of the log and of the journal takes 20 ms to read, except for a superuser: 2.4 s for the client with
/// the long history. One statement of the role `slow_reader` cannot read all of it within 1.5 s.
const SLOW: &str = "
    create function slow(number bigint) returns boolean language plpgsql volatile as $$
    begin
        if number % 10 = 0 then perform pg_sleep(0.02); end if;
        return true;
    end $$;
    create function long() returns integer language sql stable as $$
        select number from client_keys where client = 'long'
    $$;
    create role slow_reader login;
    grant all on all tables in schema public to slow_reader;
    grant all on all sequences in schema public to slow_reader;
    alter table events enable row level security;
    create policy reading on events for select
        using (slow(case when client = long() then extract(epoch from time)::bigint / 10 else 1 end));
    create policy writing on events for insert with check (true);
    create policy changing on events for update using (true);
    alter table journal enable row level security;
    create policy reading on journal for select using (slow(case when client = long() then seq else 1 end));
    create policy writing on journal for insert with check (true);
";
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1_500);

async fn ingest(engine: &Engine, events: Vec<Event>) -> Vec<Outcome> {
    let incoming = events.into_iter().map(Incoming::Event).collect();
    engine.ingest(incoming).await.expect("taken")
}

fn user(client: &str, id: &str, seconds: i64, change: &str, user: &str) -> Event {
    event(
        &key(client),
        id,
        seconds,
        kind(change, &json!({ "user_id": user })),
    )
}

async fn engine(url: &str) -> Engine {
    let options = PostgresOptions {
        statement_timeout: STATEMENT_TIMEOUT,
        ..PostgresOptions::default()
    };
    let store = Arc::new(PostgresStore::connect(url, &options).expect("a store"));
    let clock = Arc::new(SimulatedClock::at(moment(100_000)));
    Engine::start(store, clock, &Policy::default())
        .await
        .expect("an engine")
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_history_may_exceed_the_statement_timeout() {
    let fresh = Fresh::postgres("long_histories").await;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let fast = engine(url).await;
    let added = ["long", "a", "b"].map(|client| added(&key(client), &format!("{client}-1"), 0, client));
    ingest(&fast, added.to_vec()).await;
    let of_long: Vec<Event> = (2..=EVENTS)
        .map(|n| {
            let change = ["user.added", "user.removed"][usize::from(n % 2 != 0)];
            user("long", &format!("long-{n}"), n * 10, change, "u")
        })
        .collect();
    for part in of_long.chunks(200) {
        ingest(&fast, part.to_vec()).await;
    }
    let mut superuser = PgConnection::connect(url).await.unwrap();
    superuser.execute(SLOW).await.unwrap();

    let slow = engine(&url.replace("postgres@", "slow_reader@")).await;
    let outcomes = ingest(
        &slow,
        vec![
            user("long", "late-1", 25, "user.added", "late"),
            user("a", "a-2", 50, "user.added", "after"),
            user("long", "last-1", EVENTS * 10 + 5, "user.added", "last"),
            user("a", "a-3", 25, "user.added", "late"),
            user("b", "b-2", 50, "user.added", "after"),
        ],
    )
    .await;
    assert_eq!(outcomes, vec![Outcome::Applied; 5]);
    let order: Vec<String> = sqlx::query_scalar(
        "select client || ' ' || id || ' ' || dense_rank() over (order by xid) from change_log
         where id in ('late', 'after', 'last') order by xid, client, id",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(
        order,
        ["a after 1", "a late 1", "b after 1", "long last 2", "long late 2"],
        "the long history is read in a transaction of its own, after the others"
    );

    let then = slow
        .client(&key("long"), Some(moment(29)))
        .await
        .expect("an answer");
    let then = serde_json::to_value(then).unwrap();
    assert_eq!(then["users"], json!(["late", "u"]));
    superuser
        .execute("update clients set link = 'lost' where client = long()")
        .await
        .unwrap();
    let mut rebuilt: Vec<(ClientKey, usize)> = Vec::new();
    slow.rebuild(&Scope::default(), |one| {
        rebuilt.push((one.key, one.differences.len()));
        assert_eq!(one.changes.as_ref().ok(), Some(&0));
    })
    .await
    .expect("rebuilt");
    assert_eq!(rebuilt, [(key("a"), 0), (key("b"), 0), (key("long"), 1)]);
    let report = fast.verify(|_| {}).await.expect("a verification");
    assert_eq!(report.drifts, []);
}

/// A late event may change the outcome of every event after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_event_changes_more_outcomes_than_one_statement_writes() {
    for fresh in [Fresh::postgres("outcomes").await, Fresh::sqlite("outcomes").await] {
        let clock = Arc::new(SimulatedClock::at(moment(100_000)));
        let engine = Engine::start(fresh.store.clone(), clock, &Policy::default())
            .await
            .expect("an engine");
        // Their client does not exist, so all of them are refused.
        let events: Vec<Event> = (1..=2_500)
            .map(|n| {
                let change = ["user.added", "user.removed"][usize::from(n % 2 == 0)];
                user("long", &format!("long-{n}"), n * 10, change, "u")
            })
            .collect();
        for part in events.chunks(500) {
            ingest(&engine, part.to_vec()).await;
        }
        ingest(&engine, vec![added(&key("long"), "late", 0, "long")]).await;
        let history = fresh.store.history(&key("long")).await.unwrap();
        assert_eq!(history.len(), 2_501);
        assert!(history.iter().all(|logged| logged.outcome.refusal().is_none()));
        let report = engine.verify(|_| {}).await.expect("a verification");
        assert_eq!(report.drifts, []);
    }
}
