//! The access log: who entered which account when, whichever way an event takes. While it is off, nothing is stored.

use std::sync::Arc;

use chrono::TimeDelta;
use tenure::clock::SimulatedClock;
use tenure::config::{RetentionSettings, Settings};
use tenure::domain::event::AccessedBy;
use tenure::domain::{Actor, ActorKind, ClientKey, Event, EventKind, Name, Policy, Refusal};
use tenure::engine::{AccessView, Engine, Incoming, Outcome, Redrive};
use tenure::store::{AccessFilter, DeadLetter, DeadLetterFilter};
use tenure::wire::{Decoder, Limits};
use tokio_util::sync::CancellationToken;

use super::policies::{accessed, active, day, event, key};
use super::setup::{Setup, on_both_stores};
use crate::fault_injecting::{FaultInjectingStore, Faults};
use crate::store::Fresh;

const DAYS: i64 = 90;

/// An engine on day 45 that stores entries for 90 days. No timer is due yet of a client that is active since day 0.
async fn setup(fresh: Fresh) -> Setup {
    let mut setup = Setup::start(fresh, day(45), &Policy::default()).await;
    setup.engine = setup.engine.with_access_log(Some(TimeDelta::days(DAYS)));
    setup
}

async fn ingest(engine: &Engine, events: impl IntoIterator<Item = Event>) -> Vec<Outcome> {
    let incoming = events.into_iter().map(Incoming::Event).collect();
    engine.ingest(incoming).await.expect("ingested")
}

fn touch(name: &str, days: i64) -> Event {
    Event {
        id: name.into(),
        ..accessed(day(days))
    }
}

fn by_staff(name: &str, days: i64) -> Event {
    let kind = EventKind::AccountAccessed {
        by: AccessedBy::Staff,
        user: Some("u-7".into()),
    };
    Event {
        id: name.into(),
        ..event(day(days), kind)
    }
}

fn disabled(days: i64) -> Event {
    event(day(days), EventKind::AccessDisabled {})
}

fn enabled(days: i64) -> Event {
    event(day(days), EventKind::AccessEnabled {})
}

async fn entries(engine: &Engine, of: &ClientKey) -> Vec<AccessView> {
    let page = engine.accesses(of, &AccessFilter::default(), None, 100).await;
    let page = page.expect("the access log").expect("the client exists");
    assert_eq!(page.next, None);
    page.accesses
}

/// The ids of the entries, the latest first, each with its refusal.
async fn listed(engine: &Engine) -> Vec<String> {
    let entries = entries(engine, &key()).await;
    let shown = entries.iter().map(|entry| match entry.refusal {
        None => entry.id.to_string(),
        Some(refusal) => format!("{} {refusal}", entry.id),
    });
    shown.collect()
}

async fn every_way_of_an_event_has_an_entry(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh).await;
    let nobody = engine
        .accesses(&key(), &AccessFilter::default(), None, 1)
        .await
        .expect("an answer");
    assert_eq!(nobody, None, "an unknown client");
    ingest(&engine, active()).await;
    assert_eq!(listed(&engine).await, Vec::<String>::new());
    // The first touch opens the renew-only window. The next ones are stored unread.
    ingest(&engine, [touch("t20", 20)]).await;
    ingest(&engine, [touch("t25", 25), touch("t26", 26)]).await;
    // A late one, again one that is packed, one of staff, and two in one batch with the same id.
    ingest(&engine, [touch("t22", 22)]).await;
    assert_eq!(ingest(&engine, [touch("t25", 25)]).await, [Outcome::Applied]);
    ingest(&engine, [by_staff("s27", 27)]).await;
    assert_eq!(ingest(&engine, [by_staff("s27", 27)]).await, [Outcome::Duplicate]);
    assert_eq!(
        ingest(&engine, [touch("t28", 28), touch("t28", 28)]).await,
        [Outcome::Applied, Outcome::Duplicate]
    );
    // Refused, and refused again.
    ingest(&engine, [disabled(30)]).await;
    let no_access = Outcome::refused(Refusal::NoAccess);
    assert_eq!(ingest(&engine, [touch("t31", 31)]).await, [no_access]);
    assert_eq!(ingest(&engine, [touch("t31", 31)]).await, [Outcome::Duplicate]);
    assert_eq!(
        listed(&engine).await,
        ["t31 no_access", "t28", "s27", "t26", "t25", "t22", "t20"]
    );
    let of_staff = &entries(&engine, &key()).await[2];
    assert_eq!(
        (of_staff.by, of_staff.user.as_deref(), of_staff.time),
        (AccessedBy::Staff, Some("u-7"), day(27))
    );
}

/// The store is asked as often with the access log as without.
async fn a_touch_that_is_stored_unread_has_an_entry(fresh: Fresh) {
    let clock = Arc::new(SimulatedClock::at(day(45)));
    let mut calls = Vec::new();
    for (client, access_log) in [("off", None), ("on", Some(TimeDelta::days(DAYS)))] {
        let faults = Arc::new(Faults::default());
        let store = FaultInjectingStore {
            faults: faults.clone(),
            ..FaultInjectingStore::new(fresh.store.clone())
        };
        let engine = Engine::start(Arc::new(store), clock.clone(), &Policy::default()).await;
        let engine = engine.expect("an engine").with_access_log(access_log);
        let of = ClientKey::new("p", client).expect("a key");
        let ours = |event: Event| Event {
            id: format!("{client}-{}", event.id).into(),
            key: of.clone(),
            ..event
        };
        let named = |event: Event| match event.kind {
            EventKind::ClientAdded { imported, .. } => Event {
                kind: EventKind::ClientAdded {
                    name: Name::try_from(client.to_owned()).expect("a name"),
                    imported,
                },
                ..event
            },
            _ => event,
        };
        ingest(&engine, active().into_iter().map(named).map(ours)).await;
        // This opens the renew-only window.
        ingest(&engine, [ours(touch("t20", 20))]).await;
        let methods = [
            "begin",
            "lock",
            "duplicates",
            "renew",
            "write",
            "commit",
            "rollback",
        ];
        let before = methods.map(|method| faults.calls(method));
        for (name, days) in [("t25", 25), ("t26", 26)] {
            assert_eq!(
                ingest(&engine, [ours(touch(name, days))]).await,
                [Outcome::Applied]
            );
        }
        let after = methods.map(|method| faults.calls(method));
        let counted: Vec<(&str, u32)> = (0..methods.len())
            .map(|n| (methods[n], after[n] - before[n]))
            .collect();
        assert_eq!(counted[1], ("lock", 0), "the client is not read");
        calls.push(counted);
        let entries = entries(&engine, &of).await;
        assert_eq!(entries.len(), if access_log.is_some() { 3 } else { 0 });
    }
    assert_eq!(calls[0], calls[1]);
}

async fn an_entry_says_who_entered(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh).await;
    ingest(&engine, active()).await;
    ingest(&engine, [touch("t20", 20)]).await;
    let ann = Actor {
        id: Some("ann".into()),
        kind: Some(ActorKind::Partner),
    };
    let kind = EventKind::AccountAccessed {
        by: AccessedBy::Partner,
        user: Some("u-1".into()),
    };
    // In the window, where packing drops all of it.
    let by_ann = Event {
        actor: ann.clone(),
        id: "t25".into(),
        ..event(day(25), kind)
    };
    // The customer cannot enter as the partner.
    let by_customer = Event {
        actor: Actor {
            kind: Some(ActorKind::Customer),
            ..ann.clone()
        },
        id: "t26".into(),
        ..by_ann.clone()
    };
    ingest(&engine, [by_ann]).await;
    ingest(&engine, [by_customer]).await;
    let nobody = Event {
        key: ClientKey::new("p", "nobody").expect("a key"),
        ..touch("n-1", 27)
    };
    ingest(&engine, [nobody.clone()]).await;
    let found = entries(&engine, &key()).await;
    let [by_customer, by_ann] = &found[..2] else {
        panic!("{found:?}");
    };
    let both = [by_ann, by_customer];
    let (sources, users) = (both.map(|one| &*one.source), both.map(|one| one.user.as_deref()));
    assert_eq!((sources, users), (["/s"; 2], [Some("u-1"); 2]));
    assert_eq!((&by_ann.actor, by_ann.refusal), (&ann, None));
    assert_eq!(by_customer.refusal, Some("not_theirs"));
    assert_eq!(
        by_customer.reason,
        Some(Refusal::from_code("not_theirs").expect("a code").words())
    );
    let of_nobody = entries(&engine, &nobody.key).await;
    assert_eq!(of_nobody[0].refusal, Some("unknown_client"));
}

/// Both of touches that were packed, and of one that has a row in the event log.
async fn a_late_event_changes_the_outcome_of_entries(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh).await;
    ingest(&engine, active()).await;
    for (name, days) in [("t20", 20), ("t25", 25), ("t30", 30)] {
        ingest(&engine, [touch(name, days)]).await;
    }
    ingest(&engine, [disabled(22)]).await;
    assert_eq!(listed(&engine).await, ["t30 no_access", "t25 no_access", "t20"]);
    // Another touch of the same moment.
    ingest(&engine, [touch("other", 25)]).await;
    ingest(&engine, [enabled(27)]).await;
    let entries = listed(&engine).await;
    let orders = [
        ["t30", "t25 no_access", "other no_access", "t20"],
        ["t30", "other no_access", "t25 no_access", "t20"],
    ];
    assert!(orders.iter().any(|order| entries == *order), "{entries:?}");
    // Enabled before both, and after the end.
    ingest(&engine, [enabled(23)]).await;
    let mut entries = listed(&engine).await;
    entries.sort();
    assert_eq!(entries, ["other", "t20", "t25", "t30"]);
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "{:?}", report.drifts);
}

async fn a_redriven_event_has_an_entry(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh).await;
    ingest(&engine, active()).await;
    let time = day(30).to_rfc3339();
    let body = format!(
        r#"{{"specversion":"1.0","id":"e-1","source":"/s","type":"account.accessed","subject":"{}","time":"{time}"}}"#,
        key()
    );
    let dead = DeadLetter {
        origin: "amqp:tenure.dead".into(),
        source: None,
        content_type: Some("application/cloudevents+json".into()),
        headers: Vec::new(),
        body: body.into(),
        reason: "given up".into(),
        retry_at: None,
    };
    engine.ingest(vec![Incoming::Dead(dead)]).await.expect("ingested");
    assert_eq!(listed(&engine).await, Vec::<String>::new());
    let dead_letters = engine
        .store()
        .dead_letters(&DeadLetterFilter::default(), 0, 1)
        .await;
    let id = dead_letters.expect("a list")[0].id;
    let decoder = Decoder::new(Limits::default(), engine.now());
    let redriven = engine.redrive(id, &decoder).await.expect("redriven");
    assert_eq!(redriven, Redrive::Now(vec![Outcome::Applied]));
    assert_eq!(listed(&engine).await, ["e-1"]);
}

fn retention() -> RetentionSettings {
    let chunk = ("TENURE_RETENTION__CHUNK".to_owned(), "2".to_owned());
    Settings::load(None, [chunk].into_iter())
        .expect("settings")
        .retention
}

/// Removes expired rows, after counting them.
async fn prune(engine: &Engine) -> u64 {
    let stop = CancellationToken::new();
    let dry = engine.prune(&retention(), true, &stop).await.expect("counted");
    let done = engine.prune(&retention(), false, &stop).await.expect("pruned");
    assert_eq!(dry.accesses, done.accesses);
    done.accesses
}

async fn entries_are_stored_for_as_long_as_the_settings_say(fresh: Fresh) {
    let Setup {
        engine,
        clock,
        fresh: _fresh,
    } = setup(fresh).await;
    let engine = engine.with_access_log(Some(TimeDelta::days(20)));
    ingest(&engine, active()).await;
    // Twenty days before day 45 is day 25.
    let old = [
        touch("t23", 23),
        touch("t24", 24),
        touch("t25", 25),
        touch("t26", 26),
    ];
    ingest(&engine, old).await;
    ingest(&engine, [touch("t40", 40), touch("t44", 44)]).await;
    assert_eq!(listed(&engine).await, ["t44", "t40", "t26", "t25"]);
    assert_eq!(prune(&engine).await, 0);
    clock.set(day(47));
    assert_eq!(listed(&engine).await, ["t44", "t40"], "the others have expired");
    assert_eq!(prune(&engine).await, 2);
    // Arriving again, one is too old, and the other is there.
    ingest(&engine, [touch("t26", 26), touch("t40", 40)]).await;
    assert_eq!(prune(&engine).await, 0);
    assert_eq!(listed(&engine).await, ["t44", "t40"]);
    // A shorter setting.
    let engine = engine.with_access_log(Some(TimeDelta::days(5)));
    assert_eq!(listed(&engine).await, ["t44"]);
    assert_eq!(prune(&engine).await, 1);
    // Off: what is there stays until it is pruned, also an entry ahead of the clock.
    ingest(&engine, [touch("t50", 50)]).await;
    let engine = engine.with_access_log(None);
    assert_eq!(listed(&engine).await, ["t50", "t44"]);
    assert_eq!(prune(&engine).await, 2);
    assert_eq!(listed(&engine).await, Vec::<String>::new());
}

async fn only_what_arrives_while_the_access_log_is_on_has_an_entry(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh).await;
    let engine = engine.with_access_log(None);
    ingest(&engine, active()).await;
    ingest(&engine, [touch("t20", 20), by_staff("s21", 21)]).await;
    ingest(&engine, [touch("t25", 25)]).await;
    assert_eq!(listed(&engine).await, Vec::<String>::new());
    let engine = engine.with_access_log(Some(TimeDelta::days(DAYS)));
    ingest(&engine, [touch("t26", 26)]).await;
    // Touches from before have no entry that a late event could change.
    ingest(&engine, [disabled(23)]).await;
    assert_eq!(listed(&engine).await, ["t26 no_access"]);
}

/// While it is off, a late event does not change the outcomes of entries.
async fn switched_on_again_the_access_log_begins_empty(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh).await;
    engine.record_access_log().await.expect("recorded");
    ingest(&engine, active()).await;
    for (name, days) in [("t20", 20), ("t25", 25)] {
        ingest(&engine, [touch(name, days)]).await;
    }
    let engine = engine.with_access_log(None);
    engine.record_access_log().await.expect("recorded");
    ingest(&engine, [disabled(22)]).await;
    let engine = engine.with_access_log(Some(TimeDelta::days(DAYS)));
    engine.record_access_log().await.expect("recorded");
    assert_eq!(listed(&engine).await, Vec::<String>::new());
    ingest(&engine, [touch("t26", 26)]).await;
    // Another worker starts with it.
    engine.record_access_log().await.expect("recorded");
    assert_eq!(listed(&engine).await, ["t26 no_access"]);
}

/// In a rolling restart some workers have it and some do not.
async fn the_access_log_is_complete_since_the_last_worker_without_it_has_ended(fresh: Fresh) {
    let Setup { fresh, clock, engine } = setup(fresh).await;
    let off = Engine::open(fresh.store.clone(), clock.clone(), &Policy::default())
        .await
        .expect("an engine");
    off.record_access_log().await.expect("recorded");
    // Nobody has it: nothing is recorded.
    off.record_end_without_access_log().await.expect("recorded");
    engine.record_access_log().await.expect("recorded");
    clock.set(day(46));
    engine.record_end_without_access_log().await.expect("recorded");
    let since = engine.access_log_since().await.expect("an answer");
    assert_eq!(since, Some(day(45)), "a worker with it has ended");
    off.record_end_without_access_log().await.expect("recorded");
    clock.set(day(47));
    engine.record_access_log().await.expect("recorded");
    let since = engine.access_log_since().await.expect("an answer");
    assert_eq!(since, Some(day(46)));
}

/// A worker records it when it starts.
async fn the_access_log_is_on_since_the_first_worker_that_had_it(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        clock,
    } = setup(fresh).await;
    assert_eq!(engine.access_log_since().await.expect("an answer"), None);
    for days in [45, 46] {
        clock.set(day(days));
        engine.record_access_log().await.expect("recorded");
        let since = engine.access_log_since().await.expect("an answer");
        assert_eq!(since, Some(day(45)));
    }
    let off = engine.with_access_log(None);
    assert_eq!(
        off.access_log_since().await.expect("an answer"),
        None,
        "by its settings"
    );
    off.record_access_log().await.expect("recorded");
    let on = off.with_access_log(Some(TimeDelta::days(DAYS)));
    assert_eq!(on.access_log_since().await.expect("an answer"), None);
    on.record_access_log().await.expect("recorded");
    let since = on.access_log_since().await.expect("an answer");
    assert_eq!(since, Some(day(46)));
}

/// Without its tables: no statement reads or writes them, on any path.
async fn nothing_reads_or_writes_an_access_log_that_is_off(fresh: Fresh) {
    let Setup { engine, fresh, .. } = setup(fresh).await;
    let engine = engine.with_access_log(None);
    for statement in [
        "drop view access_log",
        "drop table accesses",
        "drop table access_log_since",
    ] {
        fresh.database.sql(statement).await;
    }
    ingest(&engine, active()).await;
    for (name, days) in [("t20", 20), ("t25", 25), ("t30", 30)] {
        assert_eq!(ingest(&engine, [touch(name, days)]).await, [Outcome::Applied]);
    }
    ingest(&engine, [touch("t22", 22), by_staff("s31", 31)]).await;
    // A replay that changes the outcomes of packed touches.
    ingest(&engine, [disabled(23)]).await;
    let no_access = Outcome::refused(Refusal::NoAccess);
    assert_eq!(ingest(&engine, [touch("t32", 32)]).await, [no_access]);
    let report = engine.verify(|_| {}).await.expect("a verification");
    assert!(report.drifts.is_empty(), "{:?}", report.drifts);
}

on_both_stores!(
    every_way_of_an_event_has_an_entry,
    a_touch_that_is_stored_unread_has_an_entry,
    an_entry_says_who_entered,
    a_late_event_changes_the_outcome_of_entries,
    a_redriven_event_has_an_entry,
    entries_are_stored_for_as_long_as_the_settings_say,
    only_what_arrives_while_the_access_log_is_on_has_an_entry,
    switched_on_again_the_access_log_begins_empty,
    the_access_log_is_complete_since_the_last_worker_without_it_has_ended,
    the_access_log_is_on_since_the_first_worker_that_had_it,
    nothing_reads_or_writes_an_access_log_that_is_off,
);
