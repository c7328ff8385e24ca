//! Redrive: a dead letter is redriven once, and its outcome is recorded.

use std::sync::Arc;

use chrono::TimeDelta;
use tenure::clock::SimulatedClock;
use tenure::domain::Policy;
use tenure::engine::{Authority, Discard, Engine, Incoming, Outcome, Redrive, Redriven};
use tenure::store::{AuditFilter, AuditHow, DeadLetter, DeadLetterFilter, DeadLetterStatus};
use tenure::wire::{Decoder, Limits};

use super::setup::on_both_stores;
use super::wild::start;
use crate::store::Fresh;

/// A dead letter with a valid event.
fn dead_letter(body: &str) -> DeadLetter {
    DeadLetter {
        origin: "amqp:tenure.dead".into(),
        source: None,
        content_type: Some("application/cloudevents+json".into()),
        headers: Vec::new(),
        body: body.into(),
        reason: "given up".into(),
        retry_at: None,
    }
}

const ADDED: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"client.added","subject":"acme/c",
    "time":"2023-01-01T00:00:00Z","data":{"name":"Bakery"}}"#;

async fn engine(fresh: &Fresh) -> Arc<Engine> {
    let clock = Arc::new(SimulatedClock::at(start()));
    let engine = Engine::start(fresh.store.clone(), clock, &Policy::default()).await;
    Arc::new(engine.expect("an engine"))
}

async fn concurrent_callers_redrive_a_dead_letter_once(fresh: Fresh) {
    let engine = engine(&fresh).await;
    let dead_letters = vec![Incoming::Dead(dead_letter(ADDED))];
    engine.ingest(dead_letters).await.expect("ingested");
    let id = fresh
        .store
        .dead_letters(&DeadLetterFilter::default(), 0, 1)
        .await
        .expect("a list")[0]
        .id;
    let redrives = (0..8).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let decoder = Decoder::new(Limits::default(), engine.now());
            engine.redrive(id, &decoder).await.expect("redriven")
        })
    });
    let mut done = Vec::new();
    for redrive in redrives.collect::<Vec<_>>() {
        done.push(redrive.await.expect("it ends"));
    }
    let once = done
        .iter()
        .filter(|one| **one == Redrive::Now(vec![Outcome::Applied]));
    assert_eq!(once.count(), 1, "{done:?}");
    let others = |one: &&Redrive| matches!(one, Redrive::Claimed | Redrive::Done(_));
    assert_eq!(done.iter().filter(others).count(), 7, "{done:?}");
    let record = fresh
        .store
        .dead_letter(id)
        .await
        .expect("a record")
        .expect("it stays");
    assert_eq!(record.status, DeadLetterStatus::Redriven);
    assert_eq!(record.redrive_outcome.as_deref(), Some("applied"));
    assert_eq!(record.resolved_at, record.redriven_at);
}

async fn a_dead_letter_that_is_still_dead_may_be_redriven_again(fresh: Fresh) {
    let engine = engine(&fresh).await;
    let dead_letters = vec![
        Incoming::Dead(dead_letter("{")),
        Incoming::Dead(dead_letter(ADDED)),
    ];
    engine.ingest(dead_letters).await.expect("ingested");
    let decoder = Decoder::new(Limits::default(), engine.now());
    let lines = fresh
        .store
        .dead_letters(&DeadLetterFilter::default(), 0, 9)
        .await
        .expect("a list");
    for times in 2..4 {
        let redriven = engine.redrive(lines[0].id, &decoder).await.expect("redriven");
        assert!(
            matches!(&redriven, Redrive::Now(outcomes) if matches!(outcomes[..], [Outcome::Dead(_)])),
            "{redriven:?}"
        );
        let record = fresh
            .store
            .dead_letter(lines[0].id)
            .await
            .expect("a record")
            .expect("it stays");
        assert_eq!(
            (record.status, record.resolved_at, record.times_seen),
            (DeadLetterStatus::Open, None, times)
        );
        assert!(
            record
                .redrive_outcome
                .is_some_and(|redrive_outcome| redrive_outcome.starts_with("dead: "))
        );
    }
    assert_eq!(
        engine.redrive(999_999, &decoder).await.expect("an answer"),
        Redrive::Unknown
    );
    fresh
        .store
        .discard_dead_letter(lines[1].id, engine.now())
        .await
        .expect("discarded");
    let redriven = engine.redrive(lines[1].id, &decoder).await.expect("redriven");
    assert_eq!(
        redriven,
        Redrive::Now(vec![Outcome::Applied]),
        "a discarded dead letter may be redriven"
    );
    let again = engine.redrive(lines[1].id, &decoder).await.expect("redriven");
    let redriven = Redriven {
        outcome: "applied".into(),
        at: Some(engine.now()),
    };
    assert_eq!(again, Redrive::Done(redriven));
}

async fn a_dead_letter_that_cannot_be_claimed_says_what_it_is(fresh: Fresh) {
    let engine = engine(&fresh).await;
    let dead_letters = vec![Incoming::Dead(dead_letter(ADDED))];
    engine.ingest(dead_letters).await.expect("ingested");
    let decoder = Decoder::new(Limits::default(), engine.now());
    let all = DeadLetterFilter::default();
    let id = fresh.store.dead_letters(&all, 0, 1).await.expect("a list")[0].id;
    let (now, later) = (engine.now(), engine.now() + TimeDelta::minutes(1));
    let claimed = fresh.store.claim_dead_letter(id, now, later).await;
    assert!(claimed.expect("a claim").is_some());
    let said = async || {
        let redriven = engine.redrive(id, &decoder).await.expect("an answer");
        let (word, _) = redriven.refusal().expect("nothing was ingested");
        (redriven, word)
    };
    assert_eq!(said().await, (Redrive::Claimed, "in progress"));
    let discarded = fresh.store.discard_dead_letter(id, now).await;
    assert!(discarded.expect("discarded"));
    assert_eq!(said().await, (Redrive::Discarded, "discarded"));
    let ended = fresh.store.end_redrive(id, false, "applied", now).await;
    ended.expect("redriven");
    let redriven = Redriven {
        outcome: "applied".into(),
        at: Some(now),
    };
    assert_eq!(said().await, (Redrive::Done(redriven), "redriven"));
}

async fn a_resolved_dead_letter_keeps_its_resolution(fresh: Fresh) {
    let engine = engine(&fresh).await;
    let dead_letters = vec![
        Incoming::Dead(dead_letter(ADDED)),
        Incoming::Dead(dead_letter("{")),
    ];
    engine.ingest(dead_letters).await.expect("ingested");
    let decoder = Decoder::new(Limits::default(), engine.now());
    let all = DeadLetterFilter::default();
    let lines = fresh.store.dead_letters(&all, 0, 2).await.expect("a list");
    let (first, second) = (lines[0].id, lines[1].id);
    engine.redrive(first, &decoder).await.expect("redriven");
    let ann = Authority {
        who: "ann".into(),
        how: AuditHow::Cli,
        reason: None,
        request_id: None,
    };
    let discard = async |id| {
        let discarded = engine.operator(&ann).discard_dead_letter(id).await;
        discarded.expect("an answer")
    };
    let at = Some(engine.now());
    let redriven = Redriven {
        outcome: "applied".into(),
        at,
    };
    assert_eq!(discard(first).await, Discard::Redriven(redriven));
    assert_eq!(discard(second).await, Discard::Now);
    assert_eq!(discard(second).await, Discard::Discarded(at));
    assert_eq!(discard(999_999).await, Discard::Unknown);
    // Only what was done is in the audit log.
    let entries = engine.audit_log(&AuditFilter::default(), i64::MAX, 9).await;
    let entries = entries.expect("entries").entries;
    let actions: Vec<_> = entries.iter().map(|record| &*record.entry.action).collect();
    assert_eq!(actions, ["dead_letter.discard"]);
}

on_both_stores!(
    concurrent_callers_redrive_a_dead_letter_once,
    a_dead_letter_that_is_still_dead_may_be_redriven_again,
    a_dead_letter_that_cannot_be_claimed_says_what_it_is,
    a_resolved_dead_letter_keeps_its_resolution,
);
