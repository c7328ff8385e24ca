//! Live figures: they change in place over server-sent events, and the stream connects again.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tenure::domain::Sweep;

use super::browser::Browser;
use super::pages::pages;
use super::site::{Site, by, noon, year};
use crate::support::http_client;

/// A quarter of the connections may wait.
const FEW_CONNECTIONS: [(&str, &str); 1] = [("TENURE_HTTP__MAX_CONNECTIONS", "8")];

/// Opens the overview, and waits until its figures are live.
async fn watch(browser: &Browser, site: &Site) {
    browser.open(&site.url("/")).await;
    connected(browser).await;
    browser.evaluate("window.same = true").await;
}

async fn connected(browser: &Browser) {
    browser
        .wait_until(
            "connected",
            "return document.querySelector('#live .dot').classList.contains('on') \
             && document.querySelector('#live [data-state]').textContent === 'live'",
        )
        .await;
}

/// Waits until the page says that it is not connected, and since when.
async fn disconnected(browser: &Browser) -> String {
    browser.expect("#live", "not connected since").await
}

async fn shows(browser: &Browser, figure: &str, value: &str) {
    browser
        .wait_until(
            figure,
            &format!("return document.querySelector('[data-live=\"{figure}\"]').textContent === '{value}'"),
        )
        .await;
}

async fn is_the_same_page(browser: &Browser) {
    let same = browser.evaluate("return window.same").await;
    assert_eq!(same, Value::Bool(true), "the page was not loaded again");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_change_in_place() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    watch(&browser, &site).await;
    site.linked("bakery").await;
    site.dead("http", "it is not JSON", b"x", &[]).await;
    shows(&browser, "events", "4").await;
    shows(&browser, "dead-letters", "1").await;
    is_the_same_page(&browser).await;
    assert_eq!(
        browser
            .evaluate("return document.getElementById('stale').hidden")
            .await,
        Value::Bool(false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_live_again_after_the_server_restarted() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let mut site = Site::start(noon(), &[]).await;
    watch(&browser, &site).await;
    site.stop().await;
    let since = disconnected(&browser).await;
    browser.shoot("overview-disconnected-light").await;
    // Nothing listens for a while, and then the store is not open: the browser gets 503.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    site.linked("bakery").await;
    let api = site.serve_closed().await;
    let refused = crate::support::http_client()
        .get(site.url("/console/live"))
        .send();
    assert_eq!(refused.await.expect("a response").status(), 503);
    // The browser asks every three seconds.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(disconnected(&browser).await, since);
    api.open(Arc::clone(&site.engine));
    connected(&browser).await;
    shows(&browser, "events", "3").await;
    is_the_same_page(&browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_refused_is_connected_when_there_is_room() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &FEW_CONNECTIONS).await;
    let open = async || {
        let stream = crate::support::http_client()
            .get(site.url("/console/live"))
            .send();
        stream.await.expect("a response")
    };
    let mut streams = Vec::new();
    loop {
        let stream = open().await;
        if stream.status() == 503 {
            break;
        }
        streams.push(stream);
        assert!(streams.len() < 8, "there is room for all");
    }
    assert!(!streams.is_empty());
    browser.open(&site.url("/")).await;
    browser.evaluate("window.same = true").await;
    disconnected(&browser).await;
    browser.expect(".verdict.old", "All is well").await;
    drop(streams);
    connected(&browser).await;
    browser.expect(".verdict:not(.old)", "All is well").await;
    site.linked("bakery").await;
    shows(&browser, "events", "3").await;
    is_the_same_page(&browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_left_ends_its_stream() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    // Two streams at a time.
    let site = Site::start(noon(), &FEW_CONNECTIONS).await;
    for _ in 0..6 {
        watch(&browser, &site).await;
    }
}

/// Whether the page says that the state has changed.
async fn is_stale(browser: &Browser, expected: bool) {
    browser
        .wait_until(
            "the notice",
            &format!("return document.getElementById('stale').hidden === {}", !expected),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_issue_of_the_same_tone_is_noticed() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.dead("http", "it is not JSON", b"x", &[]).await;
    watch(&browser, &site).await;
    browser.expect(".verdict.attention", "1 dead letter open").await;
    // Another number of the same issue is none of another: the figure changes in place.
    site.dead("http", "it is not JSON", b"y", &[]).await;
    shows(&browser, "dead-letters", "2").await;
    is_stale(&browser, false).await;
    let authority = by("the books are closed");
    let operator = site.engine.operator(&authority);
    operator.pause_sweep(Sweep::AccessExpiry).await.expect("paused");
    is_stale(&browser, true).await;
    // The page lists again what needs attention.
    operator.resume_sweep(Sweep::AccessExpiry).await.expect("resumed");
    is_stale(&browser, false).await;
    is_the_same_page(&browser).await;
}

#[tokio::test]
async fn every_live_text_of_a_page_has_a_value_and_every_value_a_place() {
    let broker = ("TENURE_BROKER__URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    let site = Site::start(noon(), &[broker]).await;
    let mut shown = BTreeSet::new();
    for path in ["/", "/sources"] {
        let page = http_client()
            .get(site.url(path))
            .send()
            .await
            .expect("a response");
        let page = page.text().await.expect("text");
        let names = page.split("data-live=\"").skip(1);
        shown.extend(names.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    }
    let first = first_event(&site, "/console/live?expiring=true").await;
    let figures = first["figures"].as_object().expect("figures");
    let sent: BTreeSet<String> = figures.keys().cloned().collect();
    assert_eq!(shown, sent);
    assert!(first["issues"].is_string(), "{first}");
    // Counting takes long, and one page shows it.
    let others = first_event(&site, "/console/live").await;
    let others = others["figures"].as_object().expect("figures");
    assert!(!others.contains_key("expiring") && others.len() + 1 == sent.len());
}

/// What a stream sends first.
async fn first_event(site: &Site, path: &str) -> Value {
    let stream = http_client().get(site.url(path)).send().await;
    let mut stream = stream.expect("a response");
    let first = stream.chunk().await.expect("an event").expect("an event");
    let first = std::str::from_utf8(&first).expect("text");
    serde_json::from_str(first.trim_start_matches("data:").trim()).expect("JSON")
}

/// Counts the streams that a page opens. Runs before its own script.
const COUNT_STREAMS: &str = "window.streams = 0;
    window.EventSource = class extends EventSource { constructor(url) { super(url); window.streams += 1; } };";

/// A browser opens six connections to a host: the seventh tab with a stream would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn only_pages_with_live_figures_open_a_stream_and_say_so() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    browser.cdp("Page.enable", json!({})).await;
    browser
        .cdp(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": COUNT_STREAMS}),
        )
        .await;
    let mut live = 0;
    for (name, path, _) in pages(year) {
        browser.open(&year.url(&path)).await;
        let counted = browser
            .evaluate(
                "const live = document.querySelectorAll('[data-live]').length > 0; \
                 const bar = document.querySelector('.bar').textContent; \
                 return [live, window.streams, document.getElementById('live') !== null, \
                   bar.includes('Now') && !bar.includes('live') && document.querySelector('.bar time') === null]",
            )
            .await;
        let is_live = counted[0] == true;
        assert_eq!(
            counted,
            json!([is_live, u8::from(is_live), is_live, false]),
            "{name}"
        );
        live += usize::from(is_live);
    }
    assert!(live > 0);
}

/// What the browser says about a tab that is hidden or shown.
async fn set_hidden(browser: &Browser, is_hidden: bool) {
    browser
        .evaluate(&format!(
            "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {is_hidden}}}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_tab_has_no_stream_until_it_is_shown() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    // Two streams at a time.
    let site = Site::start(noon(), &FEW_CONNECTIONS).await;
    watch(&browser, &site).await;
    set_hidden(&browser, true).await;
    let open = async || {
        let stream = http_client().get(site.url("/console/live")).send().await;
        stream.expect("a response")
    };
    // There is room for both as soon as the server notices that the tab has left.
    let waiting = async {
        loop {
            let both = [open().await, open().await];
            if both.iter().all(|stream| stream.status() == 200) {
                return both;
            }
            drop(both);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    let both = tokio::time::timeout(limit, waiting)
        .await
        .expect("room for two streams");
    drop(both);
    site.linked("bakery").await;
    set_hidden(&browser, false).await;
    shows(&browser, "events", "3").await;
    connected(&browser).await;
    is_the_same_page(&browser).await;
}
