//! Statements and closings over HTTP.

use super::*;

async fn close(server: &Server, path: &str) -> (StatusCode, Value) {
    answer(server.request(Method::POST, &format!("/v1/statements/{path}"))).await
}

/// Three clients with access from 1 March 2026 on, of which one is disabled late. February and March are closed.
async fn closed() -> Server {
    let server = Server::start().await;
    for client in ["a", "b", "c"] {
        server.linked(client).await;
    }
    server.clock.set("2026-04-01T00:00:00Z".parse().unwrap());
    let (status, closing) = close(&server, "2026-03/close?by=ann").await;
    assert_eq!(status, StatusCode::OK, "{closing}");
    assert_eq!(
        closing,
        json!({
            "month": "2026-03", "status": "closed", "closed_by": "ann", "started_at": "2026-04-01T00:00:00Z",
            "closed_at": "2026-04-01T00:00:00Z", "statements": 3, "adjustments": 0,
        })
    );
    server.clock.set("2026-05-02T00:00:00Z".parse().unwrap());
    let late = "2026-03-30T12:00:00Z".parse().unwrap();
    server
        .send(&[event("b", "access.disabled", late, json!({}))])
        .await;
    server
}

#[tokio::test]
async fn statements_are_paged_by_client_with_sums_by_partner() {
    let server = closed().await;
    let (status, closing) = close(&server, "2026-04/close?by=bob&confirm=false").await;
    assert_eq!((status, &closing["adjustments"]), (StatusCode::OK, &json!(1)));
    let (mut seen, mut query) = (Vec::new(), String::new());
    loop {
        let (status, page) = server
            .get(&format!("/v1/statements/2026-04?limit=2&partner=acme{query}"))
            .await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert_eq!((&page["month"], &page["closing"]), (&json!("2026-04"), &closing));
        let clients = page["clients"].as_array().unwrap();
        assert_eq!(page["partners"][0]["clients"], clients.len());
        seen.extend(clients.clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("&after={next}");
    }
    let names: Vec<&Value> = seen.iter().map(|client| &client["client"]).collect();
    assert_eq!(names, ["acme/a", "acme/b", "acme/c"]);
    let days = |access: i64| json!({"billable": 0, "commission": 30, "status_credit": 30, "access": access});
    assert_eq!((&seen[0]["days"], &seen[1]["days"]), (&days(30), &days(0)));
    let whole = json!([{"from": "2026-04-01T00:00:00Z", "to": "2026-05-01T00:00:00Z"}]);
    assert_eq!(seen[1]["intervals"]["commission"], whole);
    assert_eq!(
        seen[1]["adjustments"],
        json!([{
            "month": "2026-03", "days": {"billable": 0, "commission": 0, "status_credit": 0, "access": -1},
            "added": {}, "removed": {"access": ["2026-03-31"]},
            "causes": [{
                "source": "/test", "id": "b-access.disabled-2026-03-30 12:00:00 UTC", "type": "access.disabled",
            }],
        }])
    );
    let (_, all) = server.get("/v1/statements/2026-04").await;
    assert_eq!(all["partners"][0]["adjustments"]["access"], -1);
    let (_, march) = server.get("/v1/statements/2026-03").await;
    let (_, recomputed) = server.get("/v1/statements/2026-03?recompute=true").await;
    assert_eq!(march["clients"][1]["days"]["access"], 31);
    assert_eq!(recomputed["clients"][1]["days"]["access"], 30);
    let (_, closings) = server.get("/v1/statements").await;
    assert_eq!(closings["closings"].as_array().unwrap().len(), 2);
    assert_eq!(closings["closings"][1], closing);
    let (_, other) = server.get("/v1/statements/2026-04?partner=best").await;
    assert_eq!((&other["clients"], &other["partners"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn what_cannot_be_closed_says_why() {
    let server = closed().await;
    let lanes = ["tenure.events.0".to_owned()];
    server.engine.set_lanes(&lanes).await.unwrap();
    for (path, status, code) in [
        ("2026-03/close?by=ann", StatusCode::CONFLICT, "month_closed"),
        ("2026-05/close?by=ann", StatusCode::CONFLICT, "month_not_ended"),
        ("2026-02/close?by=ann", StatusCode::CONFLICT, "month_out_of_order"),
        ("2026-04/close?by=ann", StatusCode::CONFLICT, "events_may_arrive"),
        ("2026-04/close", StatusCode::CONFLICT, "events_may_arrive"),
        ("2026-04/close?by=%20", StatusCode::BAD_REQUEST, "bad_parameter"),
        (
            "2026-04/close?by=ann&confirm=1",
            StatusCode::BAD_REQUEST,
            "bad_parameter",
        ),
        (
            "2026-04/close?by=ann&force=true",
            StatusCode::BAD_REQUEST,
            "bad_parameter",
        ),
        ("2026-13/close?by=ann", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("april/close?by=ann", StatusCode::BAD_REQUEST, "bad_parameter"),
    ] {
        let (found, body) = close(&server, path).await;
        assert_eq!((found, error_code(&body)), (status, code), "{path}: {body}");
    }
    let (_, body) = close(&server, "2026-04/close?by=ann").await;
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("no heartbeat has arrived") && message.ends_with("To confirm, add confirm=true"),
        "{message}"
    );
    let (status, _) = close(&server, "2026-04/close?by=ann&confirm=true").await;
    assert_eq!(status, StatusCode::OK);
    let (status, body) = server.get("/v1/statements/2026-06").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "month_not_begun")
    );
}

#[tokio::test]
async fn a_first_month_before_every_event_must_be_confirmed() {
    let server = Server::start().await;
    server.linked("a").await;
    server.clock.set("2026-04-01T00:00:00Z".parse().unwrap());
    let (status, body) = close(&server, "2006-03/close?by=ann").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::CONFLICT, "month_before_first_event")
    );
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("To confirm, add confirm=true"), "{message}");
    let (status, _) = close(&server, "2006-03/close?by=ann&confirm=true").await;
    assert_eq!(status, StatusCode::OK);
}

/// A request closes 2,000 clients.
#[tokio::test]
async fn a_long_closing_takes_several_requests() {
    let server = Server::start().await;
    let at = noon() - TimeDelta::hours(1);
    let events: Vec<Value> = (0..2_050)
        .flat_map(|number| {
            let client = format!("c{number:04}");
            let assigned = json!({"assignment_id": "a"});
            [
                event(&client, "client.added", at, json!({"name": client.clone()})),
                event(&client, "assignment.added", at, assigned),
            ]
        })
        .collect();
    for some in events.chunks(1_000) {
        server.send(some).await;
    }
    server.clock.set("2026-04-01T00:00:00Z".parse().unwrap());
    let (status, part) = close(&server, "2026-03/close?by=ann").await;
    assert_eq!(
        (status, &part["status"]),
        (StatusCode::ACCEPTED, &json!("in_progress"))
    );
    assert_eq!(
        (&part["statements"], &part["closed_at"]),
        (&json!(2_000), &Value::Null)
    );
    let (status, whole) = close(&server, "2026-03/close?by=bob").await;
    assert_eq!((status, &whole["statements"]), (StatusCode::OK, &json!(2_050)));
    assert_eq!(whole["closed_by"], "ann", "who began it");
}
