//! The assertions of the chaos test: stored state and published changes agree with the oracle.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::Policy;

use super::environment::Environment;
use super::flow::Message;
use super::subscriber::Received;
use crate::oracle::{self, Oracle};

pub fn check(environment: &Environment, sent: &[Message], received: &Received) {
    environment.tenure.assert_no_drift();
    let logged = every_event_once(environment, sent);
    clients_as_the_oracle_says(environment, sent, received, &logged);
    dead_letters_are_the_broken_messages(environment, sent);
    published_in_order(environment, received);
}

/// The event log has every event and nothing else. It drops touches that cannot matter; the clients' last accesses account
/// for them.
fn every_event_once(environment: &Environment, sent: &[Message]) -> HashSet<oracle::Name> {
    let logged: HashSet<oracle::Name> = rows(environment, "select source, id from event_log")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let mut all = HashSet::new();
    let mut missing = Vec::new();
    for event in sent.iter().filter_map(|message| message.event.as_ref()) {
        let name = (event.source.to_string(), event.id.to_string());
        if !logged.contains(&name) && event.kind.type_name() != "account.accessed" {
            missing.push(name.clone());
        }
        all.insert(name);
    }
    assert!(
        missing.is_empty(),
        "{} events are lost: {missing:?}",
        missing.len()
    );
    let strange: Vec<_> = logged.difference(&all).collect();
    assert!(strange.is_empty(), "nobody sent {strange:?}");
    logged
}

fn clients_as_the_oracle_says(
    environment: &Environment,
    sent: &[Message],
    received: &Received,
    logged: &HashSet<oracle::Name>,
) {
    let mut oracle = Oracle::new(vec![(SystemClock.now(), Policy::default())]);
    for message in sent.iter().filter(|message| message.event.is_some()) {
        oracle.add(&serde_json::from_slice(&message.body).expect("JSON"));
    }
    for row in rows(
        environment,
        "select source, id from event_log where reason = 'name_taken'",
    ) {
        oracle.name_taken(&row[0], &row[1]);
    }
    let mut refused: BTreeMap<String, BTreeMap<oracle::Name, String>> = BTreeMap::new();
    for row in rows(
        environment,
        "select partner || '/' || client, source, id, reason from event_log where reason is not null",
    ) {
        let name = (row[1].clone(), row[2].clone());
        refused
            .entry(row[0].clone())
            .or_default()
            .insert(name, row[3].clone());
    }
    let mut subscriber = oracle::Subscriber::default();
    for change in &received.changes {
        subscriber.receive(change);
    }
    assert!(
        subscriber.contradictions.is_empty(),
        "{:#?}",
        subscriber.contradictions
    );

    let mut found: HashMap<String, Value> = HashMap::new();
    for client in environment.tenure.json(&["client", "list"]) {
        let text = |name: &str| client[name].as_str().expect("text").to_owned();
        found.insert(format!("{}/{}", text("partner"), text("client")), client);
    }
    let now = SystemClock.now();
    let mut differences = Vec::new();
    for client in oracle.clients() {
        let expected = oracle.at(&client, now);
        let mut view = found.remove(&client);
        if let Some(Value::Object(view)) = &mut view {
            view.remove("as_of");
            view.remove("version");
        }
        if view != expected.view {
            differences.push(format!(
                "{client}\n  found    {view:?}\n  expected {:?}",
                expected.view
            ));
        }
        // A touch that the log dropped has no refusal. `every_event_once` has checked that no other event is missing.
        let reasons = expected
            .refusals
            .into_iter()
            .filter(|(name, _)| logged.contains(name))
            .map(|(name, reason)| (name, reason.to_owned()));
        let (reasons, found_reasons) = (reasons.collect(), refused.remove(&client).unwrap_or_default());
        if found_reasons != reasons {
            differences.push(format!(
                "{client}\n  refused  {found_reasons:?}\n  expected {reasons:?}"
            ));
        }
        let published = expected.view.as_ref().map(oracle::published_part);
        if subscriber.known(&client) != published {
            let known = subscriber.known(&client);
            differences.push(format!(
                "{client}\n  received {known:?}\n  expected {published:?}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(found.is_empty(), "clients that nobody sent: {:?}", found.keys());
    assert!(refused.is_empty(), "{refused:?}");
}

/// The dead letters are the broken messages and nothing else: no event exceeded the delivery limit.
fn dead_letters_are_the_broken_messages(environment: &Environment, sent: &[Message]) {
    let broken: HashSet<&[u8]> = sent
        .iter()
        .filter(|message| message.event.is_none())
        .map(|message| message.body.as_slice())
        .collect();
    let dead: Vec<Value> = environment
        .tenure
        .json(&["dead", "list"])
        .iter()
        .map(|dead_letter| {
            let id = dead_letter["id"].to_string();
            environment.tenure.json(&["dead", "show", &id]).remove(0)
        })
        .collect();
    let bodies: HashSet<&[u8]> = dead
        .iter()
        .map(|dead_letter| dead_letter["body"].as_str().expect("text").as_bytes())
        .collect();
    let strange: Vec<&Value> = dead
        .iter()
        .filter(|dead_letter| !broken.contains(dead_letter["body"].as_str().expect("text").as_bytes()))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
    assert_eq!(bodies, broken);
    assert_eq!(dead.len(), broken.len(), "each once");
}

/// The published changes are the lines of the journal; the first publications of a client's lines are in order.
fn published_in_order(environment: &Environment, received: &Received) {
    let mut journal: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows(
        environment,
        "select partner || '/' || client, seq from change_log order by xid, seq",
    ) {
        journal.entry(row[0].clone()).or_default().push(row[1].clone());
    }
    let mut published: HashMap<String, Vec<String>> = HashMap::new();
    for change in &received.changes {
        let subject = change["subject"].as_str().expect("text").to_owned();
        // A new epoch would appear as another line with the same number.
        let number = change["data"]["sequence"].to_string();
        published.entry(subject).or_default().push(number);
    }
    for (client, lines) in &journal {
        assert_eq!(published.get(client), Some(lines), "{client}");
    }
    assert_eq!(published.len(), journal.len());
}

fn rows(environment: &Environment, query: &str) -> Vec<Vec<String>> {
    let text = environment.sql(query);
    text.lines()
        .map(|line| line.split('|').map(str::to_owned).collect())
        .collect()
}
