//! The HTTP adapter on a real store: queries here, the other subjects in the folder.

mod access;
mod accesses;
mod authzen;
mod binding;
mod changes;
mod connections;
mod event_schema;
mod events;
mod forecast;
mod history;
mod hosts;
mod lists;
mod memory;
mod openapi;
mod operations;
mod possible;
mod server;
mod sessions;
mod snapshot;
mod statements;
mod sweeps;
mod tokens;
mod webhooks;
mod what_if;
mod why;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tenure::http;
use tenure::wire::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use server::{BATCH, STRUCTURED, Server, answer, error_code, event, noon};

#[tokio::test]
async fn a_client_is_shown_for_any_moment() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let path = "/v1/partners/acme/clients/bakery";
    let (status, now) = server.get(path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(now["link"], "active");
    assert_eq!(now["access"], "enabled");
    assert_eq!(now["expires_at"], "2026-04-30T11:00:00Z");

    // In a query a bare plus sign is a space.
    for at in [
        "2026-06-01T00:00:00Z",
        "2026-06-01T00:00:00%2B02:00",
        "2026-06-01T00:00:00+02:00",
    ] {
        let (status, later) = server.get(&format!("{path}?at={at}")).await;
        assert_eq!(
            (status, &later["access"]),
            (StatusCode::OK, &json!("expired")),
            "{at}"
        );
    }
    let (status, body) = server.get(&format!("{path}?at=2026-01-01T00:00:00Z")).await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
    let (status, body) = server.get("/v1/partners/acme/clients/nobody").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
}

#[tokio::test]
async fn clients_are_listed_page_by_page() {
    let server = Server::start().await;
    for client in ["a", "b", "c", "d", "e"] {
        server.linked(client).await;
    }
    server
        .send(&[
            event("b", "client.archived", noon(), json!({})),
            event("c", "client.terminated", noon(), json!({})),
            event("d", "access.disabled", noon(), json!({})),
        ])
        .await;
    let ids = |body: &Value| -> Vec<String> {
        body["clients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|client| client["client"].as_str().unwrap().to_owned())
            .collect()
    };
    for (query, expected) in [
        ("", vec!["a", "b", "c", "d", "e"]),
        ("?link=archived", vec!["b"]),
        ("?tab=active", vec!["a", "c", "d", "e"]),
        ("?tab=inactive", vec!["b"]),
        ("?service=terminated", vec!["c"]),
        ("?service=all_active", vec!["a", "b", "d", "e"]),
        ("?access=disabled", vec!["d"]),
        ("?access=enabled&tab=active&limit=1000", vec!["a", "c", "e"]),
        ("?link=active&tab=inactive", vec![]),
        ("?after=c", vec!["d", "e"]),
    ] {
        let (status, body) = server.get(&format!("/v1/partners/acme/clients{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {body}");
        assert_eq!(ids(&body), expected, "{query}");
        assert_eq!(body["next"], Value::Null, "{query}");
    }

    let mut seen = Vec::new();
    let mut path = "/v1/partners/acme/clients?limit=2".to_owned();
    loop {
        let (_, body) = server.get(&path).await;
        seen.extend(ids(&body));
        let Some(next) = body["next"].as_str() else { break };
        path = format!("/v1/partners/acme/clients?limit=2&after={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let (status, body) = server.get("/v1/partners/nobody/clients").await;
    assert_eq!(
        (status, body),
        (StatusCode::OK, json!({"clients": [], "next": null}))
    );
}

#[tokio::test]
async fn a_name_has_the_client_that_holds_it() {
    let server = Server::start().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Straße / 1"}));
    server.send(&[added]).await;
    let path = "/v1/partners/acme/names";
    for (name, client) in [
        ("Stra%C3%9Fe%20%2F%201", json!("bakery")),
        ("%20STRASSE%20%20%2F%E2%80%8B%201", json!("bakery")),
        ("Stra%C3%9Fe", Value::Null),
    ] {
        let (status, body) = server.get(&format!("{path}/{name}")).await;
        assert_eq!(
            (status, body),
            (StatusCode::OK, json!({"client": client})),
            "{name}"
        );
    }
    let (_, body) = server.get("/v1/partners/other/names/Stra%C3%9Fe%20%2F%201").await;
    assert_eq!(body, json!({"client": null}));
    // A renamed client releases its name, and a deleted one too.
    let at = noon() + TimeDelta::minutes(1);
    server
        .send(&[event("bakery", "client.renamed", at, json!({"name": "Mill"}))])
        .await;
    let (_, body) = server.get(&format!("{path}/Stra%C3%9Fe%20%2F%201")).await;
    assert_eq!(body, json!({"client": null}));
    let (_, body) = server.get(&format!("{path}/mill")).await;
    assert_eq!(body, json!({"client": "bakery"}));
    server
        .send(&[event("bakery", "client.deleted", at, json!({}))])
        .await;
    let (_, body) = server.get(&format!("{path}/mill")).await;
    assert_eq!(body, json!({"client": null}));

    for (path, parameter) in [
        ("/v1/partners/acme/names/%20", "`name`"),
        ("/v1/partners/acme/names/%E2%80%8B", "`name`"),
        ("/v1/partners/acme/names/%FF", "`path`"),
        ("/v1/partners/a%20b/names/mill", "`partner`"),
        ("/v1/partners/acme/names/mill?at=now", "`at`"),
    ] {
        let (status, body) = server.get(path).await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::BAD_REQUEST, "bad_parameter"),
            "{path}"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(parameter), "{path}: {message}");
    }
}

#[tokio::test]
async fn the_journal_says_who_caused_a_change_and_why() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let mut lost = event("bakery", "client.lost", noon(), json!({"reason": "moved"}));
    lost["actor"] = "u-7".into();
    lost["actorkind"] = "customer".into();
    server.post(STRUCTURED, lost.to_string()).await;
    let (_, body) = server.get("/v1/partners/acme/clients/bakery/journal").await;
    let lines = body["journal"].as_array().unwrap();
    let caused: Vec<&Value> = lines
        .iter()
        .filter(|line| line["cause"]["type"] == "client.lost")
        .collect();
    assert!(caused.len() > 2, "{body}");
    for line in caused {
        assert_eq!(
            line["cause"],
            json!({
                "source": lost["source"], "id": lost["id"], "type": "client.lost",
                "actor": "u-7", "actorkind": "customer", "reason": "moved",
            })
        );
    }
    assert_eq!(lines[0]["cause"].get("actor"), None, "{body}");
}

#[tokio::test]
async fn the_journal_is_shown_page_by_page() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let path = "/v1/partners/acme/clients/bakery/journal";
    let (status, whole) = server.get(path).await;
    assert_eq!(status, StatusCode::OK);
    let lines = whole["journal"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["type"] == "link.active"), "{whole}");
    assert_eq!(lines[0]["cause"]["type"], "client.added");

    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let (_, body) = server.get(&format!("{path}?limit=2&after={after}")).await;
        seen.extend(body["journal"].as_array().unwrap().clone());
        let Some(next) = body["next"].as_i64() else { break };
        after = next;
    }
    assert_eq!(&seen, lines);
    let (status, body) = server.get(&format!("{path}?after={}", i64::MAX)).await;
    assert_eq!(
        (status, body),
        (StatusCode::OK, json!({"journal": [], "next": null}))
    );
    let (status, body) = server.get("/v1/partners/acme/clients/nobody/journal").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
}

#[tokio::test]
async fn dead_letters_are_listed() {
    let server = Server::start().await;
    server.post(STRUCTURED, "{").await;
    server.post(STRUCTURED, "[1]").await;
    let (status, body) = server.get("/v1/dead-letters?limit=1").await;
    assert_eq!(status, StatusCode::OK);
    let first = &body["dead_letters"][0];
    assert_eq!(first["status"], "open");
    assert_eq!(first["origin"], "http");
    assert_eq!(first["bytes"], 1);
    assert_eq!(first["resolved_at"], Value::Null);
    let (_, rest) = server
        .get(&format!("/v1/dead-letters?status=open&after={}", body["next"]))
        .await;
    assert_eq!(rest["dead_letters"].as_array().unwrap().len(), 1);
    let (_, none) = server.get("/v1/dead-letters?status=discarded").await;
    assert_eq!(none["dead_letters"], json!([]));
}

#[tokio::test]
async fn an_invalid_parameter_is_named() {
    let server = Server::start().await;
    let long = "x".repeat(129);
    let clients = "/v1/partners/acme/clients";
    for (path, name) in [
        (format!("{clients}?link=archive"), "link"),
        (format!("{clients}?service=none"), "service"),
        (format!("{clients}?access=open"), "access"),
        (format!("{clients}?tab=all"), "tab"),
        (format!("{clients}?limit=0"), "limit"),
        (format!("{clients}?limit=1001"), "limit"),
        (format!("{clients}?limit=ten"), "limit"),
        (format!("{clients}?limit=1&limit=2"), "limit"),
        (format!("{clients}?after=a/b"), "after"),
        (format!("{clients}?after="), "after"),
        (format!("{clients}?lnik=active"), "lnik"),
        (format!("{clients}/bakery?at=yesterday"), "at"),
        (format!("{clients}/bakery/journal?after=-1"), "after"),
        (format!("{clients}/bakery/access?action="), "action"),
        (format!("{clients}/bakery/access?at=yesterday"), "at"),
        (format!("/v1/partners/{long}/clients"), "partner"),
        ("/v1/partners//clients".to_owned(), "partner"),
        (format!("{clients}/{long}"), "client"),
        (format!("{clients}/b%20b"), "client"),
        (format!("{clients}/b%2Fb/journal"), "client"),
        (format!("{clients}/%00"), "client"),
        // Clients that follow the URL standard never send this path.
        (format!("{clients}?after=.."), "after"),
        (format!("{clients}/%FF%FE"), "path"),
        ("/v1/partners/%C3%28/clients".to_owned(), "path"),
        ("/v1/dead-letters?status=lost".to_owned(), "status"),
        ("/v1/clients?name=%20".to_owned(), "name"),
        ("/v1/clients?prefix=a/b".to_owned(), "prefix"),
        ("/v1/clients?request=closed".to_owned(), "request"),
        ("/v1/clients?billable=yes".to_owned(), "billable"),
        ("/v1/clients?after=acme".to_owned(), "after"),
        (format!("/v1/accounts/{}/partners", "x".repeat(201)), "account"),
        ("/v1/partners?after=a/b".to_owned(), "after"),
        ("/v1/refusals?code=no".to_owned(), "code"),
        ("/v1/refusals?after=1.2".to_owned(), "after"),
    ] {
        let (status, body) = server.get(&path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert_eq!(error_code(&body), "bad_parameter");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{name}`")), "{path}: {message}");
    }
    let (_, body) = server.get(&format!("{clients}?lnik=active")).await;
    assert_eq!(
        body["error"]["message"],
        "unknown parameter `lnik`; this endpoint accepts limit, after, link, service, access, tab"
    );
    let (_, body) = server.get(&format!("{clients}?limit=ten")).await;
    assert_eq!(
        body["error"]["message"],
        "invalid parameter `limit`: invalid value \"ten\": expected a whole number from 1 to 1000"
    );
    for path in ["/", "/v1", "/v1/partners/acme/clients/", "/%FF", "/metrics/x"] {
        let (status, body) = server.get(path).await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::NOT_FOUND, "no_such_path"),
            "{path}"
        );
    }
    let (status, body) = answer(server.request(Method::DELETE, clients)).await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::METHOD_NOT_ALLOWED, "no_such_method")
    );
}

#[tokio::test]
async fn a_worker_that_was_not_seen_for_a_minute_is_listed_as_gone() {
    let server = Server::start().await;
    let (status, list) = server.get("/v1/workers").await;
    assert_eq!((status, list), (StatusCode::OK, json!({"workers": []})));
    let worker = server.engine.new_worker("tenure-1", Duration::from_secs(5));
    server.engine.record_worker(&worker).await.unwrap();
    server.clock.set(noon() + TimeDelta::seconds(61));
    let (_, list) = server.get("/v1/workers").await;
    let expected = json!({
        "name": worker.name, "host": "tenure-1", "version": env!("CARGO_PKG_VERSION"),
        "started_at": "2026-03-01T12:00:00Z", "seen_at": "2026-03-01T12:00:00Z", "gone": true,
        "lanes": [], "leads_relay": false, "leads_webhooks": false,
    });
    assert_eq!(list["workers"], json!([expected]));
}

#[tokio::test]
async fn a_silent_source_is_listed_and_makes_decisions_unassured() {
    let server = Server::start().await;
    let access = "/v1/partners/acme/clients/bakery/access";
    let (_, list) = server.get("/v1/sources").await;
    assert_eq!(list, json!({"sources": []}));
    let expected = [("/test".to_owned(), TimeDelta::hours(6))];
    server.engine.expect_sources(&expected.into()).await.unwrap();
    server.linked("bakery").await;
    let (_, list) = server.get("/v1/sources").await;
    let source = json!({
        "source": "/test", "every_seconds": 21_600, "expected_since": "2026-03-01T12:00:00Z",
        "last_heard": "2026-03-01T11:00:00Z", "events_per_hour": 3, "silent_since": null,
    });
    assert_eq!(list["sources"], json!([source]));
    let (_, decision) = server.get(access).await;
    assert_eq!(
        (
            &decision["allowed"],
            &decision["assured"],
            &decision["silent_source"]
        ),
        (&json!(true), &json!(true), &Value::Null)
    );

    server.clock.set(noon() + TimeDelta::hours(7));
    let (_, list) = server.get("/v1/sources").await;
    assert_eq!(list["sources"][0]["silent_since"], "2026-03-01T12:00:00Z");
    for client in ["bakery", "nobody"] {
        let (_, decision) = server
            .get(&format!("/v1/partners/acme/clients/{client}/access"))
            .await;
        assert_eq!(
            (
                &decision["allowed"],
                &decision["assured"],
                &decision["silent_source"]
            ),
            (&json!(client == "bakery"), &json!(false), &json!("/test"))
        );
    }
}
