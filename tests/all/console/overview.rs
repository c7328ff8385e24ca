//! The overview, and the page of sources and lanes: what waits, who works, and what needs attention.

use chrono::TimeDelta;
use serde_json::json;
use tenure::engine::FeedStart;
use tenure::store::{ChangeCounts, MinuteCounts};

use super::html::{chart_numbers, numbers, page};
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

/// What a series of a chart counts.
type Count = fn(&MinuteCounts) -> u64;

const OUTCOMES: [(&str, Count); 5] = [
    ("applied", |counts| counts.applied),
    ("duplicate", |counts| counts.duplicate),
    ("refused", |counts| counts.refused),
    ("deferred", |counts| counts.deferred),
    ("dead letter", |counts| counts.dead),
];
const CAUSES: [(&str, Count); 3] = [
    ("event", |counts| counts.changes.by_event),
    ("timer", |counts| counts.changes.by_timer),
    ("correction", |counts| counts.changes.corrections),
];

/// Records what another worker has counted: each series has a number of its own. Events were deferred hours ago only.
async fn count_elsewhere(site: &Site) {
    let counts = |more: u64, deferred: u64| MinuteCounts {
        applied: 1_000 + more,
        duplicate: 200 + more,
        refused: 30 + more,
        dead: 4 + more,
        deferred,
        changes: ChangeCounts {
            by_event: 500 + more,
            by_timer: 60 + more,
            corrections: 7 + more,
        },
    };
    let counted = [
        (at("2026-03-01T07:20:00Z"), counts(3, 9)),
        (at("2026-03-01T07:25:00Z"), counts(5, 8)),
        // Before the last hour.
        (at("2026-03-01T11:00:00Z"), counts(2, 0)),
        (at("2026-03-01T11:01:00Z"), counts(1, 0)),
        (noon(), counts(0, 0)),
    ];
    let recorded = site
        .engine
        .store()
        .record_activity(7, &counted, noon() - TimeDelta::days(1));
    recorded.await.expect("recorded");
}

#[tokio::test]
async fn the_numbers_of_the_charts_are_those_of_all_workers() {
    let site = Site::start(noon(), &[]).await;
    // This worker counts, too.
    site.linked("bakery").await;
    count_elsewhere(&site).await;
    for (path, steps, minutes, period) in [
        ("/", 60, 1, "per minute, the last hour"),
        ("/?span=day", 96, 15, "per quarter of an hour, the last day"),
    ] {
        let text = page(&site, path).await;
        let counted = site.engine.activity(steps, minutes).await.expect("counts");
        let labels: Vec<String> = counted
            .iter()
            .map(|(at, _)| at.format("%H:%M").to_string())
            .collect();
        for (what, parts) in [
            ("Events by outcome", &OUTCOMES[..]),
            ("Changes by cause", &CAUSES[..]),
        ] {
            let series: Vec<(&str, Vec<u64>)> = parts
                .iter()
                .map(|(name, of)| (*name, counted.iter().map(|(_, counts)| of(counts)).collect()))
                .collect();
            let shown = numbers(&text, &format!("{what}, {period}"));
            assert_eq!(shown, chart_numbers(&labels, &series), "{what} at {path}");
        }
    }
    let hour = numbers(
        &page(&site, "/").await,
        "Events by outcome, per minute, the last hour",
    );
    assert_eq!(
        hour,
        [
            ["Time (UTC)", "applied", "duplicate", "refused", "dead letter"],
            ["11:01", "1001", "201", "31", "5"],
            // With three events of this worker.
            ["12:00", "1003", "200", "30", "4"],
        ]
    );
    let day = numbers(
        &page(&site, "/?span=day").await,
        "Events by outcome, per quarter of an hour, the last day",
    );
    assert_eq!(day[1], ["07:15", "2008", "408", "68", "17", "16"]);
}
