//! Layout shift: no page moves its content while it loads or while its figures change.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser::{Browser, Look};
use super::pages::pages;
use super::site::{Site, noon, year};

/// Runs before any script of a page. A shift just after an input counts too: these tests press nothing.
const WATCH: &str = "window.shifts = [];
    new PerformanceObserver(list => { for (const entry of list.getEntries()) window.shifts.push({
      value: entry.value,
      moved: entry.sources.map(source => source.node?.nodeType === 1 ? source.node.outerHTML.slice(0, 80) : String(source.node?.textContent).slice(0, 80)),
    }); }).observe({type: 'layout-shift', buffered: true});";

/// How long a page may move after it is loaded: the stream of figures is connected by then.
const SETTLED: Duration = Duration::from_millis(400);

async fn watch(browser: &Browser) {
    browser.cdp("Page.enable", json!({})).await;
    browser
        .cdp("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH}))
        .await;
}

/// The shifts of the page so far. The observer gets them with a frame, so this waits for two.
async fn shifts(browser: &Browser) -> Vec<Value> {
    browser
        .evaluate("window.frames2 = 0; requestAnimationFrame(() => requestAnimationFrame(() => window.frames2 = 2))")
        .await;
    browser
        .wait_until("two frames", "return window.frames2 === 2")
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let shifts = browser.evaluate("return window.shifts").await;
    shifts.as_array().expect("shifts").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_moves_its_content_while_it_loads() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    watch(&browser).await;
    // Own times are beside UTC in this zone, and would move what is after them if they came late.
    browser
        .cdp(
            "Emulation.setTimezoneOverride",
            json!({"timezoneId": "Asia/Kolkata"}),
        )
        .await;
    let mut problems = Vec::new();
    for look in [Look::Light, Look::Phone] {
        browser.look(look).await;
        // A page from the network draws later than one whose files are kept.
        browser
            .cdp("Network.setCacheDisabled", json!({"cacheDisabled": true}))
            .await;
        for (name, path, _) in pages(year) {
            browser.open(&year.url(&path)).await;
            tokio::time::sleep(SETTLED).await;
            for shift in shifts(&browser).await {
                problems.push(format!("{name} {}: {shift}", look.name()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_moves_is_noticed() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    watch(&browser).await;
    browser.open(&site.url("/sweeps")).await;
    tokio::time::sleep(SETTLED).await;
    assert_eq!(shifts(&browser).await, Vec::<Value>::new());
    browser
        .evaluate(
            "const banner = document.createElement('p');
             banner.textContent = 'A banner that comes late';
             document.querySelector('main').prepend(banner);",
        )
        .await;
    let found = shifts(&browser).await;
    let value = found
        .iter()
        .filter_map(|shift| shift["value"].as_f64())
        .sum::<f64>();
    assert!(value > 0.0, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_that_change_move_nothing() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    watch(&browser).await;
    for look in [Look::Light, Look::Phone] {
        browser.look(look).await;
        let site = Site::start(noon(), &[]).await;
        browser.open(&site.url("/")).await;
        browser
            .wait_until(
                "connected",
                "return document.querySelector('#live .dot').classList.contains('on')",
            )
            .await;
        // From one digit to three, and from good to attention.
        for number in 0..40 {
            site.linked(&format!("client-{number}")).await;
        }
        site.dead("http", "it is not JSON", b"x", &[]).await;
        browser
            .wait_until(
                "the figures",
                "return document.querySelector('[data-live=events]').textContent === '121' \
                 && !document.getElementById('stale').hidden",
            )
            .await;
        assert_eq!(shifts(&browser).await, Vec::<Value>::new(), "{look:?}");
    }
}
