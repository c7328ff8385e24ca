//! A client's history over HTTP.

use super::*;

/// The time, what happened, and the types of the changes of each entry.
fn summarized(page: &Value) -> Vec<String> {
    let entries = page["history"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            let time = &entry["time"].as_str().unwrap()[5..16];
            let what = entry["event"]["type"].as_str().or(entry["timer"].as_str());
            let what = what.unwrap_or_else(|| panic!("{entry}"));
            let changes = entry["changes"].as_array().unwrap().iter();
            let changes: Vec<&str> = changes.map(|change| change["type"].as_str().unwrap()).collect();
            format!("{time} {what}: {}", changes.join(" "))
        })
        .collect()
}

#[tokio::test]
async fn a_history_tells_events_timers_refusals_and_corrections() {
    let server = Server::start().await;
    server.linked("bakery").await;
    let at = |minutes| noon() - TimeDelta::hours(1) + TimeDelta::minutes(minutes);
    let mut request = event("bakery", "access.requested", at(30), json!({}));
    request["actor"] = "ann".into();
    request["actorkind"] = "partner".into();
    let sent = server
        .send(&[
            event("bakery", "account.accessed", at(5), json!({})),
            event("bakery", "account.accessed", at(10), json!({})),
            request,
        ])
        .await;
    assert_eq!(sent, ["applied", "applied", "refused"]);
    // This makes the request possible.
    server
        .send(&[event("bakery", "access.disabled", at(15), json!({}))])
        .await;
    server
        .send(&[event("bakery", "access.enabled", at(45), json!({}))])
        .await;

    let path = "/v1/partners/acme/clients/bakery/history";
    let (status, past) = server.get(path).await;
    assert_eq!(status, StatusCode::OK);
    let story = summarized(&past);
    assert_eq!(
        story[0],
        "03-01T11:00 client.added: link.draft client.named service.pending_assigning visibility.started"
    );
    assert!(
        story[2].starts_with("03-01T11:00 invitation.accepted: "),
        "{story:?}"
    );
    for (entry, beginning) in story[3..].iter().zip([
        "03-01T11:05 account.accessed: ",
        "03-01T11:15 access.disabled: access.disabled",
        "03-01T11:30 access.requested: event.refused",
        "03-01T11:45 access.enabled: access.enabled access.request_closed",
    ]) {
        assert!(entry.starts_with(beginning), "{story:?}");
    }
    assert_eq!(story.len(), 7);
    let entry = |number: usize| &past["history"][number];
    assert_eq!(
        (&entry(3)["event"]["count"], &entry(3)["event"]["last"]),
        (&json!(2), &json!("2026-03-01T11:10:00Z"))
    );
    let request = &entry(5)["event"];
    assert_eq!(
        (&request["refusal"], &request["refused_before"], &request["actor"]),
        (&Value::Null, &json!("already_enabled"), &json!("ann"))
    );
    let correction = &entry(4)["changes"][0];
    assert_eq!(
        (&correction["correction"], &correction["from"]),
        (&json!(true), &json!("enabled"))
    );
    let lines = entry(2)["changes"].as_array().unwrap();
    let enabled = lines
        .iter()
        .find(|line| line["type"] == "access.enabled")
        .unwrap();
    assert_eq!(correction["corrects"], enabled["sequence"]);
    assert_eq!(enabled["replaced_by"], correction["sequence"]);

    let (_, all) = server.get(&format!("{path}?until=2026-05-01T00:00:00Z")).await;
    let story = summarized(&all);
    assert_eq!(
        story[7..],
        [
            "04-16T11:45 access_warning: access.expiring",
            "04-23T11:45 access_warning: access.expiring",
            "04-29T11:45 access_warning: access.expiring",
            "04-30T11:45 access_expiry: access.expired",
        ]
    );
    let entries = all["history"].as_array().unwrap();
    assert_eq!(Value::from(&entries[..7]), past["history"]);
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(entry["expected"], number >= 7, "{entry}");
    }
    // Three events have the same time: pages end between them.
    for limit in [1, 2, 3] {
        let mut paged = Vec::new();
        let mut query = String::new();
        loop {
            let url = format!("{path}?until=2026-05-01T00:00:00Z&limit={limit}{query}");
            let (status, page) = server.get(&url).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            paged.extend(page["history"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else { break };
            query = format!("&after={next}");
        }
        assert_eq!(&paged, entries, "pages of {limit}");
    }
    let (status, body) = server.get("/v1/partners/acme/clients/nobody/history").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_client")
    );
}
