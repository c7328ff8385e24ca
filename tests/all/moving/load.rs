//! A store is exported while events arrive and operators work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tenure::clock::Clock;
use tenure::domain::{ChangeKind, Policy};
use tenure::engine::{Incoming, Outcome};
use tenure::store::{Kind, MovedEvent, Record, Store};
use tenure::wire::{Decoder, Limits};
use tokio::sync::Notify;

use super::source::{Source, event, live_on, moved_at};
use super::{
    KINDS, assert_no_drift, assert_same, content, engine, export, import, journal, records, sorted_lines,
};
use crate::store::Fresh;

#[tokio::test(flavor = "multi_thread")]
async fn an_export_under_load_shows_one_moment_of_sqlite() {
    shows_one_moment(Fresh::sqlite("").await, Fresh::postgres("moved_under_load").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_under_load_shows_one_moment_of_postgres() {
    shows_one_moment(Fresh::postgres("moves_under_load").await, Fresh::sqlite("").await).await;
}

/// The store is exported again and again under load. Such an export is a whole store as of some moment: its clients agree with its
/// log, and what it has is what the old store has, before and after. It moves completely, and the same events bring it to the same
/// end.
async fn shows_one_moment(from: Fresh, to: Fresh) {
    let source = Source::fill(from.store.clone()).await;
    source.publish_half().await;
    let before = export(&from.store).await;
    let exports = exports_under_load(&source).await;
    let after = export(&from.store).await;
    let sizes: Vec<usize> = exports.iter().map(Vec::len).collect();
    println!(
        "{} lines, then exports of {sizes:?}, and {} lines",
        before.len(),
        after.len()
    );
    let under_load = exports
        .iter()
        .min_by_key(|lines| unchanged(&before, lines, &after).len())
        .expect("an export");
    assert_eq!(
        unchanged(&before, under_load, &after),
        [],
        "an export begins in the middle of the load"
    );

    import(&to.store, under_load).await;
    let moved = export(&to.store).await;
    assert_same("the content", &content(under_load), &content(&moved));
    assert_same("the journal", &journal(under_load), &journal(&moved));
    if from.store.kind() == "sqlite" {
        // No number changes.
        assert_same("the lines", &sorted_lines(under_load), &sorted_lines(&moved));
    }
    for (earlier, later) in [(&before, under_load), (under_load, &after)] {
        expect_continued(&records(earlier), &records(later));
        expect_journal_continued(earlier, later);
    }
    catch_up(&to.store, &source, under_load, &after).await;
}

/// Exports the store until the load is over.
async fn exports_under_load(source: &Source) -> Vec<Vec<String>> {
    let is_over = Arc::new(AtomicBool::new(false));
    let begins = Arc::new(Notify::new());
    let exporting = {
        let (store, is_over, begins) = (source.store.clone(), is_over.clone(), begins.clone());
        tokio::spawn(async move {
            let mut exports = vec![];
            while !is_over.load(Ordering::SeqCst) {
                begins.notify_waiters();
                exports.push(export(&store).await);
            }
            exports
        })
    };
    let touches = AtomicI64::new(0);
    let rounds = async {
        let later = source.later();
        let half = later.len() / 2;
        assert!(half > 2, "{half}");
        for (round, batch) in later.into_iter().enumerate() {
            live_on(&source.engine, &source.clock, vec![batch]).await;
            operate(source, round).await;
            touch(source, &touches).await;
            if round == half {
                // So that an export has the first half of the load, and not the second.
                begins.notified().await;
            }
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let touching = async {
        while !is_over.load(Ordering::SeqCst) {
            touch(source, &touches).await;
        }
    };
    tokio::join!(rounds, touching);
    exporting.await.unwrap()
}

/// What operators do in a round: a new policy, an endpoint, a message that is not an event, and a step of closing months.
async fn operate(source: &Source, round: usize) {
    let idle = 51 + i64::try_from(round).unwrap();
    source
        .adopt(&Policy {
            access_idle: TimeDelta::days(idle),
            ..Policy::default()
        })
        .await;
    source.add_endpoint(&format!("crm-{round}")).await;
    let decoder = Decoder::new(Limits::default(), source.clock.now());
    let message = format!("message {round}");
    let read = decoder.line("http", message.as_bytes()).expect("not blank");
    source.engine.ingest(vec![Incoming::from(read)]).await.unwrap();
    let closings = source.store.closings().await.unwrap();
    let last = closings.last().expect("a closing");
    let next = last.month.next();
    if last.closed_at.is_none() {
        source.close(last.month, None).await;
    } else if next.end() <= source.clock.now() {
        source.close(next, Some(0)).await;
    }
}

/// The next touch, which is appended to an open run without reading its client.
async fn touch(source: &Source, touches: &AtomicI64) {
    let n = touches.fetch_add(1, Ordering::SeqCst) + 1;
    let at = moved_at() - TimeDelta::hours(3) + TimeDelta::seconds(n);
    let touch = event(
        &format!("load-{n}"),
        "account.accessed",
        "touched",
        at,
        &json!({}),
    );
    source.engine.ingest(vec![touch]).await.unwrap();
}

/// The kinds of records of which an export has nothing that the load has changed so far, or everything that it changes.
fn unchanged(before: &[String], lines: &[String], after: &[String]) -> Vec<Kind> {
    let of = |lines: &[String], kind: Kind| -> Vec<Record> {
        let records = records(lines).into_iter();
        records.filter(|record| record.kind() == kind).collect()
    };
    let changes = |kind: &Kind| match kind {
        // These do not change, or are there for a moment only.
        Kind::Backfill
        | Kind::Clock
        | Kind::Lane
        | Kind::Source
        | Kind::Halt
        | Kind::AccessLog
        | Kind::Relay => true,
        // A month is closed when it has ended, which may be before the middle.
        Kind::Closing | Kind::Statement => of(before, *kind) != of(lines, *kind),
        kind => of(before, *kind) != of(lines, *kind) && of(lines, *kind) != of(after, *kind),
    };
    KINDS.into_iter().filter(|kind| !changes(kind)).collect()
}

/// The part of a record that never changes, with its kind. None: all of it may change.
fn lasting(record: &Record) -> Option<Value> {
    let changing: &[&str] = match record {
        Record::Policy(_) | Record::AccessLog(_) | Record::Audit(_) | Record::Statement(_) => &[],
        Record::SweepRun(run) if run.finished_at.is_some() => &[],
        Record::Closing(closing) if closing.closed_at.is_some() => &[],
        Record::WebhookEndpoint(_) => &["status", "why", "epoch", "place", "recorded_at"],
        Record::DeadLetter(_) => &[
            "reason",
            "status",
            "times_seen",
            "last_seen_at",
            "retry_at",
            "resolved_at",
            "redriven_at",
            "redrive_outcome",
        ],
        Record::Event(_) | Record::Access(_) => &["refused"],
        _ => return None,
    };
    let mut value = json!(record);
    let (_, fields) = value.as_object_mut()?.iter_mut().next()?;
    for name in changing {
        fields.as_object_mut()?.remove(*name);
    }
    Some(value)
}

/// What a store has, it still has later. The outcome of an event changes only with a line in the journal.
fn expect_continued(earlier: &[Record], later: &[Record]) {
    let of = |records: &[Record]| -> BTreeSet<String> {
        let lasting = records.iter().filter_map(lasting);
        lasting.map(|record| record.to_string()).collect()
    };
    let (all, some) = (of(later), of(earlier));
    let lost: Vec<&String> = some.difference(&all).take(1).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(some.len() > 1_000, "{}", some.len());

    let decided = |records: &[Record]| -> BTreeMap<String, usize> {
        let mut lines = BTreeMap::new();
        for record in records {
            if let Record::Change(change) = record
                && matches!(
                    change.entry.change.kind(),
                    ChangeKind::EventAccepted | ChangeKind::EventRefused
                )
            {
                *lines.entry(change.entry.key.to_string()).or_default() += 1;
            }
        }
        lines
    };
    let events = |records: &[Record]| -> BTreeMap<(String, String), Box<MovedEvent>> {
        let events = records.iter().filter_map(|record| match record {
            Record::Event(event) => Some(event.clone()),
            _ => None,
        });
        events
            .map(|event| ((event.source.to_string(), event.id.to_string()), event))
            .collect()
    };
    let (decided_before, decided_after, events_after) = (decided(earlier), decided(later), events(later));
    let mut compared = 0;
    for (name, event) in events(earlier) {
        let client = event.client.to_string();
        if decided_before.get(&client) == decided_after.get(&client) {
            assert_eq!(event, events_after[&name]);
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared}");
}

/// The journal is how the later one begins, client by client.
fn expect_journal_continued(earlier: &[String], later: &[String]) {
    let of_client = |lines: &[String]| {
        let mut changes = BTreeMap::<String, Vec<Value>>::new();
        for line in journal(lines) {
            let client = line[0]["client"].to_string();
            changes.entry(client).or_default().push(line);
        }
        changes
    };
    let (all, some) = (of_client(later), of_client(earlier));
    for (client, lines) in &some {
        assert_same(client, &all[client][..lines.len()], lines);
    }
}

/// All that was sent under load is sent once more, to the new store: it knows exactly the events of the export, and has the events
/// of the old store in the end.
async fn catch_up(store: &Arc<dyn Store>, source: &Source, exported: &[String], after: &[String]) {
    let (moved, _) = engine(store, source.clock.now()).await;
    assert_no_drift(&moved).await;
    let again: Vec<Incoming> = source.later().into_iter().flat_map(|(_, batch)| batch).collect();
    moved.set_lanes(&[]).await.unwrap();
    let outcomes = moved.ingest(again.clone()).await.unwrap();
    let mut known: BTreeSet<(String, String)> = records(exported)
        .iter()
        .filter_map(|record| match record {
            Record::Event(event) => Some((event.source.to_string(), event.id.to_string())),
            _ => None,
        })
        .collect();
    let mut counts = [0, 0];
    for (incoming, outcome) in again.iter().zip(&outcomes) {
        let Incoming::Event(event) = incoming else {
            continue;
        };
        if event.is_touch() {
            // It has no id to be recognized by.
            continue;
        }
        let is_new = known.insert((event.source.to_string(), event.id.to_string()));
        assert_eq!(
            matches!(outcome, Outcome::Duplicate),
            !is_new,
            "{event:?}: {outcome:?}"
        );
        counts[usize::from(is_new)] += 1;
    }
    assert!(counts.into_iter().all(|count| count > 20), "{counts:?}");
    let decoder = Decoder::new(Limits::default(), source.clock.now());
    moved.redrive_deferred(&decoder).await.unwrap();
    assert_no_drift(&moved).await;
    assert_same("events", &sent(after), &sent(&export(store).await));
}

/// The events of the log, without outcomes and times of receipt. Touches are in the log only if they could not be packed.
fn sent(lines: &[String]) -> Vec<String> {
    let mut events: Vec<String> = records(lines)
        .iter()
        .filter_map(|record| match record {
            Record::Event(event) if event.kind.type_name() != "account.accessed" => {
                let mut event = event.clone();
                (event.received_at, event.refused) = (chrono::DateTime::UNIX_EPOCH, None);
                Some(json!(event).to_string())
            }
            _ => None,
        })
        .collect();
    events.sort();
    events
}
