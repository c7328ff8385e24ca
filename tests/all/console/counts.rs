//! Counts and sums over more than a page lists.

use chrono::TimeDelta;
use serde_json::json;
use tenure::engine::Incoming;
use tenure::wire::{Decoder, Limits};

use super::html::page;
use super::site::{Site, noon};

#[tokio::test]
async fn the_sums_of_a_statement_are_over_all_pages() {
    const CLIENTS: usize = 450;
    let site = Site::start(noon(), &[]).await;
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    let mut incoming = Vec::new();
    for client in 0..CLIENTS {
        for (number, (kind, data)) in [
            ("client.added", json!({"name": format!("Shop {client}")})),
            ("client.invited", json!({"steps": ["accepted"]})),
            ("invitation.accepted", json!({})),
        ]
        .into_iter()
        .enumerate()
        {
            let partner = if client < 300 { "acme" } else { "best" };
            let event = json!({
                "specversion": "1.0", "id": format!("{client}-{number}"), "source": "/test", "type": kind,
                "subject": format!("{partner}/c{client:03}"), "time": noon() - TimeDelta::hours(1), "data": data,
            });
            let read = decoder.line("http", event.to_string().as_bytes());
            incoming.push(read.map(Incoming::from).expect("a message"));
        }
    }
    site.engine.ingest(incoming).await.expect("ingested");
    let of = |text: &str, partner: &str| -> String {
        let row = text
            .split("<tr")
            .skip(1)
            .find(|row| row.contains(partner) && row.contains("Clients"))
            .expect("a row");
        let cell = row.split("data-label=\"Clients\">").nth(1).expect("a cell");
        cell[..cell.find('<').expect("its end")].to_owned()
    };
    // They are added up in the background.
    let mut text = page(&site, "/statements/2026-03").await;
    let mut asked = 0;
    while text.contains("are being added up") {
        asked += 1;
        assert!(asked < 600, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        text = page(&site, "/statements/2026-03").await;
    }
    assert_eq!(
        (of(&text, "partner=acme"), of(&text, "partner=best")),
        ("300".into(), "150".into())
    );
    assert_eq!(of(&text, ">All<"), "450");
    assert!(text.contains("200\u{a0}clients"), "the page lists 200: {text}");
    // Of a short list, the sums are those of the page.
    let text = page(&site, "/statements/2026-03?partner=best").await;
    assert_eq!(of(&text, "partner=best"), "150");
    assert!(!text.contains(">All<"), "{text}");
}

/// Adds this number of clients of `acme`.
async fn add_clients(site: &Site, clients: usize) {
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    let numbers: Vec<usize> = (0..clients).collect();
    for numbers in numbers.chunks(1_000) {
        let incoming = numbers.iter().map(|number| {
            let event = json!({
                "specversion": "1.0", "id": format!("{number}"), "source": "/test", "type": "client.added",
                "subject": format!("acme/c{number:05}"), "time": noon() - TimeDelta::days(1), "data": {"name": format!("Shop {number}")},
            });
            let read = decoder.line("http", event.to_string().as_bytes());
            read.map(Incoming::from).expect("a message")
        });
        site.engine.ingest(incoming.collect()).await.expect("ingested");
    }
}

/// The counts of the tabs, as they are shown.
fn counts(page: &str) -> Vec<String> {
    let (_, tabs) = page.split_once("<nav class=\"tabs\"").expect("tabs");
    let (tabs, _) = tabs.split_once("</nav>").expect("their end");
    let each = tabs.split("</a>").take(4);
    let count = |tab: &str| {
        let count = tab.split_once("<span class=\"count\">");
        count.map_or_else(String::new, |(_, count)| count.replace("</span>", ""))
    };
    each.map(count).collect()
}

#[tokio::test]
async fn the_tabs_count_what_a_search_and_filters_find() {
    let site = Site::start(noon(), &[]).await;
    for client in ["bakery", "bakery-2", "mill"] {
        site.linked(client).await;
    }
    site.event("draft", "client.added", noon(), json!({"name": "Bakery of Ada"}))
        .await;
    site.event("mill", "client.archived", noon(), json!({})).await;
    site.event("mill", "client.terminated", noon(), json!({})).await;
    site.event("bakery", "access.disabled", noon(), json!({})).await;
    // All, active, inactive, all active.
    for (query, expected) in [
        ("", ["4", "2", "2", "3"]),
        ("?tab=inactive", ["4", "2", "2", "3"]),
        ("?service=all_active", ["4", "2", "2", "3"]),
        ("?service=terminated", ["1", "0", "1", "3"]),
        ("?access=disabled", ["1", "1", "0", "1"]),
        ("?link=archived&tab=active", ["1", "0", "1", "0"]),
        // Two by name and id, and one by name alone: each is counted once.
        ("?q=bakery", ["3", "2", "1", "3"]),
        ("?q=bakery&by=id", ["2", "2", "0", "2"]),
        ("?q=bakery&access=disabled", ["1", "1", "0", "1"]),
        ("?q=nobody", ["0", "0", "0", "0"]),
        ("?q=no+body&by=account", ["0", "0", "0", "0"]),
    ] {
        let page = page(&site, &format!("/clients{query}")).await;
        assert_eq!(counts(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn a_count_that_is_not_complete_says_so() {
    let site = Site::start(noon(), &[]).await;
    add_clients(&site, 10_500).await;
    let mut shown = Vec::new();
    // A page does not wait for the whole count.
    for _ in 0..100 {
        shown = counts(&page(&site, "/clients").await);
        assert!(shown[0].ends_with('+'), "{shown:?}");
        if shown[0] == "10\u{202f}000+" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{shown:?}");
}
