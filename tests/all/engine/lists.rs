//! Lists and decisions read a bounded number of clients.

use serde_json::json;
use tenure::domain::access::Decision;
use tenure::domain::link::LinkStatus;
use tenure::domain::{Actor, ClientKey, Event, EventKind, Id, Policy};
use tenure::engine::{Incoming, ListRequest, Question, Resource, SearchRequest};

use super::setup::{Setup, on_both_stores};
use super::wild::start;
use crate::store::Fresh;

on_both_stores!(an_account_with_many_clients_is_read_in_parts);

/// More than one request reads.
const CLIENTS: usize = 10_200;

fn event(client: usize, kind: &str, data: &serde_json::Value) -> Incoming {
    let kind: EventKind = serde_json::from_value(json!({ "type": kind, "data": data })).expect("a kind");
    Incoming::Event(Event {
        source: "/space".into(),
        id: format!("{client}-{}", kind.type_name()).into(),
        key: key(client),
        time: start(),
        sequence: None,
        kind,
        actor: Actor::default(),
        name_verdict: tenure::domain::event::NameVerdict::Open,
    })
}

fn key(client: usize) -> ClientKey {
    ClientKey::new("many", &format!("c{client:04}")).expect("a key")
}

fn linked(client: usize) -> Vec<Incoming> {
    vec![
        event(client, "client.invited", &json!({ "steps": ["accepted"] })),
        event(client, "invitation.accepted", &json!({})),
    ]
}

fn of_account(link: Option<LinkStatus>) -> SearchRequest {
    SearchRequest {
        list: ListRequest {
            link,
            ..ListRequest::default()
        },
        account: Some(account()),
        ..SearchRequest::default()
    }
}

fn account() -> Id {
    Id::try_from("acc".to_owned()).expect("an id")
}

async fn an_account_with_many_clients_is_read_in_parts(fresh: Fresh) {
    let setup = Setup::start(fresh, start(), &Policy::default()).await;
    let mut events = Vec::new();
    for client in 0..CLIENTS {
        let name = format!("n{client}");
        events.push(event(client, "client.added", &json!({ "name": name })));
        events.push(event(client, "account.created", &json!({ "account_id": "acc" })));
    }
    events.extend(linked(CLIENTS - 1));
    setup.engine.ingest(events).await.expect("ingested");

    let search = async |link| {
        let (request, mut after) = (of_account(link), None);
        let mut pages = Vec::new();
        loop {
            let found = setup.engine.search(&request, after.as_ref(), 100_000).await;
            let found = found.expect("a page");
            pages.push(found.clients.len());
            after = found.next;
            if after.is_none() {
                return pages;
            }
        }
    };
    assert_eq!(search(None).await, [5_000, 5_000, 200]);
    assert_eq!(search(Some(LinkStatus::Active)).await, [0, 0, 1]);
    let (partners, next) = setup
        .engine
        .partners_of_account(&account(), None, None, 100_000)
        .await
        .expect("a page");
    assert_eq!((partners.len(), next.is_some()), (5_000, true));

    let request = of_account(None);
    let (mut counts, next) = setup.engine.count(&request, None).await.expect("counts");
    assert_eq!((counts.facets.clients, counts.complete), (10_000, false));
    let (rest, end) = setup.engine.count(&request, next.as_ref()).await.expect("counts");
    assert!(end.is_none());
    counts.extend(rest);
    assert_eq!((counts.facets.clients, counts.complete), (10_200, true));
    let of_link = [("active".to_owned(), 1), ("draft".to_owned(), 10_199)];
    assert_eq!(counts.facets.link, of_link.into());

    let decide = async || {
        let question = Question {
            resource: Resource::Account {
                partner: "many".to_owned(),
                account: account(),
            },
            action: None,
            at: None,
        };
        let answers = setup.engine.decide_all(&[question]).await.expect("an answer");
        let [answer] = answers.try_into().expect("one answer");
        let Decision { allowed, reason, .. } = answer.decision;
        (answer.client, allowed, reason)
    };
    assert_eq!(
        decide().await,
        (Some(key(0)), false, "access_none"),
        "the last client is not among the first 1,000"
    );
    setup.engine.ingest(linked(999)).await.expect("ingested");
    assert_eq!(decide().await, (Some(key(999)), true, "access_enabled"));
}
