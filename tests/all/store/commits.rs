//! Commits: what one transaction reads and writes.

use std::collections::HashMap;

use serde_json::json;
use tenure::domain::link::LinkStatus;
use tenure::domain::{Cause, Change, ClientKey, Id, Refusal, Sweep, Timer};
use tenure::store::{
    Commit, EventWrite, NameClaim, OutcomeUpdate, RecordedOutcome, StoreError, Touch, TouchWrite, Touches,
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
    line.correction = true;
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

pub async fn one_client_of_a_partner_holds_a_name(fresh: Fresh) {
    let store = &*fresh.store;
    let elsewhere = ClientKey::new("other", "bakery").unwrap();
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    failed_redrives(store, clients(vec![new_client(&key("b"), "BAKERY")])).await;
    put(store, clients(vec![new_client(&elsewhere, "Bakery")]))
        .await
        .unwrap();
    // A client that holds no name may have the same one.
    let mut nameless = new_client(&key("b"), "Bakery");
    nameless.name_key = None;
    put(store, clients(vec![nameless])).await.unwrap();
    // A released name is free.
    let mut gone = write(&key("a"), new_client(&key("a"), "Bakery").document.client, 1);
    gone.name_key = None;
    put(store, clients(vec![gone])).await.unwrap();
    put(store, clients(vec![new_client(&key("c"), "Bakery")]))
        .await
        .unwrap();
}

pub async fn two_clients_swap_names_in_one_commit(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let new = vec![new_client(&a, "Bakery"), new_client(&b, "Butcher")];
    put(store, clients(new)).await.unwrap();
    let called =
        |key: &ClientKey, name: &str, version| write(key, new_client(key, name).document.client, version);
    let swapped = vec![
        called(&a, "Butcher", 1),
        called(&b, "Greengrocer", 1),
        called(&c, "Bakery", 0),
    ];
    put(store, clients(swapped)).await.unwrap();
    failed_redrives(store, clients(vec![called(&key("d"), "Greengrocer", 0)])).await;
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
    let known = batch.duplicates(&asked).await.unwrap();
    assert_eq!(known, [("/apps/space".to_owned(), "e-2".to_owned())].into());
    assert_eq!(batch.duplicates(&[]).await.unwrap(), [].into());
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
        line.change = Change::InvitationSent;
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
    let owned = |(source, id): &(&str, &str)| ((*source).to_owned(), (*id).to_owned());
    assert_eq!(
        batch
            .duplicates(&[&asked[..], &others[..]].concat())
            .await
            .unwrap(),
        asked.iter().map(owned).collect()
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

pub async fn holders_returns_the_clients_that_hold_names(fresh: Fresh) {
    let store = &*fresh.store;
    let straße = key("a");
    put(store, clients(vec![new_client(&straße, "Straße")]))
        .await
        .unwrap();
    let claim = |partner: &str, called: &str| NameClaim {
        partner: partner.into(),
        name_key: name(called).key(),
    };
    let asked = [
        claim("acme", "STRASSE"),
        claim("other", "Straße"),
        claim("acme", "Weg"),
    ];
    let mut batch = store.begin().await.unwrap();
    let holders = batch.holders(&asked).await.unwrap();
    assert_eq!(holders, HashMap::from([(asked[0].clone(), straße.clone())]));
    assert_eq!(batch.holders(&[]).await.unwrap(), HashMap::new());
    batch.rollback().await.unwrap();
    for (claim, holder) in asked.iter().zip([Some(straße), None, None]) {
        assert_eq!(store.holder(claim).await.unwrap(), holder, "{claim:?}");
    }
}

pub async fn a_dropped_batch_leaves_no_trace(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    for _ in 0..3 {
        let mut batch = store.begin().await.unwrap();
        lock(&mut *batch, &key("a")).await;
        drop(batch);
        let mut batch = store.begin().await.unwrap();
        lock(&mut *batch, &key("a")).await;
        batch.rollback().await.unwrap();
    }
    let seen = store.client(&key("a")).await.unwrap().unwrap();
    put(store, clients(vec![write(&key("a"), seen.document.client, 1)]))
        .await
        .unwrap();
}

pub async fn a_conflict_leaves_no_trace(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    put(store, clients(vec![new_client(&b, "Butcher")]))
        .await
        .unwrap();
    let torn = Commit {
        clients: vec![new_client(&a, "Bakery"), new_client(&b, "Butcher")],
        events: vec![applied(added(&a, "e-1", 0, "Bakery"))],
        journal: vec![entry(&a, "Bakery")],
        touches: vec![touched(&a, &[touch(1, None)].into_iter().collect())],
        deadlines_set: vec![(a.clone(), Sweep::AccessExpiry, moment(0))],
        ..commit()
    };
    failed_redrives(store, torn).await;
    assert!(store.client(&a).await.unwrap().is_none());
    let census = store.census().await.unwrap();
    assert_eq!((census.events, census.journal), (0, 0));
    assert_eq!(store.history(&a).await.unwrap(), []);
    let due = store.due(Sweep::AccessExpiry, moment(9), None, 9).await.unwrap();
    assert_eq!(due, []);
}

pub async fn parts_of_a_transaction_see_earlier_parts(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    put(store, clients(vec![new_client(&a, "Bakery")])).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    let stored = lock(&mut *batch, &a).await;
    let mut renamed = write(&a, new_client(&a, "Butcher").document.client, stored.version);
    renamed.document.deadlines = [(Sweep::AccessExpiry, moment(9))].into();
    let first = Commit {
        clients: vec![renamed.clone()],
        events: vec![applied(added(&b, "e-1", 0, "Bakery"))],
        journal: vec![entry(&a, "Butcher")],
        ..commit()
    };
    batch.write(&first).await.unwrap();
    // No other transaction sees them.
    assert_eq!(store.client(&a).await.unwrap().unwrap().version, 1);

    let stored = lock(&mut *batch, &a).await;
    assert_eq!((stored.version, &stored.document), (2, &renamed.document));
    let source = added(&b, "e-1", 0, "Bakery").source;
    assert_eq!(
        batch
            .duplicates(&[(&source, "e-1"), (&source, "e-2")])
            .await
            .unwrap()
            .len(),
        1
    );
    let bakery = NameClaim {
        partner: a.partner.clone(),
        name_key: "bakery".into(),
    };
    assert!(
        batch.holders(&[bakery]).await.unwrap().is_empty(),
        "it was given up"
    );
    let last = Commit {
        clients: vec![
            write(&a, new_client(&a, "Baker").document.client, 2),
            new_client(&b, "Bakery"),
        ],
        journal: vec![entry(&a, "Baker"), entry(&b, "Bakery")],
        ..commit()
    };
    batch.commit(&last).await.unwrap();
    assert_eq!(store.client(&a).await.unwrap().unwrap().version, 3);
    assert_eq!(store.client(&b).await.unwrap().unwrap().version, 1);
    let lines = store.journal(&a, 0, 10).await.unwrap();
    assert_eq!(
        clients_and_values(&lines),
        ["Butcher", "Baker"].map(|to| ("a".to_owned(), to.to_owned()))
    );
}

pub async fn a_transaction_is_atomic(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    let mut batch = store.begin().await.unwrap();
    batch
        .write(&clients(vec![new_client(&key("b"), "Butcher")]))
        .await
        .unwrap();
    match batch
        .commit(&clients(vec![new_client(&key("c"), "Bakery")]))
        .await
    {
        Err(StoreError::Conflict(_)) => {}
        other => panic!("no conflict, but {other:?}"),
    }
    assert!(store.client(&key("b")).await.unwrap().is_none());
    // Also when a part fails before the last.
    let mut batch = store.begin().await.unwrap();
    batch
        .write(&clients(vec![new_client(&key("b"), "Butcher")]))
        .await
        .unwrap();
    let failed = batch.write(&clients(vec![new_client(&key("c"), "Bakery")])).await;
    assert!(matches!(failed, Err(StoreError::Conflict(_))), "{failed:?}");
    drop(batch);
    assert!(store.client(&key("b")).await.unwrap().is_none());
    put(store, clients(vec![new_client(&key("b"), "Butcher")]))
        .await
        .unwrap();
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

pub async fn the_second_batch_sees_the_writes_of_the_first(fresh: Fresh) {
    let store = fresh.store.clone();
    let a = key("a");
    put(&*store, clients(vec![new_client(&a, "Bakery")]))
        .await
        .unwrap();
    let mut first = store.begin().await.unwrap();
    let seen = lock(&mut *first, &a).await;
    let second = tokio::spawn({
        let (store, a) = (store.clone(), a.clone());
        async move {
            let mut second = store.begin().await.unwrap();
            let seen = lock(&mut *second, &a).await;
            let histories = second.histories(std::slice::from_ref(&a), None).await.unwrap();
            second.rollback().await.unwrap();
            (seen, histories[&a].len())
        }
    });
    fresh.database.wait_for_blocked_writer().await;
    assert!(!second.is_finished());
    let touches: Touches = [touch(5, None)].into_iter().collect();
    let written = Commit {
        clients: vec![write(&a, seen.document.client, 1)],
        touches: vec![touched(&a, &touches)],
        events: vec![applied(added(&a, "e-1", 0, "Bakery"))],
        ..commit()
    };
    first.commit(&written).await.unwrap();
    let (seen, history) = second.await.unwrap();
    assert_eq!(seen.version, 2);
    assert_eq!(seen.touches, touches);
    assert_eq!(history, 2);
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
    let histories = batch.histories(&keys, None).await.unwrap();
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

fn touch(seconds: i64, sequence: Option<&str>) -> Touch {
    Touch {
        time: moment(seconds),
        sequence: sequence.map(Into::into),
    }
}

fn touched(key: &ClientKey, open: &Touches) -> TouchWrite {
    TouchWrite {
        key: key.clone(),
        open: open.clone(),
        closed: None,
        renew_only: None,
    }
}
