//! Expected sources: while one is silent, no timer fires that its events may still cancel, and no decision is assured.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tenure::domain::{Action, ClientKey, Event, EventKind, Name, Policy, Sweep};
use tenure::engine::{Engine, HeldBack, Incoming, OnSilence, SweepMode, SweepOptions, SweepReport};
use tenure::store::{DeadLetter, Watermark};

use super::policies::{accessed, active, day, event, idle, ingest, key};
use super::setup::{Setup, on_both_stores};
use crate::store::Fresh;

on_both_stores![
    late_events_leave_no_trace_of_the_silence,
    an_event_of_another_source_fires_no_timer_beyond_the_watermark,
    a_source_is_silent_until_its_events_have_caught_up,
    a_source_that_was_never_heard_of_counts_from_when_it_was_first_expected,
    every_event_of_a_source_counts_and_nothing_else,
    what_is_heard_is_recorded_every_ten_seconds,
    all_workers_know_of_a_silence,
    the_earliest_of_lanes_and_silent_sources_bounds_a_sweep,
    a_dry_run_as_of_a_moment_ignores_the_silence,
    access_that_expires_during_a_silence_is_decided_by_the_settings,
    access_that_ended_otherwise_is_denied_during_a_silence,
];

const ACCOUNTS: &str = "/accounts";

/// A client that its partner enters on day 1. `/accounts` must be heard from every day.
async fn setup(fresh: Fresh) -> Setup {
    let setup = Setup::start(fresh, day(0), &idle(60)).await;
    expect_accounts(&setup.engine).await;
    ingest(&setup.engine, active()).await;
    setup.clock.set(day(1));
    ingest(&setup.engine, [touch(day(1))]).await;
    setup
}

async fn expect_accounts(engine: &Engine) {
    let expected = [(ACCOUNTS.to_owned(), TimeDelta::days(1))];
    engine.expect_sources(&expected.into()).await.expect("expected");
}

fn touch(at: DateTime<Utc>) -> Event {
    Event {
        source: ACCOUNTS.into(),
        ..accessed(at)
    }
}

fn renamed(at: DateTime<Utc>) -> Event {
    let name = Name::try_from("Bakery & Sons".to_owned()).expect("a name");
    event(at, EventKind::ClientRenamed { name })
}

async fn sweep(engine: &Engine) -> SweepReport {
    let options = SweepOptions::new(SweepMode::Confirmed);
    engine
        .sweep(Sweep::AccessExpiry, options, |_| {})
        .await
        .expect("a sweep")
}

/// The journal: type, time, and whether it is a correction.
async fn journal(setup: &Setup) -> Vec<(&'static str, DateTime<Utc>, bool)> {
    let lines = setup.fresh.store.journal(&key(), 0, 1_000).await;
    let line = |line: tenure::store::Recorded| {
        let kind = line.entry.change.kind().as_str();
        (kind, line.entry.time, line.entry.is_correction())
    };
    lines.expect("a journal").into_iter().map(line).collect()
}

async fn silent_since(engine: &Engine) -> Option<DateTime<Utc>> {
    engine.sources().await.expect("the sources")[0].silent_since
}

async fn last_heard(engine: &Engine) -> Option<DateTime<Utc>> {
    engine.sources().await.expect("the sources")[0].last_heard
}

async fn late_events_leave_no_trace_of_the_silence(fresh: Fresh) {
    let setup = setup(fresh).await;
    let (engine, clock) = (&setup.engine, &setup.clock);
    // Warnings are due from day 47 on, and the expiry on day 61.
    clock.set(day(62));
    let report = sweep(engine).await;
    assert_eq!((report.until, report.counts.changed), (Some(day(1)), 0));
    let Some(HeldBack::Source(silent)) = &report.held_back else {
        panic!("{report:?}");
    };
    assert_eq!((&*silent.source, silent.silent_since), (ACCOUNTS, day(1)));
    let why = silent.to_string();
    assert!(
        why.contains("/accounts is silent") && why.contains("every 1d"),
        "{why}"
    );
    let waits = engine
        .sweep_held_back(Sweep::AccessExpiry)
        .await
        .expect("an answer");
    assert_eq!(waits, report.held_back);

    ingest(engine, [touch(day(20)), touch(day(40)), touch(day(62))]).await;
    let report = sweep(engine).await;
    assert_eq!((report.until, report.held_back), (Some(day(62)), None));

    // The same life with every event in time.
    let in_time = Setup::start(Fresh::sqlite("").await, day(0), &idle(60)).await;
    ingest(&in_time.engine, active()).await;
    for days in [1, 20, 40, 62] {
        in_time.clock.set(day(days));
        ingest(&in_time.engine, [touch(day(days))]).await;
        sweep(&in_time.engine).await;
    }
    assert_eq!(journal(&setup).await, journal(&in_time).await);
    let view = async |engine: &Engine| {
        let client = engine
            .client(&key(), None)
            .await
            .expect("an answer")
            .expect("a client");
        let mut client = serde_json::to_value(client).expect("JSON");
        client["version"].take();
        client
    };
    assert_eq!(view(engine).await, view(&in_time.engine).await);

    // Without the expectation it would have expired.
    let unaware = Setup::start(Fresh::sqlite("").await, day(0), &idle(60)).await;
    ingest(&unaware.engine, active()).await;
    ingest(&unaware.engine, [touch(day(1))]).await;
    unaware.clock.set(day(62));
    assert_eq!(sweep(&unaware.engine).await.counts.changed, 1);
}

async fn an_event_of_another_source_fires_no_timer_beyond_the_watermark(fresh: Fresh) {
    let setup = setup(fresh).await;
    setup.clock.set(day(62));
    ingest(&setup.engine, [renamed(day(2))]).await;
    let changes = journal(&setup).await;
    assert!(
        changes.iter().any(|(kind, ..)| *kind == "client.renamed"),
        "{changes:?}"
    );
    assert!(
        !changes.iter().any(|(kind, ..)| kind.starts_with("access.exp")),
        "{changes:?}"
    );
    // The timers that are due before an event always fire with it, and a late event corrects them.
    ingest(&setup.engine, [renamed(day(62))]).await;
    assert!(
        journal(&setup)
            .await
            .contains(&("access.expired", day(61), false))
    );
    ingest(&setup.engine, [touch(day(40))]).await;
    let corrected = journal(&setup).await;
    assert!(
        corrected
            .iter()
            .any(|(kind, _, correction)| *kind == "access.enabled" && *correction)
    );
}

async fn a_source_is_silent_until_its_events_have_caught_up(fresh: Fresh) {
    let setup = setup(fresh).await;
    setup.clock.set(day(70));
    for days in [20, 40, 68] {
        ingest(&setup.engine, [touch(day(days))]).await;
        assert_eq!(silent_since(&setup.engine).await, Some(day(days)));
        assert_eq!(sweep(&setup.engine).await.until, Some(day(days)));
    }
    ingest(&setup.engine, [touch(day(69))]).await;
    assert_eq!(silent_since(&setup.engine).await, None, "exactly a day ago");
    assert_eq!(sweep(&setup.engine).await.until, Some(day(70)));
    let changes = journal(&setup).await;
    assert!(
        !changes.iter().any(|(kind, ..)| kind.starts_with("access.exp")),
        "{changes:?}"
    );
}

async fn a_source_that_was_never_heard_of_counts_from_when_it_was_first_expected(fresh: Fresh) {
    let setup = Setup::start(fresh, day(5), &Policy::default()).await;
    expect_accounts(&setup.engine).await;
    setup.clock.set(day(6));
    assert_eq!(silent_since(&setup.engine).await, None);
    setup.clock.set(day(6) + TimeDelta::seconds(1));
    assert_eq!(silent_since(&setup.engine).await, Some(day(5)));
    // A worker that starts again changes nothing.
    expect_accounts(&setup.engine).await;
    assert_eq!(silent_since(&setup.engine).await, Some(day(5)));
    // An event from before does not move it back.
    ingest(&setup.engine, [touch(day(2))]).await;
    assert_eq!(last_heard(&setup.engine).await, Some(day(2)));
    assert_eq!(silent_since(&setup.engine).await, Some(day(5)));
    setup.engine.expect_sources(&[].into()).await.expect("none");
    let report = sweep(&setup.engine).await;
    assert_eq!(report.until, Some(day(6) + TimeDelta::seconds(1)));
}

async fn every_event_of_a_source_counts_and_nothing_else(fresh: Fresh) {
    let setup = setup(fresh).await;
    let engine = &setup.engine;
    setup.clock.set(day(30));
    let dead_letter = DeadLetter {
        origin: "http".into(),
        source: None,
        content_type: None,
        headers: Vec::new(),
        body: b"{\"source\":\"/accounts\"}".to_vec(),
        reason: "it has no id".into(),
        retry_at: None,
    };
    engine
        .ingest(vec![Incoming::Dead(dead_letter)])
        .await
        .expect("ingested");
    ingest(engine, [renamed(day(30))]).await;
    ingest(engine, [touch(day(1))]).await;
    assert_eq!(
        last_heard(engine).await,
        Some(day(1)),
        "repeated, dead, or of another source"
    );

    let unknown = ClientKey::new("p", "nobody").expect("a key");
    let refused = Event {
        key: unknown,
        ..touch(day(10))
    };
    ingest(engine, [refused.clone()]).await;
    assert_eq!(last_heard(engine).await, Some(day(10)), "refused");
    let disabled = Event {
        source: ACCOUNTS.into(),
        ..event(day(12), EventKind::AccessDisabled {})
    };
    ingest(engine, [touch(day(11)), disabled]).await;
    assert_eq!(last_heard(engine).await, Some(day(12)), "the latest of a batch");
    // A time ahead of the clock counts as now.
    ingest(engine, [touch(day(30) + TimeDelta::minutes(4))]).await;
    assert_eq!(last_heard(engine).await, Some(day(30)));

    // If the record is lost, a repeated event restores it.
    engine.expect_sources(&[].into()).await.expect("none");
    expect_accounts(engine).await;
    assert_eq!(last_heard(engine).await, None);
    ingest(engine, [refused]).await;
    assert_eq!(last_heard(engine).await, Some(day(10)));
}

async fn what_is_heard_is_recorded_every_ten_seconds(fresh: Fresh) {
    let setup = setup(fresh).await;
    let at = |seconds| day(1) + TimeDelta::seconds(seconds);
    for (seconds, recorded) in [(9, 0), (10, 10), (19, 10), (35, 35), (40, 35), (34, 35)] {
        setup.clock.set(at(60));
        ingest(&setup.engine, [touch(at(seconds))]).await;
        assert_eq!(last_heard(&setup.engine).await, Some(at(recorded)), "{seconds} s");
    }
    let rate = async || setup.engine.sources().await.expect("the sources")[0].events_per_hour;
    assert_eq!(rate().await, 5, "two have arrived since");
    setup.clock.set(at(90 * 60));
    // Of the hour before, the part that is within the last hour.
    assert!((1..5).contains(&rate().await));
}

async fn all_workers_know_of_a_silence(fresh: Fresh) {
    let setup = setup(fresh).await;
    let other = Engine::open(setup.fresh.store.clone(), setup.clock.clone(), &idle(60)).await;
    let other = Arc::new(other.expect("an engine"));
    setup.clock.set(day(62));
    assert_eq!(sweep(&other).await.until, Some(day(1)));
    assert!(
        !other
            .decide(&key(), None, None)
            .await
            .expect("a decision")
            .assured
    );
    ingest(&setup.engine, [touch(day(62))]).await;
    assert_eq!(sweep(&other).await.until, Some(day(62)));
    // It reads what others have heard at least once a second.
    setup.clock.set(day(62) + TimeDelta::seconds(1));
    assert!(
        other
            .decide(&key(), None, None)
            .await
            .expect("a decision")
            .assured
    );
}

async fn the_earliest_of_lanes_and_silent_sources_bounds_a_sweep(fresh: Fresh) {
    let setup = setup(fresh).await;
    let lane = "tenure.events.0".to_owned();
    setup
        .engine
        .set_lanes(std::slice::from_ref(&lane))
        .await
        .expect("a lane");
    setup.clock.set(day(62));
    // The events of a lane count as those of any other entry point.
    for (beat, touched, until) in [
        (None, 2, None),
        (Some(10), 20, Some(10)),
        (Some(40), 30, Some(30)),
    ] {
        let watermark = beat.map(|beat| Watermark {
            lane: lane.clone(),
            at: day(beat),
            partition_key: None,
        });
        let incoming = vec![Incoming::Event(touch(day(touched)))];
        setup
            .engine
            .ingest_from_lane(incoming, watermark)
            .await
            .expect("ingested");
        let report = sweep(&setup.engine).await;
        assert_eq!(report.until, until.map(day));
        let is_source = matches!(report.held_back, Some(HeldBack::Source(_)));
        assert_eq!(is_source, touched == 30);
    }
}

async fn a_dry_run_as_of_a_moment_ignores_the_silence(fresh: Fresh) {
    let setup = setup(fresh).await;
    setup.clock.set(day(40));
    let options = SweepOptions {
        as_of: Some(day(62)),
        ..SweepOptions::new(SweepMode::DryRun)
    };
    let report = setup.engine.sweep(Sweep::AccessExpiry, options, |_| {}).await;
    let report = report.expect("a sweep");
    assert_eq!((report.counts.changed, report.held_back), (1, None));
}

/// Whether access is allowed, why, and the silent source.
async fn decision(engine: &Engine, action: Option<&str>) -> (bool, &'static str, Option<String>) {
    let action = action.map(|name| Action::try_from(name).expect("an action"));
    let decision = engine
        .decide(&key(), action.as_ref(), None)
        .await
        .expect("a decision");
    assert_eq!(decision.assured, decision.silent_source.is_none());
    (decision.allowed, decision.reason, decision.silent_source)
}

async fn access_that_expires_during_a_silence_is_decided_by_the_settings(fresh: Fresh) {
    let setup = setup(fresh).await;
    let (mut engine, clock) = (setup.engine, setup.clock);
    let silent = || Some(ACCOUNTS.to_owned());
    assert_eq!(decision(&engine, None).await, (true, "access_enabled", None));
    clock.set(day(30));
    assert_eq!(decision(&engine, None).await, (true, "access_enabled", silent()));
    clock.set(day(62));
    assert_eq!(decision(&engine, None).await, (false, "access_expired", silent()));
    engine = engine.on_silence(OnSilence::Allow);
    for _ in 0..2 {
        assert_eq!(decision(&engine, None).await, (true, "access_enabled", silent()));
        let cancel = decision(&engine, Some("account_cancel")).await;
        assert_eq!(cancel, (false, "action_forbidden", silent()));
        // An event of another source fires the expiry, and is no reason to deny.
        ingest(&engine, [renamed(day(62))]).await;
    }
    ingest(&engine, [touch(day(62))]).await;
    clock.set(day(62) + TimeDelta::seconds(1));
    assert_eq!(
        decision(&engine, None).await,
        (false, "access_expired", None),
        "it is late"
    );
    ingest(&engine, [touch(day(40))]).await;
    assert_eq!(decision(&engine, None).await, (true, "access_enabled", None));
}

async fn access_that_ended_otherwise_is_denied_during_a_silence(fresh: Fresh) {
    let setup = setup(fresh).await;
    let engine = setup.engine.on_silence(OnSilence::Allow);
    let silent = || Some(ACCOUNTS.to_owned());
    // It expired before the silence.
    setup.clock.set(day(63));
    let heard = Event {
        key: ClientKey::new("p", "nobody").expect("a key"),
        ..touch(day(61))
    };
    ingest(&engine, [heard]).await;
    assert_eq!(decision(&engine, None).await, (false, "access_expired", silent()));
    // The customer disables it during the silence.
    ingest(&engine, [event(day(63), EventKind::AccessDisabled {})]).await;
    assert_eq!(
        decision(&engine, None).await,
        (false, "access_disabled", silent())
    );
}
