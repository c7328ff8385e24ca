//! Commits and rows for the tests of the stores.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use tenure::domain::event::NameVerdict;
use tenure::domain::{Actor, Cause, Change, Client, ClientKey, Entry, Event, EventKind, Name, Policies};
use tenure::store::{
    Batch, ClientWrite, Commit, Cursor, Document, EventWrite, Recorded, RecordedOutcome, Store, StoreError,
    Stored,
};

/// A moment this many seconds after the tests' start, with microseconds.
pub fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_750_000_000_123_456 + seconds * 1_000_000).unwrap()
}

pub fn key(client: &str) -> ClientKey {
    ClientKey::new("acme", client).unwrap()
}

pub fn name(name: &str) -> Name {
    Name::try_from(name.to_owned()).unwrap()
}

pub fn event(key: &ClientKey, id: &str, seconds: i64, kind: EventKind) -> Event {
    Event {
        source: "/apps/space".into(),
        id: id.into(),
        key: key.clone(),
        time: moment(seconds),
        sequence: None,
        kind,
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    }
}

pub fn added(key: &ClientKey, id: &str, seconds: i64, called: &str) -> Event {
    let name = name(called);
    event(
        key,
        id,
        seconds,
        EventKind::ClientAdded {
            name,
            imported: false,
        },
    )
}

/// The event kind of `(type, data)`.
pub fn kind(kind: &str, data: &serde_json::Value) -> EventKind {
    serde_json::from_value(serde_json::json!({"type": kind, "data": data})).unwrap()
}

/// A client after these events. It refuses none of them.
pub fn client(events: &[Event]) -> Client {
    let mut client = Client::default();
    for event in events {
        client.apply(event, &Policies::default()).unwrap();
    }
    client
}

/// The first write of a client with a name.
pub fn new_client(key: &ClientKey, called: &str) -> ClientWrite {
    write(key, client(&[added(key, "a", 0, called)]), 0)
}

pub fn write(key: &ClientKey, client: Client, read_version: i64) -> ClientWrite {
    ClientWrite {
        key: key.clone(),
        name_key: client.name.as_ref().map(Name::key),
        document: Document {
            client,
            ..Document::default()
        },
        read_version,
    }
}

pub fn applied(event: Event) -> EventWrite {
    EventWrite {
        event,
        outcome: RecordedOutcome::Applied,
    }
}

/// A journal line, identified by its `to`.
pub fn entry(key: &ClientKey, to: &str) -> Entry {
    Entry {
        key: key.clone(),
        change: Change::ClientRenamed {
            from: name("Before"),
            to: name(to),
        },
        time: moment(1),
        cause: Cause::Event {
            source: "/apps/space".into(),
            id: "e-1".into(),
            kind: "client.renamed".into(),
            actor: Actor::default(),
            reason: None,
        },
        corrected_by: None,
    }
}

pub fn commit() -> Commit {
    Commit {
        recorded_at: moment(100),
        ..Commit::default()
    }
}

pub fn clients(clients: Vec<ClientWrite>) -> Commit {
    Commit { clients, ..commit() }
}

pub fn journal(entries: Vec<Entry>) -> Commit {
    Commit {
        journal: entries,
        ..commit()
    }
}

/// Writes a commit in its own batch.
pub async fn put(store: &dyn Store, commit: Commit) -> Result<(), StoreError> {
    store.begin().await?.commit(&commit).await
}

/// Writes a commit that must conflict.
pub async fn failed_redrives(store: &dyn Store, commit: Commit) {
    match put(store, commit).await {
        Err(StoreError::Conflict(_)) => {}
        other => panic!("no conflict, but {other:?}"),
    }
}

/// Locks one existing client.
pub async fn lock(batch: &mut dyn Batch, key: &ClientKey) -> Stored {
    let mut locked = batch.lock(std::slice::from_ref(key), false).await.unwrap();
    assert_eq!(locked.len(), 1, "{key}");
    locked.remove(0)
}

/// The places of the pairs of source and id that are in the event log.
pub async fn duplicates(batch: &mut dyn Batch, ids: &[(&str, &str)]) -> BTreeSet<usize> {
    let (_, duplicates) = batch.lock_for_events(&[], ids).await.unwrap();
    duplicates.into_iter().collect()
}

/// Waits for this many unpublished lines: a transaction of another test, in another database of the same server, may
/// hold them back for a moment.
pub async fn relayed(store: &dyn Store, lines: usize, limit: u32) -> Vec<Recorded> {
    for _ in 0..600 {
        let next = store.unpublished(Cursor::default(), None, limit).await.unwrap();
        if next.lines.len() >= lines {
            return next.lines;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("less than {lines} lines can be relayed");
}

/// Advances the cursor to a line.
pub async fn done(store: &dyn Store, line: &Recorded) {
    let epoch = store.unpublished(Cursor::default(), None, 0).await.unwrap().epoch;
    store.advance_cursor(&line.published(epoch)).await.unwrap();
}

/// Identifies lines by client and `to`.
pub fn clients_and_values(lines: &[Recorded]) -> Vec<(String, String)> {
    lines
        .iter()
        .map(|line| {
            (
                line.entry.key.client.to_string(),
                line.entry.change.text().to.unwrap().into_owned(),
            )
        })
        .collect()
}
