//! The overview, and the page of sources and lanes: what waits, who works, and what needs attention.

use chrono::TimeDelta;
use serde_json::json;
use tenure::engine::FeedStart;

use super::html::page;
use super::site::{Site, at, by, noon};

#[tokio::test]
async fn lanes_show_how_many_messages_wait_and_who_says_so() {
    let site = Site::start(noon(), &[]).await;
    let lanes = ["tenure.events.0".to_owned(), "tenure.events.1".to_owned()];
    site.engine
        .store()
        .set_lanes(&lanes, noon())
        .await
        .expect("lanes");
    let text = page(&site, "/sources").await;
    assert!(
        text.contains("this worker is not connected to RabbitMQ"),
        "{text}"
    );
    assert!(text.contains("unknown"), "{text}");
    // Past the time for which a page reuses what was read.
    let site = Site::start(noon(), &[]).await;
    site.engine
        .store()
        .set_lanes(&lanes, noon())
        .await
        .expect("lanes");
    site.engine
        .note_depths([("tenure.events.0".to_owned(), 1_234)].into());
    site.clock.set(noon() + TimeDelta::minutes(3));
    let text = page(&site, "/sources").await;
    assert!(text.contains("1\u{202f}234"), "{text}");
    // No heartbeat has come through the lanes.
    assert!(text.contains("not known yet"), "{text}");
    assert!(
        text.contains("RabbitMQ reported the waiting messages 3 min ago"),
        "{text}"
    );
    let overview = page(&site, "/").await;
    assert!(
        overview.contains("1\u{202f}234\u{a0}messages waiting"),
        "{overview}"
    );
}

/// RabbitMQ may report the messages after the page has read the time.
#[tokio::test]
async fn what_was_reported_just_after_the_page_was_begun_is_not_to_come() {
    let site = Site::start(noon(), &[]).await;
    let lanes = ["tenure.events.0".to_owned()];
    let set = site.engine.store().set_lanes(&lanes, noon());
    set.await.expect("lanes");
    site.clock.set(noon() + TimeDelta::seconds(2));
    site.engine
        .note_depths([("tenure.events.0".to_owned(), 7)].into());
    site.clock.set(noon());
    let text = page(&site, "/sources").await;
    assert!(
        text.contains("RabbitMQ reported the waiting messages just now"),
        "{text}"
    );
}

/// Another worker may have rejected it, so the store says when.
#[tokio::test]
async fn the_overview_says_when_a_message_was_last_rejected() {
    let site = Site::start(noon(), &[]).await;
    site.dead("http", "it is not JSON", b"x", &[]).await;
    site.clock.set(noon() + TimeDelta::hours(3));
    let text = page(&site, "/").await;
    assert!(
        text.contains("data-live=\"dead-letters-note\">last seen 3 h ago<"),
        "{text}"
    );
}

#[tokio::test]
async fn workers_are_shown_and_one_that_is_gone_needs_attention() {
    let site = Site::start(noon(), &[]).await;
    let text = page(&site, "/").await;
    assert!(text.contains("No worker is recorded"), "{text}");
    let site = Site::start(noon(), &[]).await;
    site.worker("tenure-1-5f0c2a9e").await;
    site.clock.set(noon() + TimeDelta::minutes(3));
    site.engine.duties().lead_relay(true);
    site.worker("tenure-2-<b>").await;
    let text = page(&site, "/").await;
    let rows = text.split_once("id=\"workers\"").expect("the card").1;
    let rows = rows.split("</section>").next().expect("its end");
    for part in [
        ">runs<",
        ">gone<",
        ">relay<",
        "3 min ago",
        "&lt;b&gt;",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(rows.contains(part), "no {part} in {rows}");
    }
    assert!(
        text.contains("href=\"/#workers\"><b>Worker tenure-1-5f0c2a9e was last seen 3 min ago</b>"),
        "{text}"
    );
}

#[tokio::test]
async fn the_overview_shows_how_long_the_oldest_change_has_waited() {
    let broker = ("TENURE_BROKER__URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    let site = Site::start(noon(), &[broker]).await;
    assert!(page(&site, "/").await.contains("all changes are published"));
    let site = Site::start(noon(), &[broker]).await;
    site.event("c-1", "client.added", noon(), json!({"name": "Shop"}))
        .await;
    site.clock.set(noon() + TimeDelta::minutes(7));
    site.event("c-2", "client.added", noon(), json!({"name": "Shop"}))
        .await;
    let text = page(&site, "/").await;
    assert!(text.contains("the oldest has waited 7 min"), "{text}");
}

#[tokio::test]
async fn the_overview_says_what_to_do_about_a_paused_endpoint_and_a_sweep_that_is_held_back() {
    let site = Site::start(noon(), &[]).await;
    // Its access has expired.
    site.linked("bakery").await;
    site.clock.set(noon() + TimeDelta::days(400));
    let lanes = ["tenure.events.0".to_owned()];
    site.engine.set_lanes(&lanes).await.expect("lanes");
    site.endpoint("crm", FeedStart::Latest).await;
    let authority = by("the CRM is being rebuilt");
    let operator = site.engine.operator(&authority);
    operator.pause_endpoint("crm").await.expect("paused");
    let text = page(&site, "/").await;
    for (what, then) in [
        (
            "The endpoint crm is paused",
            "Resume the endpoint when the subscriber is ready.",
        ),
        (
            "Access expiry is held back: no heartbeat has arrived through tenure.events.0 yet",
            "Check that the broker runs and that a worker consumes the lane.",
        ),
    ] {
        let after = text
            .split_once(what)
            .unwrap_or_else(|| panic!("no {what} in {text}"))
            .1;
        let issue = after.split("</li>").next().expect("its end");
        assert!(issue.contains(then), "{issue}");
    }
}

#[tokio::test]
async fn a_source_that_was_never_heard_is_not_called_heard() {
    let site = Site::start(noon(), &[("TENURE_SOURCES", "/accounts=1d")]).await;
    for path in ["/", "/sources"] {
        let text = page(&site, path).await;
        assert!(
            text.contains(">not heard yet<") && !text.contains(">heard<"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn changes_are_counted_by_cause() {
    let site = Site::start(noon(), &[]).await;
    // Its access expires with the events, which are old.
    site.linked_at("a", at("2025-12-01T00:00:00Z")).await;
    // It arrives late, and contradicts the expiry.
    site.event(
        "a",
        "account.accessed",
        at("2026-01-20T00:00:00Z"),
        json!({"by": "partner"}),
    )
    .await;
    let counts = site
        .engine
        .activity(60, 1)
        .await
        .expect("counts")
        .pop()
        .expect("this minute")
        .1
        .changes;
    assert!(
        counts.by_event > 0 && counts.by_timer > 0 && counts.corrections > 0,
        "{counts:?}"
    );
    for path in ["/", "/?span=day"] {
        let text = page(&site, path).await;
        let (_, chart) = text.split_once("Changes by cause").expect("a chart");
        for cause in ["event", "timer", "correction"] {
            assert!(
                chart.contains(&format!("</svg>{cause}</li>")),
                "no {cause} in {chart}"
            );
        }
    }
}
