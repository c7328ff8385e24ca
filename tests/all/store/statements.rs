//! Closings of months, and what they stated.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use tenure::domain::intervals::{ClientIntervals, Interval, Intervals};
use tenure::domain::{AdjustmentCause, ClientKey, EventKind, Month, MonthDays, Refusal};
use tenure::store::{
    AuditEntry, AuditFilter, Closing, ClosingClaim, ClosingStatus, Commit, EventWrite, RecordedOutcome,
    Stated, Store, StoreError,
};

use super::Fresh;
use super::audit::entry;
use super::given::*;

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

/// A claim until this many seconds after the tests' start.
fn claim(of: &str, token: &str, until: i64) -> ClosingClaim {
    ClosingClaim {
        month: month(of),
        by: format!("{token} 'ü'"),
        token: token.into(),
        until: moment(until),
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Access from a moment on, billable for the whole month, and two periods of commission.
fn stated(of: &str, stated_in: &str, access_from: &str, causes: Vec<AdjustmentCause>) -> Stated {
    let of = month(of);
    let days = |day: i64| of.start() + TimeDelta::days(day);
    let intervals = ClientIntervals {
        access: Intervals::of([Interval {
            from: at(access_from),
            to: of.end(),
        }]),
        billable: Intervals::of([of.bounds()]),
        commission: Intervals::of([(2, 3), (27, 28)].map(|(from, to)| Interval {
            from: days(from),
            to: days(to),
        })),
        status_credit: Intervals::default(),
    };
    Stated {
        month: of,
        stated_in: month(stated_in),
        days: MonthDays::of(&intervals, of),
        intervals,
        causes,
    }
}

async fn add(store: &dyn Store, clients: &[&str]) {
    let writes = clients.iter().map(|client| new_client(&key(client), client));
    put(store, super::given::clients(writes.collect())).await.unwrap();
}

async fn closed(store: &dyn Store, of: &str, rows: &[(ClientKey, Stated)]) {
    let claim = claim(of, "ann", 60);
    assert!(store.claim_closing(&claim, moment(0), None).await.unwrap());
    assert!(store.record_stated(&claim, &key("z"), rows).await.unwrap());
    assert!(store.end_closing(&claim, moment(7)).await.unwrap());
}

pub async fn a_closing_has_one_claim_at_a_time(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(store.closings().await.unwrap(), []);
    let first = claim("2026-10", "first", 60);
    assert!(store.claim_closing(&first, moment(0), None).await.unwrap());
    let expected = Closing {
        month: month("2026-10"),
        status: ClosingStatus::InProgress,
        closed_by: "first 'ü'".into(),
        started_at: moment(0),
        closed_at: None,
        claimed_until: Some(moment(60)),
        after: None,
        statements: 0,
        adjustments: 0,
    };
    assert_eq!(store.closings().await.unwrap(), std::slice::from_ref(&expected));
    for (other, now) in [("2026-10", 59), ("2026-11", 61), ("2026-09", 61)] {
        let other = claim(other, "second", 120);
        assert!(!store.claim_closing(&other, moment(now), None).await.unwrap());
    }
    // It can be renewed, by the process that has it.
    assert!(
        !store
            .renew_closing(&claim("2026-10", "second", 120))
            .await
            .unwrap()
    );
    assert!(
        !store
            .renew_closing(&claim("2026-11", "first", 120))
            .await
            .unwrap()
    );
    assert_eq!(store.closings().await.unwrap()[0].claimed_until, Some(moment(60)));
    assert!(store.renew_closing(&claim("2026-10", "first", 90)).await.unwrap());
    let second = claim("2026-10", "second", 120);
    assert!(!store.claim_closing(&second, moment(60), None).await.unwrap());
    // It has expired, or was released, or a clock far ahead made it.
    let second = claim("2026-10", "second", 120);
    assert!(store.claim_closing(&second, moment(90), None).await.unwrap());
    // Another process cannot release it.
    store.release_closing(&first).await.unwrap();
    let third = claim("2026-10", "third", 130);
    assert!(!store.claim_closing(&third, moment(91), None).await.unwrap());
    store.release_closing(&second).await.unwrap();
    let ahead = claim("2026-10", "ahead", 1_000_000);
    assert!(store.claim_closing(&ahead, moment(70), None).await.unwrap());
    let last = claim("2026-10", "last", 130);
    assert!(store.claim_closing(&last, moment(70), None).await.unwrap());
    assert!(!store.end_closing(&ahead, moment(71)).await.unwrap());
    assert!(store.end_closing(&last, moment(71)).await.unwrap());
    // It stays the closing of who began it.
    let closed = Closing {
        status: ClosingStatus::Closed,
        closed_at: Some(moment(71)),
        claimed_until: None,
        ..expected
    };
    assert_eq!(store.closings().await.unwrap(), std::slice::from_ref(&closed));
    // It cannot be closed again, and the next month can.
    let again = claim("2026-10", "again", 1_000);
    assert!(!store.claim_closing(&again, moment(900), None).await.unwrap());
    let next = claim("2026-11", "next", 1_000);
    assert!(store.claim_closing(&next, moment(900), None).await.unwrap());
    let closings = store.closings().await.unwrap();
    assert_eq!((closings.len(), &closings[0]), (2, &closed));
}

pub async fn each_author_of_a_closing_has_one_entry(fresh: Fresh) {
    let store = &*fresh.store;
    let first = claim("2026-10", "first", 60);
    let by = |who: &str| AuditEntry {
        target: Some("2026-10".into()),
        ..entry(1, who, "statement.close")
    };
    for who in ["ann", "ann", "bob", "bob", "ann"] {
        let entry = by(who);
        assert!(
            store
                .claim_closing(&first, moment(0), Some(&entry))
                .await
                .unwrap()
        );
        store.release_closing(&first).await.unwrap();
    }
    // Without a claim there is no entry.
    assert!(store.claim_closing(&first, moment(0), None).await.unwrap());
    let second = claim("2026-10", "second", 90);
    assert!(
        !store
            .claim_closing(&second, moment(1), Some(&by("eve")))
            .await
            .unwrap()
    );
    let log = store.audit_log(&AuditFilter::default(), i64::MAX, 9, 9).await;
    let authors: Vec<_> = log
        .unwrap()
        .entries
        .into_iter()
        .map(|record| (record.entry.who, record.entry.details.get("begun_by").cloned()))
        .collect();
    let begun_by = Some(serde_json::json!("first 'ü'"));
    assert_eq!(authors, [("bob".to_owned(), begun_by), ("ann".to_owned(), None)]);
}

/// Two processes have both found that nothing is closed.
pub async fn only_the_next_month_can_be_claimed(fresh: Fresh) {
    let store = &*fresh.store;
    closed(store, "2026-12", &[]).await;
    for (of, is_next) in [
        ("2026-11", false),
        ("2026-12", false),
        ("2027-02", false),
        ("2027-01", true),
    ] {
        let other = claim(of, "other", 60);
        assert_eq!(
            store.claim_closing(&other, moment(10), None).await.unwrap(),
            is_next,
            "{of}"
        );
    }
    let closings = store.closings().await.unwrap();
    let months: Vec<Month> = closings.iter().map(|closing| closing.month).collect();
    assert_eq!(months, ["2026-12", "2027-01"].map(month));
}

/// Each process claims and ends at once, so that a claim that was decided before the other's end comes after it.
pub async fn first_closings_that_race_stay_in_order(fresh: Fresh) {
    let store = &*fresh.store;
    let close = async |of: &str| {
        let claim = claim(of, of, 60);
        let is_claimed = store.claim_closing(&claim, moment(0), None).await.unwrap();
        is_claimed && store.end_closing(&claim, moment(1)).await.unwrap()
    };
    let (early, between, late) = tokio::join!(close("2026-08"), close("2026-09"), close("2026-10"));
    let closings = store.closings().await.unwrap();
    let months: Vec<Month> = closings.iter().map(|closing| closing.month).collect();
    assert_eq!(
        months.len(),
        [early, between, late].iter().filter(|is| **is).count()
    );
    assert!(!months.is_empty());
    assert!(
        months.windows(2).all(|pair| pair[0].next() == pair[1]),
        "{months:?}"
    );
}

pub async fn a_page_is_recorded_with_its_progress_or_not_at_all(fresh: Fresh) {
    let store = &*fresh.store;
    add(store, &["a", "b"]).await;
    let first = claim("2026-10", "first", 60);
    assert!(store.claim_closing(&first, moment(0), None).await.unwrap());
    let row = stated("2026-10", "2026-10", "2026-10-03T00:00:00Z", Vec::new());
    let rows = [(key("a"), row.clone())];
    let longer = ClosingClaim {
        until: moment(90),
        ..first.clone()
    };
    assert!(store.record_stated(&longer, &key("a"), &rows).await.unwrap());
    let closing = &store.closings().await.unwrap()[0];
    assert_eq!(closing.after, Some(key("a")));
    assert_eq!((closing.statements, closing.adjustments), (1, 0));
    assert_eq!(closing.claimed_until, Some(moment(90)));

    // A row that is there already fails the page, and its progress.
    let more = [(key("b"), row.clone()), (key("a"), row.clone())];
    let error = store.record_stated(&longer, &key("b"), &more).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict(_) | StoreError::Statement(_)),
        "{error}"
    );
    // Another process has taken over.
    let second = claim("2026-10", "second", 200);
    assert!(store.claim_closing(&second, moment(100), None).await.unwrap());
    let b = [(key("b"), row.clone())];
    assert!(!store.record_stated(&longer, &key("b"), &b).await.unwrap());
    assert!(!store.end_closing(&longer, moment(101)).await.unwrap());
    let of_both = [key("a"), key("b"), key("nobody")];
    let found = store.stated(&of_both).await.unwrap();
    assert_eq!(found, HashMap::from([(key("a"), vec![row])]));
    assert_eq!(store.closings().await.unwrap()[0].after, Some(key("a")));
    // A page without rows.
    assert!(store.record_stated(&second, &key("b"), &[]).await.unwrap());
    assert_eq!(store.closings().await.unwrap()[0].after, Some(key("b")));
}

pub async fn what_was_stated_reads_back_in_order(fresh: Fresh) {
    let store = &*fresh.store;
    add(store, &["a", "b"]).await;
    let source = "/s".into();
    let cause = AdjustmentCause::late_event(&source, &"é, \"1\"".into(), "client.lost");
    let touch = AdjustmentCause::Touch {
        kind: "account.accessed".into(),
    };
    let from = "2026-09-30T23:59:59.999999Z";
    let september = stated("2026-09", "2026-09", from, Vec::new());
    let adjusted = stated(
        "2026-09",
        "2026-10",
        "2026-09-11T10:11:12.131415Z",
        vec![cause, touch],
    );
    let october = stated("2026-10", "2026-10", "2026-10-01T00:00:00Z", Vec::new());
    closed(
        store,
        "2026-09",
        &[
            (key("b"), stated("2026-09", "2026-09", from, Vec::new())),
            (key("a"), september.clone()),
        ],
    )
    .await;
    closed(
        store,
        "2026-10",
        &[(key("a"), october.clone()), (key("a"), adjusted.clone())],
    )
    .await;
    let found = store.stated(&[key("a"), key("b")]).await.unwrap();
    assert_eq!(found[&key("a")], [september.clone(), adjusted, october]);
    assert_eq!(found[&key("b")], [september]);
    let closings = store.closings().await.unwrap();
    assert_eq!((closings[1].statements, closings[1].adjustments), (1, 1));
}

/// In the views, the days of an adjustment are differences.
pub async fn statement_lines_add_up_in_sql(fresh: Fresh) {
    let store = &*fresh.store;
    add(store, &["a"]).await;
    let cause = AdjustmentCause::late_event(&"/s".into(), &"1".into(), "client.lost");
    let september = stated("2026-09", "2026-09", "2026-09-21T00:00:00Z", Vec::new());
    let adjusted = stated("2026-09", "2026-10", "2026-09-30T10:00:00Z", vec![cause]);
    let october = stated("2026-10", "2026-10", "2026-10-01T00:00:00Z", Vec::new());
    closed(store, "2026-09", &[(key("a"), september)]).await;
    let lines =
        "select partner || ' ' || client || ' ' || statement || ' ' || month || ' ' || billable_days || ' '
                        || commission_days || ' ' || status_credit_days || ' ' || access_days || ' '
                        || case when causes is null then '-' else cast(causes as text) end
                 from statement_lines
                 order by statement, month";
    let first = "acme a 2026-09 2026-09 30 2 0 10 -";
    assert_eq!(fresh.database.sql(lines).await, [first]);
    let in_progress = claim("2026-10", "ann", 60);
    assert!(store.claim_closing(&in_progress, moment(10), None).await.unwrap());
    let rows = [(key("a"), adjusted), (key("a"), october)];
    assert!(store.record_stated(&in_progress, &key("a"), &rows).await.unwrap());
    assert_eq!(
        fresh.database.sql(lines).await,
        [first],
        "a closing in progress does not count"
    );
    assert!(store.end_closing(&in_progress, moment(11)).await.unwrap());
    assert_eq!(
        fresh.database.sql(lines).await,
        [
            first,
            "acme a 2026-10 2026-09 0 0 0 -9 [{\"source\":\"/s\",\"id\":\"1\",\"type\":\"client.lost\"}]",
            "acme a 2026-10 2026-10 31 2 0 31 -",
        ]
    );
    let months = "select month || ' ' || closed_by || ' ' || statements || ' ' || adjustments from closed_months order by month";
    assert_eq!(
        fresh.database.sql(months).await,
        ["2026-09 ann 'ü' 1 0", "2026-10 ann 'ü' 1 1"]
    );
}

pub async fn events_stored_since_a_moment_are_found(fresh: Fresh) {
    let store = &*fresh.store;
    let store_at = async |id: &str, happened: i64, recorded: i64| {
        let event = event(&key("a"), id, happened, EventKind::AccessDisabled {});
        let commit = Commit {
            events: vec![applied(event)],
            recorded_at: moment(recorded),
            ..Commit::default()
        };
        put(store, commit).await.unwrap();
    };
    for (id, happened, recorded) in [
        ("1", 10, 10),
        ("0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11", 5, 20),
        ("3", 20, 20),
        ("4", 6, 30),
    ] {
        store_at(id, happened, recorded).await;
    }
    // None of these can change a day, so they do not count towards the limit either.
    let user = serde_json::from_value(serde_json::json!({"type": "user.added", "data": {"user_id": "u"}}));
    let user = applied(event(&key("a"), "user", 4, user.unwrap()));
    let refused = EventWrite {
        event: event(&key("a"), "refused", 4, EventKind::AccessDisabled {}),
        outcome: RecordedOutcome::Refused(Refusal::NotLinked),
    };
    let commit = Commit {
        events: vec![user, refused],
        recorded_at: moment(40),
        ..Commit::default()
    };
    put(store, commit).await.unwrap();
    for (since, before, limit, expected) in [
        (20, 20, 10, &["0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11", "4"][..]),
        (21, 20, 10, &["4"]),
        (
            0,
            100,
            10,
            &["0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11", "4", "1", "3"],
        ),
        (0, 100, 1, &["0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11"]),
        (31, 100, 10, &[]),
    ] {
        let found = store
            .stored_since(&key("a"), moment(since), moment(before), limit)
            .await
            .unwrap();
        let ids: Vec<&str> = found.iter().map(|(_, id)| &**id).collect();
        assert_eq!(ids, expected, "since {since} before {before}");
        assert!(found.iter().all(|(source, _)| &**source == "/apps/space"));
    }
    assert_eq!(
        store
            .stored_since(&key("nobody"), moment(0), moment(100), 10)
            .await
            .unwrap(),
        []
    );
}
