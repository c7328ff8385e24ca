//! What-if over HTTP.

use super::*;

const UNTIL: &str = "until=2026-05-01T00:00:00Z";

#[tokio::test]
async fn a_what_if_is_paged_by_client_and_summed_by_partner() {
    let server = Server::start().await;
    for client in ["a", "b", "c"] {
        server.linked(client).await;
    }
    let access = json!({
        "lost": [{"from": "2026-03-31T11:00:00Z", "to": "2026-04-30T11:00:00Z"}], "gained": [],
        "lost_days": 30, "gained_days": 0,
    });
    let mut seen = Vec::new();
    let mut query = String::new();
    loop {
        let path = format!("/v1/what-if?set=access.idle=30d&{UNTIL}&limit=2{query}");
        let (status, page) = server.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert_eq!(page["since"], "2025-03-01T12:00:00Z", "a year ago");
        let clients = page["clients"].as_array().unwrap();
        for client in clients {
            assert_eq!(client["access"], access);
            assert_eq!(client["added"].as_array().unwrap().len(), 4);
            assert_eq!(client["dropped"].as_array().unwrap().len(), 4);
            seen.push(client["client"].as_str().unwrap().to_owned());
        }
        let totals = &page["totals"];
        assert_eq!(
            (&totals["clients"], &totals["differ"]),
            (&json!(clients.len()), &json!(clients.len()))
        );
        assert_eq!(
            totals["access"]["lost"],
            json!({"clients": clients.len(), "days": 30 * clients.len(), "seconds": 30 * 86_400 * clients.len()})
        );
        assert_eq!(page["partners"][0]["partner"], "acme");
        assert_eq!(page["partners"][0]["access"], totals["access"]);
        let days = page["days"].as_array().unwrap();
        assert_eq!(
            days[3],
            json!({"day": "2026-03-31", "recorded": {}, "what_if": {"access.expired": clients.len()}})
        );
        let Some(next) = page["next"].as_str() else { break };
        query = format!("&after={next}");
    }
    assert_eq!(seen, ["acme/a", "acme/b", "acme/c"]);
}

#[tokio::test]
async fn without_a_setting_the_policy_is_that_of_the_worker() {
    let server = Server::start().await;
    server.linked("a").await;
    let (status, page) = server.get(&format!("/v1/what-if?{UNTIL}")).await;
    assert_eq!((status, &page["clients"]), (StatusCode::OK, &json!([])), "{page}");
    assert_eq!(page["totals"]["clients"], 1);
    let (_, page) = server
        .get(&format!("/v1/what-if?set=access.idle=30d&{UNTIL}&partner=best"))
        .await;
    assert_eq!((&page["clients"], &page["partners"]), (&json!([]), &json!([])));
    assert_eq!(page["totals"]["clients"], 0);
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    let server = Server::start().await;
    for (query, words) in [
        (
            "set=access.idel=30d",
            "`set`: unknown setting `access.idel` (from the request): a policy has access.",
        ),
        ("set=access.idle", "expected a setting and its value"),
        ("set=", "expected a setting and its value"),
        ("set=access.idle=soon", "invalid value \"soon\" for `access.idle`"),
        (
            "set=access.idle=30d&set=access.idle=31d",
            "`access.idle` is set twice",
        ),
        (
            "set=access.idle=30d&set=access.mature_after_jobs=-1",
            "a whole number",
        ),
        (
            "since=2026-05-02T00:00:00Z&until=2026-05-01T00:00:00Z",
            "`since`: it is after `until`",
        ),
        ("since=1y", "`since`"),
    ] {
        let (status, body) = server.get(&format!("/v1/what-if?{query}")).await;
        assert_eq!(
            (status, error_code(&body)),
            (StatusCode::BAD_REQUEST, "bad_parameter"),
            "{query}"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{query}: {message}");
    }
}
