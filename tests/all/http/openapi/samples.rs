//! Responses of a server whose clients have every status between them, by the schema that describes them.

use std::collections::BTreeMap;
use std::time::Duration;

use tenure::domain::{Policy, Sweep};
use tenure::engine::{AdoptionMode, NOTICE, SweepMode, SweepOptions};

use super::*;

/// Responses by the schema that describes them.
pub type Samples = BTreeMap<&'static str, Vec<Value>>;

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
pub async fn start() -> Server {
    Server::with(&[("TENURE_ACCESS__LOG", "90d")]).await
}

/// Clients that between them have every status, and the responses about them.
pub async fn samples(server: &Server) -> Samples {
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
    let (_, endpoints) = super::super::webhooks::listed(server).await;
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
    let (_, activity) = server.get("/v1/activity").await;
    add(samples, "Activity", &activity);
    add(samples, "Minute", &activity["minutes"][0]);
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
    let post = async |path: &str, body: Value| server.post_json(path, &body).await.1;
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
