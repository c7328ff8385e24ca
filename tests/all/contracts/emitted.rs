//! Whatever Tenure publishes has the schema of its type, with no field that the schema lacks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use jsonschema::Validator;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use tenure::contracts;
use tenure::domain::{ChangeKind, ClientKey};
use tenure::engine::{FeedStart, Incoming};
use tenure::store::FeedFilter;
use tenure::wire::{self, SchemaUris};

use crate::engine::setup::Setup;
use crate::engine::wild;
use crate::simulation::seeds;
use crate::store::Fresh;

/// The schema with every object closed.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut members: serde_json::Map<String, Value> = members
                .iter()
                .map(|(name, value)| (name.clone(), closed(value)))
                .collect();
            // Of a choice, the branches are closed. An object with a member `properties` is no schema of an object.
            if members.get("properties").is_some_and(Value::is_object) && !members.contains_key("anyOf") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            Value::Object(members)
        }
        Value::Array(items) => Value::Array(items.iter().map(closed).collect()),
        other => other.clone(),
    }
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(schema)
        .unwrap_or_else(|error| panic!("{schema}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_published_change_has_its_schema() {
    let uris = SchemaUris::new(Some("https://tenure.example.com"));
    let validators: BTreeMap<&str, Validator> = ChangeKind::ALL
        .iter()
        .map(|kind| {
            let schema = contracts::change(kind.as_str(), &uris).expect("a schema");
            (kind.as_str(), validator(&closed(&schema)))
        })
        .collect();
    let mut rng = StdRng::seed_from_u64(1);
    let setup = Setup::start(
        Fresh::sqlite("emitted").await,
        wild::start(),
        &wild::policy(&mut rng),
    )
    .await;
    for seed in seeds(40) {
        let mut rng = StdRng::seed_from_u64(seed);
        let key = ClientKey::new("p", &format!("c{seed}")).expect("a key");
        let mut events = wild::history(&mut rng, &key, 150, 20);
        events.shuffle(&mut rng);
        setup.clock.set(wild::start() + TimeDelta::days(400));
        for batch in events.chunks(7) {
            let incoming = batch.iter().cloned().map(Incoming::Event).collect();
            setup.engine.ingest(incoming).await.expect("ingested");
        }
    }
    // The examples have the types that random histories miss.
    for story in contracts::stories() {
        let incoming = story.events.into_iter().map(Incoming::Event).collect();
        setup.engine.ingest(incoming).await.expect("ingested");
    }
    let mut place = setup
        .engine
        .feed_place(FeedStart::Beginning)
        .await
        .expect("a place");
    let (mut kinds, mut count, mut corrections) = (BTreeSet::new(), 0, 0);
    loop {
        let page = setup
            .engine
            .feed(&place, &FeedFilter::default(), 1_000)
            .await
            .expect("a page");
        for line in &page.lines {
            let change: Value = serde_json::from_slice(&wire::change(page.epoch, line, &uris)).expect("JSON");
            let kind = change["type"].as_str().expect("a type");
            let errors: Vec<String> = validators[kind]
                .iter_errors(&change)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{change}: {errors:?}");
            assert_eq!(
                change["dataschema"],
                format!("https://tenure.example.com/v1/schemas/changes/{kind}/data")
            );
            kinds.insert(kind.to_owned());
            count += 1;
            corrections += usize::from(change["data"]["correction"] == true);
        }
        if !page.more {
            break;
        }
        place = page.next;
    }
    assert!(
        count > 1_000 && corrections > 100,
        "{count} changes, {corrections} corrections"
    );
    // Under a policy with a grace for the clean-up, no example has a former assignment to remove.
    let missing: Vec<&str> = ChangeKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .filter(|kind| !kinds.contains(*kind) && *kind != "former_assignment.removed")
        .collect();
    assert_eq!(missing, [""; 0]);
}
