//! Which events a client would accept.

use super::*;

fn of_type<'a>(body: &'a Value, kind: &str) -> &'a Value {
    let events = body["events"].as_array().unwrap();
    events.iter().find(|event| event["type"] == kind).unwrap()
}

/// Every answer about a linked client is compared with the outcome of sending that event.
#[tokio::test]
async fn an_event_is_possible_if_ingesting_it_applies_it() {
    let server = Server::start().await;
    server.linked("c0").await;
    let (status, body) = server.get("/v1/partners/acme/clients/c0/possible").await;
    assert_eq!(
        (status, &body["at"]),
        (StatusCode::OK, &json!("2026-03-01T12:00:00Z"))
    );
    let mut possible = 0;
    for (number, answer) in body["events"].as_array().unwrap().iter().enumerate() {
        // Each event goes to a client of its own, which is in the same state.
        let client = format!("c{}", number + 1);
        server.linked(&client).await;
        let kind = answer["type"].as_str().unwrap();
        let sent = event(&client, kind, noon(), answer["data"].clone());
        let (_, outcomes) = server.post(BATCH, json!([sent]).to_string()).await;
        let outcome = &outcomes["outcomes"][0];
        let expected = if answer["possible"] == true {
            "applied"
        } else {
            "refused"
        };
        assert_eq!(outcome["outcome"], expected, "{answer} {outcome}");
        assert_eq!(outcome["code"], answer["refusal"], "{answer} {outcome}");
        possible += usize::from(answer["possible"] == true);
    }
    assert!(possible > 10, "{body}");
}

#[tokio::test]
async fn possible_events_follow_the_clock_and_the_past() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let path = "/v1/partners/acme/clients/bakery/possible";
    let (_, now) = server.get(path).await;
    let request = of_type(&now, "access.requested");
    assert_eq!(
        request,
        &json!({
            "type": "access.requested", "data": {}, "side": "partner", "possible": false, "refusal": "already_enabled",
            "reason": "access is already enabled",
        })
    );
    assert_eq!(
        of_type(&now, "account.accessed")["data"],
        json!({"by": "partner"})
    );
    // No sweep has run: the timers that are due count.
    let (_, later) = server.get(&format!("{path}?at=2026-06-01T00:00:00Z")).await;
    assert_eq!(of_type(&later, "access.requested")["possible"], true);
    assert_eq!(of_type(&later, "account.accessed")["refusal"], "no_access");
    for (path, at) in [
        (path, "?at=2026-01-01T00:00:00Z"),
        ("/v1/partners/acme/clients/nobody/possible", ""),
    ] {
        let (status, body) = server.get(&format!("{path}{at}")).await;
        assert_eq!(status, StatusCode::OK);
        for event in body["events"].as_array().unwrap() {
            let is_added = event["type"] == "client.added";
            assert_eq!(event["possible"], is_added, "{event}");
            assert!(is_added || event["refusal"] == "unknown_client", "{event}");
        }
    }
}
