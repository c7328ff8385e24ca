//! The page of the what-if, compared with the API: sums, and when each client would lose or gain access.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::browser::Browser;
use super::html::{card, cell, minute, page, raw_cell, rows, text};
use super::site::{Site, noon, year};
use crate::support::http_client;

/// A sum as the page of the what-if shows it.
fn sum(totals: &Value) -> String {
    let number = |name: &str| totals[name].as_u64().expect("a number");
    let counted = |count: u64, noun: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {noun}{plural}")
    };
    match (number("clients"), number("days")) {
        (0, _) => "nobody".into(),
        (clients, days) => format!("{}, {}", counted(clients, "client"), counted(days, "day")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_what_if_shows_the_sums_of_the_api() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser.open(&year().url("/what-if?access.idle=20d")).await;
    let shown = browser
        .evaluate(
            "const rows = heading => [...[...document.querySelectorAll('.card')] \
               .find(card => card.querySelector('h2')?.textContent === heading).querySelectorAll('tbody tr')]; \
             const texts = row => [...row.children].map(cell => cell.textContent.replace(/\\u00a0/g, ' ').replace(/\\u202f/g, '')); \
             const days = row => [row.querySelector('th').textContent, row.querySelector('[data-label=\"Billing days\"]').textContent]; \
             return [rows('Differences').map(texts), rows('By partner').map(texts), rows('By client').map(days)]",
        )
        .await;
    let what_if = year().api("/v1/what-if?set=access.idle%3D20d&limit=1000").await;
    assert_eq!(what_if["next"], Value::Null);
    let totals = &what_if["totals"];
    let expected = [
        ("Access", "access"),
        ("Billing", "billing"),
        ("Commission", "commission"),
    ]
    .map(|(name, field)| {
        [
            name.to_owned(),
            sum(&totals[field]["lost"]),
            sum(&totals[field]["gained"]),
        ]
    });
    assert_eq!(shown[0], json!(expected));
    let partners = what_if["partners"].as_array().expect("partners").iter();
    let partners: Vec<Value> = partners
        .filter(|partner| partner["differ"] != 0)
        .map(|partner| {
            json!([
                partner["partner"],
                partner["differ"].to_string(),
                sum(&partner["access"]["lost"]),
                sum(&partner["access"]["gained"]),
                sum(&partner["billing"]["lost"]),
                sum(&partner["billing"]["gained"]),
            ])
        })
        .collect();
    assert!(!partners.is_empty(), "{what_if}");
    assert_eq!(shown[1], json!(partners));
    let billing: BTreeMap<String, i64> = what_if["clients"]
        .as_array()
        .expect("clients")
        .iter()
        .map(|client| {
            let days = |name: &str| client["billing"][name].as_i64().expect("days");
            let key = client["client"].as_str().expect("a client");
            (key.to_owned(), days("gained_days") - days("lost_days"))
        })
        .collect();
    let clients: Vec<(String, String)> = serde_json::from_value(shown[2].clone()).expect("clients");
    assert!(!clients.is_empty());
    for (client, days) in clients {
        let days = match days.as_str() {
            "–" => 0,
            days => days.replace('−', "-").parse::<i64>().expect("a number"),
        };
        assert_eq!(billing.get(&client), Some(&days), "{client}");
    }
}

/// Periods of the API as a row of the what-if shows them: the first three, and how many others there are.
fn periods(intervals: &Value) -> String {
    let intervals = intervals.as_array().expect("intervals");
    let end = |interval: &Value, name: &str| {
        let at = interval[name].as_str().expect("a moment");
        minute(at.parse().expect("a moment"))
    };
    let mut shown: Vec<String> = intervals
        .iter()
        .take(3)
        .map(|interval| format!("{} to {}", end(interval, "from"), end(interval, "to")))
        .collect();
    if intervals.is_empty() {
        shown.push("–".into());
    }
    if let others @ 1.. = intervals.len().saturating_sub(3) {
        shown.push(format!("and {others} more"));
    }
    shown.join("; ")
}

/// The periods that a row of the what-if shows.
fn shown_periods(row: &str, label: &str) -> String {
    let lines = raw_cell(row, label).split("</div>").map(text);
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[tokio::test]
async fn the_what_if_shows_when_each_client_would_lose_or_gain_access() {
    let site = Site::start(noon(), &[]).await;
    let day = |days| noon() + TimeDelta::days(days);
    site.linked_at("often", day(-200)).await;
    for days in [-161, -121, -81, -41] {
        site.event("often", "access.disabled", day(days), json!({})).await;
        site.event("often", "access.enabled", day(days + 1), json!({}))
            .await;
    }
    site.linked_at("once", day(-100)).await;
    site.linked_at("recently", day(-1)).await;
    let mut seen = Vec::new();
    for idle in ["20d", "90d"] {
        let what_if = site
            .api(&format!("/v1/what-if?set=access.idle%3D{idle}&limit=1000"))
            .await;
        let clients = what_if["clients"].as_array().expect("clients").iter();
        let expected: Vec<[String; 4]> = clients
            .map(|client| {
                let changes = |name: &str| client[name].as_array().expect("changes").len();
                [
                    client["client"].as_str().expect("a client").to_owned(),
                    periods(&client["access"]["lost"]),
                    periods(&client["access"]["gained"]),
                    format!("+{} −{}", changes("added"), changes("dropped")),
                ]
            })
            .collect();
        let page = page(&site, &format!("/what-if?access.idle={idle}")).await;
        let shown: Vec<[String; 4]> = rows(card(&page, "By client"))
            .into_iter()
            .map(|row| {
                [
                    cell(row, "Client"),
                    shown_periods(row, "Access lost"),
                    shown_periods(row, "Access gained"),
                    cell(row, "Changes"),
                ]
            })
            .collect();
        assert_eq!(shown, expected, "{idle}");
        seen.extend(shown);
    }
    let of_once: Vec<(&str, &str)> = seen
        .iter()
        .filter(|[client, ..]| client == "acme/once")
        .map(|[_, lost, gained, _]| (lost.as_str(), gained.as_str()))
        .collect();
    assert_eq!(
        of_once,
        [
            ("2025-12-11 12:00 to 2026-01-20 12:00", "–"),
            ("–", "2026-01-20 12:00 to 2026-02-19 12:00"),
        ]
    );
    let [client, lost, ..] = &seen[0];
    assert!(
        client == "acme/often" && lost.ends_with("; and 2 more"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_page_begins_before_the_clients_are_compared() {
    let url = year().url("/what-if?access.idle=20d");
    let mut page = http_client().get(url).send().await.expect("a response");
    let first = page.chunk().await.expect("a part").expect("the beginning");
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(
        first.contains("<h1>") && first.contains("Compare</button>"),
        "{first}"
    );
    assert!(!first.contains("Differences"), "{first}");
    let rest = page.text().await.expect("the rest");
    assert!(
        rest.contains("Differences") && rest.trim_end().ends_with("</html>"),
        "{rest}"
    );
}
