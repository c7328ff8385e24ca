//! The runs of sweeps over HTTP.

use tenure::domain::Sweep;
use tenure::engine::{SweepMode, SweepOptions};

use super::*;

#[tokio::test]
async fn a_run_lists_the_clients_that_it_changed() {
    let server = Server::start().await;
    for client in ["a", "b", "c"] {
        server.linked(client).await;
    }
    server.clock.set(noon() + TimeDelta::days(70));
    // Two transactions.
    let options = SweepOptions {
        chunk: 2,
        ..SweepOptions::new(SweepMode::Confirmed)
    };
    for sweep in [Sweep::StalledInvitations, Sweep::AccessExpiry] {
        server.engine.sweep(sweep, options.clone(), |_| {}).await.unwrap();
    }
    let (status, page) = server.get("/v1/sweeps/runs?limit=1").await;
    assert_eq!(status, StatusCode::OK);
    let run = &page["runs"][0];
    assert_eq!(
        (&run["sweep"], &run["status"]),
        (&json!("access-expiry"), &json!("done"))
    );
    assert_eq!((&run["changed"], &run["changes"]), (&json!(3), &json!(3)));
    let (_, earlier) = server
        .get(&format!("/v1/sweeps/runs?before={}", page["next"]))
        .await;
    assert_eq!(earlier["runs"][0]["sweep"], "stalled-invitations");
    assert_eq!(
        (earlier["runs"].as_array().unwrap().len(), &earlier["next"]),
        (1, &Value::Null)
    );
    let (_, other) = server.get("/v1/sweeps/runs?sweep=subscription-end").await;
    assert_eq!(other, json!({"runs": [], "next": null}));

    let path = format!("/v1/sweeps/runs/{}", run["id"]);
    let (_, all) = server.get(&path).await;
    assert_eq!((&all["run"], &all["next"]), (run, &Value::Null));
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let (status, page) = server.get(&format!("{path}{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        seen.extend(page["changes"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=2&after={next}");
    }
    assert_eq!(Value::from(seen.clone()), all["changes"]);
    let mut subjects = Vec::new();
    for line in &seen {
        assert_eq!(
            (&line["type"], &line["cause"], &line["time"]),
            (
                &json!("access.expired"),
                &json!({"timer": "access_expiry"}),
                &json!("2026-04-30T11:00:00Z")
            )
        );
        subjects.push(line["subject"].as_str().unwrap());
    }
    subjects.sort_unstable();
    assert_eq!(subjects, ["acme/a", "acme/b", "acme/c"]);

    let (status, body) = server.get("/v1/sweeps/runs/99").await;
    assert_eq!(
        (status, error_code(&body)),
        (StatusCode::NOT_FOUND, "unknown_run")
    );
}
