//! The OpenAPI document: it describes the responses, and rejects the parameters that the worker rejects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jsonschema::Validator;
use tenure::domain::{Cause, Corrector, Policy, Repair, Sweep, Timer};
use tenure::engine::{AdoptionMode, NOTICE, SweepMode, SweepOptions};

use super::*;

/// Responses by the schema that describes them.
type Samples = BTreeMap<&'static str, Vec<Value>>;

fn add(samples: &mut Samples, schema: &'static str, value: &Value) {
    samples.entry(schema).or_default().push(value.clone());
}

/// Adds the page, and its items under a schema of their own.
fn add_page(samples: &mut Samples, page: (&'static str, &str), item: &'static str, value: &Value) {
    add(samples, page.0, value);
    for one in value[page.1].as_array().unwrap() {
        add(samples, item, one);
    }
}

const CLIENTS: &str = "/v1/partners/acme/clients";

/// A server with an access log.
async fn start() -> Server {
    Server::with(&[("TENURE_ACCESS__LOG", "90d")]).await
}

/// Clients that between them have every status, and the responses about them.
async fn samples(server: &Server) -> Samples {
    let mut samples = Samples::new();
    let subscription = |managed_by: &str| json!({"subscription_id": "s", "plan": "p", "managed_by": managed_by, "paid_until": "2027-01-01T00:00:00Z"});
    for client in ["bakery", "mill", "forge", "smithy"] {
        server.linked(client).await;
    }
    let events = [
        event("draft", "client.added", noon(), json!({"name": "Draft"})),
        event("draft", "subscription.added", noon(), subscription("partner")),
        event("bakery", "subscription.added", noon(), subscription("client")),
        event("bakery", "subscription.added", noon(), subscription("client")),
        event("mill", "subscription.added", noon(), subscription("partner")),
        event(
            "mill",
            "client.archived",
            noon() + TimeDelta::minutes(1),
            json!({}),
        ),
        event("cafe", "client.added", noon(), json!({"name": "Cafe"})),
        event(
            "mill",
            "client.renamed",
            noon() + TimeDelta::minutes(2),
            json!({"name": "Cafe"}),
        ),
        event("cafe", "client.invited", noon(), json!({})),
        event("cafe", "account.created", noon(), json!({"account_id": "acc-1"})),
        event("forge", "access.disabled", noon(), json!({})),
        event("forge", "client.invited", noon(), json!({})),
        event(
            "forge",
            "client.renamed",
            noon() + TimeDelta::minutes(10),
            json!({"name": "Late"}),
        ),
        event("draft", "client.invited", noon(), json!({"chanel": "referral"})),
        json!({"specversion": "1.0"}),
    ];
    let (_, outcomes) = server.post(BATCH, Value::from(&events[..]).to_string()).await;
    add_page(&mut samples, ("Outcomes", "outcomes"), "EventOutcome", &outcomes);
    let (_, outcomes) = answer(
        server
            .request(Method::POST, "/v1/events?dry_run=true")
            .header("content-type", BATCH)
            .body(Value::from(&events[..]).to_string()),
    )
    .await;
    add_page(&mut samples, ("Outcomes", "outcomes"), "EventOutcome", &outcomes);
    let late = event(
        "smithy",
        "client.renamed",
        noon() - TimeDelta::hours(1),
        json!({"name": "Smith"}),
    );
    server.post(STRUCTURED, late.to_string()).await;
    for client in [
        "draft",
        "bakery",
        "forge",
        "nobody",
        "bakery?action=account_cancel",
    ] {
        let (name, query) = client.split_once('?').unwrap_or((client, ""));
        let (_, decision) = server.get(&format!("{CLIENTS}/{name}/access?{query}")).await;
        add(&mut samples, "Decision", &decision);
    }
    authzen_samples(server, &mut samples).await;
    list_samples(server, &mut samples).await;
    add_accesses(server, &mut samples).await;
    // The smithy's access expires by a timer; the others keep what they have.
    server.clock.set(noon() + TimeDelta::days(70));
    server
        .engine
        .sweep(Sweep::AccessExpiry, SweepOptions::new(SweepMode::ByHand), |_| {})
        .await
        .unwrap();
    let (_, decision) = server.get(&format!("{CLIENTS}/smithy/access")).await;
    add(&mut samples, "Decision", &decision);
    let (_, runs) = server.get("/v1/sweeps/runs").await;
    add_page(&mut samples, ("SweepRunsPage", "runs"), "SweepRun", &runs);
    let (_, run) = server.get("/v1/sweeps/runs/1").await;
    add_page(&mut samples, ("SweepRunPage", "changes"), "JournalLine", &run);
    add_clients(server, &mut samples).await;
    for name in ["bakery", "inn"] {
        let (_, holder) = server.get(&format!("/v1/partners/acme/names/{name}")).await;
        add(&mut samples, "NameHolder", &holder);
    }
    add_possible(server, &mut samples).await;
    let (_, page) = server.get("/v1/dead-letters").await;
    let names = ("DeadLettersPage", "dead_letters");
    add_page(&mut samples, names, "DeadLetter", &page);
    let expected = [("/test".to_owned(), TimeDelta::days(1))];
    server.engine.expect_sources(&expected.into()).await.unwrap();
    let (_, sources) = server.get("/v1/sources").await;
    add_page(&mut samples, ("SourcesList", "sources"), "Source", &sources);
    let worker = server.engine.new_worker("tenure-1", Duration::from_secs(5));
    server.engine.record_worker(&worker).await.unwrap();
    let (_, workers) = server.get("/v1/workers").await;
    add_page(&mut samples, ("WorkersList", "workers"), "WorkerStatus", &workers);
    let (_, endpoints) = super::webhooks::listed(server).await;
    add_page(
        &mut samples,
        ("WebhookEndpoints", "endpoints"),
        "WebhookEndpoint",
        &endpoints,
    );
    add(&mut samples, "Readiness", &server.get("/readyz").await.1);
    let (_, schemas) = server.get("/v1/schemas").await;
    add_page(&mut samples, ("SchemasList", "events"), "SchemaLinks", &schemas);
    add_forecast(server, &mut samples).await;
    add_what_if(server, &mut samples).await;
    add_history(server, &mut samples).await;
    add_why(server, &mut samples).await;
    add_statements(server, &mut samples).await;
    let (_, page) = server.get("/v1/audit").await;
    add_page(&mut samples, ("AuditPage", "entries"), "AuditEntry", &page);
    // The expected source is silent by now.
    server.clock.set(noon() + TimeDelta::days(80));
    authzen_samples(server, &mut samples).await;
    feed_samples(server, &mut samples).await;
    let (_, error) = server.get("/nothing").await;
    add(&mut samples, "ErrorBody", &error);
    add(&mut samples, "ErrorDetail", &error["error"]);
    samples
}

/// The clients, and their journals.
async fn add_clients(server: &Server, samples: &mut Samples) {
    let (_, page) = server.get(CLIENTS).await;
    add_page(samples, ("ClientsPage", "clients"), "Client", &page);
    for client in page["clients"].as_array().unwrap() {
        for subscription in client["subscriptions"].as_array().unwrap() {
            add(samples, "Subscription", subscription);
        }
        if client["invitation"].is_object() {
            add(samples, "Invitation", &client["invitation"]);
        }
        let path = format!("{CLIENTS}/{}/journal", client["client"].as_str().unwrap());
        let (_, journal) = server.get(&path).await;
        add_page(samples, ("JournalPage", "journal"), "JournalLine", &journal);
        let lines = journal["journal"].as_array().unwrap();
        for data in lines.iter().filter_map(|line| line.get("data")) {
            add(samples, "ChangeData", data);
        }
    }
}

/// The history of a client, past and to come.
async fn add_history(server: &Server, samples: &mut Samples) {
    let (_, page) = server
        .get(&format!("{CLIENTS}/quay/history?until=2027-03-01T00:00:00Z"))
        .await;
    add_page(samples, ("HistoryPage", "history"), "HistoryEntry", &page);
    for entry in page["history"].as_array().unwrap() {
        if entry["event"].is_object() {
            add(samples, "HistoryEvent", &entry["event"]);
        }
        for change in entry["changes"].as_array().unwrap() {
            add(samples, "HistoryChange", change);
        }
    }
}

/// The answers about clients, one of which touches keep from losing access.
async fn add_why(server: &Server, samples: &mut Samples) {
    server.linked("wharf").await;
    for days in [30, 50, 70] {
        let at = noon() + TimeDelta::days(days);
        server
            .send(&[event("wharf", "account.accessed", at, json!({}))])
            .await;
    }
    server
        .send(&[event(
            "forge",
            "access.requested",
            noon() + TimeDelta::days(1),
            json!({}),
        )])
        .await;
    for client in ["bakery", "cafe", "forge", "mill", "wharf"] {
        let (_, why) = server.get(&format!("{CLIENTS}/{client}/why")).await;
        add_page(samples, ("Why", "answers"), "Explanation", &why);
        for explanation in why["answers"].as_array().unwrap() {
            add(samples, "AnswerValue", &explanation["value"]);
            let each = |name: &str| explanation[name].as_array().unwrap().clone();
            for cause in each("causes") {
                add(samples, "Reason", &cause);
                for (field, schema) in [("event", "ReasonEvent"), ("policy", "ReasonPolicy")] {
                    if cause[field].is_object() {
                        add(samples, schema, &cause[field]);
                    }
                }
            }
            for supporting in each("supporting") {
                add(samples, "SupportingEvents", &supporting);
            }
            for turn in each("turns") {
                add(samples, "Turn", &turn);
                for event in turn["events"].as_array().unwrap() {
                    add(samples, "TurnEvent", event);
                }
            }
        }
    }
}

/// The statements of closed months, with an adjustment.
async fn add_statements(server: &Server, samples: &mut Samples) {
    let close = async |month: &str| {
        let path = format!("/v1/statements/{month}/close?by=ann&confirm=true");
        answer(server.request(Method::POST, &path)).await.1
    };
    add(samples, "Closing", &close("2026-03").await);
    let late = "2026-03-20T12:00:00Z".parse().unwrap();
    server
        .send(&[event("quay", "client.archived", late, json!({}))])
        .await;
    close("2026-04").await;
    let (_, closings) = server.get("/v1/statements").await;
    add_page(samples, ("ClosingsList", "closings"), "Closing", &closings);
    let (_, page) = server.get("/v1/statements/2026-04").await;
    add(samples, "StatementPage", &page);
    for client in page["clients"].as_array().unwrap() {
        add(samples, "ClientStatement", client);
        add(samples, "DayCounts", &client["days"]);
        add(samples, "ClientIntervals", &client["intervals"]);
        for interval in client["intervals"]["commission"].as_array().unwrap() {
            add(samples, "Interval", interval);
        }
        for adjustment in client["adjustments"].as_array().unwrap() {
            add(samples, "Adjustment", adjustment);
        }
    }
    for sum in page["partners"].as_array().unwrap() {
        add(samples, "PartnerSum", sum);
    }
}

/// The forecast for clients of which one has a subscription that will end.
async fn add_forecast(server: &Server, samples: &mut Samples) {
    let grace = Policy {
        subscriptions_grace: TimeDelta::days(7),
        ..Policy::default()
    };
    let adopted = server.engine.adopt(&grace, NOTICE, AdoptionMode::Confirmed);
    adopted.await.unwrap();
    let at = noon() + TimeDelta::days(71);
    server.clock.set(at + TimeDelta::days(1));
    server.linked("quay").await;
    let subscription = json!({"subscription_id": "s"});
    server
        .send(&[
            event("quay", "subscription.added", at, subscription),
            event("quay", "client.archived", at + TimeDelta::hours(1), json!({})),
        ])
        .await;
    let (_, page) = server.get("/v1/forecast?until=2027-03-01T00:00:00Z").await;
    add_page(samples, ("ForecastPage", "clients"), "ClientForecast", &page);
    for client in page["clients"].as_array().unwrap() {
        for change in client["changes"].as_array().unwrap() {
            add(samples, "ExpectedChange", change);
        }
    }
    for day in page["days"].as_array().unwrap() {
        add(samples, "ForecastDay", day);
    }
}

/// What a policy would have changed under which access expires before the customer disables it.
async fn add_what_if(server: &Server, samples: &mut Samples) {
    let set = "set=access.idle=30m&set=access.warn_before=&set=subscriptions.grace=1d";
    let (_, page) = server
        .get(&format!("/v1/what-if?{set}&until=2027-03-01T00:00:00Z"))
        .await;
    add_page(samples, ("WhatIfPage", "clients"), "ClientWhatIf", &page);
    for client in page["clients"].as_array().unwrap() {
        let access = &client["access"];
        add(samples, "Difference", access);
        for interval in access["lost"].as_array().unwrap() {
            add(samples, "Interval", interval);
        }
        for changes in [&client["added"], &client["dropped"]] {
            for change in changes.as_array().unwrap() {
                add(samples, "WhatIfChange", change);
            }
        }
    }
    for day in page["days"].as_array().unwrap() {
        add(samples, "WhatIfDay", day);
    }
    add(samples, "WhatIfTotals", &page["totals"]);
    add(samples, "PartnerWhatIf", &page["partners"][0]);
    add(samples, "DifferenceTotals", &page["totals"]["access"]);
    add(samples, "Total", &page["totals"]["access"]["lost"]);
    add(samples, "Coming", &page["totals"]["coming"]);
}

/// The events that a client would accept.
async fn add_possible(server: &Server, samples: &mut Samples) {
    let (_, possible) = server.get(&format!("{CLIENTS}/bakery/possible")).await;
    add_page(samples, ("PossibleEvents", "events"), "Possibility", &possible);
}

/// The access log of a client that staff have entered.
async fn add_accesses(server: &Server, samples: &mut Samples) {
    let data = json!({"by": "staff", "user": "u-7"});
    let mut entered = event("bakery", "account.accessed", noon(), data);
    entered["actor"] = "u-7".into();
    entered["actorkind"] = "customer".into();
    server.send(&[entered]).await;
    server.engine.record_access_log().await.unwrap();
    let (_, page) = server.get(&format!("{CLIENTS}/bakery/accesses")).await;
    add_page(samples, ("AccessesPage", "accesses"), "Access", &page);
}

/// The feed, and a snapshot.
async fn feed_samples(server: &Server, samples: &mut Samples) {
    let (_, page) = server.get("/v1/changes?limit=1000").await;
    add_page(samples, ("ChangesPage", "changes"), "ChangeAttributes", &page);
    let (lines, _) = server.snapshot().await;
    for line in &lines {
        add(samples, "SnapshotLine", line);
    }
}

async fn list_samples(server: &Server, samples: &mut Samples) {
    let mut refused = event("nobody", "client.lost", noon(), json!({}));
    refused["actor"] = "u-7".into();
    refused["actorkind"] = "customer".into();
    server.post(STRUCTURED, refused.to_string()).await;
    server
        .engine
        .note_depths([("tenure.events".to_owned(), 3)].into());
    let (_, worker) = server.get("/v1/worker").await;
    add(samples, "Worker", &worker);
    add(samples, "QueueDepth", &worker["queues"]["tenure.events"]);
    add(samples, "Minute", &worker["minutes"][0]);
    for (path, page, item) in [
        ("/v1/clients?count=true", ("FoundPage", "clients"), "Client"),
        (
            "/v1/accounts/acc-1/partners",
            ("AccountPartnersPage", "partners"),
            "AccountPartner",
        ),
        ("/v1/partners", ("PartnersPage", "partners"), "Partner"),
        ("/v1/refusals", ("RefusalsPage", "refusals"), "Refusal"),
    ] {
        let (_, body) = server.get(path).await;
        add_page(samples, page, item, &body);
        if body["counts"].is_object() {
            add(samples, "ClientCounts", &body["counts"]);
        }
    }
}

/// The responses about access that are not to a query.
async fn authzen_samples(server: &Server, samples: &mut Samples) {
    let post = async |path: &str, body: Value| {
        let request = server.request(Method::POST, path);
        answer(
            request
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
        .await
        .1
    };
    let questions = json!({"questions": [{"partner": "acme", "client": "bakery"}]});
    add(samples, "AccessDecisions", &post("/v1/access", questions).await);
    let mut request = json!({
        "subject": {"type": "partner", "id": "acme"},
        "action": {"name": "enter"},
        "resource": {"type": "client", "id": "bakery"},
    });
    let one = post("/access/v1/evaluation", request.clone()).await;
    add(samples, "Evaluation", &one);
    add(samples, "Evaluations", &one);
    add(samples, "EvaluationContext", &one["context"]);
    request["evaluations"] = json!([{"resource": {"type": "todo", "id": "1"}}]);
    let several = post("/access/v1/evaluations", request).await;
    add(samples, "Evaluations", &several);
    let denied = &several["evaluations"][0]["context"];
    add(samples, "EvaluationContext", denied);
    add(samples, "EvaluationError", &denied["error"]);
    let (_, metadata) = server.get("/.well-known/authzen-configuration").await;
    add(samples, "PdpMetadata", &metadata);
}

/// Every field of a response is described, and every described field occurs in a response.
#[tokio::test]
async fn the_document_describes_exactly_the_fields_of_responses() {
    let server = start().await;
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    for (name, values) in samples(&server).await {
        let schema = &document["components"]["schemas"][name];
        let described: BTreeSet<&String> = schema["properties"]
            .as_object()
            .unwrap_or_else(|| panic!("no schema {name}"))
            .keys()
            .collect();
        let validator = validator(
            &document,
            &json!({"$ref": format!("#/components/schemas/{name}")}),
        );
        let mut answered = BTreeSet::new();
        for value in &values {
            let errors: Vec<_> = validator
                .iter_errors(value)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:?} in {value}");
            answered.extend(value.as_object().unwrap().keys());
        }
        assert_eq!(answered, described, "{name}");
    }
}

/// Otherwise no test compares them with responses.
#[tokio::test]
async fn every_schema_of_a_response_has_samples() {
    let document = http::openapi();
    let mut described = BTreeSet::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            references(&operation["responses"], &mut described);
        }
    }
    let samples = samples(&start().await).await;
    for target in described {
        let name = target.rsplit('/').next().unwrap();
        assert!(
            samples.contains_key(name) || name == "Client",
            "no sample of {name}: add a response to `samples` in tests/all/http/openapi.rs"
        );
    }
}

/// The names that the document writes out occur in responses, and no others do. The other names come from the real enums.
#[tokio::test]
async fn the_document_lists_exactly_the_names_in_responses() {
    let server = start().await;
    let samples = samples(&server).await;
    let document = http::openapi();
    for (schema, of, field) in [
        ("Tab", "Client", "tab"),
        ("SubscriptionStatus", "Subscription", "status"),
        ("ManagedBy", "Subscription", "managed_by"),
        ("DecisionReason", "Decision", "reason"),
        ("OutcomeKind", "EventOutcome", "outcome"),
    ] {
        let described: BTreeSet<&str> = document["components"]["schemas"][schema]["enum"]
            .as_array()
            .map_or_else(
                || variants(&document["components"]["schemas"][schema]),
                |names| names.iter().filter_map(Value::as_str).collect(),
            );
        let answered: BTreeSet<&str> = samples[of]
            .iter()
            .filter_map(|value| value[field].as_str())
            .collect();
        assert_eq!(answered, described, "{schema}");
    }
}

/// The names of an enum whose variants have descriptions of their own.
fn variants(schema: &Value) -> BTreeSet<&str> {
    let one_of = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    one_of
        .iter()
        .flat_map(|variant| variant["enum"].as_array().map(Vec::as_slice).unwrap_or_default())
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn the_document_describes_every_corrector() {
    let document = http::openapi();
    let validator = validator(&document, &json!({"$ref": "#/components/schemas/Corrector"}));
    let correctors = [
        Corrector::LateEvent {
            source: "/s".into(),
            id: "1".into(),
            kind: tenure::domain::event::TYPES[0].into(),
        },
        Corrector::Rebuild {
            rebuild: Repair::State,
        },
        Corrector::Rebuild {
            rebuild: Repair::Journal,
        },
    ];
    for corrector in correctors {
        let written = serde_json::to_value(corrector).unwrap();
        assert!(validator.is_valid(&written), "{written}");
    }
    assert!(!validator.is_valid(&json!({"timer": "access_expiry"})));
}

#[test]
fn the_document_describes_every_cause_of_a_change() {
    let document = http::openapi();
    let validator = validator(&document, &json!({"$ref": "#/components/schemas/Cause"}));
    let mut described = BTreeSet::new();
    for variant in document["components"]["schemas"]["Cause"]["oneOf"]
        .as_array()
        .unwrap()
    {
        let fields: BTreeSet<&str> = variant["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        described.insert(fields);
    }
    let causes = [
        Cause::Event {
            source: "/s".into(),
            id: "1".into(),
            kind: tenure::domain::event::TYPES[0].into(),
            actor: crate::generate::actor(7),
            reason: Some("moved".into()),
        },
        Cause::Timer { timer: Timer::ALL[0] },
        Cause::Rebuild {
            rebuild: Repair::State,
        },
        Cause::Rebuild {
            rebuild: Repair::Journal,
        },
    ]
    .map(|cause| serde_json::to_value(cause).unwrap());
    let mut written = BTreeSet::new();
    for cause in &causes {
        assert!(validator.is_valid(cause), "{cause}");
        written.insert(cause.as_object().unwrap().keys().map(String::as_str).collect());
    }
    assert_eq!(written, described);
}

/// Every `$ref` of the document.
fn references(part: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(target) if name == "$ref" => drop(found.insert(target.to_owned())),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_resolves_and_every_schema_is_valid() {
    let document = http::openapi();
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    assert!(targets.len() > 20, "{targets:?}");
    for target in targets {
        let pointer = target.strip_prefix('#').expect("within the document");
        assert!(
            document.pointer(pointer).is_some(),
            "no schema {target}: if only parameters refer to it, add it to `components(schemas(…))` in src/http/openapi.rs"
        );
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        validator(
            &document,
            &json!({"$ref": format!("#/components/schemas/{name}")}),
        );
    }
}

/// A validator for a schema of the document.
pub fn validator(document: &Value, schema: &Value) -> Validator {
    let mut root = json!({"components": document["components"]});
    root.as_object_mut()
        .unwrap()
        .extend(schema.as_object().unwrap().clone());
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(&root)
        .unwrap_or_else(|error| panic!("{schema}: {error}"))
}

/// The path with the example of each parameter in it.
pub fn example_path(document: &Value, path: &str, parameters: &[Value]) -> String {
    let mut filled = path.to_owned();
    for parameter in parameters {
        let example = match &resolved(document, &parameter["schema"])["example"] {
            Value::Null => "a".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        filled = filled.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &example);
    }
    filled
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|target| document.pointer(&target[1..]))
        .unwrap_or(schema)
}

/// Text from a URL as the schema sees it: a number if the schema expects one.
fn instance(document: &Value, schema: &Value, text: &str) -> Value {
    if resolved(document, schema)["type"] == "integer"
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    text.into()
}

/// Values that a caller may send as any parameter.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "a",
        "A",
        "0",
        "1",
        "-1",
        "+1",
        "1000",
        "1001",
        "1.0",
        "1e2",
        "0x1",
        "99999999999999999999",
        ".",
        "..",
        "...",
        ".a",
        "a b",
        "a/b",
        "ü",
        "a\0",
        "a\n",
        "a%",
        "a?",
        "a#",
        "~:@_.-",
        "active",
        "Active",
        "archived",
        "inactive",
        "expired",
        "terminated",
        "all_active",
        "none",
        "open",
        "redriven",
        "discarded",
        "all",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00Z",
        "2026-03-01t12:00:00z",
        "2026-03-01T12:00:00.123456+01:00",
        "2026-02-30T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "yesterday",
        "invoice_create",
        "Account_Cancel",
        "account-cancel",
        "account_cancel",
        "account_cancel ",
        "null",
        "true",
        "[]",
        "{}",
    ]
    .map(str::to_owned)
    .to_vec();
    for length in [64, 65, 128, 129, 600, 2_001] {
        texts.push("x".repeat(length));
    }
    texts
}

#[tokio::test]
async fn the_document_and_the_worker_reject_the_same_parameters() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let document = http::openapi();
    let (mut described, mut rejected) = (BTreeSet::new(), BTreeSet::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(parameters) = operations["get"]["parameters"].as_array() else {
            continue;
        };
        for parameter in parameters {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            described.insert((path.clone(), name.to_owned()));
            let validator = validator(&document, schema);
            for text in texts() {
                let bytes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                let encoded = bytes.concat();
                let mut url = path.clone();
                if parameter["in"] == "path" {
                    // A client cannot send these in a path.
                    if text == "." || text == ".." {
                        assert!(!validator.is_valid(&json!(text)), "{path} {name}");
                        continue;
                    }
                    url = url.replace(&format!("{{{name}}}"), &encoded);
                } else {
                    url = format!("{url}?{name}={encoded}");
                }
                let url = example_path(&document, &url, parameters);
                let (status, body) = server.get(&url).await;
                let is_accepted = status == StatusCode::OK || status == StatusCode::NOT_FOUND;
                assert!(
                    is_accepted || status == StatusCode::BAD_REQUEST,
                    "{url}: {status} {body}"
                );
                let is_valid = validator.is_valid(&instance(&document, schema, &text));
                // The worker also accepts a plus sign.
                assert!(
                    is_accepted == is_valid || (is_accepted && text == "+1"),
                    "{url}: accepted {is_accepted}, valid {is_valid}: {body}"
                );
                if !is_accepted {
                    rejected.insert((path.clone(), name.to_owned()));
                }
            }
        }
    }
    assert_eq!(rejected, described, "every parameter rejects something");
}

#[tokio::test]
async fn every_query_rejects_an_unknown_parameter() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let document = http::openapi();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let operation = &operations["get"];
        if operation.is_null() || operation["tags"] == json!(["operations"]) {
            continue;
        }
        let parameters = operation["parameters"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let path = example_path(&document, path, parameters);
        let (status, body) = server.get(&format!("{path}?no_such_parameter=1")).await;
        assert_eq!(
            status,
            StatusCode::BAD_REQUEST,
            "{path} ignores it: call `Params::of(query)?.finish()?`, also without parameters"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("unknown parameter `no_such_parameter`"),
            "{message}"
        );
        checked += 1;
    }
    assert!(checked >= 6, "{checked} queries");
}
