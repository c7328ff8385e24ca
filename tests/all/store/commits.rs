//! Commits: what one transaction reads and writes.

use serde_json::json;
use tenure::domain::link::LinkStatus;
use tenure::domain::{
    Actor, Cause, Change, ClientKey, Corrector, Event, Id, Namesake, Refusal, Sweep, Timer,
};
use tenure::store::{
    Commit, EventWrite, HistoryRange, OutcomeUpdate, RecordedOutcome, StoreError, Touch, TouchWrite, Touches,
};

use super::Fresh;
use super::given::*;

pub async fn a_commit_is_read_back_as_written(fresh: Fresh) {
    let store = &*fresh.store;
    let bakery = key("bakery");
    let added = added(&bakery, "e-1", 0, "Bäckerei \"Zur Mühle\" \\ 🥐");
    let mut document = write(&bakery, client(std::slice::from_ref(&added)), 0);
    document.document.deadlines = [(Sweep::StalledInvitations, moment(9))].into();
    let mut line = entry(&bakery, "Zur Mühle");
    line.change = Change::SubscriptionRenewed {
        id: Id::try_from("s-1".to_owned()).unwrap(),
        from: None,
        to: Some(moment(8)),
    };
    line.cause = Cause::Timer {
        timer: Timer::SubscriptionEnd,
    };
    line.corrected_by = Some(Corrector::LateEvent {
        source: "/a late source".into(),
        id: "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11".into(),
        kind: "client.lost".into(),
    });
    let touches: Touches = [touch(3, None), touch(1, Some("7"))].into_iter().collect();
    let written = Commit {
        clients: vec![document.clone()],
        events: vec![applied(added.clone())],
        journal: vec![line.clone(), entry(&bakery, "again")],
        deadlines_set: vec![(bakery.clone(), Sweep::StalledInvitations, moment(9))],
        touches: vec![touched(&bakery, &touches)],
        ..commit()
    };
    assert!(store.client(&bakery).await.unwrap().is_none());
    put(store, written).await.unwrap();

    let stored = store.client(&bakery).await.unwrap().unwrap();
    assert_eq!(stored.key, bakery);
    assert_eq!(stored.document, document.document);
    assert_eq!(stored.version, 1);
    assert_eq!(stored.touches, touches);
    let journal = store.journal(&bakery, 0, 10).await.unwrap();
    assert_eq!(journal.len(), 2);
    assert_eq!(journal[0].entry, line);
    assert_eq!(journal[0].recorded_at, moment(100));
    assert_eq!(journal[1].entry, entry(&bakery, "again"));

    // The same through a batch.
    let mut batch = store.begin().await.unwrap();
    assert_eq!(lock(&mut *batch, &bakery).await, stored);
    let again = Commit {
        clients: vec![write(&bakery, stored.document.client, 1)],
        deadlines_set: vec![(bakery.clone(), Sweep::AccessExpiry, moment(7))],
        deadlines_cleared: vec![(bakery.clone(), Sweep::StalledInvitations)],
        ..commit()
    };
    batch.commit(&again).await.unwrap();
    let stored = store.client(&bakery).await.unwrap().unwrap();
    assert_eq!(stored.version, 2);
    assert!(stored.document.deadlines.is_empty());
    let due = |sweep| store.due(sweep, moment(1000), None, 10);
    assert_eq!(
        due(Sweep::AccessExpiry).await.unwrap(),
        [(moment(7), bakery.clone())]
    );
    assert_eq!(due(Sweep::StalledInvitations).await.unwrap(), []);
}

pub async fn a_stale_version_is_a_conflict(fresh: Fresh) {
    let store = &*fresh.store;
    let bakery = key("bakery");
    let new = new_client(&bakery, "Bakery");
    // A client that should exist and does not.
    failed_redrives(
        store,
        clients(vec![write(&bakery, new.document.client.clone(), 3)]),
    )
    .await;
    put(store, clients(vec![new.clone()])).await.unwrap();
    // A client that should not exist and does.
    failed_redrives(store, clients(vec![new.clone()])).await;
    let at_version = |version| clients(vec![write(&bakery, new.document.client.clone(), version)]);
    put(store, at_version(1)).await.unwrap();
    failed_redrives(store, at_version(1)).await;
    failed_redrives(store, at_version(3)).await;
    put(store, at_version(2)).await.unwrap();
    assert_eq!(store.client(&bakery).await.unwrap().unwrap().version, 3);
}

pub async fn a_duplicate_event_is_a_conflict(fresh: Fresh) {
    let store = &*fresh.store;
    let bakery = key("bakery");
    let events = |ids: &[&str]| Commit {
        events: ids
            .iter()
            .map(|id| applied(added(&bakery, id, 0, "Bakery")))
            .collect(),
        ..commit()
    };
    put(store, events(&["e-1"])).await.unwrap();
    failed_redrives(store, events(&["e-2", "e-1"])).await;
    failed_redrives(store, events(&["e-3", "e-3"])).await;
    put(store, events(&["e-2", "e-3"])).await.unwrap();
    assert_eq!(store.census().await.unwrap().events, 3);
}

pub async fn duplicates_are_distinguished_from_new_events(fresh: Fresh) {
    let store = &*fresh.store;
    let written = Commit {
        events: vec![
            applied(added(&key("a"), "e-1", 0, "Bakery")),
            applied(added(&key("b"), "e-2", 0, "Butcher")),
        ],
        ..commit()
    };
    put(store, written).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    let asked = [
        ("/apps/space", "e-2"),
        ("/apps/other", "e-1"),
        ("/apps/space", "e-3"),
        ("/apps/space", "E-1"),
        ("/apps/space", "e-2"),
    ];
    assert_eq!(duplicates(&mut *batch, &asked).await, [0, 4].into());
    assert_eq!(duplicates(&mut *batch, &[]).await, [].into());
    batch.rollback().await.unwrap();
}

pub async fn namesakes_of_logged_events_are_found(fresh: Fresh) {
    let store = &*fresh.store;
    let invited = |steps: &[&str]| kind("client.invited", &json!({ "steps": steps }));
    let a = added(&key("a"), "e-1", 0, "Bakery");
    let b = Event {
        actor: Actor {
            id: Some("u-1".into()),
            kind: None,
        },
        ..event(
            &key("b"),
            "30313233-3435-3637-3839-616263646566",
            1,
            invited(&["accepted"]),
        )
    };
    let refused = EventWrite {
        event: event(&key("b"), "e-2", 2, kind("client.deleted", &json!({}))),
        outcome: RecordedOutcome::Refused(Refusal::UnknownClient),
    };
    let written = Commit {
        clients: vec![new_client(&key("a"), "Bakery")],
        events: vec![applied(a.clone()), applied(b.clone()), refused.clone()],
        ..commit()
    };
    put(store, written).await.unwrap();

    let again = Event {
        sequence: Some("9".into()),
        actor: Actor::default(),
        ..b.clone()
    };
    let other_data = Event {
        kind: invited(&["accepted", "consented"]),
        ..b.clone()
    };
    let other_time = Event {
        time: a.time + chrono::TimeDelta::microseconds(1),
        ..a.clone()
    };
    let of_another = added(&key("b"), "e-1", 0, "Bakery");
    let of_a_new_one = added(&key("new"), "e-1", 0, "Bakery");
    let other_type = event(&key("b"), "e-2", 2, kind("client.reactivated", &json!({})));
    let asked = [
        &a,
        &again,
        &other_data,
        &other_time,
        &of_another,
        &of_a_new_one,
        &refused.event,
        &other_type,
    ];
    let mut batch = store.begin().await.unwrap();
    let ids: Vec<(&str, &str)> = asked.iter().map(|event| (&*event.source, &*event.id)).collect();
    let keys = [key("a"), key("b"), key("new")];
    let (locked, duplicates) = batch.lock_for_events(&keys, &ids).await.unwrap();
    assert_eq!((locked.len(), duplicates.len()), (1, asked.len()));
    let mut found = batch.namesakes(&asked).await.unwrap();
    found.sort_by_key(|(place, _)| *place);
    let expected = [(2, &b), (3, &a), (4, &a), (5, &a), (7, &refused.event)];
    assert_eq!(
        found,
        expected.map(|(place, event)| (place, Namesake::from(event)))
    );
    assert_eq!(batch.namesakes(&[]).await.unwrap(), []);
    // More than one statement of SQLite has room for.
    let many: Vec<&Event> = std::iter::repeat_n(&other_time, 150)
        .chain([&a, &other_data])
        .collect();
    let found = batch.namesakes(&many).await.unwrap();
    assert_eq!(found.len(), 151);
    assert!(found.contains(&(151, Namesake::from(&b))), "{found:?}");
    batch.rollback().await.unwrap();
}

/// UUIDs are stored as bytes, other ids as text. No two ids may become the same.
pub async fn ids_of_every_form_read_back_and_stay_distinct(fresh: Fresh) {
    const IDS: [&str; 7] = [
        "30313233-3435-3637-3839-616263646566",
        "30313233-3435-3637-3839-61626364656A",
        "303132333435363738396162636465660",
        "0123456789abcdef",
        "0123456789abcdef0",
        "é",
        " ",
    ];
    let store = &*fresh.store;
    let user = |id: &str, seconds| {
        event(
            &key("a"),
            id,
            seconds,
            kind("user.added", &json!({ "user_id": id })),
        )
    };
    let events = IDS
        .iter()
        .zip(0..)
        .map(|(id, seconds)| applied(user(id, seconds)));
    let causes = IDS.map(|id| {
        let mut line = entry(&key("a"), "-");
        line.change = Change::InvitationSent(None);
        line.cause = Cause::from(&user(id, 0));
        line
    });
    let written = Commit {
        events: events.collect(),
        journal: causes.to_vec(),
        ..commit()
    };
    put(store, written).await.unwrap();
    let history = store.history(&key("a")).await.unwrap();
    assert_eq!(
        history.iter().map(|logged| &*logged.event.id).collect::<Vec<_>>(),
        IDS
    );
    let journal = store.journal(&key("a"), 0, 10).await.unwrap();
    assert_eq!(
        journal.into_iter().map(|line| line.entry).collect::<Vec<_>>(),
        causes
    );
    let asked = IDS.map(|id| ("/apps/space", id));
    let others = [
        "30313233-3435-3637-3839-616263646567",
        "30313233-3435-3637-3839-61626364656a",
        "30313233343536373839616263646566",
        "0123456789abcdeg",
        "",
    ]
    .map(|id| ("/apps/space", id));
    let mut batch = store.begin().await.unwrap();
    assert_eq!(
        duplicates(&mut *batch, &[&asked[..], &others[..]].concat()).await,
        (0..asked.len()).collect()
    );
    batch.rollback().await.unwrap();
}

/// The tables have numbers for clients, sources and words.
pub async fn views_show_names(fresh: Fresh) {
    let store = &*fresh.store;
    let bakery = key("bakery");
    let mut refused = applied(added(&bakery, "e-2", 1, "Bakery"));
    refused.outcome = RecordedOutcome::Refused(Refusal::AlreadyExists);
    refused.event.sequence = Some("7".into());
    let mut timer = entry(&bakery, "-");
    timer.change = Change::InvitationStalled;
    timer.cause = Cause::Timer {
        timer: Timer::StalledInvitation,
    };
    let mut draft = entry(&bakery, "-");
    draft.change = Change::Link {
        from: None,
        to: LinkStatus::Draft,
    };
    draft.cause = Cause::from(&refused.event);
    let written = Commit {
        clients: vec![new_client(&bakery, "Bakery")],
        events: vec![
            applied(added(
                &bakery,
                "30313233-3435-3637-3839-616263646566",
                0,
                "Bakery",
            )),
            applied(event(&bakery, "e-3", 2, kind("client.archived", &json!({})))),
            refused,
        ],
        journal: vec![draft, timer, entry(&bakery, "Mill")],
        deadlines_set: vec![(bakery.clone(), Sweep::StalledInvitations, moment(9))],
        ..commit()
    };
    put(store, written).await.unwrap();
    let sql = async |statement| fresh.database.sql(statement).await;
    let head = "acme|bakery|/apps/space";
    assert_eq!(
        sql("select partner || '|' || client || '|' || source || '|' || id || '|' || type || '|' || coalesce(sequence, '-')
                    || '|' || outcome || '|' || coalesce(reason, '-')
             from event_log order by time")
        .await,
        [
            format!("{head}|30313233-3435-3637-3839-616263646566|client.added|-|applied|-"),
            format!("{head}|e-2|client.added|7|refused|already_exists"),
            format!("{head}|e-3|client.archived|-|applied|-"),
        ]
    );
    assert_eq!(
        sql("select partner || '|' || client || '|' || change || '|' || coalesce(before, '-') || '|' || coalesce(after, '-')
             from change_log order by seq")
        .await,
        [
            "acme|bakery|link.draft|-|draft",
            "acme|bakery|invitation.stalled|-|-",
            "acme|bakery|client.renamed|Before|Mill"
        ]
    );
    let causes = sql("select cast(cause as text) from change_log order by seq").await;
    let causes: Vec<serde_json::Value> = causes
        .iter()
        .map(|cause| serde_json::from_str(cause).unwrap())
        .collect();
    assert_eq!(
        causes,
        [
            json!({ "source": "/apps/space", "id": "e-2", "type": "client.added" }),
            json!({ "timer": "stalled_invitation" }),
            json!({ "source": "/apps/space", "id": "e-1", "type": "client.renamed" }),
        ]
    );
    assert_eq!(
        sql("select partner || '|' || client || '|' || sweep from deadlines_now").await,
        ["acme|bakery|stalled-invitations"]
    );
    assert_eq!(
        sql("select partner || '|' || client || '|' || name || '|' || link from clients_now").await,
        ["acme|bakery|Bakery|draft"]
    );
}

pub async fn a_later_commit_changes_outcomes(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let unknown = RecordedOutcome::Refused(Refusal::UnknownClient);
    let invited = event(&a, "e-2", 2, kind("client.invited", &json!({})));
    let written = Commit {
        events: vec![
            EventWrite {
                event: invited,
                outcome: unknown,
            },
            applied(event(&a, "e-1", 1, kind("access.denied", &json!({})))),
        ],
        ..commit()
    };
    put(store, written).await.unwrap();
    let update = |id: &str, second, outcome| OutcomeUpdate {
        key: a.clone(),
        time: moment(second),
        source: "/apps/space".into(),
        id: id.into(),
        outcome,
    };
    let updates = |outcomes| Commit { outcomes, ..commit() };
    let refused = RecordedOutcome::Refused(Refusal::NoRequest);
    let changed = updates(vec![
        update("e-1", 1, refused),
        update("e-2", 2, RecordedOutcome::Applied),
    ]);
    put(store, changed).await.unwrap();
    let outcomes: Vec<_> = store
        .history(&a)
        .await
        .unwrap()
        .iter()
        .map(|l| l.outcome)
        .collect();
    assert_eq!(outcomes, [refused, RecordedOutcome::Applied]);

    // A new outcome for an event that is not in the log is a bug, not a conflict.
    let error = put(store, updates(vec![update("e-9", 9, refused)]))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Inconsistent { .. }), "{error}");
}

/// PostgreSQL divides long lists of events and lines among several statements.
pub async fn a_commit_with_long_lists_is_complete(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let mut first = clients(vec![new_client(&a, "Bakery")]);
    first.deadlines_set = vec![(a.clone(), Sweep::AccessExpiry, moment(5))];
    put(store, first).await.unwrap();
    let requested = || kind("access.requested", &json!({}));
    let mut lines = Vec::new();
    let mut stored_events = 0;
    for (version, events, new_lines) in [(1, 2_500, 1_200), (2, 1_200, 2_500)] {
        let ids = (0..events).map(|n| event(&a, &format!("{version}-{n}"), n, requested()));
        let journal: Vec<_> = (0..new_lines)
            .map(|n| entry(&a, &format!("{version}-{n}")))
            .collect();
        let (set, cleared) = match version {
            1 => (Sweep::StalledInvitations, Sweep::AccessExpiry),
            _ => (Sweep::AccessExpiry, Sweep::StalledInvitations),
        };
        let written = Commit {
            clients: vec![write(&a, new_client(&a, "Bakery").document.client, version)],
            events: ids.map(applied).collect(),
            journal: journal.clone(),
            deadlines_set: vec![(a.clone(), set, moment(7))],
            deadlines_cleared: vec![(a.clone(), cleared)],
            ..commit()
        };
        put(store, written).await.unwrap();
        stored_events += usize::try_from(events).unwrap();
        lines.extend(journal);
        assert_eq!(store.client(&a).await.unwrap().unwrap().version, version + 1);
        assert_eq!(store.history(&a).await.unwrap().len(), stored_events);
        let stored = store.journal(&a, 0, 10_000).await.unwrap();
        assert!(stored.iter().map(|line| &line.entry).eq(&lines), "{version}");
        for (sweep, due) in [(set, vec![(moment(7), a.clone())]), (cleared, vec![])] {
            assert_eq!(store.due(sweep, moment(9), None, 9).await.unwrap(), due);
        }
    }
}

/// A late event from one source can cause the correction of a change that an event from another source caused.
pub async fn a_commit_names_sources_that_its_batch_has_not_read(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let of = |source: &str, id: &str, seconds| Event {
        source: source.into(),
        ..event(&a, id, seconds, kind("access.requested", &json!({})))
    };
    let known = Commit {
        clients: vec![new_client(&a, "Bakery")],
        events: vec![applied(of("/read", "e-1", 1)), applied(of("/known", "e-2", 2))],
        ..commit()
    };
    put(store, known).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    let ids = [("/read", "e-1"), ("/read", "e-3")];
    let (locked, logged) = batch
        .lock_for_events(std::slice::from_ref(&a), &ids)
        .await
        .unwrap();
    assert_eq!((locked.len(), logged), (1, [0].into()));
    let caused_by = |event: &Event| {
        let mut line = entry(&a, "-");
        line.change = Change::InvitationSent(None);
        line.cause = Cause::from(event);
        line
    };
    let lines: Vec<_> = [
        of("/read", "e-3", 3),
        of("/known", "e-2", 2),
        of("/new", "e-4", 4),
    ]
    .iter()
    .map(caused_by)
    .collect();
    let written = Commit {
        clients: vec![write(&a, locked[0].document.client.clone(), 1)],
        events: vec![applied(of("/read", "e-3", 3))],
        journal: lines.clone(),
        ..commit()
    };
    batch.commit(&written).await.unwrap();
    let stored = store.journal(&a, 0, 10).await.unwrap();
    assert!(stored.iter().map(|line| &line.entry).eq(&lines), "{stored:?}");
    let mut batch = store.begin().await.unwrap();
    let asked = [
        ("/known", "e-1"),
        ("/read", "e-3"),
        ("/known", "e-2"),
        ("/new", "e-4"),
    ];
    assert_eq!(duplicates(&mut *batch, &asked).await, [1, 2].into());
    batch.rollback().await.unwrap();
}

pub async fn ten_thousand_clients_fit_one_commit(fresh: Fresh) {
    let store = &*fresh.store;
    let keys: Vec<ClientKey> = (0..10_000).map(|n| key(&format!("c-{n:05}"))).collect();
    let called = |n: usize| format!("Client {n}");
    let events = |n: usize| added(&keys[n], &format!("e-{n}"), 0, &called(n));
    let everything = Commit {
        clients: (0..keys.len())
            .map(|n| new_client(&keys[n], &called(n)))
            .collect(),
        events: (0..keys.len()).map(|n| applied(events(n))).collect(),
        journal: keys.iter().map(|key| entry(key, "x")).collect(),
        touches: keys
            .iter()
            .map(|key| touched(key, &[touch(1, None)].into_iter().collect()))
            .collect(),
        deadlines_set: keys
            .iter()
            .map(|key| (key.clone(), Sweep::AccessExpiry, moment(5)))
            .collect(),
        ..commit()
    };
    put(store, everything).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    let locked = batch.lock(&keys, false).await.unwrap();
    assert!(locked.iter().map(|stored| &stored.key).eq(&keys));
    let ranges: Vec<HistoryRange> = keys.iter().cloned().map(HistoryRange::all).collect();
    let histories = batch.histories(&ranges, None).await.unwrap();
    assert!(histories.len() == keys.len() && histories.values().all(|history| history.len() == 2));
    let again = Commit {
        clients: locked
            .into_iter()
            .map(|stored| write(&stored.key, stored.document.client, 1))
            .collect(),
        deadlines_cleared: keys
            .iter()
            .map(|key| (key.clone(), Sweep::AccessExpiry))
            .collect(),
        ..commit()
    };
    batch.commit(&again).await.unwrap();
    let due = store.due(Sweep::AccessExpiry, moment(9), None, 9).await.unwrap();
    assert_eq!(due, []);
}

pub fn touch(seconds: i64, sequence: Option<&str>) -> Touch {
    Touch {
        time: moment(seconds),
        sequence: sequence.map(Into::into),
    }
}

pub fn touched(key: &ClientKey, open: &Touches) -> TouchWrite {
    TouchWrite {
        key: key.clone(),
        open: open.clone(),
        closed: None,
        renew_only: None,
    }
}
