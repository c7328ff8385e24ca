//! Lists over all partners.

use std::time::{Duration, Instant};

use serde_json::json;
use tenure::domain::access::AccessStatus;
use tenure::domain::link::LinkStatus;
use tenure::domain::{ClientKey, Event, Refusal};
use tenure::store::{
    ClientFilter, ClientSearch, ClientWrite, Commit, EventWrite, ListPosition, RecordedOutcome,
    RefusalFilter, Store,
};

use super::given::*;
use super::{Database, Fresh};

fn of(partner: &str, client: &str) -> ClientKey {
    ClientKey::new(partner, client).unwrap()
}

fn linked(key: &ClientKey, called: &str) -> ClientWrite {
    let events: Vec<Event> = [
        ("client.added", json!({ "name": called })),
        ("client.invited", json!({"steps": ["accepted"]})),
        ("invitation.accepted", json!({})),
    ]
    .into_iter()
    .zip(0..)
    .map(|((name, data), seconds)| event(key, name, seconds, kind(name, &data)))
    .collect();
    write(key, client(&events), 0)
}

async fn some_clients(store: &dyn Store) {
    let written = vec![
        linked(&of("acme", "a-1"), "Zoo Bakery"),
        new_client(&of("acme", "a-2"), "Bakery of the Mill"),
        new_client(&of("acme", "b-1"), "100% Straße"),
        linked(&of("acme1", "a-1"), "BÄKEREI bakery"),
        new_client(&of("best", "a-3"), "Forge"),
        write(&of("best", "ghost"), tenure::domain::Client::default(), 0),
    ];
    put(store, clients(written)).await.unwrap();
}

/// Everything that a search finds, in walks of this many rows and pages of two.
async fn found(store: &dyn Store, search: &ClientSearch, rows: u32) -> String {
    let mut found: Vec<String> = Vec::new();
    let mut after: Option<ListPosition> = None;
    loop {
        let end = store.end_of_walk(search, after.as_ref(), rows).await.unwrap();
        loop {
            let page = store
                .search(search, after.as_ref(), end.as_ref(), 2)
                .await
                .unwrap();
            assert!(page.len() <= 2);
            found.extend(page.iter().map(|stored| stored.key.to_string()));
            if let Some(last) = page.last() {
                after = Some(search.position(last));
            }
            if page.len() < 2 {
                break;
            }
        }
        if end.is_none() {
            return found.join(" ");
        }
        after = end;
    }
}

pub async fn clients_of_all_partners_are_found(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(found(store, &ClientSearch::default(), 3).await, "");
    some_clients(store).await;
    let prefix = |prefix: &str| ClientSearch {
        id_prefix: prefix.into(),
        ..ClientSearch::default()
    };
    let name = |part: &str| ClientSearch {
        name_part: Some(part.into()),
        ..ClientSearch::default()
    };
    let begins = |prefix: &str| ClientSearch {
        name_prefix: Some(prefix.into()),
        ..ClientSearch::default()
    };
    let of_acme = |search: ClientSearch| ClientSearch {
        filter: ClientFilter {
            partner: Some("acme".into()),
            ..ClientFilter::default()
        },
        ..search
    };
    let active = ClientSearch {
        filter: ClientFilter {
            links: vec![LinkStatus::Active],
            access: vec![AccessStatus::Enabled],
            ..ClientFilter::default()
        },
        ..ClientSearch::default()
    };
    for rows in [1, 2, 3, 100] {
        for (search, expected) in [
            (
                ClientSearch::default(),
                "acme/a-1 acme/a-2 acme/b-1 acme1/a-1 best/a-3",
            ),
            (of_acme(ClientSearch::default()), "acme/a-1 acme/a-2 acme/b-1"),
            // In the order of ids.
            (prefix("a-"), "acme/a-1 acme1/a-1 acme/a-2 best/a-3"),
            (prefix("a-1"), "acme/a-1 acme1/a-1"),
            (prefix("g"), ""),
            (of_acme(prefix("a-")), "acme/a-1 acme/a-2"),
            (of_acme(prefix("b")), "acme/b-1"),
            (prefix("A"), ""),
            (prefix("%"), ""),
            // In the order of names.
            (name("bakery"), "acme/a-2 acme/a-1 acme1/a-1"),
            (of_acme(name("bakery")), "acme/a-2 acme/a-1"),
            (name("% strasse"), "acme/b-1"),
            (name("o%b"), ""),
            (name("_"), ""),
            (name("bäkerei"), "acme1/a-1"),
            (begins("bakery"), "acme/a-2"),
            (begins("b"), "acme/a-2 acme1/a-1"),
            (begins("bakery of the mill"), "acme/a-2"),
            (begins("mill"), ""),
            (begins("%"), ""),
            (of_acme(begins("z")), "acme/a-1"),
            (
                ClientSearch {
                    name_prefix: Some("b".into()),
                    name_part: Some("mill".into()),
                    ..ClientSearch::default()
                },
                "acme/a-2",
            ),
            (
                ClientSearch {
                    name_prefix: Some("b".into()),
                    ..active.clone()
                },
                "acme1/a-1",
            ),
            (active.clone(), "acme/a-1 acme1/a-1"),
            (
                ClientSearch {
                    name_part: Some("zoo".into()),
                    id_prefix: "a".into(),
                    ..active.clone()
                },
                "acme/a-1",
            ),
        ] {
            assert_eq!(
                found(store, &search, rows).await,
                expected,
                "{search:?} by {rows}"
            );
        }
    }
}

/// A name may have the last of all characters.
pub async fn clients_with_the_last_names_are_found(fresh: Fresh) {
    let store = &*fresh.store;
    let written = [
        ("a", "\u{10ffff}\u{10ffff}x"),
        ("b", "\u{10ffff}x"),
        ("c", "x\u{10ffff}y"),
    ];
    let written = written.map(|(client, name)| new_client(&of("acme", client), name));
    put(store, clients(Vec::from(written))).await.unwrap();
    let search = |partner: Option<&str>, part: Option<&str>, prefix: Option<&str>| ClientSearch {
        filter: ClientFilter {
            partner: partner.map(str::to_owned),
            ..ClientFilter::default()
        },
        name_part: part.map(str::to_owned),
        name_prefix: prefix.map(str::to_owned),
        ..ClientSearch::default()
    };
    for partner in [None, Some("acme")] {
        for (part, prefix, expected) in [
            (Some("x"), None, "acme/c acme/b acme/a"),
            (None, Some("x"), "acme/c"),
            (None, Some("x\u{10ffff}"), "acme/c"),
            (None, Some("\u{10ffff}"), "acme/b acme/a"),
        ] {
            let search = search(partner, part, prefix);
            for rows in [1, 100] {
                assert_eq!(found(store, &search, rows).await, expected, "{search:?}");
            }
        }
    }
}

pub async fn partners_are_listed_with_their_counts(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(store.partners(None, 10).await.unwrap(), Vec::<String>::new());
    some_clients(store).await;
    assert_eq!(store.partners(None, 10).await.unwrap(), ["acme", "acme1", "best"]);
    assert_eq!(store.partners(None, 2).await.unwrap(), ["acme", "acme1"]);
    assert_eq!(store.partners(Some("acme"), 10).await.unwrap(), ["acme1", "best"]);
    assert_eq!(store.partners(Some("z"), 10).await.unwrap(), Vec::<String>::new());
    let facets = store.facets("acme").await.unwrap();
    assert_eq!(
        serde_json::to_value(facets).unwrap(),
        json!({
            "clients": 3, "link": {"active": 1, "draft": 2}, "service": {"pending_assigning": 3},
            "access": {"enabled": 1, "none": 2},
        })
    );
    // Without ghosts.
    assert_eq!(store.facets("best").await.unwrap().clients, 1);
    assert_eq!(
        store.facets("nobody").await.unwrap(),
        tenure::store::Facets::default()
    );
}

fn refused(client: &str, source: &str, id: &str, seconds: i64, refusal: Refusal) -> EventWrite {
    let event = event(&key(client), id, seconds, kind("client.deleted", &json!({})));
    EventWrite {
        event: Event {
            source: source.into(),
            ..event
        },
        outcome: RecordedOutcome::Refused(refusal),
    }
}

pub async fn refusals_are_listed_newest_first(fresh: Fresh) {
    let store = &*fresh.store;
    let uuid = "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11";
    let more = Commit {
        clients: vec![new_client(&key("a"), "A"), new_client(&key("b"), "B")],
        events: vec![
            applied(added(&key("a"), "applied", 0, "A")),
            refused("a", "/s", "e-3", 3, Refusal::StillLinked),
            refused("b", "/s", "e-1", 1, Refusal::UnknownClient),
            refused("a", "/s", uuid, 2, Refusal::UnknownClient),
            refused("a", "/t", "e.2/b", 2, Refusal::StillLinked),
        ],
        ..commit()
    };
    put(store, more).await.unwrap();
    let listed = async |filter: &RefusalFilter, rows: u32, limit: u32| {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = store
                .refusals(filter, before.as_ref(), rows, limit)
                .await
                .unwrap();
            assert!(page.refused.len() <= limit as usize);
            found.extend(page.refused.iter().map(|refused| {
                assert_eq!(refused.received_at, commit().recorded_at);
                let event = &refused.event;
                format!("{} {} {}", event.key.client, event.id, refused.refusal)
            }));
            let Some(next) = page.next else { return found };
            // As it travels through a URL.
            before = Some(next.to_string().parse().unwrap());
        }
    };
    let all = RefusalFilter::default();
    let uuid_line = format!("a {uuid} unknown_client");
    // Events of one moment come in the order of the store, backwards.
    let expected = [
        "a e-3 still_linked",
        "a e.2/b still_linked",
        &uuid_line,
        "b e-1 unknown_client",
    ];
    for (rows, limit) in [(1, 1), (1, 10), (2, 1), (3, 2), (100, 3), (100, 4), (100, 100)] {
        assert_eq!(listed(&all, rows, limit).await, expected, "{rows} {limit}");
    }
    let of_code = RefusalFilter {
        code: Some(Refusal::StillLinked),
        ..all.clone()
    };
    let of_source = RefusalFilter {
        source: Some("/t".into()),
        ..all.clone()
    };
    let unknown = RefusalFilter {
        source: Some("/nobody".into()),
        ..all.clone()
    };
    let between = RefusalFilter {
        from: Some(moment(1)),
        until: Some(moment(2)),
        ..all.clone()
    };
    let since = RefusalFilter {
        from: Some(moment(3)),
        ..all
    };
    for rows in [1, 100] {
        assert_eq!(
            listed(&of_code, rows, 2).await,
            ["a e-3 still_linked", "a e.2/b still_linked"]
        );
        assert_eq!(listed(&of_source, rows, 2).await, ["a e.2/b still_linked"]);
        assert!(listed(&unknown, rows, 2).await.is_empty());
        assert_eq!(listed(&between, rows, 2).await, ["b e-1 unknown_client"]);
        assert_eq!(listed(&since, rows, 2).await, ["a e-3 still_linked"]);
    }
}

/// Waits until a query returns one row, `t`.
async fn wait_until(database: &Database, query: &'static str) {
    let end = Instant::now() + Duration::from_mins(1);
    while database.sql(query).await != ["t"] {
        assert!(Instant::now() < end, "{query}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// PostgreSQL counts the scans of each table. Without sequential scans, as in a large table, no list needs one.
#[tokio::test(flavor = "multi_thread")]
async fn no_list_scans_a_table_of_postgres() {
    const ALONE: &str = "select case when count(*) = 0 then 't' else 'f' end
                         from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let fresh = Fresh::postgres("lists_by_index").await;
    some_clients(&*fresh.store).await;
    let database = &fresh.database;
    fresh.store.close().await;
    wait_until(database, ALONE).await;
    database
        .sql("do $$ begin execute format('alter database %I set enable_seqscan = off', current_database()); end $$")
        .await;
    database.sql("select pg_stat_reset()::text").await;
    let store = database.another_store();
    let acme = ClientFilter {
        partner: Some("acme".into()),
        ..ClientFilter::default()
    };
    for (filter, name_part) in [
        (ClientFilter::default(), None),
        (ClientFilter::default(), Some("bakery".to_owned())),
        (acme.clone(), None),
        (acme.clone(), Some("bakery".to_owned())),
    ] {
        let search = ClientSearch {
            filter,
            name_part,
            ..ClientSearch::default()
        };
        assert_ne!(found(&*store, &search, 2).await, "");
    }
    for filter in [ClientFilter::default(), acme] {
        let by_id = ClientSearch {
            filter: filter.clone(),
            id_prefix: "a-".into(),
            ..ClientSearch::default()
        };
        let by_name = ClientSearch {
            filter,
            name_prefix: Some("bakery".into()),
            ..ClientSearch::default()
        };
        assert_ne!(found(&*store, &by_id, 2).await, "");
        assert_ne!(found(&*store, &by_name, 2).await, "");
    }
    let account = tenure::domain::Id::try_from("acc-1".to_owned()).unwrap();
    store.clients_of_account(&account, None, None, 10).await.unwrap();
    store.clients_by_key(&[of("acme", "a-1")]).await.unwrap();
    store.partners(None, 10).await.unwrap();
    store.facets("acme").await.unwrap();
    store
        .refusals(&RefusalFilter::default(), None, 10, 10)
        .await
        .unwrap();
    store.close().await;
    wait_until(database, ALONE).await;
    wait_until(
        database,
        "select case when sum(idx_scan) > 0 then 't' else 'f' end from pg_stat_user_tables where relname = 'events'",
    )
    .await;
    let scanned = "select relname::text from pg_stat_user_tables
                   where relname in ('clients', 'client_keys', 'events', 'touches') and seq_scan > 0";
    assert_eq!(database.sql(scanned).await, Vec::<String>::new());
}
