//! The CloudEvents HTTP binding: headers, content types, content encodings, batches.

use super::*;

const ATTRIBUTES: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-source", "/binary"),
    ("ce-type", "client.added"),
    ("ce-subject", "acme/bakery"),
    ("ce-time", "2026-03-01T11:00:00Z"),
];

impl Server {
    /// Posts a `client.added` event in binary mode; these headers override or extend the usual ones.
    async fn binary(&self, headers: &[(&str, &[u8])]) -> (StatusCode, Value) {
        let mut request = self.request(Method::POST, "/v1/events");
        let is_given = |name: &str| headers.iter().any(|(given, _)| *given == name);
        for (name, value) in ATTRIBUTES.iter().filter(|(name, _)| !is_given(name)) {
            request = request.header(*name, *value);
        }
        if !is_given("content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.body(r#"{"name":"Bakery"}"#)).await
    }
}

#[tokio::test]
async fn quoted_and_percent_encoded_headers_are_decoded() {
    let server = Server::start().await;
    for (id, attribute) in [
        (&b"7"[..], "7"),
        (b"\"7\"", "7"),
        (b"%37", "7"),
        (b"\"%37\"", "7"),
        (b"a%20b", "a b"),
        (b"\"a \\\"b\\\"\"", "a \"b\""),
        (b"%E2%82%AC", "€"),
    ] {
        let (status, body) = server.binary(&[("ce-id", id)]).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["outcomes"][0]["id"], attribute);
    }
    let quoted = ATTRIBUTES.map(|(name, value)| (name, format!("\"{value}\"").into_bytes()));
    let mut headers: Vec<(&str, &[u8])> = quoted.iter().map(|(name, value)| (*name, &**value)).collect();
    headers.push(("ce-id", b"\"7\""));
    let (status, body) = server.binary(&headers).await;
    assert_eq!(
        (status, &body["outcomes"][0]["outcome"]),
        (StatusCode::OK, &json!("duplicate")),
        "{body}"
    );
    let structured = json!({
        "specversion": "1.0", "id": "7", "source": "/binary", "type": "client.added", "subject": "acme/bakery",
        "time": "2026-03-01T11:00:00Z", "data": {"name": "Bakery"},
    });
    let (_, body) = server.post(STRUCTURED, structured.to_string()).await;
    assert_eq!(
        body["outcomes"][0]["outcome"], "duplicate",
        "the same id and source in another mode"
    );
}

#[tokio::test]
async fn an_undecodable_header_becomes_a_dead_letter_that_names_the_attribute() {
    let server = Server::start().await;
    for (headers, reason) in [
        (vec![("ce-id", &b"a%ff"[..])], "`id` is not UTF-8"),
        (vec![("ce-id", b"a\xff")], "`id` is not UTF-8"),
        (vec![("ce-id", b"%C0%A0")], "`id` is not UTF-8"),
        (vec![("ce-id", b"\"a")], "`id` is not a quoted string"),
        (vec![("ce-id", b"one"), ("ce-id", b"two")], "`id` is given twice"),
        (
            vec![("ce-id", b"same"), ("ce-id", b"same")],
            "`id` is given twice",
        ),
        (
            vec![
                ("ce-id", b"1"),
                ("ce-specversion", b"1.0"),
                ("ce-specversion", b"1.0"),
            ],
            "`specversion` is given twice",
        ),
    ] {
        let (status, body) = server.binary(&headers).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{reason}: {body}");
        let found = body["outcomes"][0]["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{found}");
    }
    // With two content types the mode is unknown, so nothing is stored.
    let before = server.engine.store().census().await.unwrap().dead_letters_open;
    let (status, body) = server
        .binary(&[
            ("ce-id", b"1"),
            ("content-type", b"application/json"),
            ("content-type", b"text/plain"),
        ])
        .await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::BAD_REQUEST, "bad_header")
    );
    assert_eq!(
        server.engine.store().census().await.unwrap().dead_letters_open,
        before
    );
}

#[tokio::test]
async fn every_json_content_type_is_accepted() {
    let server = Server::start().await;
    for (number, content_type) in [
        "text/json",
        "text/json; charset=utf-8",
        "application/vnd.acme+json",
        "application/x-acme+json",
        "application/problem+json",
        "APPLICATION/JSON",
    ]
    .into_iter()
    .enumerate()
    {
        let id = number.to_string();
        let (status, body) = server
            .binary(&[
                ("ce-id", id.as_bytes()),
                ("content-type", content_type.as_bytes()),
            ])
            .await;
        assert_eq!(status, StatusCode::OK, "{content_type}: {body}");
        let mut event = event(
            &format!("c{number}"),
            "client.added",
            noon(),
            json!({"name": content_type}),
        );
        event["datacontenttype"] = content_type.into();
        let (_, body) = server.post(STRUCTURED, event.to_string()).await;
        assert_eq!(
            body["outcomes"][0]["outcome"], "applied",
            "{content_type}: {body}"
        );
    }
    for content_type in [
        "application/x-json",
        "text/plain",
        "json",
        "/json",
        "application/json5",
        "text/xml",
    ] {
        let (status, body) = server
            .binary(&[("ce-id", b"bad"), ("content-type", content_type.as_bytes())])
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{content_type}: {body}");
    }
}

#[tokio::test]
async fn a_compressed_body_gets_415_with_accept_encoding() {
    let server = Server::start().await;
    let body = event("bakery", "client.added", noon(), json!({"name": "Bakery"})).to_string();
    for encoding in ["gzip", "deflate", "br", "identity, gzip", "GZIP"] {
        let response = server
            .request(Method::POST, "/v1/events")
            .header("content-type", STRUCTURED)
            .header("content-encoding", encoding)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(response.headers()["accept-encoding"], "identity");
        let body: Value = response.json().await.unwrap();
        assert_eq!(error_code(&body), "unsupported_content_encoding");
        assert!(
            body["error"]["message"].as_str().unwrap().contains(encoding),
            "{body}"
        );
    }
    assert_eq!(server.engine.store().census().await.unwrap().dead_letters_open, 0);
    let (status, _) = answer(
        server
            .request(Method::POST, "/v1/events")
            .header("content-type", STRUCTURED)
            .header("content-encoding", "identity")
            .body(body),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_batch_over_the_limit_gets_413_and_nothing_is_stored() {
    let server = Server::with(&[("TENURE_HTTP__MAX_EVENTS", "3")]).await;
    let added = |n: usize| {
        event(
            &format!("c{n}"),
            "client.added",
            noon(),
            json!({"name": format!("n{n}")}),
        )
    };
    let four: Vec<Value> = (0..4).map(added).collect();
    let zeros = format!("[{}0]", "0,".repeat(2_000_000));
    for body in [
        Value::from(four.clone()).to_string(),
        "[0,1,2,3]".into(),
        "[1,2,3,4".into(),
        zeros,
    ] {
        let (status, body) = server.post(BATCH, body).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
        assert_eq!(error_code(&body), "too_many_events");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("more than 3 events") && message.contains("http.max_events"),
            "{message}"
        );
    }
    let census = server.engine.store().census().await.unwrap();
    assert_eq!((census.events, census.dead_letters_open), (0, 0));
    assert_eq!(server.send(&four[..3]).await, ["applied"; 3]);
}

/// With the default limits on events and on the body.
#[tokio::test]
async fn the_response_to_the_largest_batch_is_bounded() {
    let server = Server::start().await;
    let numbers: Vec<String> = (0..tenure::wire::DEFAULT_MAX_EVENTS)
        .map(|n| n.to_string())
        .collect();
    let response = server
        .request(Method::POST, "/v1/events")
        .header("content-type", BATCH)
        .body(format!("[{}]", numbers.join(",")))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let length = response.bytes().await.unwrap().len();
    assert!(length < 4_000_000, "an answer of {length} bytes");
}
