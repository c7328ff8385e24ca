//! Touches that are accepted without reading the client: only while access is enabled, whatever else is in the batch.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tenure::domain::{Cause, ChangeKind, ClientKey, Event, EventKind, Policy, Refusal};
use tenure::engine::{Engine, Incoming, Outcome, Scope};
use tenure::store::{PACKED_SOURCE, Store};

use super::policies::{accessed, active, day, event, key};
use super::setup::{Setup, on_both_stores};
use crate::store::Fresh;

const NO_ACCESS: Outcome = Outcome::refused(Refusal::NoAccess);

async fn setup(fresh: Fresh) -> Setup {
    Setup::start(fresh, day(110), &Policy::default()).await
}

async fn ingest(engine: &Engine, events: impl IntoIterator<Item = Event>) -> Vec<Outcome> {
    let incoming = events.into_iter().map(Incoming::Event).collect();
    engine.ingest(incoming).await.expect("ingested")
}

/// A touch on this day with this id.
fn touch(name: &str, days: i64) -> Event {
    Event {
        id: name.into(),
        ..accessed(day(days))
    }
}

fn disabled(days: i64) -> Event {
    event(day(days), EventKind::AccessDisabled {})
}

async fn drift(engine: &Engine) -> Vec<String> {
    let report = engine.verify(|_| {}).await.expect("a verification");
    report.drifts.into_iter().map(|drift| drift.what).collect()
}

/// The ids of the events whose refusal the journal reports, with its correction mark.
async fn refusals(store: &dyn Store, of: &ClientKey) -> Vec<(String, bool)> {
    let lines = store.journal(of, 0, 1_000).await.expect("the journal");
    let refused = lines
        .into_iter()
        .filter(|line| line.entry.change.kind() == ChangeKind::EventRefused);
    refused
        .map(|line| match line.entry.cause.clone() {
            Cause::Event { source, id, .. } if &*source == PACKED_SOURCE => (
                format!("touch {}", id.trim_end_matches('/')),
                line.entry.is_correction(),
            ),
            Cause::Event { id, .. } => (id.to_string(), line.entry.is_correction()),
            cause => panic!("refused by no event: {cause:?}"),
        })
        .collect()
}

fn packed(days: i64) -> String {
    format!("touch {}", day(days).timestamp_micros())
}

async fn a_late_touch_with_a_late_end_of_access_leaves_no_window(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh).await;
    ingest(&engine, active()).await;
    ingest(&engine, [touch("t50", 50)]).await;
    ingest(&engine, [touch("t100", 100)]).await;
    let late = ingest(&engine, [touch("t20", 20), disabled(60)]).await;
    assert_eq!(late, [Outcome::Applied, Outcome::Applied]);
    assert_eq!(drift(&engine).await, Vec::<String>::new());
    assert_eq!(ingest(&engine, [touch("t105", 105)]).await, [NO_ACCESS]);
    let store = fresh.store.as_ref();
    assert_eq!(
        refusals(store, &key()).await,
        [(packed(100), true), ("t105".into(), false)]
    );
    assert_eq!(drift(&engine).await, Vec::<String>::new());
}

async fn a_touch_that_came_before_the_end_of_access_is_refused_on_redelivery(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh).await;
    ingest(&engine, active()).await;
    ingest(&engine, [touch("t50", 50)]).await;
    ingest(&engine, [touch("t55", 55)]).await;
    ingest(&engine, [disabled(52)]).await;
    let store = fresh.store.as_ref();
    assert_eq!(
        refusals(store, &key()).await,
        [(packed(55), true)],
        "its id is unknown"
    );
    // A redelivery, and another touch of the same moment: each is refused once by its id.
    assert_eq!(ingest(&engine, [touch("t55", 55)]).await, [NO_ACCESS]);
    assert_eq!(ingest(&engine, [touch("other", 55)]).await, [NO_ACCESS]);
    assert_eq!(ingest(&engine, [touch("t55", 55)]).await, [Outcome::Duplicate]);
    assert_eq!(
        ingest(&engine, [touch("t50", 50)]).await,
        [Outcome::Applied],
        "before the end"
    );
    let expected = [(packed(55), true), ("t55".into(), false), ("other".into(), false)];
    assert_eq!(refusals(store, &key()).await, expected);
    assert_eq!(drift(&engine).await, Vec::<String>::new());
}

async fn a_rebuild_closes_a_window_that_is_too_wide(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh).await;
    ingest(&engine, active()).await;
    ingest(&engine, [touch("t50", 50)]).await;
    ingest(&engine, [disabled(60)]).await;
    // As an earlier version left it: the client's row is right, the window is not.
    let (after, before) = (day(60), day(60) + TimeDelta::days(60));
    let sql = match &fresh.database {
        crate::store::Database::Postgres(_) => format!(
            "update touches set renew_after = '{}', renew_before = '{}', renew_policies = 1 returning ''",
            after.to_rfc3339(),
            before.to_rfc3339()
        ),
        crate::store::Database::Sqlite(_) => format!(
            "update touches set renew_after = {}, renew_before = {}, renew_policies = 1 returning ''",
            after.timestamp_micros(),
            before.timestamp_micros()
        ),
    };
    fresh.database.sql(sql.leak()).await;
    let found = drift(&engine).await;
    assert!(
        found.len() == 1 && found[0].contains("accepted without reading"),
        "{found:?}"
    );
    let mut rebuilt = Vec::new();
    engine
        .rebuild(&Scope::default(), |one| {
            rebuilt.push(one.changes.expect("rebuilt"));
        })
        .await
        .expect("rebuilt");
    assert_eq!(rebuilt, [0]);
    assert_eq!(drift(&engine).await, Vec::<String>::new());
    assert_eq!(ingest(&engine, [touch("t70", 70)]).await, [NO_ACCESS]);
}

async fn a_touch_in_the_window_makes_the_warning_due_again(fresh: Fresh) {
    let policy = Policy {
        access_idle: TimeDelta::days(10),
        warn_before: vec![TimeDelta::days(7)],
        ..Policy::default()
    };
    let Setup { fresh, clock, engine } = Setup::start(fresh, day(0), &policy).await;
    ingest(&engine, active()).await;
    // Each renewal makes the warning due three days later, before the expiry that was next.
    for days in [4, 8, 12, 16] {
        clock.set(day(days));
        let name = format!("t{days}");
        assert_eq!(ingest(&engine, [touch(&name, days)]).await, [Outcome::Applied]);
        assert_eq!(drift(&engine).await, Vec::<String>::new());
    }
    let lines = fresh.store.journal(&key(), 0, 1_000).await.expect("the journal");
    let warned: Vec<Value> = lines
        .iter()
        .filter(|line| line.entry.change.kind() == ChangeKind::AccessExpiring)
        .map(|line| json!((line.entry.time - day(0)).num_days()))
        .collect();
    assert_eq!(json!(warned), json!([3, 7, 11, 15]));
}

on_both_stores!(
    a_late_touch_with_a_late_end_of_access_leaves_no_window,
    a_touch_that_came_before_the_end_of_access_is_refused_on_redelivery,
    a_rebuild_closes_a_window_that_is_too_wide,
    a_touch_in_the_window_makes_the_warning_due_again,
);
