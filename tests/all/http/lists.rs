//! Lists over all partners.

use super::*;

fn of(partner: &str, client: &str, kind: &str, minutes: i64, data: Value) -> Value {
    let mut event = event(client, kind, noon() + TimeDelta::minutes(minutes), data);
    event["subject"] = format!("{partner}/{client}").into();
    event["id"] = format!("{partner}-{client}-{kind}-{minutes}").into();
    event
}

/// Clients of two partners in all kinds of states, and refusals.
async fn given() -> Server {
    let server = Server::start().await;
    for client in ["bakery", "mill", "smithy"] {
        server.linked(client).await;
    }
    server.clock.set(noon() + TimeDelta::minutes(10));
    server
        .send(&[
            of("best", "bakery", "client.added", 0, json!({"name": "Zum Bäcker"})),
            of(
                "best",
                "bakery",
                "client.invited",
                1,
                json!({"steps": ["accepted"]}),
            ),
            of("best", "bakery", "invitation.accepted", 2, json!({})),
            of(
                "best",
                "bakery",
                "account.created",
                3,
                json!({"account_id": "acc-1"}),
            ),
            of(
                "acme",
                "bakery",
                "account.created",
                0,
                json!({"account_id": "acc-1"}),
            ),
            of("acme", "mill", "access.disabled", 1, json!({})),
            of("acme", "mill", "access.requested", 2, json!({})),
            of(
                "acme",
                "mill",
                "account.created",
                3,
                json!({"account_id": "acc-2"}),
            ),
            of(
                "acme",
                "smithy",
                "assignment.added",
                1,
                json!({"assignment_id": "a"}),
            ),
            of("acme", "draft", "client.added", 1, json!({"name": "Old Bakery"})),
            of("acme", "draft", "client.terminated", 2, json!({})),
            of("acme", "nobody", "client.deleted", 3, json!({})),
            of("acme", "mill", "client.deleted", 4, json!({})),
        ])
        .await;
    server
}

fn keys(page: &Value) -> Vec<String> {
    let list = page["clients"]
        .as_array()
        .or(page["partners"].as_array())
        .unwrap();
    list.iter()
        .map(|one| {
            let text = |field: &str| one[field].as_str().unwrap().to_owned();
            format!("{}/{}", text("partner"), text("client"))
        })
        .collect()
}

#[tokio::test]
async fn clients_of_all_partners_are_found_by_any_field() {
    let server = given().await;
    for (query, expected) in [
        (
            "",
            &[
                "acme/bakery",
                "acme/draft",
                "acme/mill",
                "acme/smithy",
                "best/bakery",
            ][..],
        ),
        ("?partner=best", &["best/bakery"]),
        ("?prefix=b", &["acme/bakery", "best/bakery"]),
        ("?partner=acme&prefix=m", &["acme/mill"]),
        // In the order of names.
        ("?name=BAKER", &["acme/bakery", "acme/draft"]),
        ("?name=b%C3%84cker", &["best/bakery"]),
        ("?link=active&prefix=s", &["acme/smithy"]),
        ("?service=terminated", &["acme/draft"]),
        ("?access=disabled", &["acme/mill"]),
        ("?tab=inactive", &["acme/draft"]),
        ("?tab=inactive&link=active", &[]),
        ("?request=open", &["acme/mill"]),
        (
            "?expires_before=2026-04-30T11:00:01Z",
            &["acme/bakery", "acme/smithy"],
        ),
        ("?expires_before=2026-04-30T11:00:00Z", &[]),
        ("?billable=true", &["acme/smithy"]),
        ("?billable=false&partner=best", &["best/bakery"]),
        ("?visible=false", &["acme/draft"]),
        ("?account=acc-1", &["acme/bakery", "best/bakery"]),
        ("?account=acc-1&partner=best", &["best/bakery"]),
        ("?account=acc-1&link=archived", &[]),
        ("?account=acc-1&name=zum", &["best/bakery"]),
        ("?account=acc-3", &[]),
    ] {
        let (status, body) = server.get(&format!("/v1/clients{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {body}");
        assert_eq!(keys(&body), expected, "{query}");
        assert_eq!(body["next"], Value::Null, "{query}");
        // Page by page.
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let first = if query.is_empty() { "?" } else { "&" };
            let (_, body) = server
                .get(&format!("/v1/clients{query}{first}limit=1{after}"))
                .await;
            seen.extend(keys(&body));
            let Some(next) = body["next"].as_str() else { break };
            after = format!("&after={}", next.replace(' ', "%20"));
        }
        assert_eq!(seen, expected, "{query}");
    }
    let (_, body) = server.get("/v1/clients?prefix=mill").await;
    let (_, client) = server.get("/v1/partners/acme/clients/mill").await;
    assert_eq!(body["clients"][0], client);
    // No sweep has run.
    server.clock.set(noon() + TimeDelta::days(61));
    let (_, body) = server.get("/v1/clients?access=expired").await;
    assert_eq!(keys(&body), ["acme/bakery", "acme/smithy", "best/bakery"]);
    let (_, body) = server.get("/v1/clients?access=enabled").await;
    assert_eq!(keys(&body), [""; 0]);
}

#[tokio::test]
async fn the_clients_that_match_are_counted_by_status() {
    let server = given().await;
    for (query, counts) in [
        (
            "?",
            json!({
                "clients": 5, "link": {"active": 4, "draft": 1},
                "service": {"active": 1, "pending_assigning": 3, "terminated": 1},
                "access": {"disabled": 1, "enabled": 3, "none": 1}, "complete": true,
            }),
        ),
        (
            "?access=enabled&partner=best",
            json!({
                "clients": 1, "link": {"active": 1}, "service": {"pending_assigning": 1}, "access": {"enabled": 1},
                "complete": true,
            }),
        ),
        (
            "?tab=inactive&link=active",
            json!({"clients": 0, "link": {}, "service": {}, "access": {}, "complete": true}),
        ),
    ] {
        let (status, body) = server
            .get(&format!("/v1/clients{query}&count=true&limit=1"))
            .await;
        assert_eq!((status, &body["counts"]), (StatusCode::OK, &counts), "{query}");
    }
    // No sweep has run.
    server.clock.set(noon() + TimeDelta::days(61));
    let (_, body) = server.get("/v1/clients?count=true").await;
    assert_eq!(body["counts"]["access"]["expired"], 3);
    let (_, body) = server.get("/v1/clients?count=false").await;
    assert!(body.get("counts").is_none());
}

#[tokio::test]
async fn an_account_has_the_partners_that_are_connected() {
    let server = given().await;
    let path = "/v1/accounts/acc-1/partners";
    let (status, body) = server.get(path).await;
    assert_eq!(
        (status, body),
        (
            StatusCode::OK,
            json!({"next": null, "partners": [
                {
                    "partner": "acme", "client": "bakery", "name": "bakery", "link": "active", "connected": true,
                    "access": "enabled", "expires_at": "2026-04-30T11:00:00Z", "access_request": null,
                },
                {
                    "partner": "best", "client": "bakery", "name": "Zum Bäcker", "link": "active", "connected": true,
                    "access": "enabled", "expires_at": "2026-04-30T12:02:00Z", "access_request": null,
                },
            ]})
        )
    );
    let (_, first) = server.get(&format!("{path}?limit=1")).await;
    assert_eq!(
        (keys(&first), &first["next"]),
        (vec!["acme/bakery".into()], &json!("acme/bakery"))
    );
    let (_, second) = server.get(&format!("{path}?limit=1&after=acme/bakery")).await;
    assert_eq!(
        (keys(&second), &second["next"]),
        (vec!["best/bakery".into()], &Value::Null)
    );
    let (_, body) = server.get("/v1/accounts/acc-2/partners").await;
    let mill = &body["partners"][0];
    assert_eq!(
        (&mill["access"], &mill["access_request"]),
        (&json!("disabled"), &json!("2026-03-01T12:02:00Z"))
    );
    let (status, body) = server.get("/v1/accounts/no%2Fbody/partners").await;
    assert_eq!(
        (status, body),
        (StatusCode::OK, json!({"partners": [], "next": null}))
    );
}

#[tokio::test]
async fn partners_are_listed_with_counts() {
    let server = given().await;
    let (status, body) = server.get("/v1/partners").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        json!({"next": null, "partners": [
            {
                "partner": "acme", "clients": 4, "link": {"active": 3, "draft": 1},
                "service": {"active": 1, "pending_assigning": 2, "terminated": 1},
                "access": {"disabled": 1, "enabled": 2, "none": 1},
            },
            {
                "partner": "best", "clients": 1, "link": {"active": 1}, "service": {"pending_assigning": 1},
                "access": {"enabled": 1},
            },
        ]})
    );
    let (_, first) = server.get("/v1/partners?limit=1").await;
    assert_eq!(first["next"], "acme");
    let (_, second) = server.get("/v1/partners?limit=1&after=acme").await;
    assert_eq!(
        (&second["partners"][0]["partner"], &second["next"]),
        (&json!("best"), &Value::Null)
    );
}

#[tokio::test]
async fn refusals_are_listed_newest_first_by_code_source_and_time() {
    let server = given().await;
    let (status, body) = server.get("/v1/refusals").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body,
        json!({"next": null, "refusals": [
            {
                "subject": "acme/mill", "source": "/test", "id": "acme-mill-client.deleted-4",
                "type": "client.deleted", "time": "2026-03-01T12:04:00Z", "received": "2026-03-01T12:10:00Z",
                "code": "still_linked", "reason": "the client is still linked; archive it first",
            },
            {
                "subject": "acme/nobody", "source": "/test", "id": "acme-nobody-client.deleted-3",
                "type": "client.deleted", "time": "2026-03-01T12:03:00Z", "received": "2026-03-01T12:10:00Z",
                "code": "unknown_client", "reason": "the client was never added, or is deleted",
            },
        ]})
    );
    for (query, expected) in [
        ("?code=still_linked", &["acme/mill"][..]),
        ("?code=name_taken", &[]),
        ("?source=/test", &["acme/mill", "acme/nobody"]),
        ("?source=/other", &[]),
        ("?from=2026-03-01T12:04:00Z", &["acme/mill"]),
        ("?until=2026-03-01T12:04:00Z", &["acme/nobody"]),
    ] {
        let (_, body) = server.get(&format!("/v1/refusals{query}")).await;
        let list = body["refusals"].as_array().unwrap();
        let subjects: Vec<&str> = list.iter().map(|one| one["subject"].as_str().unwrap()).collect();
        assert_eq!(subjects, expected, "{query}");
    }
    let (_, first) = server.get("/v1/refusals?limit=1").await;
    let next = first["next"].as_str().unwrap();
    let (_, second) = server.get(&format!("/v1/refusals?limit=1&after={next}")).await;
    assert_eq!(
        (&second["refusals"][0]["subject"], &second["next"]),
        (&json!("acme/nobody"), &Value::Null)
    );
}
