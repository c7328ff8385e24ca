//! Lists: every page of every list by its links, and downloads with the same rows.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tempfile::TempDir;
use tenure::console;
use tenure::domain::Sweep;
use tenure::engine::{CloseRequest, Incoming, SweepMode, SweepOptions};
use tenure::wire::{Decoder, Limits};

use super::browser::Browser;
use super::site::{Site, by, noon};
use super::walks::due;
use crate::support::http_client;

/// Clients of the store, which are more than two pages of a statement hold.
const CLIENTS: usize = 430;

/// Adds linked clients, two thirds of them of `acme` and the others of `best`.
async fn add_clients(site: &Site, clients: usize) {
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    let at = site.engine.now() - TimeDelta::hours(1);
    let mut incoming = Vec::new();
    for number in 0..clients {
        let partner = if number % 3 == 2 { "best" } else { "acme" };
        for (place, (kind, data)) in [
            ("client.added", json!({"name": format!("Shop, {number}")})),
            ("client.invited", json!({"steps": ["accepted"]})),
            ("invitation.accepted", json!({})),
        ]
        .into_iter()
        .enumerate()
        {
            let event = json!({
                "specversion": "1.0", "id": format!("{number}-{place}"), "source": "/test", "type": kind,
                "subject": format!("{partner}/c{number:03}"), "time": at, "data": data,
            });
            let read = decoder.line("http", event.to_string().as_bytes());
            incoming.push(read.map(Incoming::from).expect("a message"));
        }
    }
    site.engine.ingest(incoming).await.expect("ingested");
}

/// The rows of the last table of a page: the texts of their cells, and the addresses of their links.
async fn rows(browser: &Browser) -> Vec<Vec<String>> {
    let rows = browser
        .evaluate(
            "return [...[...document.querySelectorAll('main table.rows')].at(-1).querySelectorAll('tbody tr')].map(row => \
             [...row.cells].map(cell => cell.textContent.trim()).concat([...row.querySelectorAll('a')].map(link => link.href)))",
        )
        .await;
    serde_json::from_value(rows).expect("rows")
}

/// Follows the links to the end. Returns the rows of all pages.
async fn walk(browser: &Browser, url: &str) -> Vec<Vec<Vec<String>>> {
    browser.open(url).await;
    let mut pages = vec![rows(browser).await];
    while browser.count(".pager a[rel=next]").await > 0 {
        let before = browser.url().await;
        browser.click(".pager a[rel=next]").await;
        browser
            .wait_until(
                "the next page",
                &format!("return location.href !== {}", json!(before)),
            )
            .await;
        pages.push(rows(browser).await);
        assert!(pages.len() < 50, "{url} has no end");
    }
    // The way back.
    if pages.len() > 1 {
        browser.click_text("a", "First page").await;
        browser
            .wait_until(
                "the first page",
                "return !document.body.textContent.includes('First page')",
            )
            .await;
        // What became of a refusal is looked up as far as there is time.
        let first = rows(browser).await.into_iter().map(|row| row[..2].to_vec());
        let expected = pages[0].iter().map(|row| row[..2].to_vec());
        assert!(first.eq(expected), "{url}");
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_leads_to_its_end_page_by_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    add_clients(&site, CLIENTS).await;
    for number in 0..60 {
        let at = noon() - TimeDelta::minutes(number);
        site.event(&format!("nobody-{number}"), "client.deleted", at, json!({}))
            .await;
    }
    for number in 0..120 {
        let body = format!("nonsense {number}");
        site.dead("http", "it is not JSON", body.as_bytes(), &[]).await;
        let authority = by(&format!("reason {number}"));
        let operator = site.engine.operator(&authority);
        if number % 2 == 0 {
            operator.pause_sweep(Sweep::RequestLapse).await.expect("paused");
        } else {
            operator.resume_sweep(Sweep::RequestLapse).await.expect("resumed");
        }
    }
    let group = "/dead-letters?reason=it%20is%20not%20JSON&origin=http";
    for (path, sizes) in [
        ("/clients", &[50, 50, 50, 50, 50, 50, 50, 50, 30][..]),
        ("/clients?partner=best&tab=active", &[50, 50, 43]),
        ("/refusals", &[25, 25, 10]),
        ("/dead-letters", &[50, 50, 20]),
        (group, &[50, 50, 20]),
        ("/audit", &[50, 50, 20]),
        ("/audit?action=sweep", &[50, 50, 20]),
        // All clients may be more than it reads in its time.
        ("/forecast?days=90&day=2026-04-30&partner=best", &[50, 50, 43]),
        // A page examines 200 clients. Those without a day are not listed.
        ("/statements/2026-03", &[200, 140, 90]),
    ] {
        check(&browser, &site, path, sizes).await;
    }
    // A run that changes every client, and runs that change one.
    site.clock.set(noon() + TimeDelta::days(70));
    sweep(&site).await;
    for number in 0..65 {
        due(&site, &[&format!("due-{number}")]).await;
        sweep(&site).await;
    }
    check(&browser, &site, "/sweeps", &[30, 30, 6]).await;
    let runs = site.engine.store().runs(None, 100).await.expect("runs");
    let run = runs.iter().max_by_key(|run| run.counts.changes).expect("a run");
    let changes = usize::try_from(run.counts.changes).expect("a number");
    assert!(changes >= CLIENTS, "{run:?}");
    let mut sizes = vec![100; changes / 100];
    sizes.extend((changes % 100 > 0).then_some(changes % 100));
    check(&browser, &site, &format!("/sweeps/runs/{}", run.id), &sizes).await;
}

async fn sweep(site: &Site) {
    let options = SweepOptions::new(SweepMode::Confirmed);
    let swept = site.engine.sweep(Sweep::AccessExpiry, options, |_| {}).await;
    swept.expect("swept");
}

/// Checks that the pages of a list have these sizes, and that no row is on two of them.
async fn check(browser: &Browser, site: &Site, path: &str, sizes: &[usize]) {
    let pages = walk(browser, &site.url(path)).await;
    let given: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(given, sizes, "{path}");
    let all: BTreeSet<Vec<String>> = pages.into_iter().flatten().collect();
    assert_eq!(all.len(), sizes.iter().sum::<usize>(), "{path}");
}

/// Clicks the link of a download. Returns the rows of the file.
async fn download(browser: &Browser, folder: &Path) -> Vec<Vec<String>> {
    for file in std::fs::read_dir(folder).expect("a folder") {
        std::fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    let allow = json!({"behavior": "allow", "downloadPath": folder});
    browser.cdp("Browser.setDownloadBehavior", allow).await;
    browser.click_text("a", "Download CSV").await;
    for _ in 0..200 {
        let files = std::fs::read_dir(folder).expect("a folder");
        let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        // The browser makes an empty file with the name, and fills another, which then replaces it.
        if let [file] = &files[..]
            && file.extension().is_some_and(|kind| kind == "csv")
            && std::fs::metadata(file).is_ok_and(|file| file.len() > 0)
        {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_path(file)
                .expect("a file");
            let rows = reader.records().map(|row| row.expect("a row"));
            return rows.map(|row| row.iter().map(str::to_owned).collect()).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing was downloaded from {}", browser.url().await);
}

/// A row of the download of clients as the page shows it.
fn as_shown(row: &[String]) -> Vec<String> {
    let or_dash = |text: &str| {
        if text.is_empty() {
            "–".to_owned()
        } else {
            text.replace('_', " ")
        }
    };
    let expires = match row[6].get(..16) {
        Some(minute) => minute.replace('T', " "),
        None => "–".into(),
    };
    vec![
        row[2].clone(),
        format!("{}/{}", row[0], row[1]),
        or_dash(&row[3]),
        or_dash(&row[4]),
        or_dash(&row[5]),
        expires,
    ]
}

/// Changes some clients, so that they differ.
async fn change_some(site: &Site) {
    for (client, kind, data) in [
        ("c000", "access.disabled", json!({})),
        ("c001", "client.archived", json!({})),
        ("c003", "client.renamed", json!({"name": "Best shop \"of\" all"})),
        ("c004", "client.terminated", json!({})),
    ] {
        site.event(client, kind, site.engine.now(), data).await;
    }
    let added = json!({"name": "Draft"});
    site.event("draft", "client.added", site.engine.now(), added)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_download_of_clients_has_the_rows_of_all_pages() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    add_clients(&site, 130).await;
    change_some(&site).await;
    let folder = TempDir::new().expect("a folder");
    for query in [
        "",
        "?tab=active",
        "?tab=inactive",
        "?link=archived",
        "?access=disabled",
        "?q=shop&by=name",
        "?q=c00&by=id",
        "?q=best&by=partner&tab=active",
        "?q=nobody&by=account",
        "?partner=best&billable=true",
    ] {
        let url = site.url(&format!("/clients{query}"));
        browser.open(&url).await;
        let shown = if browser.count("main table.rows").await > 0 {
            walk(&browser, &url).await.into_iter().flatten().collect()
        } else {
            Vec::new()
        };
        let shown: Vec<Vec<String>> = shown.into_iter().map(|row| row[..6].to_vec()).collect();
        browser.open(&url).await;
        let file = download(&browser, folder.path()).await;
        assert_eq!(file[0][..3], ["partner", "client", "name"]);
        let listed: Vec<Vec<String>> = file[1..].iter().map(|row| as_shown(row)).collect();
        assert_eq!(listed, shown, "{query}");
    }
    // A search in every field shows the first of each. The file has all, each once: `best` is in a name and a partner.
    browser.open(&site.url("/clients?q=best")).await;
    let all = browser.text(".tabs a:first-child .count").await;
    let shown = browser
        .evaluate(
            "return [...document.querySelectorAll('main table.rows tbody tr')].map(row => row.cells[1].textContent.trim())",
        )
        .await;
    let shown: BTreeSet<String> = serde_json::from_value(shown).expect("clients");
    let file = download(&browser, folder.path()).await;
    let listed: BTreeSet<String> = file[1..]
        .iter()
        .map(|row| format!("{}/{}", row[0], row[1]))
        .collect();
    assert_eq!(listed.len().to_string(), all);
    assert_eq!(listed.len(), file.len() - 1, "each client is one row");
    assert!(
        listed.is_superset(&shown) && shown.contains("acme/c003"),
        "{shown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_download_of_a_statement_has_the_rows_of_all_pages() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon() - TimeDelta::days(10), &[]).await;
    add_clients(&site, 230).await;
    site.clock.set(noon());
    let request = CloseRequest {
        month: "2026-02".parse().expect("a month"),
        by: "ann".parse().expect("a name"),
        confirmed: true,
        most: None,
    };
    let authority = by("the month is complete");
    let operator = site.engine.operator(&authority);
    operator.close_month(&request, |_, _| {}).await.expect("closed");
    // A late event of the closed month: an adjustment in this one.
    let late = noon() - TimeDelta::days(5);
    site.event("c000", "access.disabled", late, json!({})).await;
    site.event("c001", "client.archived", late, json!({})).await;
    let folder = TempDir::new().expect("a folder");
    let mut adjusted = 0;
    for path in [
        "/statements/2026-02",
        "/statements/2026-02?partner=best",
        "/statements/2026-03",
        "/statements/2026-03?partner=acme",
    ] {
        let url = site.url(path);
        let shown: Vec<Vec<String>> = walk(&browser, &url).await.into_iter().flatten().collect();
        let file = download(&browser, folder.path()).await;
        assert_eq!(file[0][..2], ["client", "month"]);
        let month = &path["/statements/".len()..][..7];
        let (own, adjustments): (Vec<_>, Vec<_>) = file[1..].iter().partition(|row| row[1] == month);
        let days: Vec<Vec<&str>> = own
            .iter()
            .map(|row| [0, 2, 3, 4, 5].map(|cell| row[cell].as_str()).to_vec())
            .collect();
        let days_shown: Vec<Vec<&str>> = shown
            .iter()
            .map(|row| row[..5].iter().map(String::as_str).collect())
            .collect();
        assert_eq!(days, days_shown, "{path}");
        for row in adjustments {
            let shown = shown.iter().find(|shown| shown[0] == row[0]).expect("a row");
            let billable = row[2].replace('-', "−");
            let access = row[5].replace('-', "−");
            for days in [billable, access].iter().filter(|days| *days != "0") {
                let bare = shown[5].replace('-', "−");
                assert!(bare.contains(days.as_str()), "{path}: no {days} in {shown:?}");
            }
            adjusted += 1;
        }
    }
    assert!(adjusted >= 2, "{adjusted} adjustments");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_lacks_clients_says_so() {
    const MOST: usize = 40;
    let Some(browser) = Browser::start().await else {
        return;
    };
    let bounded = |settings: &_| console::pages_within(settings, MOST);
    let site = Site::start_with(noon(), &[], bounded).await;
    let folder = TempDir::new().expect("a folder");
    add_clients(&site, MOST).await;
    let pages = [
        ("/clients", "tenure client list -o csv"),
        ("/clients?q=Shop", "tenure client list -o csv"),
        ("/statements/2026-03", "tenure statement show 2026-03 -o csv"),
    ];
    for (path, _) in pages {
        browser.open(&site.url(path)).await;
        let file = download(&browser, folder.path()).await;
        assert_eq!(file.len(), 1 + MOST, "{path} has all");
    }
    add_clients(&site, MOST + 1).await;
    for (path, command) in pages {
        browser.open(&site.url(path)).await;
        let file = download(&browser, folder.path()).await;
        assert_eq!(file.len(), 1 + MOST + 1, "{path}");
        let last = &file[file.len() - 1];
        assert_eq!(last.len(), 1, "{last:?}");
        assert!(
            last[0].starts_with("INCOMPLETE: this file ends after 40 clients"),
            "{last:?}"
        );
        assert!(last[0].contains(command), "{last:?}");
    }
}

#[tokio::test]
async fn a_download_runs_no_formula() {
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    site.event(
        "draft",
        "client.added",
        noon(),
        json!({"name": "=cmd|'/c calc'!A1"}),
    )
    .await;
    let client = http_client();
    let get = async |path: &str| {
        client
            .get(site.url(path))
            .send()
            .await
            .expect("a response")
            .text()
            .await
            .expect("text")
    };
    let all = get("/clients.csv").await;
    assert!(all.starts_with("partner,client,name,link,"), "{all}");
    assert!(all.contains("acme,bakery,bakery,active"), "{all}");
    assert!(all.contains("'=cmd"), "no formula: {all}");
    let month = get("/statements/2026-03?format=csv").await;
    assert!(month.contains("acme/bakery,2026-03,0,1,1,1"), "{month}");
}
