//! Listings, counts and views.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tenure::domain::access::AccessStatus;
use tenure::domain::link::LinkStatus;
use tenure::domain::service::ServiceStatus;
use tenure::domain::{Client, ClientKey, Event, Policy};
use tenure::store::{ClientFilter, ClientWrite, Commit, DeadLetter, DeadlineBackfill, Store, Watermark};

use super::Fresh;
use super::given::*;

/// A client at a stage: `draft`, `invited`, `active`, or `terminated` while active.
fn gone_so_far(key: &ClientKey, stage: &str) -> ClientWrite {
    let steps: &[(&str, serde_json::Value)] = &[
        ("client.added", json!({"name": key.to_string()})),
        ("client.invited", json!({"steps": ["accepted"]})),
        ("invitation.accepted", json!({})),
        ("client.terminated", json!({})),
    ];
    let count = ["draft", "invited", "active", "terminated"]
        .iter()
        .position(|known| *known == stage)
        .unwrap();
    let events: Vec<Event> = (0..)
        .zip(&steps[..=count])
        .map(|(seconds, (name, data))| event(key, name, seconds, kind(name, data)))
        .collect();
    write(key, client(&events), 0)
}

fn ghost(key: &ClientKey) -> ClientWrite {
    write(key, Client::default(), 0)
}

async fn some_clients(store: &dyn Store) {
    let written = vec![
        gone_so_far(&key("a"), "active"),
        gone_so_far(&key("b"), "draft"),
        gone_so_far(&key("c"), "terminated"),
        ghost(&key("d")),
        gone_so_far(&key("e"), "invited"),
        gone_so_far(&ClientKey::new("other", "a").unwrap(), "active"),
    ];
    put(store, clients(written)).await.unwrap();
}

async fn listed(store: &dyn Store, filter: &ClientFilter) -> String {
    let found = store.clients(filter, None, 100).await.unwrap();
    let keys: Vec<String> = found.iter().map(|stored| stored.key.to_string()).collect();
    keys.join(" ")
}

pub async fn clients_are_listed_by_status(fresh: Fresh) {
    let store = &*fresh.store;
    some_clients(store).await;
    let all = ClientFilter::default();
    assert_eq!(listed(store, &all).await, "acme/a acme/b acme/c acme/e other/a");
    let of_acme = ClientFilter {
        partner: Some("acme".into()),
        ..all.clone()
    };
    assert_eq!(listed(store, &of_acme).await, "acme/a acme/b acme/c acme/e");
    let active = ClientFilter {
        links: vec![LinkStatus::Active],
        ..all.clone()
    };
    assert_eq!(listed(store, &active).await, "acme/a acme/c other/a");
    let early = ClientFilter {
        links: vec![LinkStatus::Draft, LinkStatus::Invited],
        access: vec![AccessStatus::None],
        ..of_acme.clone()
    };
    assert_eq!(listed(store, &early).await, "acme/b acme/e");
    let served = ClientFilter {
        links: vec![LinkStatus::Active],
        services: vec![ServiceStatus::PendingAssigning],
        access: vec![AccessStatus::Enabled, AccessStatus::Expired],
        ..of_acme
    };
    assert_eq!(listed(store, &served).await, "acme/a");
    let nobody = ClientFilter {
        partner: Some("acm".into()),
        ..all
    };
    assert_eq!(listed(store, &nobody).await, "");
}

pub async fn clients_are_listed_in_pages_in_byte_order(fresh: Fresh) {
    let store = &*fresh.store;
    let mut keys: Vec<ClientKey> = Vec::new();
    for partner in ["acme", "Acme", "a-c", "a.c", "a_c", "~", "ac"] {
        for client in ["b", "B", "a:1", "a-1", "a1", "10", "9"] {
            keys.push(ClientKey::new(partner, client).unwrap());
        }
    }
    keys.sort();
    let mut written: Vec<ClientWrite> = keys.iter().map(|key| gone_so_far(key, "draft")).collect();
    // `b` and `B` are different ids, but the same name.
    for write in &mut written {
        write.name_key = None;
    }
    put(store, clients(written)).await.unwrap();

    let pages = async |filter: &ClientFilter| {
        let mut seen: Vec<ClientKey> = Vec::new();
        loop {
            let page = store.clients(filter, seen.last(), 4).await.unwrap();
            if page.is_empty() {
                return seen;
            }
            assert!(page.len() <= 4);
            seen.extend(page.into_iter().map(|stored| stored.key));
        }
    };
    assert_eq!(pages(&ClientFilter::default()).await, keys);
    let of_one = ClientFilter {
        partner: Some("a_c".into()),
        ..ClientFilter::default()
    };
    keys.retain(|key| &*key.partner == "a_c");
    assert_eq!(pages(&of_one).await, keys);
    // A listing from a key before its partner starts at the partner's first client.
    let before = ClientKey::new("Z", "z").unwrap();
    let first = store.clients(&of_one, Some(&before), 1).await.unwrap();
    assert_eq!(first[0].key, keys[0]);

    let mut batch = store.begin().await.unwrap();
    let locked = batch.lock(&keys, false).await.unwrap();
    batch.rollback().await.unwrap();
    assert!(locked.iter().map(|stored| &stored.key).eq(&keys));
}

pub async fn clients_are_read_by_key(fresh: Fresh) {
    let store = &*fresh.store;
    some_clients(store).await;
    let keys = ["c", "a", "nobody"].map(key);
    let mut found = store.clients_by_key(&keys).await.unwrap();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let mut expected = Vec::new();
    for client in ["a", "c"] {
        expected.push(store.client(&key(client)).await.unwrap().unwrap());
    }
    assert_eq!(found, expected);
    assert!(store.clients_by_key(&[]).await.unwrap().is_empty());
}

/// A client that an event has told its account, if it is given.
fn with_account(key: &ClientKey, account: Option<&str>, read_version: i64) -> ClientWrite {
    let mut events = vec![event(
        key,
        "added",
        0,
        kind("client.added", &json!({"name": key.to_string()})),
    )];
    if let Some(account) = account {
        let created = kind("account.created", &json!({ "account_id": account }));
        events.push(event(key, "created", 1, created));
    }
    write(key, client(&events), read_version)
}

pub async fn clients_are_found_by_account(fresh: Fresh) {
    let store = &*fresh.store;
    let other = |client: &str| ClientKey::new("other", client).unwrap();
    let written = vec![
        with_account(&key("a"), Some("acc-1"), 0),
        with_account(&key("b"), None, 0),
        with_account(&key("c"), Some("acc-1"), 0),
        with_account(&key("d"), Some("acc-2"), 0),
        with_account(&other("a"), Some("acc-1"), 0),
    ];
    put(store, clients(written)).await.unwrap();
    let found = async |account: &str, partner: Option<&str>, after: Option<&ClientKey>| {
        let account = tenure::domain::Id::try_from(account.to_owned()).unwrap();
        let found = store
            .clients_of_account(&account, partner, after, 2)
            .await
            .unwrap();
        let keys: Vec<String> = found.iter().map(|stored| stored.key.to_string()).collect();
        keys.join(" ")
    };
    assert_eq!(found("acc-1", None, None).await, "acme/a acme/c");
    assert_eq!(found("acc-1", None, Some(&key("c"))).await, "other/a");
    assert_eq!(found("acc-1", Some("other"), None).await, "other/a");
    assert_eq!(found("acc-1", Some("acme"), Some(&key("a"))).await, "acme/c");
    assert_eq!(found("acc-2", None, None).await, "acme/d");
    assert_eq!(found("acc", None, None).await, "");
    // The account moves from one client to another.
    let moved = vec![
        with_account(&key("b"), Some("acc-2"), 1),
        with_account(&key("d"), None, 1),
    ];
    put(store, clients(moved)).await.unwrap();
    assert_eq!(found("acc-2", None, None).await, "acme/b");
}

pub async fn the_census_counts_clients_and_rows(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(store.census().await.unwrap(), tenure::store::Census::default());
    some_clients(store).await;
    let dead_letter = DeadLetter {
        origin: "http".into(),
        source: None,
        content_type: None,
        headers: Vec::new(),
        body: b"{".into(),
        reason: "no JSON".into(),
        retry_at: None,
    };
    let more = Commit {
        events: vec![applied(added(&key("a"), "e-1", 0, "Bakery"))],
        journal: vec![entry(&key("a"), "1"), entry(&key("a"), "2")],
        dead_letters: vec![dead_letter],
        ..commit()
    };
    put(store, more).await.unwrap();
    let census = serde_json::to_value(store.census().await.unwrap()).unwrap();
    let expected = json!({
        "link": {"active": 3, "draft": 1, "invited": 1},
        "service": {"pending_assigning": 4, "terminated": 1},
        "access": {"enabled": 3, "none": 2},
        "events": 1, "journal": 2, "dead_letters_open": 1,
    });
    assert_eq!(census, expected);
}

pub async fn policies_are_read_back_as_recorded(fresh: Fresh) {
    let store = &*fresh.store;
    let short = Policy {
        access_idle: TimeDelta::days(7),
        ..Policy::default()
    };
    store.record_policy(moment(9), &short, false).await.unwrap();
    let first = Policy::default();
    store.record_policy(moment(1), &first, false).await.unwrap();
    let policies = store.policies().await.unwrap();
    assert_eq!(policies, [(moment(1), Policy::default()), (moment(9), short)]);
}

pub async fn a_deadline_backfill_resumes_where_it_stopped(fresh: Fresh) {
    let store = &*fresh.store;
    let policy = Policy::default();
    store.record_policy(moment(1), &policy, false).await.unwrap();
    assert_eq!(store.deadline_backfill().await.unwrap(), None);
    store.record_policy(moment(2), &policy, true).await.unwrap();
    let at = |seconds, after| DeadlineBackfill {
        policy_from: moment(seconds),
        after,
    };
    assert_eq!(store.deadline_backfill().await.unwrap(), Some(at(2, None)));
    store.record_backfill(moment(2), Some(&key("b"))).await.unwrap();
    assert_eq!(
        store.deadline_backfill().await.unwrap(),
        Some(at(2, Some(key("b"))))
    );
    // Another policy starts a new backfill. Progress for the old one does not affect it.
    store.record_policy(moment(3), &policy, true).await.unwrap();
    store.record_backfill(moment(2), Some(&key("c"))).await.unwrap();
    store.record_backfill(moment(2), None).await.unwrap();
    assert_eq!(store.deadline_backfill().await.unwrap(), Some(at(3, None)));
    store.record_backfill(moment(3), None).await.unwrap();
    assert_eq!(store.deadline_backfill().await.unwrap(), None);
}

pub async fn watermarks_only_advance(fresh: Fresh) {
    let store = &*fresh.store;
    let lanes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let known = async || -> Vec<(String, Option<DateTime<Utc>>)> {
        let lanes = store.lanes().await.unwrap();
        lanes
            .into_iter()
            .map(|lane| (lane.lane, lane.watermark))
            .collect()
    };
    assert_eq!(known().await, []);
    store.set_lanes(&lanes(&["q.1", "q.0"]), moment(0)).await.unwrap();
    assert_eq!(known().await, [("q.0".into(), None), ("q.1".into(), None)]);
    let advance = async |lane: &str, seconds| {
        let watermark = Some(Watermark {
            lane: lane.into(),
            at: moment(seconds),
            partition_key: Some("key".into()),
        });
        put(
            store,
            Commit {
                watermark,
                ..commit()
            },
        )
        .await
        .unwrap();
    };
    advance("q.0", 5).await;
    advance("q.0", 3).await;
    advance("q.9", 9).await;
    let progress = store.lanes().await.unwrap();
    assert_eq!(progress[0].partition_key.as_deref(), Some("key"));
    assert_eq!(progress[1].partition_key, None);
    assert!(store.heartbeat_key().await.unwrap().len() >= 64);
    let expected = [("q.0".to_owned(), Some(moment(5))), ("q.1".into(), None)];
    assert_eq!(known().await, expected);
    store.set_lanes(&lanes(&["q.0", "q.2"]), moment(6)).await.unwrap();
    let expected = [("q.0".to_owned(), Some(moment(5))), ("q.2".into(), None)];
    assert_eq!(known().await, expected);
    store.set_lanes(&[], moment(7)).await.unwrap();
    assert_eq!(known().await, []);
}

pub async fn holdings_can_be_queried_in_sql(fresh: Fresh) {
    let a = key("a");
    let mut seconds = 0;
    let mut event = |name: &str, data: serde_json::Value| {
        seconds += 1;
        event(&a, &seconds.to_string(), seconds, kind(name, &data))
    };
    let events = [
        event("client.added", json!({"name": "Bakery"})),
        event(
            "subscription.added",
            json!({"subscription_id": "s-1", "plan": "gold", "paid_until": "2031-05-06T07:08:09Z"}),
        ),
        event(
            "subscription.added",
            json!({"subscription_id": "s-2", "managed_by": "client"}),
        ),
        event("subscription.ended", json!({"subscription_id": "s-2"})),
        event(
            "assignment.added",
            json!({"assignment_id": "g-1", "service": "seo"}),
        ),
        event("assignment.added", json!({"assignment_id": "g-2"})),
        event("report_schedule.created", json!({"schedule_id": "r\"1"})),
        event("margin_rule.created", json!({"rule_id": "m-1"})),
    ];
    let written = vec![write(&a, client(&events), 0), gone_so_far(&key("b"), "draft")];
    put(&*fresh.store, clients(written)).await.unwrap();
    let sql = async |statement| fresh.database.sql(statement).await;
    let subscriptions = sql(
        "select client || '|' || id || '|' || status || '|' || managed_by || '|' || coalesce(plan, '')
             || '|' || (paid_until is not null) || '|' || (ended_at is not null)
         from subscriptions order by id",
    )
    .await;
    let texts: Vec<String> = subscriptions
        .iter()
        .map(|row| row.replace("|true", "|1").replace("|false", "|0"))
        .collect();
    assert_eq!(
        texts,
        ["a|s-1|prepared|partner|gold|1|0", "a|s-2|ended|client||0|1"]
    );
    assert_eq!(
        sql("select partner || '|' || client || '|' || id || '|' || coalesce(service, '') from assignments order by id")
            .await,
        ["acme|a|g-1|seo", "acme|a|g-2|"]
    );
    assert_eq!(
        sql("select partner || '|' || client || '|' || id from report_schedules").await,
        ["acme|a|r\"1"]
    );
    assert_eq!(
        sql("select partner || '|' || client || '|' || id from margin_rules").await,
        ["acme|a|m-1"]
    );
}
