//! A store moves while events arrive, and both stores go on in the same way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use tenure::clock::Clock;
use tenure::domain::Cause;
use tenure::engine::{Incoming, Outcome};
use tenure::store::{Kind, Record, Store};

use super::source::{Source, event, live_on, moved_at};
use super::{answers, assert_no_drift, assert_same, content, engine, export, import, journal, records};
use crate::store::Fresh;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_from_sqlite_to_postgres_and_back() {
    moves(
        Fresh::sqlite("").await,
        Fresh::postgres("moved_from_sqlite").await,
        Fresh::sqlite("").await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_from_postgres_to_sqlite_and_back() {
    moves(
        Fresh::postgres("moves_to_sqlite").await,
        Fresh::sqlite("").await,
        Fresh::postgres("moved_back_from_sqlite").await,
    )
    .await;
}

async fn moves(from: Fresh, to: Fresh, back: Fresh) {
    let source = Source::fill(from.store.clone()).await;
    source.publish_half().await;
    let exported = export(&from.store).await;
    expect_everything(&records(&exported));
    let now = source.clock.now();
    let before = answers(&source.engine, now).await;
    for store in [&to.store, &back.store] {
        import(store, &exported).await;
        let moved = export(store).await;
        assert_same("the content", &content(&exported), &content(&moved));
        let (engine, _) = engine(store, now).await;
        assert_same("the answers", &before, &answers(&engine, now).await);
        assert_eq!(
            assert_no_drift(&engine).await,
            assert_no_drift(&source.engine).await
        );
        expect_rest_of_journal(&from.store, store, &exported).await;
    }
    // From the second store into the first kind again.
    let again = export(&to.store).await;
    let third = if from.store.kind() == "sqlite" {
        Fresh::sqlite("").await
    } else {
        Fresh::postgres("moved_twice").await
    };
    import(&third.store, &again).await;
    assert_same(
        "the journal",
        &journal(&again),
        &journal(&export(&third.store).await),
    );
    assert_same(
        "the content",
        &content(&exported),
        &content(&export(&third.store).await),
    );
    if from.store.kind() == "sqlite" {
        // No number changes on the way. Events of a client with the same time are in the order of the numbers of their sources,
        // which belong to one database.
        let lines = |lines: &[String]| {
            let mut lines = lines[1..lines.len() - 1].to_vec();
            lines.sort();
            lines
        };
        assert_same(
            "the lines",
            &lines(&exported),
            &lines(&export(&third.store).await),
        );
    }
    go_on(&source, [&to.store, &back.store, &third.store]).await;
}

/// The export must have all that this test is about.
fn expect_everything(records: &[Record]) {
    for kind in [
        Kind::Policy,
        Kind::Backfill,
        Kind::Clock,
        Kind::Lane,
        Kind::Source,
        Kind::Halt,
        Kind::AccessLog,
        Kind::SweepRun,
        Kind::Closing,
        Kind::Audit,
        Kind::DeadLetter,
        Kind::Client,
        Kind::Touches,
        Kind::TouchRun,
        Kind::Event,
        Kind::Statement,
        Kind::Access,
        Kind::Relay,
        Kind::Change,
    ] {
        assert!(records.iter().any(|record| record.kind() == kind), "no {kind}");
    }
    let has = |what: &str, found: &dyn Fn(&Record) -> bool| assert!(records.iter().any(found), "no {what}");
    has(
        "refused event",
        &|record| matches!(record, Record::Event(event) if event.refused.is_some()),
    );
    has("client without a name that it has", &|record| {
        matches!(record, Record::Client(client)
            if client.row.as_ref().is_some_and(|row| row.document.name_conflicted))
    });
    has(
        "window",
        &|record| matches!(record, Record::Touches(touches) if touches.renew_only.is_some()),
    );
    has(
        "correction",
        &|record| matches!(record, Record::Change(change) if change.entry.is_correction()),
    );
    has(
        "refused entry of the access log",
        &|record| matches!(record, Record::Access(access) if access.refused.is_some()),
    );
    has(
        "event with an actor",
        &|record| matches!(record, Record::Event(event) if !event.actor.is_unknown()),
    );
    has("change with an actor", &|record| {
        matches!(record, Record::Change(change)
            if matches!(&change.entry.cause, Cause::Event { actor, .. } if !actor.is_unknown()))
    });
    assert!(records.len() > 1_500, "{} records", records.len());
}

/// The relay of the new store publishes what that of the old one would, in the same order.
async fn expect_rest_of_journal(from: &Arc<dyn Store>, to: &Arc<dyn Store>, exported: &[String]) {
    let waiting = from.count_unpublished().await.unwrap();
    assert!(waiting > 100, "{waiting}");
    assert_eq!(to.count_unpublished().await.unwrap(), waiting);
    let lines = usize::try_from(waiting).unwrap();
    let before = crate::store::relayed(&**from, lines, 100_000).await;
    let after = crate::store::relayed(&**to, lines, 100_000).await;
    let entries = |lines: &[tenure::store::Recorded]| -> Vec<_> {
        lines
            .iter()
            .map(|line| (line.entry.clone(), line.recorded_at))
            .collect()
    };
    assert_same("unpublished lines", &entries(&before), &entries(&after));
    let all = records(exported);
    let changes = all.iter().filter(|record| record.kind() == Kind::Change).count();
    assert!(changes > lines + 100, "{changes}, of which {lines} wait");
    assert!(after.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
}

/// The same happens to all stores: they stay the same, and no number is assigned twice.
async fn go_on(source: &Source, moved: [&Arc<dyn Store>; 3]) {
    let now = source.clock.now();
    let numbers = |lines: &[String]| -> Vec<i64> {
        let number = |record: &Record| match record {
            Record::Change(change) => Some(change.place.sequence),
            _ => None,
        };
        records(lines).iter().filter_map(number).collect()
    };
    let mut stores = vec![];
    for store in moved {
        let (engine, clock) = engine(store, now).await;
        stores.push((store, engine, clock));
    }
    let again = source.again();
    assert!(again.len() > 500);
    let is_touch = |one: &Incoming| matches!(one, Incoming::Event(event) if event.is_touch());
    let expected = source.engine.ingest(again.clone()).await.unwrap();
    for (_, engine, _) in &stores {
        let outcomes = engine.ingest(again.clone()).await.unwrap();
        assert_same("outcomes of known events", &expected, &outcomes);
        // A packed touch has no id to be recognized by; storing it again changes nothing.
        let mut others = again.iter().zip(&outcomes).filter(|(one, _)| !is_touch(one));
        assert!(
            others.all(|(_, outcome)| matches!(outcome, Outcome::Duplicate)),
            "every event is known"
        );
    }
    let expected = live_on(&source.engine, &source.clock, source.later()).await;
    let end = source.clock.now();
    let answered = answers(&source.engine, end).await;
    for (store, engine, clock) in &stores {
        let before = numbers(&export(store).await);
        let outcomes = live_on(engine, clock, source.later()).await;
        assert_same("outcomes", &expected, &outcomes);
        let after = answers(engine, end).await;
        assert_same("later answers", &answered, &after);
        assert_no_drift(engine).await;
        let all = numbers(&export(store).await);
        let mut distinct = all.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len(), "a number was assigned twice");
        let new = all[before.len()..].iter().min();
        assert!(new > before.iter().max(), "{new:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_under_load_shows_one_moment_of_sqlite() {
    shows_one_moment(Fresh::sqlite("").await, Fresh::postgres("moved_under_load").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_under_load_shows_one_moment_of_postgres() {
    shows_one_moment(Fresh::postgres("moves_under_load").await, Fresh::sqlite("").await).await;
}

/// Events are ingested, late ones too, and sweeps run, while the store is exported several times. Each export is a whole
/// store as of some moment: its clients agree with its log and its journal, and the same events bring it to the same end.
async fn shows_one_moment(from: Fresh, to: Fresh) {
    let source = Source::fill(from.store.clone()).await;
    let later = source.later();
    let is_over = Arc::new(AtomicBool::new(false));
    let exports = {
        let (store, is_over) = (from.store.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut exports = vec![];
            while !is_over.load(Ordering::SeqCst) {
                exports.push(export(&store).await);
            }
            exports
        })
    };
    let touching = touch_until(&source, is_over.clone());
    let (outcomes, ()) = tokio::join!(
        async {
            let outcomes = live_on(&source.engine, &source.clock, later).await;
            is_over.store(true, Ordering::SeqCst);
            outcomes
        },
        touching
    );
    let exports = exports.await.unwrap();
    let sizes: Vec<usize> = exports.iter().map(Vec::len).collect();
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    println!("{} exports, from {first} to {last} records", sizes.len());
    let under_load = exports
        .iter()
        .find(|lines| lines.len() > first && lines.len() < last)
        .expect("an export between the first event and the last");
    import(&to.store, under_load).await;
    let (moved, clock) = engine(&to.store, moved_at() + TimeDelta::seconds(30)).await;
    assert_no_drift(&moved).await;
    // Its journal is how that of the source begins, client by client.
    let whole = export(&from.store).await;
    let of_client = |lines: &[String]| {
        let mut changes = std::collections::BTreeMap::<String, Vec<_>>::new();
        for line in journal(lines) {
            changes
                .entry(line[0]["client"].to_string())
                .or_default()
                .push(line);
        }
        changes
    };
    let (all, some) = (of_client(&whole), of_client(under_load));
    for (client, lines) in &some {
        assert_same(client, &all[client][..lines.len()], lines);
    }
    // All that was sent, once more: what was ingested before is known, and nothing is lost.
    let again: Vec<Incoming> = source.later().into_iter().flat_map(|(_, batch)| batch).collect();
    clock.set(source.clock.now());
    moved.set_lanes(&[]).await.unwrap();
    let outcomes_again = moved.ingest(again).await.unwrap();
    let duplicates = |outcomes: &[Outcome]| {
        outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Duplicate))
            .count()
    };
    let known = duplicates(&outcomes_again) - duplicates(&outcomes);
    assert!(
        known > 0 && known < outcomes.len(),
        "{known} of {}",
        outcomes.len()
    );
    assert_no_drift(&moved).await;
}

/// Touches, which are appended to open runs without reading their clients.
async fn touch_until(source: &Source, is_over: Arc<AtomicBool>) {
    let mut n = 0;
    while !is_over.load(Ordering::SeqCst) {
        n += 1;
        let at = moved_at() - TimeDelta::hours(3) + TimeDelta::seconds(n);
        let touch = event(
            &format!("load-{n}"),
            "account.accessed",
            "touched",
            at,
            &serde_json::json!({}),
        );
        source.engine.ingest(vec![touch]).await.unwrap();
    }
}
