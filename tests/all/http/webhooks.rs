//! `GET /v1/webhooks`: the endpoints, and how far each has received the changes.

use std::sync::LazyLock;

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tenure::engine::{Authority, DeliveryStart, FeedStart, NewEndpoint, Operator};
use tenure::store::{AuditHow, EndpointFilter};
use tenure::wire::webhook::{EndpointUrl, SigningKey};

use super::{Server, noon};

fn operator(server: &Server) -> Operator<'_> {
    static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority {
        who: "ann".into(),
        how: AuditHow::Cli,
        reason: None,
        request_id: None,
    });
    server.engine.operator(&AUTHORITY)
}

/// Lists two endpoints: one that has received everything, and a disabled one that has received nothing.
pub async fn listed(server: &Server) -> (StatusCode, Value) {
    for (name, place, types) in [
        ("crm", FeedStart::Latest, vec![]),
        ("late", FeedStart::Beginning, vec!["link.*".to_owned()]),
    ] {
        let filter = EndpointFilter {
            partner: Some("acme".into()),
            client: (name == "late").then(|| "bakery".into()),
            types,
        };
        let new = NewEndpoint {
            name: name.into(),
            url: EndpointUrl::parse("https://crm.example.com/hooks?key=hidden").unwrap(),
            filter,
            secret: SigningKey::new_secret(),
            start: DeliveryStart::Place(place),
        };
        operator(server).add_endpoint(new).await.unwrap();
    }
    server
        .engine
        .disable_endpoint("late", 1, "it failed")
        .await
        .unwrap();
    server.get("/v1/webhooks").await
}

#[tokio::test]
async fn endpoints_are_listed_with_their_lag_and_without_their_secrets() {
    let server = Server::start().await;
    let (status, list) = server.get("/v1/webhooks").await;
    assert_eq!((status, list), (StatusCode::OK, json!({ "endpoints": [] })));
    server.linked("bakery").await;
    let recorded_at = server.engine.now();
    server.clock.set(recorded_at + TimeDelta::seconds(90));
    let (_, list) = listed(&server).await;
    let (_, feed) = server.get("/v1/changes").await;
    let common = |name: &str| {
        json!({
            "name": name, "origin": "command", "url": "https://crm.example.com/hooks?***", "partner": "acme", "client": null,
            "types": [], "status": "active", "why": null, "cursor": feed["next"], "lag_seconds": 0, "failing_since": null,
            "last_attempt_at": null, "last_outcome": null, "last_delivered_at": null, "created_at": "2026-03-01T12:01:30Z",
            "old_secret_until": null,
        })
    };
    assert_eq!(recorded_at, noon());
    let mut late = common("late");
    late["client"] = json!("acme/bakery");
    late["types"] = json!(["link.*"]);
    late["status"] = json!("disabled");
    late["why"] = json!("it failed");
    late["lag_seconds"] = json!(90);
    late["cursor"] = list["endpoints"][1]["cursor"].clone();
    assert_eq!(list, json!({ "endpoints": [common("crm"), late] }));

    operator(&server).resume_endpoint("late").await.unwrap();
    let until = server.engine.now() + TimeDelta::hours(1);
    operator(&server)
        .rotate_endpoint("late", SigningKey::new_secret(), until)
        .await
        .unwrap();
    let (_, list) = server.get("/v1/webhooks").await;
    let late = &list["endpoints"][1];
    assert_eq!((&late["status"], &late["why"]), (&json!("active"), &Value::Null));
    assert_eq!(late["old_secret_until"], "2026-03-01T13:01:30Z");
    assert!(!list.to_string().contains("whsec_"));
}
