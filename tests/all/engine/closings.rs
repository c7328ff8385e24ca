//! Closing months: when it is allowed, and what interrupts it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenure::domain::statement::DayCounts;
use tenure::domain::{ClientKey, Event, EventKind, Month, Policy};
use tenure::engine::{
    Authority, CLOSING_CLAIM, CloseRequest, Engine, StatementError, StatementPages, StatementRequest,
};
use tenure::store::{AuditFilter, AuditHow, ClosingClaim, ClosingStatus, StoreError, Watermark};

use super::policies::{event, ingest, key};
use super::setup::{Setup, on_both_stores};
use super::statements::{assert_adds_up, at, close, closed, closings, month, one_client, request, statement};
use crate::fault_injecting::FaultInjectingStore;
use crate::store::Fresh;

on_both_stores! {
    months_are_closed_once_in_order_and_after_they_ended,
    a_month_whose_events_may_still_arrive_is_closed_only_if_confirmed,
    the_first_month_is_not_before_the_first_event_unless_confirmed,
    two_processes_close_a_month_once,
    pages_of_a_statement_are_not_mixed,
    a_closing_that_crashes_anywhere_is_continued,
    a_closing_goes_on_where_a_bounded_one_stopped,
    whoever_continues_the_closing_of_another_is_in_the_audit_log,
    what_arrives_behind_a_closing_is_an_adjustment_of_the_next,
    a_client_with_a_long_history_is_stated_in_its_place,
    a_claim_lasts_while_a_page_of_long_histories_is_replayed,
}

async fn months_are_closed_once_in_order_and_after_they_ended(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    setup.clock.set(at("2024-02-29T23:59:59.999999Z"));
    for (of, words) in [
        (
            "2024-02",
            "2024-02 has not ended; close it at 2024-03-01T00:00:00Z or later",
        ),
        ("2024-05", "2024-05 has not ended"),
    ] {
        let error = close(engine, month(of)).await.unwrap_err();
        assert!(matches!(error, StatementError::NotEnded { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // Any month can be the first.
    closed(engine, month("2023-12")).await;
    for of in ["2023-11", "2024-02", "2023-12"] {
        setup.clock.set(at("2024-03-01T00:00:00Z"));
        let error = close(engine, month(of)).await.unwrap_err();
        let is_expected = match of {
            "2023-12" => matches!(error, StatementError::Closed { .. }),
            _ => matches!(error, StatementError::OutOfOrder { next, .. } if next == month("2024-01")),
        };
        assert!(is_expected, "{of}: {error}");
    }
    closed(engine, month("2024-01")).await;
    closed(engine, month("2024-02")).await;
    assert_eq!(
        closings(engine).await,
        ["2023-12", "2024-01", "2024-02"].map(month)
    );
    let ahead = StatementRequest {
        month: month("2024-04"),
        partner: None,
        recompute: false,
        after: None,
        limit: 10,
    };
    let error = engine.statement(&ahead).await.unwrap_err();
    assert!(matches!(error, StatementError::NotBegun(_)), "{error:?}");
}

async fn a_month_whose_events_may_still_arrive_is_closed_only_if_confirmed(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    let careful = CloseRequest {
        confirmed: false,
        ..request(month("2023-11"))
    };
    let lanes = ["tenure.events.0".to_owned()];
    engine.set_lanes(&lanes).await.expect("lanes");
    setup.clock.set(at("2023-12-05T00:00:00Z"));
    let beat = async |at: DateTime<Utc>| {
        let watermark = Watermark {
            lane: lanes[0].clone(),
            at,
            partition_key: None,
        };
        let beaten = engine.ingest_from_lane(Vec::new(), Some(watermark)).await;
        beaten.expect("recorded");
    };
    for (lane, words) in [
        (None, "no heartbeat has arrived through tenure.events.0"),
        (
            Some("2023-11-30T23:00:00Z"),
            "events from after 2023-11-30T23:00:00Z may still wait in tenure.events.0",
        ),
    ] {
        if let Some(lane) = lane {
            beat(at(lane)).await;
        }
        let error = engine.close_month(&careful, |_, _| {}).await.unwrap_err();
        assert!(
            matches!(error, StatementError::EventsMayArrive { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(words), "{error}");
    }
    beat(at("2023-12-01T00:00:00Z")).await;
    engine.close_month(&careful, |_, _| {}).await.expect("closed");

    // A source that is silent holds December back, unless somebody confirms it.
    engine.set_lanes(&[]).await.expect("no lanes");
    let expected = [("/app".to_owned(), TimeDelta::hours(6))];
    engine.expect_sources(&expected.into()).await.expect("expected");
    setup.clock.set(at("2024-01-01T12:00:00Z"));
    let december = CloseRequest {
        month: month("2023-12"),
        ..careful
    };
    let error = engine.close_month(&december, |_, _| {}).await.unwrap_err();
    assert!(error.to_string().contains("/app"), "{error}");
    closed(engine, month("2023-12")).await;
}

async fn the_first_month_is_not_before_the_first_event_unless_confirmed(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    setup.clock.set(at("2024-01-01T00:00:00Z"));
    let careful = |of: &str| CloseRequest {
        confirmed: false,
        ..request(month(of))
    };
    for of in ["2003-11", "2023-10"] {
        let error = engine.close_month(&careful(of), |_, _| {}).await.unwrap_err();
        assert!(
            matches!(error, StatementError::BeforeFirstEvent { .. })
                && error.to_string().contains("no event happened"),
            "{error}"
        );
    }
    assert_eq!(closings(engine).await, []);
    // Confirmed, it can begin there, and nothing has to be confirmed after that.
    closed(engine, month("2023-09")).await;
    for of in ["2023-10", "2023-11"] {
        engine.close_month(&careful(of), |_, _| {}).await.expect("closed");
    }
}

fn claim(of: Month, token: &str, until: DateTime<Utc>) -> ClosingClaim {
    ClosingClaim {
        month: of,
        by: "bob".into(),
        token: token.into(),
        until,
    }
}

async fn two_processes_close_a_month_once(fresh: Fresh) {
    let setup = one_client(fresh).await;
    let engine = &setup.engine;
    setup.clock.set(at("2024-02-01T00:00:00Z"));
    // Another process holds the claim.
    let other = claim(month("2023-11"), "other", engine.now() + CLOSING_CLAIM);
    assert!(
        engine
            .store()
            .claim_closing(&other, engine.now(), None)
            .await
            .expect("claimed")
    );
    let error = close(engine, month("2023-11")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("2023-11 is being closed now: bob began the closing")
            && error.to_string().contains("2024-02-01T00:02:00Z"),
        "{error}"
    );
    let error = close(engine, month("2023-12")).await.unwrap_err();
    assert!(
        matches!(error, StatementError::OutOfOrder { next, .. } if next == month("2023-11")),
        "{error}"
    );
    // It is gone: the next process takes over, and the first one writes nothing more.
    setup.clock.set(engine.now() + CLOSING_CLAIM);
    assert_eq!(closed(engine, month("2023-11")).await.closed_by, "bob");
    let store = engine.store();
    assert!(!store.record_stated(&other, &key(), &[]).await.expect("asked"));
    assert!(!store.end_closing(&other, engine.now()).await.expect("asked"));
    // Both at once.
    let of = month("2023-12");
    let (one, two) = tokio::join!(close(engine, of), close(engine, of));
    let errors: Vec<StatementError> = [one, two].into_iter().filter_map(Result::err).collect();
    let [error] = errors.as_slice() else {
        panic!("{errors:?}");
    };
    assert!(
        matches!(
            error,
            StatementError::InProgress { .. } | StatementError::Closed { .. }
        ),
        "{error}"
    );
    assert_adds_up(engine, month("2024-01"), 0).await;
}

async fn pages_of_a_statement_are_not_mixed(fresh: Fresh) {
    let setup = Setup::start(fresh, at("2024-01-10T12:00:00Z"), &Policy::default()).await;
    let engine = &setup.engine;
    many_clients(engine).await;
    setup.clock.set(at("2024-03-01T00:00:00Z"));
    let pages = |of: &str| {
        StatementPages::of(StatementRequest {
            month: month(of),
            partner: None,
            recompute: false,
            after: None,
            limit: 100,
        })
    };
    // The month itself is closed in between, or the month before it, which makes the rest a preview with adjustments.
    for (of, closes) in [("2024-01", "2024-01"), ("2024-03", "2024-02")] {
        let mut some = pages(of);
        assert!(some.next(engine).await.expect("a page").is_some());
        closed(engine, month(closes)).await;
        let error = some.next(engine).await.unwrap_err();
        assert!(matches!(error, StatementError::Changed(_)), "{error}");
        let mut all = pages(of);
        let mut clients = 0;
        while let Some(page) = all.next(engine).await.expect("a page") {
            clients += page.clients.len();
        }
        assert!(clients == 230 || of == "2024-03", "{clients}");
    }
}

/// So many clients that a closing has three pages.
async fn many_clients(engine: &Engine) {
    let event = |number: usize, kind: Value| {
        let key = ClientKey::new("p", &format!("c{number:03}")).expect("a key");
        let kind: EventKind = serde_json::from_value(kind).expect("an event");
        Event {
            id: format!("{number}-{}", kind.type_name()).into(),
            key,
            ..event(at("2024-01-10T09:00:00Z"), kind)
        }
    };
    let events = (0..230).flat_map(|number| {
        let added = json!({"type": "client.added", "data": {"name": format!("Name {number}")}});
        let assigned = json!({"type": "assignment.added", "data": {"assignment_id": "a"}});
        [event(number, added), event(number, assigned)]
    });
    ingest(engine, events).await;
}

async fn a_closing_that_crashes_anywhere_is_continued(fresh: Fresh) {
    let setup = Setup::start(fresh, at("2024-01-10T12:00:00Z"), &Policy::default()).await;
    many_clients(&setup.engine).await;
    setup.clock.set(at("2040-01-01T00:00:00Z"));
    let store = Arc::new(FaultInjectingStore::new(setup.fresh.store.clone()));
    let faults = store.faults.clone();
    let crashing = Engine::open(store, setup.clock.clone(), &Policy::default()).await;
    let crashing = crashing.expect("an engine");
    let mut of = month("2024-01");
    let (mut crashes, mut continued) = (0, 0);
    for calls in 1.. {
        // A late event for the previous month, so that there is something to adjust.
        let terminated = event(
            of.start() - TimeDelta::days(3),
            EventKind::ClientTerminated { reason: None },
        );
        let late = Event {
            id: format!("late-{calls}").into(),
            key: ClientKey::new("p", &format!("c{:03}", calls * 7 % 230)).expect("a key"),
            ..terminated
        };
        ingest(&setup.engine, [late]).await;
        faults.crash_after(calls);
        let result = close(&crashing, of).await;
        let is_down = faults.has_crashed();
        faults.disarm();
        if !is_down {
            result.expect("closed");
            break;
        }
        crashes += 1;
        assert!(
            matches!(result, Err(StatementError::Store(StoreError::Unavailable(_)))),
            "{result:?}"
        );
        let before = setup.engine.closings().await.expect("closings");
        continued += usize::from(before.iter().any(|closing| closing.after.is_some()));
        setup.clock.set(setup.engine.now() + CLOSING_CLAIM);
        match close(&setup.engine, of).await {
            Ok(closing) => assert_eq!(closing.status, ClosingStatus::Closed),
            // It had ended, and only the answer was lost.
            Err(StatementError::Closed { .. }) => {}
            Err(error) => panic!("after {calls} calls: {error}"),
        }
        let stated = statement(&setup.engine, of, false).await;
        let closing = setup
            .engine
            .closings()
            .await
            .expect("closings")
            .pop()
            .expect("a closing");
        let own = stated
            .iter()
            .filter(|client| client.days != DayCounts::default())
            .count();
        assert_eq!(
            i64::try_from(own).expect("few"),
            closing.statements,
            "after {calls} calls"
        );
        of = of.next();
    }
    assert!(
        crashes > 10 && continued > 3,
        "{crashes} crashes, {continued} in the midst"
    );
    assert_adds_up(&setup.engine, of.next(), 0).await;
}

async fn a_closing_goes_on_where_a_bounded_one_stopped(fresh: Fresh) {
    let setup = Setup::start(fresh, at("2024-01-10T12:00:00Z"), &Policy::default()).await;
    let engine = &setup.engine;
    many_clients(engine).await;
    setup.clock.set(at("2024-02-01T00:00:00Z"));
    let of = month("2024-01");
    let bounded = CloseRequest {
        most: Some(1),
        ..request(of)
    };
    let mut seen = Vec::new();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let closing = engine
            .close_month(&bounded, |done, last| seen.push((done, last.to_string())))
            .await
            .expect("a part");
        if closing.status == ClosingStatus::Closed {
            assert_eq!((closing.statements, closing.after), (230, None));
            break;
        }
        // Nobody has to wait for the next part, and a part is no statement yet.
        assert_eq!(closing.claimed_until, None);
        assert_eq!(
            engine
                .statement(&StatementRequest {
                    month: of,
                    partner: None,
                    recompute: false,
                    after: None,
                    limit: 1
                })
                .await
                .expect("a page")
                .closing
                .map(|closing| closing.status),
            Some(ClosingStatus::InProgress)
        );
    }
    assert_eq!(rounds, 3);
    let seen: Vec<(u64, &str)> = seen.iter().map(|(done, last)| (*done, last.as_str())).collect();
    assert_eq!(seen, [(100, "p/c099"), (100, "p/c199"), (30, "p/c229")]);
    let mut partner = StatementRequest {
        month: of,
        partner: Some("p".into()),
        recompute: false,
        after: None,
        limit: 1_000,
    };
    assert_eq!(
        engine.statement(&partner).await.expect("a page").clients.len(),
        230
    );
    partner.partner = Some("q".into());
    assert_eq!(engine.statement(&partner).await.expect("a page").clients, []);
}

/// Between the pages of a closing, an event arrives for a client that is stated already, and a new client comes before all others.
async fn whoever_continues_the_closing_of_another_is_in_the_audit_log(fresh: Fresh) {
    let setup = Setup::start(fresh, at("2024-01-10T12:00:00Z"), &Policy::default()).await;
    let engine = &setup.engine;
    many_clients(engine).await;
    setup.clock.set(at("2024-02-01T00:00:00Z"));
    for who in ["ann", "bob", "bob"] {
        let authority = Authority {
            who: who.into(),
            how: AuditHow::Cli,
            reason: None,
            request_id: None,
        };
        let part = CloseRequest {
            // Both close it for the same person.
            by: "petra".parse().expect("a name"),
            most: Some(1),
            ..request(month("2024-01"))
        };
        let operator = engine.operator(&authority);
        operator.close_month(&part, |_, _| {}).await.expect("a part");
    }
    assert_eq!(closings(engine).await, [month("2024-01")]);
    let log = engine.audit_log(&AuditFilter::default(), i64::MAX, 9).await;
    let entries: Vec<_> = log
        .expect("the audit log")
        .entries
        .into_iter()
        .map(|record| record.entry)
        .map(|entry| (entry.action, entry.who, entry.details.get("begun_by").cloned()))
        .collect();
    let close = "statement.close".to_owned();
    assert_eq!(
        entries,
        [
            (close.clone(), "bob".to_owned(), Some(json!("petra"))),
            (close, "ann".to_owned(), None),
        ]
    );
}

async fn what_arrives_behind_a_closing_is_an_adjustment_of_the_next(fresh: Fresh) {
    let setup = Setup::start(fresh, at("2024-01-10T12:00:00Z"), &Policy::default()).await;
    let engine = &setup.engine;
    many_clients(engine).await;
    setup.clock.set(at("2024-02-01T00:00:00Z"));
    let january = month("2024-01");
    let bounded = CloseRequest {
        most: Some(1),
        ..request(january)
    };
    let part = engine.close_month(&bounded, |_, _| {}).await.expect("a part");
    let stated = ClientKey::new("p", "c099").expect("a key");
    assert_eq!(part.after.as_ref(), Some(&stated));
    let new = ClientKey::new("p", "a-new").expect("a key");
    let of = |key: &ClientKey, time: &str, kind: Value| {
        let kind: EventKind = serde_json::from_value(kind).expect("an event");
        Event {
            id: format!("{key}-{}", kind.type_name()).into(),
            key: key.clone(),
            ..event(at(time), kind)
        }
    };
    let terminated = json!({"type": "client.terminated", "data": {}});
    let added = json!({"type": "client.added", "data": {"name": "New"}});
    let assigned = json!({"type": "assignment.added", "data": {"assignment_id": "a"}});
    ingest(
        engine,
        [
            of(&stated, "2024-01-20T12:00:00Z", terminated),
            of(&new, "2024-01-15T09:00:00Z", added),
            of(&new, "2024-01-15T10:00:00Z", assigned),
        ],
    )
    .await;
    closed(engine, january).await;
    let clients = statement(engine, january, false).await;
    assert_eq!(clients.len(), 230, "the new client is not among them");
    assert!(clients.iter().all(|client| client.days.billable == 22));

    setup.clock.set(at("2024-03-01T00:00:00Z"));
    assert_eq!(closed(engine, month("2024-02")).await.adjustments, 2);
    let adjusted: Vec<(String, i64, usize)> = statement(engine, month("2024-02"), false)
        .await
        .into_iter()
        .filter_map(|client| {
            let adjustment = client.adjustments.first()?;
            Some((
                client.client.clone(),
                adjustment.days.billable,
                adjustment.causes.len(),
            ))
        })
        .collect();
    // The new client has no days without either of its events.
    assert_eq!(
        adjusted,
        [("p/a-new".to_owned(), 17, 2), ("p/c099".to_owned(), -11, 1)]
    );
    assert_adds_up(engine, month("2024-03"), 0).await;
}

/// Gives clients histories of more than 500 events, all in January 2024.
async fn lengthen(engine: &Engine, clients: &[&str]) {
    for client in clients {
        let key = ClientKey::new("p", client).expect("a key");
        let events = (0..600).map(|number| {
            let kind = if number % 2 == 0 {
                EventKind::ClientTerminated { reason: None }
            } else {
                EventKind::ClientReactivated {}
            };
            Event {
                id: format!("{client}-{number}").into(),
                key: key.clone(),
                ..event(at("2024-01-20T00:00:00Z") + TimeDelta::minutes(number * 5), kind)
            }
        });
        ingest(engine, events).await;
    }
}

/// A history of more than 500 events is read alone.
async fn a_client_with_a_long_history_is_stated_in_its_place(fresh: Fresh) {
    let setup = Setup::start(fresh, at("2024-01-10T12:00:00Z"), &Policy::default()).await;
    let engine = &setup.engine;
    many_clients(engine).await;
    setup.clock.set(at("2024-02-01T00:00:00Z"));
    lengthen(engine, &["c000", "c050"]).await;
    closed(engine, month("2024-01")).await;
    let clients = statement(engine, month("2024-01"), false).await;
    assert!(clients.is_sorted_by_key(|client| client.key.clone()) && clients.len() == 230);
    for (number, client) in clients.iter().enumerate() {
        let periods = if number == 0 || number == 50 { 301 } else { 1 };
        assert_eq!(
            client.intervals.billable.as_slice().len(),
            periods,
            "{}",
            client.client
        );
        assert_eq!(client.days.billable, 22, "{}", client.client);
    }
    assert_eq!(clients, statement(engine, month("2024-01"), true).await);
}

/// Reading each of these histories takes a minute, so their page takes longer than a claim lasts.
async fn a_claim_lasts_while_a_page_of_long_histories_is_replayed(fresh: Fresh) {
    let setup = Setup::start(fresh, at("2024-01-10T12:00:00Z"), &Policy::default()).await;
    many_clients(&setup.engine).await;
    setup.clock.set(at("2024-02-01T00:00:00Z"));
    lengthen(&setup.engine, &["c001", "c002", "c003", "c004"]).await;
    let store = Arc::new(FaultInjectingStore::new(setup.fresh.store.clone()));
    let faults = store.faults.clone();
    let slow = Engine::open(store, setup.clock.clone(), &Policy::default()).await;
    faults.slow_down("history", setup.clock.clone(), TimeDelta::minutes(1));
    closed(&slow.expect("an engine"), month("2024-01")).await;
    assert_eq!(faults.calls("history"), 4);
    assert_eq!(faults.calls("renew_closing"), 4);
}
