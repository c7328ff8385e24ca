//! The forecast is what sweeps make of a copy of the store while the clock advances and no event arrives.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tenure::clock::SimulatedClock;
use tenure::domain::{Actor, Cause, ChangeKind, ClientKey, Event, Policy, Sweep};
use tenure::engine::{
    AdoptionMode, Engine, ExpectedChange, ForecastRequest, Incoming, SweepMode, SweepOptions,
};
use tenure::store::Cursor;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::setup::{Setup, on_both_stores};
use super::wild;
use crate::simulation::seeds;
use crate::store::{Database, Fresh};

on_both_stores! {
    a_forecast_is_what_sweeps_do_at_every_deadline,
    a_forecast_is_what_late_sweeps_do_but_for_the_warnings,
}

/// What changes: the client, the time, the type, the values and the timer, as text.
type Changes = BTreeMap<String, Vec<String>>;

async fn a_forecast_is_what_sweeps_do_at_every_deadline(fresh: Fresh) {
    compare(fresh, 0, |_| true).await;
}

/// A sweep that finds several warnings overdue publishes the last of them.
async fn a_forecast_is_what_late_sweeps_do_but_for_the_warnings(fresh: Fresh) {
    compare(fresh, 9, |kind| kind != ChangeKind::AccessExpiring.as_str()).await;
}

/// Compares the forecast with sweeps of a copy that come up to this many days late. Each seed has partners of its own in the same
/// store, of which the forecast only concerns one.
async fn compare(fresh: Fresh, late_days: i64, counts: impl Fn(&str) -> bool) {
    let mut rng = StdRng::seed_from_u64(u64::try_from(late_days).expect("a count"));
    // Otherwise access expires only after the account was updated, which is seldom.
    let policy = Policy {
        from_account_update: false,
        ..wild::policy(&mut rng)
    };
    let setup = Setup::start(fresh, wild::start(), &policy).await;
    let mut changed = 0;
    let mut begin = wild::start();
    for seed in seeds(10) {
        let mut rng = StdRng::seed_from_u64(seed);
        let partner = format!("p{seed}");
        let keys: Vec<ClientKey> = (0..rng.random_range(1..7))
            .map(|number| ClientKey::new(&partner, &format!("c{number}")).expect("a key"))
            .collect();
        let now = ingest(&setup, &mut rng, &keys, begin).await;
        let until = now + TimeDelta::days(rng.random_range(0..150));
        let mut expected = forecast(&setup, &partner, until, rng.random_range(1..4)).await;
        let copy = copy(&setup, &format!("forecast_{late_days}_{seed}"), &policy).await;
        let before = last_lines(&copy, &keys).await;
        advance(&copy, &mut rng, until, late_days).await;
        let mut made = made(&copy, &keys, &before).await;
        let again = forecast(&setup, &partner, until, 4).await;
        assert_eq!(again, expected, "seed {seed}: the store is as it was");
        for changes in [&mut made, &mut expected] {
            for lines in changes.values_mut() {
                lines.retain(|line| counts(line.split(' ').nth(1).unwrap_or_default()));
            }
            changes.retain(|_, lines| !lines.is_empty());
        }
        assert_eq!(expected, made, "seed {seed}");
        changed += made.values().map(Vec::len).sum::<usize>();
        begin = until;
    }
    assert!(changed > 10, "{changed} changes");
}

/// A copy of the store on another one of its kind, with a clock of its own.
async fn copy(setup: &Setup, name: &str, policy: &Policy) -> Setup {
    let fresh = match setup.fresh.database {
        Database::Postgres(_) => Fresh::postgres(name).await,
        Database::Sqlite(_) => Fresh::sqlite(name).await,
    };
    let (sender, mut pages) = mpsc::channel(1);
    let source = setup.fresh.store.clone();
    let exporting = tokio::spawn(async move { source.export(sender).await });
    let mut import = fresh.store.begin_import().await.expect("an empty store");
    while let Some(page) = pages.recv().await {
        import.write(page).await.expect("imported");
    }
    exporting.await.expect("no panic").expect("exported");
    import.end().await.expect("complete");
    let clock = Arc::new(SimulatedClock::at(setup.engine.now()));
    let engine = Engine::join(fresh.store.clone(), clock.clone(), policy).await;
    Setup {
        fresh,
        clock,
        engine: engine.expect("an engine"),
    }
}

/// Ingests random histories, advances the clock beyond them, so that timers are overdue, and sometimes records a policy for
/// later. Returns the present.
async fn ingest(setup: &Setup, rng: &mut StdRng, keys: &[ClientKey], begin: DateTime<Utc>) -> DateTime<Utc> {
    let mut events: Vec<Event> = Vec::new();
    for key in keys {
        let noise = rng.random_range(0..30);
        events.extend(wild::history(rng, key, 150, noise));
    }
    // The clock never goes back, and stops in the middle of the histories, while timers run.
    for event in &mut events {
        event.time += begin - wild::start();
        // The actors of these histories have most invitations refused.
        event.actor = Actor::default();
    }
    let first = events.iter().map(|event| event.time).min().expect("an event");
    let end = begin + TimeDelta::days(rng.random_range(3..90));
    events.retain(|event| event.time <= end.max(first));
    let last = events.iter().map(|event| event.time).max().expect("an event");
    events.shuffle(rng);
    let mut now = begin.max(last);
    setup.clock.set(now);
    for batch in events.chunks(20) {
        let incoming = batch.iter().cloned().map(Incoming::Event).collect();
        setup.engine.ingest(incoming).await.expect("ingested");
    }
    if rng.random_bool(0.3) {
        let policy = Policy {
            from_account_update: false,
            ..wild::policy(rng)
        };
        let notice = TimeDelta::days(rng.random_range(1..40));
        let adopted = setup.engine.adopt(&policy, notice, AdoptionMode::Confirmed);
        adopted.await.expect("adopted");
        let never = CancellationToken::new();
        setup.engine.backfill_deadlines(&never).await.expect("deadlines");
    }
    now += TimeDelta::hours(rng.random_range(1..500));
    setup.clock.set(now);
    now
}

fn line(change: &ExpectedChange) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    format!(
        "{} {} {} {} {} {}",
        change.time.to_rfc3339(),
        change.kind,
        of(&change.id),
        of(&change.from),
        of(&change.to),
        change.timer
    )
}

async fn forecast(setup: &Setup, partner: &str, until: DateTime<Utc>, limit: u32) -> Changes {
    let mut request = ForecastRequest {
        partner: Some(partner.to_owned()),
        until,
        after: None,
        limit,
    };
    let mut all = Changes::new();
    loop {
        let page = setup.engine.forecast(&request).await.expect("a forecast");
        for client in page.clients {
            let lines = client.changes.iter().map(line).collect();
            assert!(
                all.insert(client.client, lines).is_none(),
                "a client is listed twice"
            );
        }
        let Some(next) = page.next else { return all };
        assert!(Some(&next) > request.after.as_ref());
        request.after = Some(next);
    }
}

/// The last line of each client's journal.
async fn last_lines(setup: &Setup, keys: &[ClientKey]) -> Vec<Cursor> {
    let mut cursors = Vec::new();
    for key in keys {
        let journal = setup
            .fresh
            .store
            .journal(key, 0, 100_000)
            .await
            .expect("a journal");
        cursors.push(journal.last().map(|line| line.cursor).unwrap_or_default());
    }
    cursors
}

/// What the journal has since then.
async fn made(setup: &Setup, keys: &[ClientKey], before: &[Cursor]) -> Changes {
    let mut all = Changes::new();
    for (key, before) in keys.iter().zip(before) {
        let journal = setup
            .fresh
            .store
            .journal(key, before.sequence, 100_000)
            .await
            .expect("a journal");
        let lines = journal.into_iter().map(|recorded| {
            let Cause::Timer { timer } = recorded.entry.cause else {
                panic!("not by a timer: {recorded:?}");
            };
            assert!(!recorded.entry.is_correction());
            let text = recorded.entry.change.text();
            line(&ExpectedChange {
                time: recorded.entry.time,
                kind: text.kind.to_owned(),
                id: text.id.map(str::to_owned),
                from: text.from.map(std::borrow::Cow::into_owned),
                to: text.to.map(std::borrow::Cow::into_owned),
                timer,
            })
        });
        all.insert(key.to_string(), lines.collect());
    }
    all
}

/// Runs every sweep now, at every deadline up to a moment or some time later, and at that moment.
async fn advance(setup: &Setup, rng: &mut StdRng, until: DateTime<Utc>, late_days: i64) {
    let mut now = setup.engine.now();
    loop {
        for sweep in Sweep::ALL {
            let options = SweepOptions {
                chunk: rng.random_range(1..5),
                ..SweepOptions::new(SweepMode::Confirmed)
            };
            setup.engine.sweep(sweep, options, |_| {}).await.expect("a sweep");
        }
        if now >= until {
            return;
        }
        let mut next = until;
        for sweep in Sweep::ALL {
            let due = setup
                .fresh
                .store
                .due(sweep, until, None, 1)
                .await
                .expect("deadlines");
            next = next.min(due.first().map_or(until, |(at, _)| *at));
        }
        assert!(next > now, "a sweep leaves a deadline that is due");
        now = (next + TimeDelta::days(rng.random_range(0..=late_days))).min(until);
        setup.clock.set(now);
    }
}
