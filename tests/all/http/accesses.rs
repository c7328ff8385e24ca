//! The access log over HTTP.

use super::*;

const PATH: &str = "/v1/partners/acme/clients/bakery/accesses";

fn entered(id: &str, minutes: i64) -> Value {
    let at = noon() - TimeDelta::hours(1) + TimeDelta::minutes(minutes);
    let mut event = event("bakery", "account.accessed", at, json!({"user": "u-1"}));
    event["id"] = id.into();
    event["source"] = "/account".into();
    event["actor"] = "ann".into();
    event["actorkind"] = "partner".into();
    event
}

fn ids(page: &Value) -> Vec<&str> {
    let entries = page["accesses"].as_array().unwrap().iter();
    entries.map(|entry| entry["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_access_log_says_who_entered_page_by_page() {
    let server = Server::with(&[("TENURE_ACCESS__LOG", "90d")]).await;
    let (status, body) = server.get(PATH).await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
    server.linked("bakery").await;
    let (_, nothing) = server.get(PATH).await;
    assert_eq!(
        nothing,
        json!({"accesses": [], "next": null, "retention": "90d", "on_since": null})
    );
    server.engine.record_access_log().await.unwrap();
    let times = [("e-1", 5), ("e-2", 6), ("e-3", 7)];
    for (id, minutes) in times {
        assert_eq!(server.send(&[entered(id, minutes)]).await, ["applied"]);
    }
    let at = noon() - TimeDelta::minutes(50);
    server
        .send(&[event("bakery", "access.disabled", at, json!({}))])
        .await;
    assert_eq!(server.send(&[entered("e-4", 11)]).await, ["refused"]);

    let (_, page) = server.get(PATH).await;
    assert_eq!(ids(&page), ["e-4", "e-3", "e-2", "e-1"]);
    assert_eq!(page["on_since"], "2026-03-01T12:00:00Z");
    assert_eq!(
        page["accesses"][0],
        json!({
            "subject": "acme/bakery", "time": "2026-03-01T11:11:00Z", "by": "partner", "user": "u-1", "actor": "ann", "actorkind": "partner",
            "source": "/account", "id": "e-4", "refusal": "no_access",
            "reason": tenure::domain::Refusal::NoAccess.words(),
        })
    );
    assert_eq!(page["accesses"][1]["refusal"], Value::Null);
    let mut seen = Vec::new();
    let mut path = format!("{PATH}?limit=3");
    loop {
        let (status, page) = server.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{PATH}?limit=3&after={next}");
    }
    assert_eq!(seen, ["e-4", "e-3", "e-2", "e-1"]);
    for (query, expected) in [
        ("since=2026-03-01T11:06:00Z", &["e-4", "e-3", "e-2"][..]),
        ("until=2026-03-01T11:06:00Z", &["e-1"]),
        (
            "since=2026-03-01T11:06:00Z&until=2026-03-01T11:11:00Z",
            &["e-3", "e-2"],
        ),
        ("since=2026-03-02T11:06:00Z", &[]),
    ] {
        let (_, page) = server.get(&format!("{PATH}?{query}")).await;
        assert_eq!(ids(&page), expected, "{query}");
    }
    let (status, body) = server.get(&format!("{PATH}?after=yesterday")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.to_string().contains("`next` of the previous page"), "{body}");
}

#[tokio::test]
async fn an_access_log_that_is_off_says_so() {
    let server = Server::start().await;
    server.linked("bakery").await;
    assert_eq!(server.send(&[entered("e-1", 5)]).await, ["applied"]);
    let (status, page) = server.get(PATH).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        page,
        json!({"accesses": [], "next": null, "retention": null, "on_since": null})
    );
}

#[tokio::test]
async fn the_access_log_of_all_clients_is_listed_by_partner() {
    let server = Server::with(&[("TENURE_ACCESS__LOG", "90d")]).await;
    server.linked("bakery").await;
    server.linked("mill").await;
    let mut at_the_mill = entered("m-1", 6);
    at_the_mill["subject"] = "acme/mill".into();
    let mut elsewhere = entered("b-1", 8);
    elsewhere["subject"] = "best/forge".into();
    server
        .send(&[entered("e-1", 5), at_the_mill, entered("e-2", 7), elsewhere])
        .await;
    for (query, expected) in [
        ("", &["b-1", "e-2", "m-1", "e-1"][..]),
        ("?partner=acme", &["e-2", "m-1", "e-1"]),
        ("?partner=acme&until=2026-03-01T11:07:00Z", &["m-1", "e-1"]),
        ("?partner=nobody", &[]),
        ("?limit=2", &["b-1", "e-2"]),
    ] {
        let (status, page) = server.get(&format!("/v1/accesses{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert_eq!(ids(&page), expected, "{query}");
        assert_eq!(page["next"].is_string(), query == "?limit=2", "{query}: {page}");
    }
    let (_, page) = server.get("/v1/accesses?limit=2").await;
    let next = page["next"].as_str().unwrap();
    let (_, page) = server.get(&format!("/v1/accesses?limit=2&after={next}")).await;
    assert_eq!(ids(&page), ["m-1", "e-1"]);
    assert_eq!(page["next"], Value::Null);
    assert_eq!(page["accesses"][0]["subject"], "acme/mill");
}
