//! `POST /v1/events`: the outcome of each event, and requests that end early.

use tenure::domain::time::rfc3339;
use tenure::store::DeadLetterFilter;

use super::*;

#[tokio::test]
async fn a_structured_event_gets_its_outcome() {
    let server = Server::start().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    let (status, body) = server.post(STRUCTURED, added.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        json!({"outcomes": [{"source": "/test", "id": added["id"], "outcome": "applied"}]})
    );

    let (status, body) = server
        .post("application/cloudevents+json; charset=utf-8", added.to_string())
        .await;
    assert_eq!(
        (status, &body["outcomes"][0]["outcome"]),
        (StatusCode::OK, &json!("duplicate"))
    );

    let late = event("bakery", "client.lost", noon(), json!({}));
    let (status, body) = server.post(STRUCTURED, late.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["outcomes"][0]["outcome"], "refused");
    assert_eq!(body["outcomes"][0]["code"], "not_linked");
    assert_eq!(
        body["outcomes"][0]["reason"],
        "the link's status does not allow it"
    );

    for broken in [
        "{".to_owned(),
        event("bakery", "client.exploded", noon(), json!({})).to_string(),
    ] {
        let (status, body) = server.post(STRUCTURED, broken).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["outcomes"][0]["outcome"], "dead");
        assert!(body["outcomes"][0]["reason"].as_str().unwrap().len() > 10);
        assert!(body["outcomes"][0].get("id").is_none());
    }
}

#[tokio::test]
async fn a_refusal_for_a_name_says_which_client_has_it() {
    let server = Server::start().await;
    let added = |client, name| event(client, "client.added", noon(), json!({"name": name}));
    assert_eq!(
        server
            .send(&[added("bakery", "Bakery"), added("mill", "Mill")])
            .await,
        ["applied", "applied"]
    );
    let renamed = event("mill", "client.renamed", noon(), json!({"name": "BAKERY"}));
    let (status, body) = server.post(STRUCTURED, renamed.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["outcomes"][0]["code"], "name_taken");
    assert_eq!(body["outcomes"][0]["conflicts_with"], "bakery");

    let of_mill = "/v1/partners/acme/clients/mill";
    let (_, journal) = server.get(&format!("{of_mill}/journal")).await;
    let line = journal["journal"].as_array().unwrap().last().unwrap();
    assert_eq!(line["type"], "event.refused");
    assert_eq!(line["data"], json!({"conflicts_with": "bakery"}));
    let (_, history) = server.get(&format!("{of_mill}/history")).await;
    let entry = history["history"].as_array().unwrap().last().unwrap();
    assert_eq!(entry["changes"][0]["conflicts_with"], "bakery");
}

#[tokio::test]
async fn a_binary_event_has_its_attributes_in_headers() {
    let server = Server::start().await;
    let binary = |kind: &str, data: &'static str| {
        server
            .request(Method::POST, "/v1/events")
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .header("ce-source", "/binary")
            .header("ce-type", kind)
            .header("ce-subject", "acme/bakery")
            .header("ce-time", "2026-03-01T11:00:00Z")
            .header("content-type", "application/json")
            .body(data)
    };
    let (status, body) = answer(binary("client.added", r#"{"name":"Bakery"}"#)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body,
        json!({"outcomes": [{"source": "/binary", "id": "1", "outcome": "applied"}]})
    );
    let (status, _) = answer(binary("client.added", "not json")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_batch_gets_one_outcome_per_event() {
    let server = Server::start().await;
    let added = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    let outcomes = server
        .send(&[
            added.clone(),
            added,
            event("bakery", "client.lost", noon(), json!({})),
            json!({"specversion": "1.0"}),
            event("other", "client.added", noon(), json!({"name": "Other"})),
        ])
        .await;
    assert_eq!(outcomes, ["applied", "duplicate", "refused", "dead", "applied"]);
    assert_eq!(server.send(&[]).await, Vec::<String>::new());

    let (status, body) = server.post(BATCH, "{}").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body["outcomes"].as_array().unwrap().len(), 1);

    // More events than one transaction holds.
    let many: Vec<Value> = (0..2_500)
        .map(|i| {
            event(
                &format!("c{i}"),
                "client.added",
                noon(),
                json!({"name": format!("n{i}")}),
            )
        })
        .collect();
    assert!(
        server
            .send(&many)
            .await
            .iter()
            .all(|outcome| outcome == "applied")
    );
}

#[tokio::test]
async fn an_unsupported_content_type_gets_415() {
    let server = Server::start().await;
    let body = event("bakery", "client.added", noon(), json!({"name": "Bakery"})).to_string();
    for content_type in [
        "application/json",
        "text/plain",
        "application/cloudevents+avro",
        "",
    ] {
        let (status, answer) = server.post(content_type, body.clone()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert_eq!(error_code(&answer), "unsupported_media_type");
    }
    assert_eq!(server.engine.store().census().await.unwrap().dead_letters_open, 0);
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413() {
    let server = Server::with(&[("TENURE_HTTP__BODY_LIMIT", "1024")]).await;
    let (status, body) = server.post(STRUCTURED, " ".repeat(1025)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(error_code(&body), "body_too_large");
    let (status, _) = server.post(STRUCTURED, " ".repeat(1024)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn an_event_ahead_of_the_clock_gets_202_and_is_ingested_later() {
    let server = Server::start().await;
    let event = |id: &str, minutes: i64| {
        json!({
            "specversion": "1.0", "id": id, "source": "/s", "type": "client.added", "subject": format!("acme/{id}"),
            "time": (noon() + TimeDelta::minutes(minutes)).to_rfc3339(), "data": { "name": id },
        })
    };
    let (status, body) = server.post(STRUCTURED, event("a", 10).to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!(body["outcomes"][0]["outcome"], "deferred");
    let reason = body["outcomes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("ingested when that time comes"), "{reason}");
    assert_eq!(
        server.send(&[event("b", 10), event("c", 0)]).await,
        ["deferred", "applied"]
    );
    let (status, body) = server.post(STRUCTURED, event("d", 3_000).to_string()).await;
    assert_eq!(
        (status, &body["outcomes"][0]["outcome"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("dead"))
    );
    let (_, dead_letters) = server.get("/v1/dead-letters").await;
    let retry = |place: usize| dead_letters["dead_letters"][place]["retry_at"].clone();
    assert_eq!(
        (retry(0), retry(2)),
        (json!("2026-03-01T12:05:00Z"), json!("2026-03-03T13:55:00Z")),
        "{dead_letters}"
    );

    server.clock.set(noon() + TimeDelta::minutes(5));
    let decoder = tenure::wire::Decoder::new(Limits::default(), noon() + TimeDelta::minutes(5));
    assert_eq!(server.engine.redrive_deferred(&decoder).await.unwrap(), 2);
    let (status, client) = server.get("/v1/partners/acme/clients/a").await;
    assert_eq!((status, &client["name"]), (StatusCode::OK, &json!("a")));
}

#[tokio::test]
async fn events_are_stored_completely_or_not_at_all_when_the_caller_disconnects() {
    let server = Server::start().await;
    for i in 0..20 {
        let body = event(
            &format!("c{i}"),
            "client.added",
            noon(),
            json!({"name": format!("n{i}")}),
        )
        .to_string();
        let mut stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {STRUCTURED}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // So that some disconnect before, some during and some after the transaction.
        tokio::time::sleep(Duration::from_millis(i)).await;
    }
    server.stop.cancel();
    // The server has waited for all of them.
    let mut server = server;
    (&mut server.serving).await.unwrap().unwrap();
    let census = server.engine.store().census().await.unwrap();
    let clients: i64 = census.link.values().sum();
    assert_eq!(census.events, clients);
}

#[tokio::test]
async fn an_unknown_field_is_a_warning_in_the_answer_and_in_a_metric() {
    let server = Server::start().await;
    let sent = |client: &str, data: Value| {
        let mut event = event(client, "client.added", noon(), data);
        event["source"] = "/careless".into();
        event
    };
    let warnings = json!(["`imprted` is not known; `imported` is"]);
    let careless = sent("a", json!({"name": "A", "imprted": true}));
    let (status, outcomes) = server.post(STRUCTURED, careless.to_string()).await;
    let outcome = &outcomes["outcomes"][0];
    assert_eq!((status, &outcome["outcome"]), (StatusCode::OK, &json!("applied")));
    assert_eq!(outcome["warnings"], warnings);
    // In a batch, with each event; also with a duplicate.
    let batch = json!([careless, sent("b", json!({"name": "B"}))]);
    let (_, outcomes) = server.post(BATCH, batch.to_string()).await;
    let outcomes = &outcomes["outcomes"];
    assert_eq!(
        (&outcomes[0]["outcome"], &outcomes[0]["warnings"]),
        (&json!("duplicate"), &warnings)
    );
    assert_eq!(outcomes[1].get("warnings"), None, "{outcomes}");
    let metrics = tenure::telemetry::metrics().unwrap().render();
    assert!(
        metrics.contains(r#"tenure_event_warnings_total{source="/careless"} 2"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_event_with_the_id_of_another_is_a_dead_letter_with_what_was_sent() {
    let server = Server::start().await;
    let first = event("bakery", "client.added", noon(), json!({"name": "Bakery"}));
    server.send(std::slice::from_ref(&first)).await;
    let id = first["id"].as_str().unwrap();
    let reason = |differences: &str| {
        format!(
            "another event has this source and id: client.added of acme/bakery at {}, which differs in {differences}; send each \
             event with an id of its own",
            rfc3339(noon())
        )
    };

    // Spelled differently, but the same.
    let mut same = first.clone();
    same["data"] = json!({"imported": false, "name": "Bakery", "colour": "red"});
    let (status, body) = server.post(STRUCTURED, same.to_string()).await;
    assert_eq!(
        (status, &body["outcomes"][0]["outcome"]),
        (StatusCode::OK, &json!("duplicate"))
    );

    let mut other = first.clone();
    other["subject"] = "acme/mill".into();
    other["data"] = json!({"name": "Mill", "colour": 1.0});
    let (status, body) = server.post(STRUCTURED, other.to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let outcome = &body["outcomes"][0];
    let expected = json!({
        "source": "/test", "id": id, "outcome": "dead", "reason": reason("subject and data"),
        "warnings": ["`colour` is not known"],
    });
    assert_eq!(*outcome, expected);

    let mut late = first.clone();
    late["time"] = "2026-01-02T03:04:05Z".into();
    let next = event("mill", "client.added", noon(), json!({"name": "Mill"}));
    let (status, body) = server
        .post(BATCH, format!("[{first},\n  {late}, {next}, {late}]"))
        .await;
    assert_eq!(status, StatusCode::OK);
    let outcomes: Vec<&Value> = (0..4).map(|n| &body["outcomes"][n]["outcome"]).collect();
    assert_eq!(outcomes, ["duplicate", "dead", "applied", "dead"]);
    assert_eq!(body["outcomes"][1]["reason"], reason("time"));

    let binary = server
        .request(Method::POST, "/v1/events")
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/test")
        .header("ce-type", "client.deleted")
        .header("ce-subject", "acme/bakery")
        .header("ce-time", first["time"].as_str().unwrap())
        .header("content-type", "application/json")
        .body("{ }");
    let (status, body) = answer(binary).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    assert_eq!(body["outcomes"][0]["reason"], reason("type"));

    let store = server.engine.store();
    let mut stored = Vec::new();
    for summary in store
        .dead_letters(&DeadLetterFilter::default(), 0, 9)
        .await
        .unwrap()
    {
        let record = store.dead_letter(summary.id).await.unwrap().unwrap();
        let body = String::from_utf8(record.dead_letter.body).unwrap();
        let has_headers = record.dead_letter.headers.iter().any(|(name, _)| name == "ce-id");
        stored.push((record.dead_letter.origin, body, has_headers, record.times_seen));
    }
    let sent = |body: String, has_headers, times| ("http".to_owned(), body, has_headers, times);
    assert_eq!(
        stored,
        [
            sent(other.to_string(), false, 1),
            sent(late.to_string(), false, 2),
            sent("{ }".into(), true, 1)
        ]
    );
    let metrics = tenure::telemetry::metrics().unwrap().render();
    let reused = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"tenure_reused_ids_total{source="/test"} "#));
    assert!(
        reused.is_some_and(|reused| reused.parse::<u64>().is_ok_and(|reused| reused >= 3)),
        "{metrics}"
    );
}
