//! The page of the forecast: clean-ups, what is overdue, and the changes of a day.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::html::{links, page};
use super::site::{Site, at, noon};

/// Terminates a client with a report schedule, a margin rule and an assignment: it is cleaned up seven days later.
async fn terminated_at(site: &Site, client: &str, at: DateTime<Utc>) {
    for (kind, data) in [
        ("assignment.added", json!({"assignment_id": "campaign-7"})),
        ("report_schedule.created", json!({"schedule_id": "weekly-1"})),
        ("margin_rule.created", json!({"rule_id": "margin-1"})),
    ] {
        site.event(client, kind, at - TimeDelta::hours(1), data).await;
    }
    site.event(client, "client.terminated", at, json!({})).await;
}

#[tokio::test]
async fn a_forecast_shows_clean_ups_as_such() {
    let site = Site::start(noon(), &[]).await;
    site.linked_at("old", noon() - TimeDelta::days(2)).await;
    terminated_at(&site, "old", noon()).await;
    let text = page(&site, "/forecast").await;
    assert!(
        text.contains("title=\"clean-up\"") && text.contains("class=\"f7\""),
        "{text}"
    );
    assert!(
        text.contains("clean-up: 1\u{a0}report schedule, 1\u{a0}margin rule, 1\u{a0}assignment removed"),
        "{text}"
    );
    assert!(!text.contains(">other<"), "{text}");
}

#[tokio::test]
async fn a_forecast_says_what_is_overdue() {
    let site = Site::start(noon(), &[]).await;
    site.linked_at("old", noon() - TimeDelta::days(59)).await;
    site.linked_at("new", noon()).await;
    let text = page(&site, "/forecast?days=90").await;
    assert!(!text.contains("overdue"), "{text}");
    // No sweep has run since.
    site.clock.set(noon() + TimeDelta::days(2));
    let text = page(&site, "/forecast?days=90").await;
    assert!(
        text.contains("<b>1\u{a0}change</b> is overdue: its time has passed"),
        "{text}"
    );
    let (old, _) = text
        .split_once("/clients/acme/new")
        .expect("both, the older first");
    assert!(
        old.contains("access.expired</code> <span class=\"chip attention\">overdue</span>"),
        "{text}"
    );
    assert_eq!(text.matches(">overdue<").count(), 1, "{text}");
}

#[tokio::test]
async fn a_day_of_the_forecast_is_in_the_order_of_that_day() {
    let site = Site::start(noon(), &[]).await;
    // 60 days before 20 March. The other one is cleaned up on 8 March, too.
    let (morning, evening) = (at("2026-01-19T09:00:00Z"), at("2026-01-19T15:00:00Z"));
    site.linked_at("x", evening).await;
    terminated_at(&site, "x", noon()).await;
    site.linked_at("y", morning).await;
    let listed = async |path: &str| {
        let mut clients = links(&page(&site, path).await, "/clients/acme/");
        clients.dedup();
        clients
    };
    let both = ["/clients/acme/x", "/clients/acme/y"];
    assert_eq!(listed("/forecast").await, both);
    assert_eq!(listed("/forecast?day=2026-03-20").await, [both[1], both[0]]);
    assert_eq!(listed("/forecast?day=2026-03-08").await, [both[0]]);
}

#[tokio::test]
async fn a_day_of_the_forecast_is_listed_page_by_page() {
    let site = Site::start(noon(), &[]).await;
    for minute in 0..120 {
        // The order of the day is not that of the keys.
        let client = format!("c{:03}", 119 - minute);
        site.linked_at(&client, at("2026-01-19T09:00:00Z") + TimeDelta::minutes(minute))
            .await;
    }
    let mut listed = Vec::new();
    let mut path = "/forecast?day=2026-03-20".to_owned();
    loop {
        let text = page(&site, &path).await;
        listed.extend(links(&text, "/clients/acme/"));
        let Some((_, rest)) = text.split_once("rel=\"next\" href=\"") else {
            assert!(text.contains("101 to 120 of 120\u{a0}clients"), "{text}");
            break;
        };
        path = rest.split('"').next().expect("its end").replace("&amp;", "&");
    }
    let expected: Vec<String> = (0..120)
        .rev()
        .map(|client| format!("/clients/acme/c{client:03}"))
        .collect();
    assert_eq!(listed, expected);
}
