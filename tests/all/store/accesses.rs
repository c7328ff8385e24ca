//! The access log.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use tenure::domain::{Actor, ActorKind, ClientKey, Event, Refusal};
use tenure::store::{
    Access, AccessFilter, Commit, EventPosition, EventWrite, OutcomeUpdate, RecordedOutcome, Store,
    TouchOutcome,
};

use super::given::*;
use super::{Database, Fresh};

const UUID: &str = "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11";

fn accessed(client: &str, id: &str, seconds: i64, data: &Value) -> Event {
    event(&key(client), id, seconds, kind("account.accessed", data))
}

fn touch(client: &str, id: &str, seconds: i64) -> Event {
    accessed(client, id, seconds, &json!({}))
}

/// A commit with the entries of these events.
fn entries(events: &[Event]) -> Commit {
    Commit {
        accesses: events.iter().filter_map(Access::of).collect(),
        ..commit()
    }
}

async fn all(store: &dyn Store, of: &ClientKey) -> Vec<Access> {
    let page = store.accesses(of, &AccessFilter::default(), None, 100).await;
    let page = page.unwrap();
    assert_eq!(page.next, None);
    page.accesses
}

/// The ids of the entries of a client, in pages of this many, with their refusals.
async fn listed(store: &dyn Store, of: &ClientKey, filter: AccessFilter, limit: u32) -> String {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.accesses(of, &filter, after.as_ref(), limit).await.unwrap();
        assert!(page.accesses.len() <= limit as usize);
        found.extend(page.accesses.iter().map(|access| match access.refused {
            None => access.id.to_string(),
            Some(refusal) => format!("{} {refusal}", access.id),
        }));
        let Some(next) = page.next else {
            return found.join(", ");
        };
        // As it travels through a URL.
        after = Some(next.to_string().parse::<EventPosition>().unwrap());
    }
}

pub async fn entries_are_listed_latest_first_in_pages(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let everything = AccessFilter::default();
    assert_eq!(listed(store, &a, everything, 3).await, "", "an unknown client");
    put(store, clients(vec![new_client(&a, "A"), new_client(&b, "B")]))
        .await
        .unwrap();
    let mut events: Vec<Event> = [("e-1", 1), ("e-3", 3), (UUID, 2), ("e.2/b", 2), ("e-9", 9)]
        .map(|(id, seconds)| touch("a", id, seconds))
        .into();
    events.push(touch("b", "of another client", 4));
    put(store, entries(&events)).await.unwrap();
    let between = |since: Option<i64>, until: Option<i64>| AccessFilter {
        since: since.map(moment),
        until: until.map(moment),
    };
    for limit in [1, 2, 3, 100] {
        let whole = listed(store, &a, everything, limit).await;
        // At one moment the order is that of the store.
        let orders = [
            format!("e-9, e-3, {UUID}, e.2/b, e-1"),
            format!("e-9, e-3, e.2/b, {UUID}, e-1"),
        ];
        assert!(orders.contains(&whole), "{whole}");
        for (since, until, expected) in [
            (Some(3), None, "e-9, e-3"),
            (None, Some(2), "e-1"),
            (Some(3), Some(9), "e-3"),
            (Some(4), Some(9), ""),
            (Some(5), Some(4), ""),
        ] {
            let found = listed(store, &a, between(since, until), limit).await;
            assert_eq!(found, expected, "{since:?} to {until:?} by {limit}");
        }
        assert_eq!(listed(store, &b, everything, limit).await, "of another client");
    }
}

pub async fn entries_of_all_clients_are_listed_latest_first(fresh: Fresh) {
    let store = &*fresh.store;
    let of = |partner: &str, client: &str| ClientKey::new(partner, client).unwrap();
    let keys = [of("acme", "a"), of("acme", "b"), of("best", "a")];
    let written = keys.iter().map(|key| new_client(key, &key.client)).collect();
    put(store, clients(written)).await.unwrap();
    // Every second one is of the other partner.
    let events = (0..20).map(|n: i64| {
        let key = match n % 4 {
            0 => &keys[0],
            2 => &keys[1],
            _ => &keys[2],
        };
        event(
            key,
            &format!("e-{n}"),
            n / 2,
            kind("account.accessed", &json!({})),
        )
    });
    put(store, entries(&events.collect::<Vec<_>>())).await.unwrap();
    let listed = async |partner: Option<&str>, filter: AccessFilter, rows: u32, limit: u32| {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..100 {
            let page = store
                .all_accesses(partner, &filter, after.as_ref(), rows, limit)
                .await;
            let page = page.unwrap();
            assert!(page.accesses.len() <= limit as usize);
            found.extend(page.accesses);
            let Some(next) = page.next else {
                assert!(found.is_sorted_by(|one, next| one.time >= next.time));
                let ids = found
                    .iter()
                    .map(|access| (access.client.clone(), access.id.to_string()));
                return ids.collect::<BTreeSet<_>>();
            };
            after = Some(next.to_string().parse::<EventPosition>().unwrap());
        }
        panic!("a list without an end");
    };
    let filter = |since: Option<i64>, until: Option<i64>| AccessFilter {
        since: since.map(moment),
        until: until.map(moment),
    };
    for (rows, limit) in [(1, 1), (2, 1), (3, 2), (7, 3), (100, 100)] {
        for (partner, filter, expected) in [
            (None, filter(None, None), 20),
            (Some("acme"), filter(None, None), 10),
            (Some("best"), filter(None, None), 10),
            (Some("b"), filter(None, None), 0),
            (None, filter(Some(8), None), 4),
            (None, filter(None, Some(3)), 6),
            (Some("acme"), filter(Some(2), Some(4)), 2),
        ] {
            let found = listed(partner, filter, rows, limit).await;
            assert_eq!(
                found.len(),
                expected,
                "{partner:?} {filter:?} by {rows} and {limit}"
            );
            assert!(
                found
                    .iter()
                    .all(|(key, _)| partner.is_none_or(|partner| &*key.partner == partner))
            );
        }
    }
}

pub async fn an_entry_is_stored_once(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    put(store, clients(vec![new_client(&a, "A")])).await.unwrap();
    let entered = Event {
        sequence: Some("7".into()),
        actor: Actor {
            id: Some("ann".into()),
            kind: Some(ActorKind::Partner),
        },
        ..accessed("a", "e-1", 1, &json!({"user": "u-1"}))
    };
    let by_staff = accessed("a", "e-2", 2, &json!({"by": "staff", "user": "ü".repeat(201)}));
    let expected = {
        let by_staff = Access::of(&by_staff).unwrap();
        assert_eq!(by_staff.user, Some("ü".repeat(200)));
        vec![by_staff, Access::of(&entered).unwrap()]
    };
    put(store, entries(&[entered.clone(), by_staff.clone()]))
        .await
        .unwrap();
    assert_eq!(all(store, &a).await, expected);
    // Again, by somebody else: the first one counts.
    let again = Event {
        actor: Actor::default(),
        ..entered
    };
    put(store, entries(&[again, by_staff])).await.unwrap();
    assert_eq!(all(store, &a).await, expected);
    // Another moment is another entry.
    put(store, entries(&[touch("a", "e-1", 5)])).await.unwrap();
    assert_eq!(
        listed(store, &a, AccessFilter::default(), 9).await,
        "e-1, e-2, e-1"
    );
    assert!(Access::of(&added(&a, "e-3", 0, "A")).is_none(), "nobody entered");
}

pub async fn an_entry_has_the_outcome_of_the_event_log(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let refused = touch("a", "e-1", 1);
    let more = Commit {
        clients: vec![new_client(&a, "A")],
        events: vec![EventWrite {
            event: refused.clone(),
            outcome: RecordedOutcome::Refused(Refusal::NoAccess),
        }],
        ..entries(std::slice::from_ref(&refused))
    };
    put(store, more).await.unwrap();
    let everything = AccessFilter::default();
    assert_eq!(listed(store, &a, everything, 9).await, "e-1 no_access");
    let update = OutcomeUpdate {
        key: a.clone(),
        time: refused.time,
        source: refused.source,
        id: refused.id,
        outcome: RecordedOutcome::Applied,
    };
    let later = Commit {
        outcomes: vec![update],
        ..commit()
    };
    put(store, later).await.unwrap();
    assert_eq!(listed(store, &a, everything, 9).await, "e-1");
}

pub async fn a_packed_touch_gets_a_new_outcome(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    put(store, clients(vec![new_client(&a, "A"), new_client(&b, "B")]))
        .await
        .unwrap();
    let numbered = Event {
        sequence: Some("2".into()),
        ..touch("a", "e-2", 1)
    };
    let events = [
        touch("a", "e-1", 1),
        numbered,
        touch("a", "e-3", 2),
        touch("b", "e-4", 1),
    ];
    put(store, entries(&events)).await.unwrap();
    let turned = |seconds, refusal| TouchOutcome {
        key: key("a"),
        time: moment(seconds),
        sequence: None,
        refusal,
    };
    let everything = AccessFilter::default();
    for (updates, expected) in [
        // Nothing has the last one: it was there before the access log.
        (
            vec![
                turned(1, Some(Refusal::NoAccess)),
                turned(77, Some(Refusal::NoAccess)),
            ],
            HashMap::from([("e-1", "no_access"), ("e-2", ""), ("e-3", "")]),
        ),
        (
            vec![turned(1, None), turned(2, Some(Refusal::UnknownClient))],
            HashMap::from([("e-1", ""), ("e-2", ""), ("e-3", "unknown_client")]),
        ),
    ] {
        let later = Commit {
            touch_outcomes: updates,
            ..commit()
        };
        put(store, later).await.unwrap();
        let found = all(store, &a).await;
        let found = found.iter().map(|access| {
            let refusal = access.refused.map_or("", Refusal::code);
            (&*access.id, refusal)
        });
        assert_eq!(found.collect::<HashMap<_, _>>(), expected);
        assert_eq!(listed(store, &b, everything, 9).await, "e-4");
    }
}

pub async fn the_view_of_the_access_log_shows_names(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let entered = Event {
        actor: Actor {
            id: Some("a:nn".into()),
            kind: Some(ActorKind::Partner),
        },
        ..accessed("a", UUID, 1, &json!({"user": "u:1"}))
    };
    let by_staff = accessed("a", "e-2", 2, &json!({"by": "staff"}));
    let more = Commit {
        clients: vec![new_client(&a, "A")],
        events: vec![EventWrite {
            event: by_staff.clone(),
            outcome: RecordedOutcome::Refused(Refusal::UnknownClient),
        }],
        ..entries(&[entered, by_staff])
    };
    put(store, more).await.unwrap();
    let rows = match &fresh.database {
        Database::Postgres(_) => {
            "select concat_ws('|', partner, client, to_char(time at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ'),
                    entered_by, coalesce(user_id, '-'), coalesce(actor, '-'), coalesce(actorkind, '-'), source, id,
                    coalesce(reason, '-'))
             from access_log order by time"
        }
        Database::Sqlite(_) => {
            "select partner || '|' || client || '|' || time || '|' || entered_by || '|' || coalesce(user_id, '-') || '|' ||
                    coalesce(actor, '-') || '|' || coalesce(actorkind, '-') || '|' || source || '|' || id || '|' ||
                    coalesce(reason, '-')
             from access_log order by time"
        }
    };
    assert_eq!(
        fresh.database.sql(rows).await,
        [
            format!("acme|a|2025-06-15T15:06:41.123456Z|partner|u:1|a:nn|partner|/apps/space|{UUID}|-"),
            "acme|a|2025-06-15T15:06:42.123456Z|staff|-|-|-|/apps/space|e-2|unknown_client".to_owned(),
        ]
    );
}

pub async fn it_is_recorded_since_when_the_access_log_is_on(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(store.access_log_since().await.unwrap(), None);
    for (since, expected) in [
        (Some(5), Some(5)),
        (Some(9), Some(5)),
        (None, None),
        (None, None),
        (Some(9), Some(9)),
    ] {
        store.record_access_log(since.map(moment)).await.unwrap();
        let found = store.access_log_since().await.unwrap();
        assert_eq!(found, expected.map(moment), "{since:?}");
    }
}
