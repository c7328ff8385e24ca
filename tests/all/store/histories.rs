//! Histories: order, touches, and unreadable values.

use serde_json::json;
use tenure::domain::access::AccessStatus;
use tenure::domain::event::{NameVerdict, TYPES};
use tenure::domain::time::rfc3339;
use tenure::domain::{
    Actor, ActorKind, Cause, Change, Corrector, Entry, Event, EventKind, Refusal, Repair, Timer,
};
use tenure::store::{
    Commit, EventWrite, HistoryRange, Logged, Recorded, RecordedOutcome, Touch, TouchWrite, Touches,
};

use super::Fresh;
use super::given::*;

fn run(seconds: &[i64]) -> Touches {
    let touch = |seconds| Touch {
        time: moment(seconds),
        sequence: None,
    };
    seconds.iter().copied().map(touch).collect()
}

pub async fn a_history_is_sorted_with_its_touches(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let refused = |event, refusal| EventWrite {
        event,
        outcome: RecordedOutcome::Refused(refusal),
    };
    let renamed = |id, seconds| {
        let kind = kind("client.renamed", &json!({"name": "Butcher"}));
        event(&a, id, seconds, kind)
    };
    let mut sequenced = event(&a, "e-0", 40, kind("access.denied", &json!({})));
    sequenced.sequence = Some("0001".into());
    let first = Commit {
        // In arbitrary order.
        events: vec![
            refused(sequenced.clone(), Refusal::NoRequest),
            applied(event(&a, "e-9", 40, kind("access.requested", &json!({})))),
            refused(renamed("e-2", 30), Refusal::NameTaken),
            refused(renamed("e-3", 31), Refusal::UnknownClient),
            applied(added(&a, "e-1", 10, "Bakery")),
            applied(added(&b, "e-4", 0, "Greengrocer")),
        ],
        touches: vec![TouchWrite {
            key: a.clone(),
            open: Touches::default(),
            closed: Some(run(&[20, 35])),
            renew_only: None,
        }],
        ..commit()
    };
    put(store, first).await.unwrap();
    let second = Commit {
        touches: vec![TouchWrite {
            key: a.clone(),
            // One of them is also in the closed run.
            open: run(&[15, 35, 50]),
            closed: None,
            renew_only: None,
        }],
        ..commit()
    };
    put(store, second).await.unwrap();

    let history = store.history(&a).await.unwrap();
    let seconds = |logged: &Logged| (logged.event.time - moment(0)).num_seconds();
    assert_eq!(
        history.iter().map(seconds).collect::<Vec<_>>(),
        [10, 15, 20, 30, 31, 35, 40, 40, 50]
    );
    assert!(history.is_sorted_by_key(|logged| logged.event.position()));
    assert_eq!(history[7].event, sequenced);
    assert_eq!(history[7].outcome, RecordedOutcome::Refused(Refusal::NoRequest));
    let verdicts: Vec<_> = history.iter().map(|logged| logged.event.name_verdict).collect();
    assert_eq!(verdicts[0], NameVerdict::Granted);
    assert_eq!(verdicts[3], NameVerdict::Taken);
    assert!(verdicts[4..].iter().all(|verdict| *verdict == NameVerdict::Open));
    assert!(history[1].event.is_touch() && history[1].outcome == RecordedOutcome::Applied);

    // The same in a batch, for several clients and an unknown one.
    let nobody = key("nobody");
    let mut batch = store.begin().await.unwrap();
    let histories = batch
        .histories(&[&a, &b, &nobody].map(|key| HistoryRange::all(key.clone())), None)
        .await
        .unwrap();
    batch.rollback().await.unwrap();
    assert_eq!(histories[&a], history);
    assert_eq!(histories[&b].len(), 1);
    assert_eq!(histories[&nobody], []);
    assert_eq!(store.history(&nobody).await.unwrap(), []);
}

/// Events and touches of one moment that only their sequences order. Both databases would sort them as text.
pub async fn a_history_is_sorted_by_sequences_as_numbers(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let beyond_64_bits = "18446744073709551616";
    let sorted = [
        None,
        Some("0"),
        Some("00"),
        Some("07"),
        Some("7"),
        Some("9"),
        Some("10"),
        Some("0099"),
        Some("18446744073709551615"),
        Some(beyond_64_bits),
        Some("100000000000000000000000"),
        Some("-1"),
        Some("10a"),
        Some("9a"),
        Some("a10"),
        Some("a9"),
        Some("é"),
    ];
    // The order of arrival and of the ids is another one.
    let events = sorted.iter().rev().enumerate().map(|(id, sequence)| {
        let mut event = event(&a, &format!("e-{id:02}"), 40, kind("access.denied", &json!({})));
        event.sequence = sequence.map(Into::into);
        EventWrite {
            event,
            outcome: RecordedOutcome::Refused(Refusal::NoRequest),
        }
    });
    let touches = sorted.map(|sequence| Touch {
        time: moment(50),
        sequence: sequence.map(Into::into),
    });
    let written = Commit {
        events: events.collect(),
        touches: vec![TouchWrite {
            key: a.clone(),
            open: touches.iter().rev().cloned().collect(),
            closed: None,
            renew_only: None,
        }],
        ..commit()
    };
    put(store, written).await.unwrap();
    let history = store.history(&a).await.unwrap();
    let sequences: Vec<Option<&str>> = history
        .iter()
        .map(|logged| logged.event.sequence.as_deref())
        .collect();
    assert_eq!(sequences, [sorted, sorted].concat());
    assert!(history.is_sorted_by_key(|logged| logged.event.position()));
    let mut batch = store.begin().await.unwrap();
    let histories = batch
        .histories(&[HistoryRange::all(a.clone())], None)
        .await
        .unwrap();
    batch.rollback().await.unwrap();
    assert_eq!(histories[&a], history);
}

pub async fn histories_of_many_clients_are_those_of_each(fresh: Fresh) {
    let store = &*fresh.store;
    let keys = ["a", "b", "c", "nobody"].map(key);
    let denied = |key, id: &str, seconds| event(key, id, seconds, kind("access.denied", &json!({})));
    let events = [("1", 0, 10), ("2", 0, 5), ("3", 0, 7), ("4", 1, 3)];
    let written = Commit {
        events: events
            .into_iter()
            .map(|(id, of, seconds)| applied(denied(&keys[of], id, seconds)))
            .collect(),
        touches: vec![TouchWrite {
            key: keys[1].clone(),
            open: run(&[1, 4, 20]),
            closed: None,
            renew_only: None,
        }],
        ..commit()
    };
    put(store, written).await.unwrap();
    put(store, clients(vec![new_client(&keys[2], "c")]))
        .await
        .unwrap();
    for (longest, found) in [(3, &[0, 1, 2, 3][..]), (2, &[1, 2, 3])] {
        let histories = store.histories(&keys, longest).await.unwrap();
        assert_eq!(histories.len(), found.len(), "at most {longest}");
        for place in found {
            let key = &keys[*place];
            assert_eq!(histories[key], store.history(key).await.unwrap(), "{key}");
        }
    }
}

/// In the log, in the causes of changes, and in the views.
pub async fn actors_and_reasons_read_back_from_the_log_and_the_journal(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let actor = |id: Option<&str>, kind| Actor {
        id: id.map(Into::into),
        kind,
    };
    let actors = [
        actor(None, None),
        actor(Some("u-1"), None),
        actor(None, Some(ActorKind::System)),
        actor(Some("partner:ü|:"), Some(ActorKind::BackOffice)),
        actor(Some(":"), Some(ActorKind::Partner)),
    ];
    let reasons = [None, Some(""), Some("moved"), Some(":"), None];
    let events: Vec<Event> = (0..)
        .zip(actors.iter().zip(reasons))
        .map(|(seconds, (actor, reason))| {
            let data = reason.map_or(json!({}), |reason| json!({"reason": reason}));
            let mut event = event(&a, &format!("e-{seconds}"), seconds, kind("client.lost", &data));
            event.actor = actor.clone();
            event
        })
        .collect();
    let lines = events.iter().map(|event| {
        let mut line = entry(&a, "Mill");
        line.cause = Cause::from(event);
        line
    });
    let mut lines: Vec<Entry> = lines.collect();
    let mut timer = entry(&a, "Mill");
    timer.cause = Cause::Timer {
        timer: Timer::AccessExpiry,
    };
    let mut rebuilt = entry(&a, "Mill");
    rebuilt.corrected_by = Some(Corrector::Rebuild {
        rebuild: Repair::State,
    });
    timer.corrected_by = Some(Corrector::from(&events[1]));
    timer.change = Change::Access {
        from: AccessStatus::Expired,
        to: AccessStatus::Enabled,
        expires_at: Some(moment(9)),
    };
    lines.extend([timer, rebuilt]);
    let written = Commit {
        events: events.iter().cloned().map(applied).collect(),
        journal: lines.clone(),
        ..commit()
    };
    put(store, written).await.unwrap();

    let history = store.history(&a).await.unwrap();
    let read: Vec<&Event> = history.iter().map(|logged| &logged.event).collect();
    assert_eq!(read, events.iter().collect::<Vec<_>>());
    let entries = |recorded: Vec<Recorded>| recorded.into_iter().map(|line| line.entry).collect::<Vec<_>>();
    assert_eq!(entries(store.journal(&a, 0, 9).await.unwrap()), lines);
    assert_eq!(entries(relayed(store, lines.len(), 9).await), lines);
    assert_eq!(store.snapshot(&a).await.unwrap().journal, lines);

    let sql = async |statement| fresh.database.sql(statement).await;
    assert_eq!(
        sql("select coalesce(actorkind, '-') || ' ' || coalesce(actor, '-') from event_log order by time")
            .await,
        ["- -", "- u-1", "system -", "back_office partner:ü|:", "partner :"]
    );
    let causes = sql("select cast(cause as text) from change_log order by seq").await;
    let causes: Vec<serde_json::Value> = causes
        .iter()
        .map(|cause| serde_json::from_str(cause).unwrap())
        .collect();
    let expected: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::to_value(&line.cause).unwrap())
        .collect();
    assert_eq!(causes, expected);
    let correctors =
        sql("select cast(corrected_by as text) from change_log where correction order by seq").await;
    let correctors: Vec<serde_json::Value> = correctors
        .iter()
        .map(|corrector| serde_json::from_str(corrector).unwrap())
        .collect();
    assert_eq!(
        correctors,
        [
            json!({"source": "/apps/space", "id": "e-1", "type": "client.lost"}),
            json!({"rebuild": "state"}),
        ]
    );
    let data = sql("select cast(data as text) from change_log where data is not null").await;
    assert_eq!(data.len(), 1, "{data:?}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&data[0]).unwrap(),
        json!({"expires_at": rfc3339(moment(9))})
    );
}

pub async fn every_kind_of_event_reads_back(fresh: Fresh) {
    let store = &*fresh.store;
    // Values that are hard to store, for every field. A type ignores fields that it does not have.
    let hard = json!({
        "name": "Käse & \"Wein\"", "imported": true, "channel": "referral", "steps": ["accepted"],
        "commission_eligible": false, "via": "independent", "reason": "l'ordre\n\\", "by": "partner",
        "assignment_id": "a/1", "service": "seo", "schedule_id": "r 1", "rule_id": "m-1",
        "subscription_id": "s-1", "plan": "gold", "managed_by": "client",
        "paid_until": "2031-05-06T07:08:09.123456Z", "user_id": "u-1", "integration_id": "i-1",
        "user": "ü", "total": u64::MAX, "account_id": "acc/ü",
    });
    let written: Vec<EventWrite> = TYPES
        .iter()
        .zip(0..)
        .map(|(name, seconds)| {
            let mut data = crate::generate::sample(name);
            let fields = data.as_object_mut().unwrap();
            fields.extend(hard.as_object().unwrap().clone());
            let mut event = event(&key("a"), name, seconds, kind(name, &data));
            event.name_verdict = match event.kind.claimed_name() {
                Some(_) => NameVerdict::Granted,
                None => NameVerdict::Open,
            };
            applied(event)
        })
        .collect();
    let events = written.clone();
    put(store, Commit { events, ..commit() }).await.unwrap();
    let read = store.history(&key("a")).await.unwrap();
    assert_eq!(read.len(), TYPES.len());
    for (written, read) in written.iter().zip(&read) {
        assert_eq!(written.event, read.event);
    }
}

pub async fn an_unreadable_value_is_reported_with_table_column_and_key(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let name = name("Bakery");
    let added = event(
        &a,
        "e-1",
        0,
        EventKind::ClientAdded {
            name,
            imported: false,
        },
    );
    let written = Commit {
        clients: vec![new_client(&a, "Bakery")],
        events: vec![applied(added)],
        ..commit()
    };
    put(store, written).await.unwrap();
    fresh
        .database
        .sql("update events set data = '{}' returning ''")
        .await;
    fresh
        .database
        .sql(r#"update clients set doc = '{"client": 7}' returning ''"#)
        .await;
    let error = store.history(&a).await.unwrap_err().to_string();
    assert!(
        error.starts_with("events: the data of /apps/space e-1 "),
        "{error}"
    );
    let error = store.client(&a).await.unwrap_err().to_string();
    assert!(error.starts_with("clients: the doc of acme/a "), "{error}");
}
