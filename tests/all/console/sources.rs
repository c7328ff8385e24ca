//! The page of sources and lanes: when each source was heard, and which changes and corrections subscribers have received.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::html::{card, cell, descriptions, minute, page, row, rows, text};
use super::site::{Site, at, noon};

/// At half past twelve: one source is silent, one is heard, one was never heard, and two are not expected.
async fn half_silent() -> Site {
    let sources = [("TENURE_SOURCES", "/accounts=30d,/billing=2d,/partner-space=2h")];
    let site = Site::start(at("2026-03-01T08:00:00Z"), &sources).await;
    for (number, (time, source)) in [
        ("09:00", "/partner-space"),
        ("09:30", "/busy"),
        ("09:31", "/busy"),
        ("09:32", "/busy"),
        ("09:33", "/busy"),
        ("09:34", "/busy"),
        ("11:20", "/accounts"),
        ("11:40", "/accounts"),
        ("12:00", "/busy"),
        ("12:10", "/accounts"),
        ("12:20", "/new"),
    ]
    .into_iter()
    .enumerate()
    {
        site.clock.set(at(&format!("2026-03-01T{time}:00Z")));
        let event = json!({
            "specversion": "1.0", "id": number.to_string(), "source": source, "type": "client.added",
            "subject": format!("acme/shop-{number}"), "time": site.engine.now(), "data": {"name": format!("Shop {number}")},
        });
        site.line(&event.to_string()).await;
    }
    site.clock.set(noon() + TimeDelta::minutes(30));
    site
}

#[tokio::test]
async fn the_page_of_sources_says_which_is_silent_and_when_each_was_heard() {
    let site = half_silent().await;
    let shown = page(&site, "/sources").await;
    let expected = card(&shown, "Expected sources");
    let labels = ["State", "Last heard", "Events per hour", "Expected every"];
    for (source, cells) in [
        // Of the two events of the hour before, half count.
        ("/accounts", ["heard", "2026-03-01 12:10 20 min ago", "2", "30d"]),
        ("/billing", ["not heard yet", "never", "0", "2d"]),
        (
            "/partner-space",
            [
                "silent since 1 Mar 2026, 09:00 UTC",
                "2026-03-01 09:00 4 h ago",
                "0",
                "2h",
            ],
        ),
    ] {
        let row = row(expected, &format!(">{source}<"));
        assert_eq!(labels.map(|label| cell(row, label)), cells, "{source}");
    }
    let others = card(&shown, "Other sources");
    let labels = ["Last heard", "Events", "Events per hour"];
    for (source, cells) in [
        ("/busy", ["2026-03-01 12:00 30 min ago", "6", "2"]),
        // It has sent events for less than an hour.
        ("/new", ["2026-03-01 12:20 10 min ago", "1", "–"]),
    ] {
        let row = row(others, &format!(">{source}<"));
        assert_eq!(labels.map(|label| cell(row, label)), cells, "{source}");
    }
    assert_eq!((rows(expected).len(), rows(others).len()), (3, 2), "{shown}");
}

#[tokio::test]
async fn the_overview_says_which_source_is_silent() {
    let site = half_silent().await;
    let shown = page(&site, "/").await;
    let flow: Vec<(String, String)> = descriptions(card(&shown, "Sources and lanes"))
        .into_iter()
        .map(|(name, description)| (name, text(description)))
        .filter(|(name, _)| name.starts_with('/'))
        .collect();
    let expected = [
        ("/accounts", "heard 20 min ago"),
        ("/billing", "not heard yet"),
        ("/partner-space", "silent 4 h ago"),
    ]
    .map(|(name, state)| (name.to_owned(), state.to_owned()));
    assert_eq!(flow, expected);
    let issue = "<a href=\"/sources\"><b>/partner-space is silent, last heard 4 h ago</b></a>";
    assert!(
        shown.contains("class=\"verdict bad\"") && shown.contains(issue),
        "{shown}"
    );
}

/// More changes than a card lists, by events and timers. At three minutes past twelve, a late event contradicts some.
async fn corrected() -> Site {
    let site = Site::start(noon(), &[]).await;
    for client in ["mill", "inn"] {
        site.linked_at(client, at("2026-02-01T00:00:00Z")).await;
    }
    // Its access expires with the events, which are old.
    site.linked_at("bakery", at("2025-12-01T00:00:00Z")).await;
    site.clock.set(noon() + TimeDelta::minutes(3));
    let subscription = json!({"subscription_id": "s-1", "plan": "large"});
    site.event("mill", "subscription.added", noon(), subscription)
        .await;
    let entered = at("2026-01-20T00:00:00Z");
    site.event("bakery", "account.accessed", entered, json!({"by": "partner"}))
        .await;
    site.clock.set(noon() + TimeDelta::minutes(5));
    site
}

/// A value of a change as the page shows it.
fn readable(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    if let Ok(at) = text.parse::<DateTime<Utc>>() {
        return at.format("%-d %b %Y, %H:%M UTC").to_string();
    }
    let days = text.strip_prefix('P').and_then(|days| days.strip_suffix('D'));
    match days {
        Some("1") => "1\u{a0}day".into(),
        Some(days) => format!("{days}\u{a0}days"),
        None => text.replace('_', " "),
    }
}

/// The row of a change of the feed. `why`: its last cell.
fn expected(change: &Value, now: DateTime<Utc>, why: String) -> [String; 6] {
    let data = &change["data"];
    let word = |value: &Value| value.as_str().expect("text").to_owned();
    let recorded: DateTime<Utc> = word(&data["recorded"]).parse().expect("a moment");
    let minutes = (now - recorded).num_minutes();
    let mut what = word(&change["type"]);
    for part in [
        data["id"].as_str(),
        (data["correction"] == true).then_some("correction"),
    ]
    .into_iter()
    .flatten()
    {
        what = format!("{what} {part}");
    }
    [
        format!("{} {minutes} min ago", minute(recorded)),
        word(&change["subject"]),
        what,
        readable(&data["from"]),
        readable(&data["to"]),
        why,
    ]
}

fn cause(change: &Value) -> String {
    let cause = &change["data"]["cause"];
    let word = |name: &str| cause[name].as_str().unwrap_or_default();
    if cause["timer"].is_string() {
        return format!("timer {}", word("timer").replace('_', " "));
    }
    format!("{} from {}", word("type"), word("source"))
}

fn shown(card: &str, last: &str) -> Vec<[String; 6]> {
    let labels = ["Recorded", "Client", "Change", "From", "To", last];
    rows(card)
        .into_iter()
        .map(|row| labels.map(|label| cell(row, label)))
        .collect()
}

#[tokio::test]
async fn the_latest_changes_and_corrections_are_those_of_the_feed() {
    let site = corrected().await;
    let now = site.engine.now();
    let feed = site.api("/v1/changes?limit=1000").await;
    assert_eq!(feed["more"], false);
    let mut changes = feed["changes"].as_array().expect("changes").clone();
    changes.reverse();
    let causes: Vec<String> = changes.iter().take(20).map(cause).collect();
    assert!(changes.len() > 20, "the card does not list all: {changes:?}");
    assert!(
        causes.iter().any(|cause| cause.starts_with("timer "))
            && causes.iter().any(|cause| cause.contains("from /test")),
        "{causes:?}"
    );
    let text = page(&site, "/sources").await;
    let latest: Vec<[String; 6]> = changes
        .iter()
        .zip(causes)
        .map(|(change, cause)| expected(change, now, cause))
        .collect();
    assert_eq!(shown(card(&text, "Latest changes"), "Cause"), latest);
    let corrections: Vec<[String; 6]> = changes
        .iter()
        .filter(|change| change["data"]["correction"] == true)
        .map(|change| {
            let by = &change["data"]["corrected_by"];
            let word = |name: &str| by[name].as_str().expect("text");
            let why = format!("{} arrived late, from {}", word("type"), word("source"));
            expected(change, now, why)
        })
        .collect();
    assert!((1..20).contains(&corrections.len()), "{corrections:?}");
    let late = "account.accessed arrived late, from /test";
    assert!(corrections.iter().any(|row| row[5] == late), "{corrections:?}");
    let card = card(&text, "Latest corrections");
    assert_eq!(shown(card, "Corrected because of"), corrections);
    assert!(
        card.contains(&format!("among the last {}\u{a0}changes", changes.len())),
        "{card}"
    );
}
