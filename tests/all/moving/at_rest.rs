//! A store moves while nothing happens, and both stores go on in the same way.

use std::sync::Arc;

use tenure::clock::Clock;
use tenure::domain::Cause;
use tenure::engine::{Incoming, Outcome};
use tenure::store::{Kind, Record, Store};

use super::source::{Source, live_on};
use super::{
    KINDS, answers, assert_no_drift, assert_same, content, engine, export, import, journal, records,
    sorted_lines,
};
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
        assert_same(
            "the lines",
            &sorted_lines(&exported),
            &sorted_lines(&export(&third.store).await),
        );
    }
    go_on(&source, [&to.store, &back.store, &third.store]).await;
}

/// The export must have all that this test is about.
fn expect_everything(records: &[Record]) {
    for kind in KINDS {
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
