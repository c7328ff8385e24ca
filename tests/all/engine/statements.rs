//! Statements: a closed statement plus its adjustments equals the recomputed days, in whatever order events arrive.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tenure::domain::access::AccessStatus;
use tenure::domain::intervals::ClientIntervals;
use tenure::domain::statement::{DayCounts, WITHOUT_DAYS};
use tenure::domain::{
    AdjustmentCause, Client, ClientKey, Event, EventKind, Measure, Month, Policies, Policy, fold,
};
use tenure::engine::{
    AdoptionMode, ClientStatement, CloseRequest, Engine, NOTICE, StatementError, StatementRequest,
};
use tenure::store::{Closing, ClosingStatus};
use tokio_util::sync::CancellationToken;

use super::policies::{accessed, active, event, ingest};
use super::setup::{Setup, on_both_stores};
use super::wild;
use crate::simulation::seeds;
use crate::store::Fresh;

on_both_stores! {
    closed_and_adjusted_is_what_is_recomputed,
    days_are_those_of_the_fold_at_any_moment,
    a_late_event_is_an_adjustment_of_the_next_statement_with_its_cause,
    a_late_touch_is_an_adjustment_with_its_cause,
    what_arrives_with_a_late_touch_is_no_cause,
    late_events_of_a_very_long_history_are_named_untried,
    a_correction_is_a_cause_of_the_measures_that_it_changes,
    a_client_that_is_deleted_and_added_again_is_stated_for_both_lives,
}

pub fn month(text: &str) -> Month {
    text.parse().expect("a month")
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

pub fn request(month: Month) -> CloseRequest {
    CloseRequest {
        month,
        by: "ann".parse().expect("a name"),
        confirmed: true,
        most: None,
    }
}

pub async fn close(engine: &Engine, month: Month) -> Result<Closing, StatementError> {
    engine.close_month(&request(month), |_, _| {}).await
}

pub async fn closed(engine: &Engine, month: Month) -> Closing {
    let closing = close(engine, month).await.expect("closed");
    assert_eq!((closing.status, closing.month), (ClosingStatus::Closed, month));
    closing
}

/// A statement, read in pages.
pub async fn statement(engine: &Engine, month: Month, recompute: bool) -> Vec<ClientStatement> {
    let mut request = StatementRequest {
        month,
        partner: None,
        recompute,
        after: None,
        limit: 3,
    };
    let mut clients = Vec::new();
    loop {
        let page = engine.statement(&request).await.expect("a statement");
        clients.extend(page.clients);
        if page.next.is_none() {
            return clients;
        }
        request.after = page.next;
    }
}

pub async fn closings(engine: &Engine) -> Vec<Month> {
    let closings = engine.closings().await.expect("closings");
    closings.iter().map(|closing| closing.month).collect()
}

/// The dates of each client, month and measure.
type Dates = BTreeMap<(String, Month, Measure), BTreeSet<chrono::NaiveDate>>;

/// What the statements of closed months say together, and the adjustments that the next one would state. The numbers of days
/// agree with the dates.
async fn stated(engine: &Engine, preview: Month) -> (Dates, BTreeMap<(String, Month), DayCounts>) {
    let (mut dates, mut counts) = (Dates::new(), BTreeMap::new());
    let mut months = closings(engine).await;
    months.push(preview);
    for of in months {
        for client in statement(engine, of, false).await {
            let name = client.client.clone();
            let own: &mut DayCounts = counts.entry((name.clone(), of)).or_default();
            *own += client.days;
            for measure in Measure::ALL {
                let days = dates.entry((name.clone(), of, measure)).or_default();
                for interval in measure.of(&client.intervals).as_slice() {
                    add_days(days, interval.from, interval.to);
                }
            }
            for adjustment in client.adjustments {
                assert!(adjustment.month < of, "{adjustment:?}");
                *counts.entry((name.clone(), adjustment.month)).or_default() += adjustment.days;
                for (measure, added) in adjustment.added {
                    let days = dates
                        .entry((name.clone(), adjustment.month, measure))
                        .or_default();
                    assert!(added.iter().all(|day| days.insert(*day)), "a day is added twice");
                }
                for (measure, removed) in adjustment.removed {
                    let days = dates
                        .entry((name.clone(), adjustment.month, measure))
                        .or_default();
                    assert!(
                        removed.iter().all(|day| days.remove(day)),
                        "a day is removed twice"
                    );
                }
            }
        }
    }
    dates.retain(|_, days| !days.is_empty());
    counts.retain(|_, days| *days != DayCounts::default());
    (dates, counts)
}

/// Adds the days that a period touches, counted in another way than the code under test does.
fn add_days(days: &mut BTreeSet<chrono::NaiveDate>, from: DateTime<Utc>, to: DateTime<Utc>) {
    let mut day = from.date_naive();
    while day.and_time(chrono::NaiveTime::MIN).and_utc() < to {
        days.insert(day);
        day = day + Days::new(1);
    }
}

/// Compares the closed months with what is recomputed.
pub async fn assert_adds_up(engine: &Engine, preview: Month, seed: u64) {
    let (mut dates, mut counts) = stated(engine, preview).await;
    dates.retain(|(_, month, _), _| *month != preview);
    counts.retain(|(_, month), _| *month != preview);
    let (mut expected_dates, mut expected_counts) = (Dates::new(), BTreeMap::new());
    for of in closings(engine).await {
        for client in statement(engine, of, true).await {
            assert_eq!(client.adjustments, []);
            for measure in Measure::ALL {
                let days = expected_dates
                    .entry((client.client.clone(), of, measure))
                    .or_default();
                for interval in measure.of(&client.intervals).as_slice() {
                    add_days(days, interval.from, interval.to);
                }
            }
            expected_counts.insert((client.client, of), client.days);
        }
    }
    expected_dates.retain(|_, days| !days.is_empty());
    assert_eq!(dates, expected_dates, "seed {seed}");
    assert_eq!(counts, expected_counts, "seed {seed}");
}

/// Random lives of some clients, delivered up to 100 days late, in random order, and twice at times.
fn deliveries(rng: &mut StdRng, keys: &[ClientKey]) -> Vec<(DateTime<Utc>, Event)> {
    let mut deliveries = Vec::new();
    for key in keys {
        let noise = rng.random_range(0..30);
        for event in wild::history(rng, key, 150, noise) {
            let late = if rng.random_bool(0.5) {
                TimeDelta::minutes(rng.random_range(0..600))
            } else {
                TimeDelta::hours(rng.random_range(0..2_400))
            };
            let arrival = event.time + late;
            if rng.random_bool(0.1) {
                deliveries.push((arrival + TimeDelta::days(3), event.clone()));
            }
            deliveries.push((arrival, event));
        }
    }
    deliveries.sort_by_key(|(arrival, _)| *arrival);
    deliveries
}

async fn closed_and_adjusted_is_what_is_recomputed(fresh: Fresh) {
    let mut adjustments = 0;
    let mut rng = StdRng::seed_from_u64(7);
    let setup = Setup::start(fresh, wild::start(), &wild::policy(&mut rng)).await;
    let engine = &setup.engine;
    // Closings are of all clients, so the seeds follow each other in one store.
    let mut begin = wild::start();
    for seed in seeds(4) {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys: Vec<ClientKey> = (0..rng.random_range(2..6))
            .map(|number| {
                ClientKey::new(&format!("p{seed}-{}", number % 2), &format!("c{number}")).expect("a key")
            })
            .collect();
        let shift = begin - wild::start();
        let mut rest = deliveries(&mut rng, &keys).into_iter().peekable();
        while let Some((arrival, _)) = rest.peek() {
            setup.clock.set((*arrival + shift).max(engine.now()));
            let batch: Vec<Event> = rest
                .by_ref()
                .take(rng.random_range(1..8))
                .map(|(arrival, mut event)| {
                    event.time += shift;
                    setup.clock.set((arrival + shift).max(engine.now()));
                    event
                })
                .collect();
            ingest(engine, batch).await;
            if rng.random_bool(0.3) {
                adjustments += close_next(engine, &mut rng).await;
            }
            if rng.random_bool(0.02) {
                let policy = wild::policy(&mut rng);
                let adopted = engine.adopt(&policy, NOTICE, AdoptionMode::Confirmed);
                adopted.await.expect("adopted");
                engine
                    .backfill_deadlines(&CancellationToken::new())
                    .await
                    .expect("deadlines");
            }
        }
        let next = closings(engine).await.last().expect("a closing").next();
        assert_adds_up(engine, next, seed).await;
        begin = engine.now();
    }
    // The last closing takes up everything: nothing is left to adjust.
    let next = closings(engine).await.last().expect("a closing").next();
    setup.clock.set(next.end() + TimeDelta::days(1));
    adjustments += closed(engine, next).await.adjustments;
    for client in statement(engine, next.next(), false).await {
        assert_eq!(client.adjustments, []);
    }
    assert_adds_up(engine, next.next(), u64::MAX).await;
    assert!(adjustments > 10, "{adjustments} adjustments");
    let stated = engine
        .store()
        .stated(&engine.store().keys(None, None, 1_000).await.expect("keys"))
        .await;
    let rows = stated.expect("rows").into_values().flatten();
    let caused = rows
        .filter(|row| row.month != row.stated_in)
        .filter(|row| !row.causes.is_empty());
    assert_eq!(
        i64::try_from(caused.count()).expect("few"),
        adjustments,
        "each has a cause"
    );
}

/// Closes the next month, if it has ended. Returns the number of adjustments.
async fn close_next(engine: &Engine, rng: &mut StdRng) -> i64 {
    let next = closings(engine)
        .await
        .last()
        .map_or_else(|| Month::of(wild::start()), |last| last.next());
    if engine.now() < next.end() + TimeDelta::days(rng.random_range(0..20)) {
        return 0;
    }
    closed(engine, next).await.adjustments
}

/// The fold at every hour of a day says whether the day counts: the events of these histories are in whole hours.
async fn days_are_those_of_the_fold_at_any_moment(fresh: Fresh) {
    let mut rng = StdRng::seed_from_u64(11);
    let policy = wild::policy(&mut rng);
    let setup = Setup::start(fresh, wild::start(), &policy).await;
    setup.clock.set(wild::start() + TimeDelta::days(400));
    let policies = Policies::always(policy);
    for number in 0..6 {
        let key = ClientKey::new("p", &format!("c{number}")).expect("a key");
        let events = wild::history(&mut rng, &key, 150, 20);
        ingest(&setup.engine, events.clone()).await;
        let mut of = Month::of(wild::start());
        for _ in 0..5 {
            of = of.next();
            let clients = statement(&setup.engine, of, false).await;
            let client = clients.iter().find(|client| client.key == key);
            for _ in 0..3 {
                let day = of.start() + TimeDelta::days(rng.random_range(0..28));
                for measure in Measure::ALL {
                    let mut days = BTreeSet::new();
                    let intervals = client.map(|client| measure.of(&client.intervals).clone());
                    for interval in intervals.unwrap_or_default().as_slice() {
                        add_days(&mut days, interval.from, interval.to);
                    }
                    // The tests begin at 20 seconds past 22:13, and timers keep that.
                    let moments = std::iter::once(day).chain((0..24).map(|hour| {
                        day + TimeDelta::hours(hour) + TimeDelta::minutes(13) + TimeDelta::seconds(20)
                    }));
                    let mut moments = moments;
                    let is_on = moments.any(|moment| is_on(measure, &fold(&events, moment, &policies)));
                    assert_eq!(days.contains(&day.date_naive()), is_on, "{key} {day} {measure}");
                }
            }
        }
    }
}

fn is_on(measure: Measure, client: &Client) -> bool {
    match measure {
        Measure::Billable => client.billable(),
        Measure::Commission => client.commission(),
        Measure::StatusCredit => client.status_credit(),
        Measure::Access => client.access_status() == AccessStatus::Enabled,
    }
}

/// A client with access from 14 November 2023 on, and a policy by which it expires after 60 days.
pub async fn one_client(fresh: Fresh) -> Setup {
    let policy = Policy {
        access_idle: TimeDelta::days(60),
        ..Policy::default()
    };
    let setup = Setup::start(fresh, wild::start(), &policy).await;
    ingest(&setup.engine, active()).await;
    setup
}

fn json_of(statement: &[ClientStatement]) -> Value {
    serde_json::to_value(statement).expect("JSON")
}

async fn a_late_event_is_an_adjustment_of_the_next_statement_with_its_cause(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    setup.clock.set(at("2023-12-01T06:00:00Z"));
    let closing = closed(engine, month("2023-11")).await;
    assert_eq!((closing.statements, closing.adjustments), (1, 0));
    assert_eq!(
        (closing.closed_by.as_str(), closing.closed_at),
        ("ann", Some(engine.now()))
    );
    let november = statement(engine, month("2023-11"), false).await;
    let interval = json!([{"from": "2023-11-14T22:13:20Z", "to": "2023-12-01T00:00:00Z"}]);
    let expected = json!([{
        "client": "p/c",
        "days": {"billable": 0, "commission": 17, "status_credit": 17, "access": 17},
        "intervals": {"access": interval, "billable": [], "commission": interval, "status_credit": interval},
        "adjustments": [],
    }]);
    assert_eq!(json_of(&november), expected);

    setup.clock.set(at("2023-12-20T00:00:00Z"));
    let disabled = event(at("2023-11-28T12:00:00Z"), EventKind::AccessDisabled {});
    let enabled = event(at("2023-12-10T12:00:00Z"), EventKind::AccessEnabled {});
    // One that makes no difference.
    let user = serde_json::from_value(json!({"type": "user.added", "data": {"user_id": "u"}}));
    let user = event(at("2023-11-20T12:00:00Z"), user.expect("an event"));
    ingest(engine, [disabled, enabled, user]).await;
    let adjustment = json!([{
        "month": "2023-11",
        "days": {"billable": 0, "commission": 0, "status_credit": 0, "access": -2},
        "added": {},
        "removed": {"access": ["2023-11-29", "2023-11-30"]},
        "causes": [{"source": "/s", "id": "1701172800000000-access.disabled", "type": "access.disabled"}],
    }]);
    // The statement of November stays, that of December shows what it would state, and no other month does.
    assert_eq!(
        json_of(&statement(engine, month("2023-11"), false).await),
        expected
    );
    let december = statement(engine, month("2023-12"), false).await;
    assert_eq!(json_of(&december)[0]["adjustments"], adjustment);
    assert_eq!(
        december[0].days.access, 10,
        "up to the present: 10 to 19 December"
    );

    setup.clock.set(at("2024-01-02T00:00:00Z"));
    assert_eq!(closed(engine, month("2023-12")).await.adjustments, 1);
    let december = statement(engine, month("2023-12"), false).await;
    assert_eq!(json_of(&december)[0]["adjustments"], adjustment);
    assert_eq!(december[0].days.access, 22);
    assert_eq!(
        statement(engine, month("2024-01"), false).await[0].adjustments,
        []
    );

    // A month that was adjusted is adjusted again.
    let enabled = event(at("2023-11-30T12:00:00Z"), EventKind::AccessEnabled {});
    ingest(engine, [enabled]).await;
    setup.clock.set(at("2024-02-01T00:00:00Z"));
    assert_eq!(closed(engine, month("2024-01")).await.adjustments, 2);
    let january = json_of(&statement(engine, month("2024-01"), false).await);
    let cause = json!([{"source": "/s", "id": "1701345600000000-access.enabled", "type": "access.enabled"}]);
    assert_eq!(
        january[0]["adjustments"][0]["added"],
        json!({"access": ["2023-11-30"]})
    );
    assert_eq!(january[0]["adjustments"][0]["causes"], cause);
    assert_eq!(january[0]["adjustments"][1]["month"], "2023-12");
    assert_eq!(january[0]["adjustments"][1]["days"]["access"], 9);
    assert_eq!(
        json_of(&statement(engine, month("2023-12"), false).await),
        json_of(&december)
    );
    assert_adds_up(engine, month("2024-02"), 0).await;
}

async fn a_late_touch_is_an_adjustment_with_its_cause(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    // Access expires on 13 January.
    for of in ["2023-11", "2023-12", "2024-01"].map(month) {
        setup.clock.set(of.end() + TimeDelta::days(1));
        closed(engine, of).await;
    }
    assert_eq!(
        statement(engine, month("2024-01"), false).await[0].days.access,
        13
    );
    ingest(engine, [accessed(at("2023-12-01T10:00:00Z"))]).await;
    setup.clock.set(at("2024-03-01T00:00:00Z"));
    closed(engine, month("2024-02")).await;
    let february = json_of(&statement(engine, month("2024-02"), false).await);
    let adjustment = &february[0]["adjustments"][0];
    assert_eq!(
        (&adjustment["month"], &adjustment["days"]["access"]),
        (&json!("2024-01"), &json!(17))
    );
    assert_eq!(adjustment["causes"][0]["type"], "account.accessed");
}

fn user(change: &str, time: &str) -> Event {
    let kind = json!({"type": format!("user.{change}"), "data": {"user_id": "u"}});
    event(at(time), serde_json::from_value(kind).expect("an event"))
}

#[test]
fn events_of_some_types_change_no_day() {
    let mut left_out = BTreeSet::new();
    for seed in seeds(40) {
        let mut rng = StdRng::seed_from_u64(seed);
        let policies = Policies::always(wild::policy(&mut rng));
        let mut events = wild::history(&mut rng, &super::policies::key(), 150, 60);
        events.sort_by_key(Event::position);
        let until = wild::start() + TimeDelta::days(400);
        let all = ClientIntervals::of_history(&events, until, &policies);
        for kind in WITHOUT_DAYS {
            let rest = events.iter().filter(|event| event.kind.type_name() != kind);
            if rest.clone().count() < events.len() {
                left_out.insert(kind);
            }
            assert_eq!(
                ClientIntervals::of_history(rest, until, &policies),
                all,
                "{kind}, seed {seed}"
            );
        }
    }
    assert_eq!(left_out, BTreeSet::from(WITHOUT_DAYS), "every type was tried");
}

/// January is closed with the expiry on the 13th. Then a late touch and late events of a user arrive, in either order.
async fn what_arrives_with_a_late_touch_is_no_cause(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    for of in ["2023-11", "2023-12", "2024-01"].map(month) {
        setup.clock.set(of.end() + TimeDelta::days(1));
        closed(engine, of).await;
    }
    let touch = accessed(at("2024-01-12T10:00:00Z"));
    let (added, removed) = (
        user("added", "2024-01-10T12:00:00Z"),
        user("removed", "2024-01-11T12:00:00Z"),
    );
    // The journal corrects the user after the touch, but that is nothing to access.
    for events in [vec![added], vec![touch], vec![removed]] {
        ingest(engine, events).await;
    }
    let february = json_of(&statement(engine, month("2024-02"), false).await);
    let adjustment = &february[0]["adjustments"][0];
    assert_eq!(
        (&adjustment["month"], &adjustment["days"]["access"]),
        (&json!("2024-01"), &json!(18))
    );
    let causes = adjustment["causes"].as_array().expect("causes");
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0]["type"], "account.accessed");
}

/// Trying 50 events in a history of more than 4,000 would take too long.
async fn late_events_of_a_very_long_history_are_named_untried(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    setup.clock.set(at("2023-12-01T06:00:00Z"));
    let touches = (0..4_000).map(|minute| accessed(at("2023-11-15T00:00:00Z") + TimeDelta::minutes(minute)));
    ingest(engine, touches).await;
    closed(engine, month("2023-11")).await;
    // The first of these alone makes a difference. The client has seen nothing later, so the journal has no corrections.
    let assigned = (0..49).map(|number| {
        let kind = json!({"type": "assignment.added", "data": {"assignment_id": format!("a{number}")}});
        let kind = serde_json::from_value(kind).expect("an event");
        event(at("2023-11-20T12:00:00Z") + TimeDelta::minutes(number), kind)
    });
    let disabled = event(at("2023-11-20T11:00:00Z"), EventKind::AccessDisabled {});
    ingest(engine, std::iter::once(disabled.clone()).chain(assigned)).await;
    let december = statement(engine, month("2023-12"), false).await;
    let [adjustment] = december[0].adjustments.as_slice() else {
        panic!("{december:?}");
    };
    assert_eq!(adjustment.days.access, -10);
    assert_eq!(adjustment.causes.len(), 20);
    let first = AdjustmentCause::late_event(&disabled.source, &disabled.id, "access.disabled");
    assert_eq!(adjustment.causes[0], first);
}

/// The sweep has published the expiry, so the journal knows the late touch that revokes it.
async fn a_correction_is_a_cause_of_the_measures_that_it_changes(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    for of in ["2023-11", "2023-12", "2024-01"].map(month) {
        setup.clock.set(of.end() + TimeDelta::days(1));
        closed(engine, of).await;
    }
    // A later event makes the client fire its timers.
    ingest(engine, [user("added", "2024-01-30T12:00:00Z")]).await;
    let touch = accessed(at("2024-01-12T10:00:00Z"));
    let id = touch.id.clone();
    ingest(engine, [touch]).await;
    let february = json_of(&statement(engine, month("2024-02"), false).await);
    let cause = json!([{"source": "/s", "id": &*id, "type": "account.accessed"}]);
    assert_eq!(february[0]["adjustments"][0]["causes"], cause);
}

async fn a_client_that_is_deleted_and_added_again_is_stated_for_both_lives(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    setup.clock.set(at("2023-12-10T00:00:00Z"));
    closed(engine, month("2023-11")).await;
    let assigned = |text: &str| {
        let kind = json!({"type": "assignment.added", "data": {"assignment_id": "a"}});
        event(at(text), serde_json::from_value(kind).expect("an event"))
    };
    let added = |text: &str| {
        let kind = json!({"type": "client.added", "data": {"name": "Bakery"}});
        event(at(text), serde_json::from_value(kind).expect("an event"))
    };
    let archived = EventKind::ClientArchived { reason: None };
    ingest(
        engine,
        [
            assigned("2023-11-20T10:00:00Z"),
            event(at("2023-11-22T10:00:00Z"), archived),
            event(at("2023-11-24T10:00:00Z"), EventKind::ClientDeleted {}),
            added("2023-11-27T10:00:00Z"),
            assigned("2023-11-29T10:00:00Z"),
        ],
    )
    .await;
    let december = json_of(&statement(engine, month("2023-12"), false).await);
    let adjustment = &december[0]["adjustments"][0];
    let days =
        |from: u32, to: u32| -> Vec<String> { (from..=to).map(|day| format!("2023-11-{day}")).collect() };
    let billable = [days(20, 24), days(29, 30)].concat();
    assert_eq!(adjustment["added"], json!({"billable": billable}));
    let lost = days(23, 30);
    assert_eq!(
        adjustment["removed"],
        json!({"commission": lost, "status_credit": lost, "access": lost})
    );
    setup.clock.set(at("2024-01-01T00:00:00Z"));
    closed(engine, month("2023-12")).await;
    assert_adds_up(engine, month("2024-01"), 0).await;
}
