//! The page of webhooks: the state, the lag and the last response of each endpoint.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use tenure::engine::FeedStart;
use tenure::store::{DeliveryProgress, EndpointChange, FeedCursor, Published};

use super::html::{card, descriptions, page, text};
use super::site::{Site, noon};

/// At nine minutes past twelve, with a change of twelve o'clock: one endpoint has received it, one fails, one is disabled, and one
/// continues at a place that the store does not have.
async fn four_endpoints() -> Site {
    let site = Site::start(noon(), &[]).await;
    for name in ["received", "failing", "disabled", "misplaced"] {
        site.endpoint(name, FeedStart::Beginning).await;
    }
    site.linked("bakery").await;
    let end = site.engine.feed_place(FeedStart::Latest).await.expect("a place");
    let minute = |minutes| Some(noon() + TimeDelta::minutes(minutes));
    let received = DeliveryProgress {
        last_attempt_at: minute(2),
        last_outcome: "204".into(),
        delivered_at: minute(2),
        ..DeliveryProgress::from(end)
    };
    let begin = site
        .engine
        .endpoint("failing")
        .await
        .expect("an endpoint")
        .progress;
    let failing = DeliveryProgress {
        failing_since: minute(1),
        last_attempt_at: minute(6),
        last_outcome: "503".into(),
        ..begin
    };
    for (name, progress) in [("received", received), ("failing", failing)] {
        let revision = site.engine.endpoint(name).await.expect("an endpoint").revision;
        let recorded = site
            .engine
            .store()
            .record_delivery(name, revision, &progress)
            .await;
        assert!(recorded.expect("recorded"), "{name}");
    }
    let revision = site
        .engine
        .endpoint("disabled")
        .await
        .expect("an endpoint")
        .revision;
    let why = "it responded 410, so it wants no more changes";
    let disabled = site.engine.disable_endpoint("disabled", revision, why).await;
    assert!(disabled.expect("disabled"));
    let elsewhere = EndpointChange {
        cursor: Some(FeedCursor(Published {
            epoch: end.0.epoch + 1,
            ..end.0
        })),
        ..EndpointChange::default()
    };
    let moved = site
        .engine
        .store()
        .change_endpoint("misplaced", None, &elsewhere)
        .await;
    assert!(moved.expect("moved"));
    site.clock.set(noon() + TimeDelta::minutes(9));
    site
}

#[tokio::test]
async fn each_endpoint_shows_its_state_its_lag_and_its_last_response() {
    let site = four_endpoints().await;
    let shown = page(&site, "/webhooks").await;
    let late = "its oldest waiting change is 9 min old";
    let attempted =
        |minutes, ago, response| format!("2026-03-01 12:0{minutes} {ago} min ago, response: {response}");
    for (name, chip, note, lag, delivered, attempt) in [
        (
            "received",
            "good\">active",
            None,
            "none: it has received every change",
            "2026-03-01 12:02 7 min ago",
            Some(attempted(2, 7, 204)),
        ),
        (
            "failing",
            "attention\">failing",
            Some("Failing since 2026-03-01 12:01 8 min ago"),
            late,
            "none yet",
            Some(attempted(6, 3, 503)),
        ),
        (
            "disabled",
            "bad\">disabled",
            Some("Disabled: it responded 410, so it wants no more changes"),
            late,
            "none yet",
            None,
        ),
        (
            "misplaced",
            "good\">active",
            None,
            "unknown: changes after its cursor are no longer stored",
            "none yet",
            None,
        ),
    ] {
        let card = card(&shown, name);
        let (header, content) = card.split_once("</header>").expect("a header");
        assert!(header.contains(&format!("class=\"chip {chip}<")), "{header}");
        let content = content.split("<dl>").next().expect("the notes");
        assert_eq!(text(content), note.unwrap_or_default(), "{name}");
        let described: BTreeMap<String, String> = descriptions(card)
            .into_iter()
            .map(|(name, description)| (name, text(description)))
            .collect();
        assert_eq!(described["Lag"], lag, "{name}");
        assert_eq!(described["Last delivery"], delivered, "{name}");
        assert_eq!(described.get("Last attempt"), attempt.as_ref(), "{name}");
        let endpoint = site.engine.endpoint(name).await.expect("an endpoint");
        assert_eq!(
            described["Cursor"],
            endpoint.progress.cursor.to_string(),
            "{name}"
        );
    }
}
