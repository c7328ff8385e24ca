//! `tenure export` and `tenure import`: a store moves between SQLite and PostgreSQL, and nothing changes.

mod at_rest;
mod checkpoints;
mod files;
mod formats;
mod load;
mod relay;
mod source;
mod tables;
mod webhooks;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenure::clock::SimulatedClock;
use tenure::domain::{Policy, Sweep};
use tenure::engine::{Engine, SweepMode, SweepOptions};
use tenure::store::{AccessFilter, DeadLetterFilter, Kind, LinePlace, Record, Store};
use tenure::wire::archive::{Reader, Writer};
use tokio::sync::mpsc;

/// Every kind of a record.
const KINDS: [Kind; 20] = [
    Kind::Policy,
    Kind::Backfill,
    Kind::Clock,
    Kind::Lane,
    Kind::Source,
    Kind::Halt,
    Kind::AccessLog,
    Kind::SweepRun,
    Kind::Closing,
    Kind::WebhookEndpoint,
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
];

/// The lines of an export.
async fn export(store: &Arc<dyn Store>) -> Vec<String> {
    let (sender, mut pages) = mpsc::channel(1);
    let source = store.clone();
    let exporting = tokio::spawn(async move { source.export(sender).await });
    let mut writer = Writer::default();
    let mut lines = vec![writer.header(store.kind(), DateTime::UNIX_EPOCH).unwrap()];
    while let Some(page) = pages.recv().await {
        lines.extend(page.iter().map(|record| writer.record(record).unwrap()));
    }
    exporting.await.unwrap().unwrap();
    lines.push(writer.end().unwrap().0);
    lines
}

fn records(lines: &[String]) -> Vec<Record> {
    let (mut reader, _) = Reader::begin(lines[0].as_bytes()).unwrap();
    let read = lines[1..]
        .iter()
        .filter_map(|line| reader.read(line.as_bytes()).unwrap());
    let records = read.collect();
    reader.end().unwrap();
    records
}

/// Imports in transactions of a few records, so that each kind spans several.
async fn import(store: &Arc<dyn Store>, lines: &[String]) {
    let mut import = store.begin_import().await.unwrap();
    for some in records(lines).chunks(57) {
        import.write(some.to_vec()).await.unwrap();
    }
    import.end().await.unwrap();
}

/// The records of an export but those that say how changes are numbered, in an order of their own.
fn content(lines: &[String]) -> Vec<String> {
    let is_content = |record: &Record| !matches!(record.kind(), Kind::Relay | Kind::Change);
    let mut content: Vec<String> = records(lines)
        .into_iter()
        .filter(is_content)
        .map(|mut record| {
            if let Record::WebhookEndpoint(endpoint) = &mut record {
                // `webhooks` tests that it receives what the old store had not sent.
                (endpoint.epoch, endpoint.place) = (0, LinePlace::default());
                endpoint.recorded_at = DateTime::UNIX_EPOCH;
            }
            serde_json::to_string(&record).unwrap()
        })
        .collect();
    content.sort();
    content
}

/// The lines of the records. Events of a client with the same time are in the order of the numbers of their sources, which belong
/// to one database.
fn sorted_lines(lines: &[String]) -> Vec<String> {
    let mut lines = lines[1..lines.len() - 1].to_vec();
    lines.sort();
    lines
}

/// The journal in its order, without numbers.
fn journal(lines: &[String]) -> Vec<Value> {
    records(lines)
        .iter()
        .filter_map(|record| match record {
            Record::Change(change) => Some(json!([change.entry, change.recorded_at])),
            _ => None,
        })
        .collect()
}

/// An engine on a store with a clock of its own.
async fn engine(store: &Arc<dyn Store>, now: DateTime<Utc>) -> (Engine, Arc<SimulatedClock>) {
    let clock = Arc::new(SimulatedClock::at(now));
    let engine = Engine::join(store.clone(), clock.clone(), &Policy::default())
        .await
        .unwrap()
        .with_access_log(Some(TimeDelta::days(1_000)));
    (engine, clock)
}

async fn sweep_all(engine: &Engine) {
    for sweep in Sweep::ALL {
        let options = SweepOptions::new(SweepMode::Confirmed);
        engine.sweep(sweep, options, |_| {}).await.unwrap();
    }
}

async fn assert_no_drift(engine: &Engine) -> u64 {
    let report = engine.verify(|_| {}).await.unwrap();
    let drifts: Vec<_> = report.drifts.iter().map(|drift| &drift.what).collect();
    assert!(drifts.is_empty(), "{drifts:#?}");
    report.clients
}

/// What people and programs are answered: each client at several moments, its journal and its history, and the lists.
async fn answers(engine: &Engine, now: DateTime<Utc>) -> Vec<Value> {
    let mut answers = Vec::new();
    let store = engine.store();
    for key in store.keys(None, None, 10_000).await.unwrap() {
        for days in [-200, -40, -1, 0, 1, 90] {
            let then = engine
                .client(&key, Some(now + TimeDelta::days(days)))
                .await
                .unwrap();
            answers.push(json!([days, key, then]));
        }
        let history = store.history(&key).await.unwrap();
        let history: Vec<String> = history.iter().map(|logged| format!("{logged:?}")).collect();
        let mut changes = json!(engine.journal(&key, 0, 10_000).await.unwrap());
        for line in changes.as_array_mut().unwrap() {
            // Numbers of unpublished changes may differ.
            line["sequence"].take();
        }
        answers.push(json!([key, history, changes]));
        let accesses = store.accesses(&key, &AccessFilter::default(), None, 10_000).await;
        let mut accesses = accesses.unwrap().accesses;
        // Those of one moment come in an order of the store.
        accesses.sort_by_key(|access| (access.time, access.source.clone(), access.id.clone()));
        answers.push(json!([key, accesses]));
    }
    for dead_letter in store
        .dead_letters(&DeadLetterFilter::default(), 0, 10_000)
        .await
        .unwrap()
    {
        let whole = store.dead_letter(dead_letter.id).await.unwrap();
        answers.push(json!(format!("{whole:?}")));
    }
    answers.push(json!(engine.recorded_policies().await.unwrap()));
    answers.push(json!(store.halts().await.unwrap()));
    answers.push(json!(store.lanes().await.unwrap()));
    answers.push(json!(store.sources().await.unwrap()));
    answers.push(json!(store.runs(None, 10_000).await.unwrap()));
    answers.push(json!(format!("{:?}", store.deadline_backfill().await.unwrap())));
    answers.push(json!(store.latest_moment().await.unwrap()));
    answers.push(json!(store.closings().await.unwrap()));
    let keys = store.keys(None, None, 10_000).await.unwrap();
    let stated = store.stated(&keys).await.unwrap();
    for key in &keys {
        answers.push(json!(format!("{key} {:?}", stated.get(key))));
    }
    answers
}

/// Compares, and shows the first difference only: the whole is long.
fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, before: &[T], after: &[T]) {
    let difference = before.iter().zip(after).find(|(before, after)| before != after);
    assert!(difference.is_none(), "{what}: {difference:#?}");
    assert_eq!(before.len(), after.len(), "{what}");
}
