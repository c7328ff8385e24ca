//! The page of the forecast: clean-ups, what is overdue, and the changes of a day.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::json;

use super::html::{chart_numbers, links, numbers, page};
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

/// What the bars count, with the types of the changes.
const KINDS: [(&str, &[&str]); 6] = [
    ("access expires", &["access.expired"]),
    ("warning before expiry", &["access.expiring"]),
    ("subscription ends", &["subscription.ended"]),
    (
        "clean-up",
        &[
            "report_schedule.removed",
            "margin_rule.removed",
            "assignment.removed",
            "former_assignment.added",
        ],
    ),
    ("invitation stalls", &["invitation.stalled"]),
    ("request lapses", &["access.request_closed"]),
];

/// Clients that change in all of these ways within a month.
async fn changing() -> Site {
    let site = Site::start(noon(), &[("TENURE_ACCESS__REQUEST_LAPSES", "10d")]).await;
    let day = |days| noon() + TimeDelta::days(days);
    for (client, days) in [
        ("expires", -50),
        ("expires-too", -49),
        ("ends", -20),
        ("lapses", -20),
    ] {
        site.linked_at(client, day(days)).await;
    }
    let subscription = json!({"subscription_id": "s-1", "managed_by": "partner"});
    site.event("ends", "subscription.added", day(-5), subscription)
        .await;
    site.event("ends", "client.archived", day(-2), json!({})).await;
    site.event("lapses", "access.disabled", day(-3), json!({})).await;
    site.event("lapses", "access.requested", day(-1), json!({})).await;
    site.linked_at("cleaned", day(-4)).await;
    terminated_at(&site, "cleaned", day(-3)).await;
    site.event("stalls", "client.added", day(-1), json!({"name": "Stalls"}))
        .await;
    site.event("stalls", "client.invited", day(-1), json!({})).await;
    site
}

#[tokio::test]
async fn the_bars_of_the_forecast_show_what_the_api_lists_by_day_and_kind() {
    let site = changing().await;
    let until = (noon() + TimeDelta::days(30)).format("%Y-%m-%dT%H:%M:%SZ");
    let forecast = site.api(&format!("/v1/forecast?until={until}&limit=1000")).await;
    let clients = forecast["clients"].as_array().expect("clients").iter();
    let changes = clients.flat_map(|client| client["changes"].as_array().expect("changes"));
    let mut by_kind: BTreeMap<&str, BTreeMap<NaiveDate, u64>> = BTreeMap::new();
    for change in changes {
        let kind = change["type"].as_str().expect("a type");
        let (name, _) = KINDS
            .into_iter()
            .find(|(_, types)| types.contains(&kind))
            .unwrap_or_else(|| panic!("another kind: {change}"));
        let at: DateTime<Utc> = change["time"]
            .as_str()
            .and_then(|at| at.parse().ok())
            .expect("a time");
        assert!(at > noon(), "nothing is overdue: {change}");
        *by_kind
            .entry(name)
            .or_default()
            .entry(at.date_naive())
            .or_default() += 1;
    }
    assert_eq!(by_kind.len(), KINDS.len(), "{by_kind:?}");
    let days: Vec<NaiveDate> = noon().date_naive().iter_days().take(31).collect();
    let labels: Vec<String> = days.iter().map(|day| day.format("%-d %b").to_string()).collect();
    let series: [(&str, Vec<u64>); 6] = KINDS.map(|(name, _)| {
        let values = days.iter().map(|day| by_kind[name].get(day).copied());
        (name, values.map(Option::unwrap_or_default).collect())
    });
    let text = page(&site, "/forecast").await;
    let shown = numbers(&text, "Changes to come, by day and type");
    assert_eq!(shown, chart_numbers(&labels, &series));
    // A week after the link has ended.
    let (_, day) = text.split_once("day=2026-03-06").expect("a day");
    let (day, _) = day.split_once("</td>").expect("its end");
    assert!(day.contains("title=\"subscription ends\""), "{day}");
    let row = ["6 Mar", "0", "0", "1", "0", "0", "0"];
    assert!(shown.iter().any(|shown| *shown == row), "{shown:?}");
}
