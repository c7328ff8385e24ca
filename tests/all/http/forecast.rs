//! The forecast over HTTP.

use super::*;

const UNTIL: &str = "until=2026-05-01T00:00:00Z";

#[tokio::test]
async fn the_forecast_is_paged_by_client_and_summed_by_day() {
    let server = Server::start().await;
    for client in ["a", "b", "c"] {
        server.linked(client).await;
    }
    let change = |time: &str, kind: &str, from: Option<&str>, to: &str, timer: &str| {
        let mut change = json!({"time": time, "type": kind, "to": to, "timer": timer});
        if let Some(from) = from {
            change["from"] = from.into();
        }
        change
    };
    let expected = json!([
        change(
            "2026-04-16T11:00:00Z",
            "access.expiring",
            None,
            "P14D",
            "access_warning"
        ),
        change(
            "2026-04-23T11:00:00Z",
            "access.expiring",
            None,
            "P7D",
            "access_warning"
        ),
        change(
            "2026-04-29T11:00:00Z",
            "access.expiring",
            None,
            "P1D",
            "access_warning"
        ),
        change(
            "2026-04-30T11:00:00Z",
            "access.expired",
            Some("enabled"),
            "expired",
            "access_expiry"
        ),
    ]);
    let mut seen = Vec::new();
    let mut query = String::new();
    loop {
        let (status, page) = server.get(&format!("/v1/forecast?{UNTIL}&limit=2{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let clients = page["clients"].as_array().unwrap();
        for client in clients {
            assert_eq!(client["changes"], expected);
            seen.push(client["client"].as_str().unwrap().to_owned());
        }
        let days = page["days"].as_array().unwrap();
        assert_eq!(days.len(), 4);
        assert_eq!(
            days[3],
            json!({
                "day": "2026-04-30", "clients": clients.len(), "changes": clients.len(),
                "by_type": {"access.expired": clients.len()},
            })
        );
        let Some(next) = page["next"].as_str() else { break };
        query = format!("&after={next}");
    }
    assert_eq!(seen, ["acme/a", "acme/b", "acme/c"]);

    let nothing = json!({"clients": [], "days": [], "next": null});
    let (_, month) = server.get("/v1/forecast").await;
    assert_eq!(month, nothing, "nothing changes within 30 days");
    let (_, other) = server.get(&format!("/v1/forecast?{UNTIL}&partner=best")).await;
    assert_eq!(other, nothing);
    let (_, all) = server.get(&format!("/v1/forecast?{UNTIL}&partner=acme")).await;
    assert_eq!(all["clients"].as_array().unwrap().len(), 3);
    // An entry renews access.
    let at = noon() + TimeDelta::minutes(1);
    server.clock.set(at);
    server
        .send(&[event("b", "account.accessed", at, json!({}))])
        .await;
    let (_, page) = server.get(&format!("/v1/forecast?{UNTIL}&after=acme/a")).await;
    let last = page["clients"][0]["changes"].as_array().unwrap().last().unwrap();
    assert_eq!(last["time"], "2026-04-30T12:01:00Z");
}
