//! The history of a client has each of its events and journal lines once, in order of time.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tenure::domain::{Change, ClientKey};
use tenure::engine::{ForecastRequest, HistoryEntry, HistoryRequest, Incoming};
use tenure::store::PACKED_SOURCE;

use super::setup::{Setup, on_both_stores};
use super::wild;
use crate::simulation::seeds;
use crate::store::Fresh;

on_both_stores! {
    a_history_has_every_event_and_every_line_once,
}

async fn a_history_has_every_event_and_every_line_once(fresh: Fresh) {
    let mut rng = StdRng::seed_from_u64(1);
    let setup = Setup::start(fresh, wild::start(), &wild::policy(&mut rng)).await;
    let (mut corrected, mut reversed, mut touches) = (0, 0, 0);
    for seed in seeds(15) {
        let mut rng = StdRng::seed_from_u64(seed);
        let key = ClientKey::new("p", &format!("c{seed}")).expect("a key");
        let noise = rng.random_range(0..40);
        let mut events = wild::history(&mut rng, &key, 150, noise);
        events.shuffle(&mut rng);
        setup.clock.set(wild::start() + TimeDelta::days(400));
        for batch in events.chunks(7) {
            let incoming = batch.iter().cloned().map(Incoming::Event).collect();
            setup.engine.ingest(incoming).await.expect("ingested");
        }
        let until = setup.engine.now() + TimeDelta::days(100);
        let request = HistoryRequest {
            until: Some(until),
            ..HistoryRequest::default()
        };
        let history = setup
            .engine
            .history(&key, &request)
            .await
            .expect("read")
            .expect("a history");
        assert_eq!(history.next, None);
        let entries = history.entries;
        assert!(entries.is_sorted_by_key(|entry| entry.time), "seed {seed}");
        events_match(&setup, &key, &entries).await;
        let (corrections, reversals) = lines_match(&setup, &key, &entries).await;
        corrected += corrections;
        reversed += reversals;
        touches += entries
            .iter()
            .filter(|entry| entry.event.as_ref().is_some_and(|event| event.count > 1))
            .count();
        expected_match(&setup, &key, &entries, &request).await;
        pages_match(&setup, &key, &entries, request).await;
    }
    assert!(
        corrected > 20 && reversed > 5 && touches > 1,
        "{corrected} {reversed} {touches}"
    );
}

/// Every event of the log is told once, with its outcome.
async fn events_match(setup: &Setup, key: &ClientKey, entries: &[HistoryEntry]) {
    let mut logged = BTreeMap::new();
    let mut packed = 0;
    for one in setup.fresh.store.history(key).await.expect("a history") {
        if &*one.event.source == PACKED_SOURCE {
            packed += 1;
        } else {
            let name = (one.event.source.to_string(), one.event.id.to_string());
            logged.insert(name, (one.event.time, one.outcome.refusal()));
        }
    }
    let mut told = BTreeMap::new();
    let mut touches = 0;
    for entry in entries {
        let Some(event) = &entry.event else { continue };
        // A late touch that caused corrections is told under its own id too, without its data.
        if &*event.source == PACKED_SOURCE {
            touches += event.count;
        } else if event.data.is_some() {
            let name = (event.source.to_string(), event.id.to_string());
            assert!(
                told.insert(name, (entry.time, event.refusal)).is_none(),
                "{event:?}"
            );
        }
    }
    assert_eq!(told, logged, "{key}");
    assert_eq!(touches, packed, "touches of {key}");
}

/// Every line of the journal is told once. Returns how many corrections name their lines, and how many refusals were reversed.
async fn lines_match(setup: &Setup, key: &ClientKey, entries: &[HistoryEntry]) -> (usize, usize) {
    let mut told = BTreeMap::new();
    for entry in entries {
        for change in &entry.changes {
            assert_eq!(change.sequence.is_none(), entry.expected, "{entry:?}");
            if let Some(sequence) = change.sequence {
                assert!(
                    told.insert(sequence, (entry, change)).is_none(),
                    "line {sequence} twice"
                );
            }
        }
    }
    let journal = setup
        .fresh
        .store
        .journal(key, 0, 100_000)
        .await
        .expect("a journal");
    assert_eq!(journal.len(), told.len(), "{key}");
    let (mut corrections, mut reversals) = (0, 0);
    for line in journal {
        let (entry, change) = told[&line.cursor.sequence];
        assert_eq!(change.kind, line.entry.change.text().kind);
        assert_eq!(change.correction, line.entry.is_correction());
        if let Some(corrects) = change.corrects {
            assert!(change.correction && corrects < line.cursor.sequence);
            let (_, before) = told[&corrects];
            assert_eq!(
                (before.replaced_by, &before.to, &before.id),
                (change.sequence, &change.from, &change.id)
            );
            corrections += 1;
        }
        if let Change::EventRefused {
            refusal: published, ..
        } = line.entry.change
        {
            let event = entry.event.as_ref().expect("an event");
            let is_reversed = event.refusal != Some(published);
            assert!(!is_reversed || event.refused_before.is_some(), "{event:?}");
            reversals += usize::from(is_reversed && event.refusal.is_none());
        }
    }
    (corrections, reversals)
}

/// What is to come is the forecast.
async fn expected_match(setup: &Setup, key: &ClientKey, entries: &[HistoryEntry], request: &HistoryRequest) {
    let forecast = ForecastRequest {
        partner: Some(key.partner.to_string()),
        until: request.until.expect("a moment"),
        after: None,
        limit: 1_000,
    };
    let page = setup.engine.forecast(&forecast).await.expect("a forecast");
    let forecast = page
        .clients
        .iter()
        .find(|client| client.client == key.to_string());
    let expected: Vec<_> = forecast
        .map(|client| client.changes.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|change| (change.time, Some(change.timer), change.kind.clone()))
        .collect();
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| entry.expected)
        .flat_map(|entry| {
            let changes = entry.changes.iter();
            changes.map(move |change| (entry.time, entry.timer, change.kind.clone()))
        })
        .collect();
    assert_eq!(told, expected, "{key}");
}

async fn pages_match(setup: &Setup, key: &ClientKey, entries: &[HistoryEntry], request: HistoryRequest) {
    let mut request = HistoryRequest {
        limit: Some(5),
        ..request
    };
    let mut paged = Vec::new();
    loop {
        let page = setup
            .engine
            .history(key, &request)
            .await
            .expect("read")
            .expect("a history");
        paged.extend(page.entries);
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    assert_eq!(paged, entries, "{key}");
}
