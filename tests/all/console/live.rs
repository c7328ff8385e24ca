//! Live figures: they change in place over server-sent events, and the stream connects again.

use std::sync::Arc;

use serde_json::Value;

use super::browser::Browser;
use super::site::{Site, noon};

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
    drop(streams);
    connected(&browser).await;
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
