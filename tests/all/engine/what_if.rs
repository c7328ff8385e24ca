//! A what-if is the difference between the journals of two stores: one under the recorded policies, and one that ran under the
//! other policy from the start.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tenure::domain::intervals::{Interval, Intervals};
use tenure::domain::{Actor, Cause, ClientKey, Event, EventKind, Policy, Sweep};
use tenure::engine::{
    AdoptionMode, ClientWhatIf, Difference, Engine, Incoming, SweepMode, SweepOptions, WhatIf, WhatIfChange,
    WhatIfDays, WhatIfRequest, WhatIfTotals,
};
use tokio_util::sync::CancellationToken;

use super::breaker::of;
use super::policies::{World, accessed, active, day, event, idle, ingest, key};
use super::setup::{Setup, on_both_stores};
use super::wild;
use crate::simulation::seeds;
use crate::store::Fresh;

on_both_stores! {
    a_what_if_is_the_journal_of_a_store_that_ran_under_the_other_policy,
}

async fn a_what_if_is_the_journal_of_a_store_that_ran_under_the_other_policy(fresh: Fresh) {
    assert!(compare(fresh, 0).await > 0);
}

#[tokio::test]
async fn a_what_if_is_that_journal_after_every_seed() {
    let mut lost = 0;
    for seed in seeds(3) {
        lost += compare(Fresh::sqlite("what-if").await, seed).await;
    }
    assert!(lost > 0);
}

/// Random lives under random policies.
struct Scene {
    keys: Vec<ClientKey>,
    /// Sorted by position.
    events: Vec<Event>,
    first: Policy,
    /// Recorded later than the first.
    second: (TimeDelta, Policy),
    other: Policy,
    now: DateTime<Utc>,
    window: Interval,
}

impl Scene {
    fn of(rng: &mut StdRng) -> Self {
        let mut policy = |idle: i64| Policy {
            // Otherwise access expires only after the account was updated, which is seldom.
            from_account_update: false,
            access_idle: TimeDelta::days(idle + rng.random_range(0..10)),
            ..wild::policy(rng)
        };
        let (first, second, other) = (policy(30), policy(45), policy(20));
        let keys: Vec<ClientKey> = (0..10)
            .map(|number| ClientKey::new(["acme", "best"][number / 6], &format!("c{number}")).expect("a key"))
            .collect();
        let now = wild::start() + TimeDelta::days(100);
        let mut events: Vec<Event> = Vec::new();
        for key in &keys {
            let noise = rng.random_range(0..25);
            events.extend(wild::history(rng, key, 100, noise));
        }
        events.retain(|event| event.time <= now);
        for event in &mut events {
            // The actors of these histories have most invitations refused.
            event.actor = Actor::default();
        }
        events.sort_by_cached_key(Event::position);
        Self {
            keys,
            events,
            first,
            second: (TimeDelta::days(rng.random_range(20..60)), policy_of(rng, second)),
            other,
            now,
            window: Interval {
                from: wild::start() + TimeDelta::days(rng.random_range(0..40)),
                to: now + TimeDelta::days(rng.random_range(20..80)),
            },
        }
    }
}

/// Every second policy differs in more than its durations.
fn policy_of(rng: &mut StdRng, mut policy: Policy) -> Policy {
    if rng.random_bool(0.5) {
        policy.warn_before.clear();
    }
    policy
}

/// Returns the number of clients that lose access.
async fn compare(fresh: Fresh, seed: u64) -> u64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let scene = Scene::of(&mut rng);
    // The store that is asked: its events arrived in any order, and no sweep ran.
    let asked = Setup::start(fresh, wild::start(), &scene.first).await;
    let recorded = Setup::start(Fresh::sqlite("recorded").await, wild::start(), &scene.first).await;
    for setup in [&asked, &recorded] {
        let (notice, policy) = &scene.second;
        let adopted = setup.engine.adopt(policy, *notice, AdoptionMode::Confirmed);
        adopted.await.expect("adopted");
        let never = CancellationToken::new();
        setup.engine.backfill_deadlines(&never).await.expect("deadlines");
    }
    let other = Setup::start(Fresh::sqlite("other").await, wild::start(), &scene.other).await;
    for setup in [&recorded, &other] {
        live(setup, &scene).await;
    }
    asked.clock.set(scene.now);
    let mut shuffled = scene.events.clone();
    shuffled.shuffle(&mut rng);
    for batch in shuffled.chunks(20) {
        ingest(&asked.engine, batch.iter().cloned()).await;
    }

    let found = ask(&asked.engine, &scene, rng.random_range(1..4)).await;
    let mut totals: BTreeMap<String, WhatIfTotals> = BTreeMap::new();
    let mut days = BTreeMap::new();
    let mut clients = found.clients.iter().peekable();
    for key in &scene.keys {
        let before = journal(&recorded, key, scene.window.to).await;
        let after = journal(&other, key, scene.window.to).await;
        let expected = expected(key, &before, &after, scene.window);
        let totals = totals.entry(key.partner.to_string()).or_default();
        totals.clients += 1;
        count_coming(&before, scene.now, |day, kind| {
            *totals.coming.recorded.entry(kind.clone()).or_default() += 1;
            *days.entry((day, "recorded", kind)).or_insert(0u64) += 1;
        });
        count_coming(&after, scene.now, |day, kind| {
            *totals.coming.what_if.entry(kind.clone()).or_default() += 1;
            *days.entry((day, "what_if", kind)).or_insert(0u64) += 1;
        });
        let Some(client) = clients.next_if(|client| client.client == key.to_string()) else {
            assert_eq!(expected, Expected::default(), "seed {seed}: {key} is missing");
            continue;
        };
        assert_eq!(Expected::of(client, scene.window), expected, "seed {seed}: {key}");
        add(totals, client);
    }
    assert_eq!(clients.next(), None, "seed {seed}");
    assert_eq!(found.totals, totals, "seed {seed}");
    assert_eq!(found.days, days, "seed {seed}");
    totals.values().map(|totals| totals.access.lost.clients).sum()
}

/// Ingests the events in order of time as the clock advances, and sweeps at every deadline, up to the end of the window.
async fn live(setup: &Setup, scene: &Scene) {
    for event in &scene.events {
        sweep_until(setup, event.time).await;
        ingest(&setup.engine, [event.clone()]).await;
    }
    sweep_until(setup, scene.window.to).await;
}

async fn sweep_until(setup: &Setup, until: DateTime<Utc>) {
    loop {
        let mut next = None;
        for sweep in Sweep::ALL {
            let due = setup
                .fresh
                .store
                .due(sweep, until, None, 1)
                .await
                .expect("deadlines");
            next = next.into_iter().chain(due.first().map(|(at, _)| *at)).min();
        }
        let Some(next) = next else { break };
        setup.clock.set(next.max(setup.engine.now()));
        for sweep in Sweep::ALL {
            let options = SweepOptions::new(SweepMode::Confirmed);
            setup.engine.sweep(sweep, options, |_| {}).await.expect("a sweep");
        }
    }
    setup.clock.set(until);
}

/// The journal of a client, in which nothing is corrected because nothing was late.
async fn journal(setup: &Setup, key: &ClientKey, until: DateTime<Utc>) -> Vec<WhatIfChange> {
    let lines = setup
        .fresh
        .store
        .journal(key, 0, 100_000)
        .await
        .expect("a journal");
    let lines = lines.into_iter().map(|line| {
        let entry = line.entry;
        assert!(!entry.is_correction(), "{entry:?}");
        assert!(entry.time <= until, "{entry:?}");
        let (timer, event) = match &entry.cause {
            Cause::Timer { timer } => (Some(*timer), None),
            Cause::Event { kind, .. } => (None, Some(kind.to_string())),
            Cause::Rebuild { .. } => panic!("{entry:?}"),
        };
        let text = entry.change.text();
        WhatIfChange {
            time: entry.time,
            kind: text.kind.to_owned(),
            id: text.id.map(str::to_owned),
            from: text.from.map(std::borrow::Cow::into_owned),
            to: text.to.map(std::borrow::Cow::into_owned),
            timer,
            event,
        }
    });
    lines.collect()
}

/// The differences of a client, in a form that both sides are brought into.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    added: Vec<WhatIfChange>,
    dropped: Vec<WhatIfChange>,
    /// Of access, billing and commission.
    differences: [Compared; 3],
}

/// The lost and the gained periods and days.
#[derive(Debug, Default, PartialEq, Eq)]
struct Compared {
    lost: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    gained: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    lost_days: usize,
    gained_days: usize,
}

impl Expected {
    fn of(client: &ClientWhatIf, window: Interval) -> Self {
        let periods = |intervals: &Intervals| -> Vec<_> {
            let periods = intervals.as_slice().iter();
            periods.map(|interval| (interval.from, interval.to)).collect()
        };
        let compared = |difference: &Difference| Compared {
            lost: periods(&difference.lost),
            gained: periods(&difference.gained),
            lost_days: usize::try_from(difference.lost_days).expect("a count"),
            gained_days: usize::try_from(difference.gained_days).expect("a count"),
        };
        let sorted = |changes: &[WhatIfChange]| {
            assert!(changes.is_sorted_by_key(|change| change.time), "{changes:#?}");
            assert!(
                changes
                    .iter()
                    .all(|change| (window.from..=window.to).contains(&change.time))
            );
            let mut changes = changes.to_vec();
            changes.sort();
            changes
        };
        Self {
            added: sorted(&client.added),
            dropped: sorted(&client.dropped),
            differences: [&client.access, &client.billing, &client.commission].map(compared),
        }
    }
}

/// The differences between two journals.
fn expected(key: &ClientKey, before: &[WhatIfChange], after: &[WhatIfChange], window: Interval) -> Expected {
    let within = |lines: &[WhatIfChange]| -> Vec<WhatIfChange> {
        let lines = lines.iter().filter(|line| line.time >= window.from);
        lines.cloned().collect()
    };
    let (mut dropped, mut added) = (within(before), Vec::new());
    for line in within(after) {
        match dropped.iter().position(|other| *other == line) {
            Some(place) => drop(dropped.remove(place)),
            None => added.push(line),
        }
    }
    dropped.sort();
    added.sort();
    let holds = [access, billing, commission];
    Expected {
        added,
        dropped,
        differences: holds.map(|holds| {
            let (before, after) = (periods(before, window, holds), periods(after, window, holds));
            let (days_before, days_after) = (days_of(&before), days_of(&after));
            Compared {
                lost: only_in(key, &before, &after),
                gained: only_in(key, &after, &before),
                lost_days: days_before.difference(&days_after).count(),
                gained_days: days_after.difference(&days_before).count(),
            }
        }),
    }
}

/// Whether something holds from this line on. None: the line says nothing about it.
fn access(line: &WhatIfChange) -> Option<bool> {
    match line.kind.as_str() {
        "access.enabled" => Some(true),
        "access.none" | "access.disabled" | "access.expired" => Some(false),
        _ => None,
    }
}

fn billing(line: &WhatIfChange) -> Option<bool> {
    started("billing", line)
}

fn commission(line: &WhatIfChange) -> Option<bool> {
    started("commission", line)
}

fn started(what: &str, line: &WhatIfChange) -> Option<bool> {
    match line.kind.strip_prefix(what)? {
        ".started" => Some(true),
        ".stopped" => Some(false),
        _ => None,
    }
}

type Periods = Vec<(DateTime<Utc>, DateTime<Utc>)>;

/// The periods in which something holds, within a window.
fn periods(lines: &[WhatIfChange], window: Interval, holds: fn(&WhatIfChange) -> Option<bool>) -> Periods {
    let mut periods: Periods = Vec::new();
    let mut since = None;
    let mut end = |since: &mut Option<DateTime<Utc>>, at: DateTime<Utc>| {
        if let Some(from) = since.take() {
            let (from, to) = (window.from.max(from), window.to.min(at));
            if from < to {
                periods.push((from, to));
            }
        }
    };
    for line in lines {
        match holds(line) {
            Some(true) => since = since.or(Some(line.time)),
            Some(false) => end(&mut since, line.time),
            None => {}
        }
    }
    end(&mut since, window.to);
    periods
}

/// The parts of periods that are in none of the others, piece by piece.
fn only_in(key: &ClientKey, periods: &Periods, others: &Periods) -> Periods {
    let ends: BTreeSet<DateTime<Utc>> = periods
        .iter()
        .chain(others)
        .flat_map(|(from, to)| [*from, *to])
        .collect();
    let ends: Vec<DateTime<Utc>> = ends.into_iter().collect();
    let is_in =
        |periods: &Periods, at: DateTime<Utc>| periods.iter().any(|(from, to)| (*from..*to).contains(&at));
    let mut only: Periods = Vec::new();
    for piece in ends.windows(2) {
        let (from, to) = (piece[0], piece[1]);
        if !is_in(periods, from) || is_in(others, from) {
            continue;
        }
        match only.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => only.push((from, to)),
        }
    }
    assert!(only.is_sorted(), "{key}: {only:?}");
    only
}

fn days_of(periods: &Periods) -> BTreeSet<NaiveDate> {
    let days = periods.iter().flat_map(|(from, to)| {
        let last = (*to - TimeDelta::microseconds(1)).date_naive();
        from.date_naive().iter_days().take_while(move |day| *day <= last)
    });
    days.collect()
}

fn count_coming(lines: &[WhatIfChange], now: DateTime<Utc>, mut count: impl FnMut(NaiveDate, String)) {
    for line in lines.iter().filter(|line| line.time > now) {
        count(line.time.date_naive(), line.kind.clone());
    }
}

fn add(totals: &mut WhatIfTotals, client: &ClientWhatIf) {
    totals.differ += 1;
    for (total, difference) in [
        (&mut totals.access, &client.access),
        (&mut totals.billing, &client.billing),
        (&mut totals.commission, &client.commission),
    ] {
        for (total, periods, days) in [
            (&mut total.lost, &difference.lost, difference.lost_days),
            (&mut total.gained, &difference.gained, difference.gained_days),
        ] {
            total.clients += u64::from(!periods.is_empty());
            total.days += days;
            let seconds = periods
                .as_slice()
                .iter()
                .map(|period| (period.to - period.from).num_seconds());
            total.seconds += seconds.sum::<i64>();
        }
    }
}

/// All pages of a comparison.
#[derive(Debug)]
struct Found {
    clients: Vec<ClientWhatIf>,
    totals: BTreeMap<String, WhatIfTotals>,
    days: BTreeMap<(NaiveDate, &'static str, String), u64>,
}

async fn ask(engine: &Engine, scene: &Scene, limit: u32) -> Found {
    let mut request = WhatIfRequest {
        policy: scene.other.clone(),
        partner: None,
        since: scene.window.from,
        until: scene.window.to,
        after: None,
        limit,
    };
    let (mut clients, mut totals) = (Vec::new(), BTreeMap::<String, WhatIfTotals>::new());
    let mut days = WhatIfDays::default();
    loop {
        let page = engine.what_if(&request).await.expect("a comparison");
        assert!(page.clients.len() <= limit as usize);
        clients.extend(page.clients);
        for partner in page.partners {
            totals.entry(partner.partner).or_default().add(&partner.totals);
        }
        for day in &page.days {
            days.add(day);
        }
        let Some(next) = page.next else { break };
        assert!(Some(&next) > request.after.as_ref());
        request.after = Some(next);
    }
    let mut counts = BTreeMap::new();
    for day in days.into_days() {
        for (which, kinds) in [("recorded", day.coming.recorded), ("what_if", day.coming.what_if)] {
            counts.extend(
                kinds
                    .into_iter()
                    .map(|(kind, count)| ((day.day, which, kind), count)),
            );
        }
    }
    Found {
        clients,
        totals,
        days: counts,
    }
}

fn request(policy: Policy, since: i64, until: i64) -> WhatIfRequest {
    WhatIfRequest {
        policy,
        partner: None,
        since: day(since),
        until: day(until),
        after: None,
        limit: 100,
    }
}

/// The periods, in days since the start.
fn in_days(intervals: &Intervals) -> Vec<(i64, i64)> {
    let days = |at: DateTime<Utc>| (at - day(0)).num_days();
    let intervals = intervals.as_slice().iter();
    intervals
        .map(|period| (days(period.from), days(period.to)))
        .collect()
}

fn changes(of: &[WhatIfChange]) -> Vec<(i64, &str)> {
    let changes = of.iter();
    changes
        .map(|change| ((change.time - day(0)).num_days(), change.kind.as_str()))
        .collect()
}

#[tokio::test]
async fn a_shorter_policy_takes_access_that_an_entry_had_renewed() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    ingest(&engine, active()).await;
    world.clock.set(day(40));
    ingest(&engine, [accessed(day(40))]).await;
    world.clock.set(day(50));
    let renewed = [
        (86, "access.expiring"),
        (93, "access.expiring"),
        (99, "access.expiring"),
        (100, "access.expired"),
    ];
    let expired = [
        (16, "access.expiring"),
        (23, "access.expiring"),
        (29, "access.expiring"),
        (30, "access.expired"),
    ];
    let refused = [(40, "event.refused")];
    let all = [&expired[..], &refused].concat();
    // A day of which a part counts under both policies is not lost.
    for (since, until, lost, lost_days, added, dropped) in [
        (0, 140, (30, 100), 70, &all[..], &renewed[..]),
        (35, 140, (35, 100), 66, &refused, &renewed),
        (0, 60, (30, 60), 30, &all, &[]),
        (0, 95, (30, 95), 65, &all, &renewed[..2]),
    ] {
        let page = engine
            .what_if(&request(idle(30), since, until))
            .await
            .expect("a page");
        let [client] = &page.clients[..] else {
            panic!("{page:?}")
        };
        assert_eq!(in_days(&client.access.lost), [lost], "{since} to {until}");
        assert_eq!(changes(&client.added), added, "{since} to {until}");
        assert_eq!(changes(&client.dropped), dropped, "{since} to {until}");
        assert_eq!(client.access.lost_days, lost_days, "{since} to {until}");
        assert!(client.access.gained.is_empty());
        let totals = &page.partners[0].totals;
        assert_eq!(totals.access.lost.seconds, (lost.1 - lost.0) * 86_400);
        let coming: u64 = totals.coming.recorded.values().sum();
        assert_eq!(usize::try_from(coming).expect("a count"), dropped.len());
        assert!(totals.coming.what_if.is_empty(), "{totals:?}");
        for untouched in [&client.billing, &client.commission] {
            assert_eq!(*untouched, Difference::default());
        }
    }
}

#[tokio::test]
async fn a_longer_policy_gains_access_and_the_same_policy_changes_nothing() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    assert_eq!(
        pages(&engine, request(idle(90), 0, 100)).await,
        [vec![] as Vec<String>]
    );
    ingest(&engine, active()).await;
    world.clock.set(day(70));
    let page = engine.what_if(&request(idle(90), 0, 100)).await.expect("a page");
    let [client] = &page.clients[..] else {
        panic!("{page:?}")
    };
    assert_eq!(client.client, key().to_string());
    assert_eq!(in_days(&client.access.gained), [(60, 90)]);
    assert!(client.access.lost.is_empty());
    let same = engine.what_if(&request(idle(60), 0, 100)).await.expect("a page");
    assert_eq!((same.clients.len(), same.partners[0].totals.clients), (0, 1));
    // Nothing was written.
    let verified = engine.verify(|_| {}).await.expect("a verification");
    assert_eq!(verified.drifts, []);
    assert_eq!(engine.recorded_policies().await.expect("policies").len(), 1);
}

/// The clients of each page.
async fn pages(engine: &Engine, mut request: WhatIfRequest) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let WhatIf { clients, next, .. } = engine.what_if(&request).await.expect("a page");
        pages.push(clients.into_iter().map(|client| client.client).collect());
        let Some(next) = next else { return pages };
        request.after = Some(next);
    }
}

#[tokio::test]
async fn a_page_ends_after_its_limit_and_begins_after_its_key() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    for number in 0..5 {
        ingest(&engine, active().into_iter().map(|event| of(number, event))).await;
    }
    let of_limit = |limit| WhatIfRequest {
        limit,
        ..request(idle(30), 0, 100)
    };
    let all = ["p/c0", "p/c1", "p/c2", "p/c3", "p/c4"];
    assert_eq!(pages(&engine, of_limit(100)).await, [all.to_vec()]);
    assert_eq!(
        pages(&engine, of_limit(2)).await,
        [&all[..2], &all[2..4], &all[4..]]
    );
    assert_eq!(pages(&engine, of_limit(5)).await, [all.to_vec()]);
    let other_partner = WhatIfRequest {
        partner: Some("q".into()),
        ..of_limit(100)
    };
    assert_eq!(pages(&engine, other_partner).await, [vec![] as Vec<String>]);
    // One that is read alone, because its history is long.
    world.clock.set(day(20));
    let many = (0..6_000).map(|minute| of(2, accessed(day(0) + TimeDelta::minutes(minute + 1))));
    let incoming: Vec<Incoming> = many.map(Incoming::Event).collect();
    for batch in incoming.chunks(1_000) {
        engine.ingest(batch.to_vec()).await.expect("ingested");
    }
    assert_eq!(pages(&engine, of_limit(100)).await.concat(), all);
}

/// Each client has few events, and under the other policy many warnings.
#[tokio::test]
async fn a_page_ends_after_many_changes() {
    let world = World::new().await;
    let engine = world.engine(&idle(36_500)).await;
    world.clock.set(day(10_000));
    for number in 0..14 {
        let enabled = (1..=200).map(|times| of(number, event(day(20 * times), EventKind::AccessEnabled {})));
        let events = active().into_iter().map(|event| of(number, event));
        ingest(&engine, events.chain(enabled)).await;
    }
    let policy = Policy {
        warn_before: (1..=16).rev().map(TimeDelta::days).collect(),
        ..idle(17)
    };
    let request = request(policy, 0, 5_000);
    let page = engine.what_if(&request).await.expect("a page");
    let mut changes = page
        .clients
        .iter()
        .map(|client| client.added.len() + client.dropped.len());
    let events = page.clients.len() * 205;
    let (changes, last) = (
        changes.clone().sum::<usize>(),
        changes.next_back().expect("a client"),
    );
    assert!(last > 200 * 17, "{last}");
    assert!(
        events < 10_000 && events + changes >= 50_000,
        "{events} and {changes}"
    );
    assert!(events + changes < 50_000 + 205 + last, "{events} and {changes}");
    assert_eq!(
        pages(&engine, request).await.iter().map(Vec::len).sum::<usize>(),
        14
    );
}
