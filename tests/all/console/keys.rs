//! Keys: each one that the dialog lists does what the dialog says.

use serde_json::json;

use super::browser::Browser;
use super::site::{Site, noon, year};
use super::stage::sign_in;

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const LEFT: &str = "\u{e012}";
const RIGHT: &str = "\u{e014}";

/// What the dialog lists: the keys, and what they do.
async fn listed(browser: &Browser) -> Vec<(Vec<String>, String)> {
    let listed = browser
        .evaluate(
            "return [...document.querySelectorAll('#keys dt')].map(term => \
             [[...term.querySelectorAll('kbd')].map(key => key.textContent), term.nextElementSibling.textContent])",
        )
        .await;
    serde_json::from_value(listed).expect("keys")
}

/// The number of the selected row.
async fn selected(browser: &Browser) -> i64 {
    let selected = browser
        .evaluate("return [...document.querySelectorAll('[data-row]')].findIndex(row => row.classList.contains('selected'))")
        .await;
    selected.as_i64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_the_dialog_does_what_it_says() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    browser.open(&year.url("/")).await;
    browser.press("?").await;
    browser
        .wait_until("the keys", "return document.getElementById('keys').open")
        .await;
    browser.shoot("keys-light").await;
    let listed = listed(&browser).await;
    let pages = browser.count("header.side nav a").await;
    let places = listed.iter().filter(|(keys, _)| keys[0] == "g");
    assert_eq!(places.count(), pages, "{listed:?}");
    for (keys, does) in &listed {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        match (keys.as_slice(), does.as_str()) {
            (["/"], "Search") => search(&browser).await,
            (["j", "k"], "Next and previous row") => rows(&browser).await,
            (["Enter"], "Open the row") => open_a_row(&browser).await,
            (["←", "→"], "Previous and next event, on the slider") => slider(&browser).await,
            (["g", key], page) => go(&browser, key, page).await,
            (["?"], "Show the keys") => dialog(&browser).await,
            _ => panic!("no test presses {keys:?}: {does}"),
        }
    }
}

/// On a page with a list, the search is that of the list.
async fn search(browser: &Browser) {
    for (path, place) in [("/", "header.side"), ("/clients", "main")] {
        browser.open(&year().url(path)).await;
        browser.press("/").await;
        let focus = browser
            .evaluate(&format!(
                "return [document.activeElement.name, document.activeElement.closest('{place}') !== null]"
            ))
            .await;
        assert_eq!(focus, json!(["q", true]), "{path}");
        // In a field, keys are text.
        browser.type_here("gj?/k").await;
        let typed = browser.evaluate("return document.activeElement.value").await;
        assert_eq!(typed, "gj?/k");
        browser.type_here(ESCAPE).await;
        let focus = browser.evaluate("return document.activeElement.tagName").await;
        assert_eq!(focus, "BODY");
    }
    let shown = browser
        .evaluate("return [location.pathname, document.getElementById('keys').open]")
        .await;
    assert_eq!(shown, json!(["/clients", false]));
}

async fn rows(browser: &Browser) {
    browser.open(&year().url("/clients")).await;
    assert_eq!(selected(browser).await, -1);
    // The first row is the end of the way back.
    for (key, row) in [("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)] {
        browser.press(key).await;
        assert_eq!(selected(browser).await, row, "after {key}");
        let focus = browser
            .evaluate("return document.activeElement.closest('[data-row]')?.classList.contains('selected')")
            .await;
        assert_eq!(focus, true, "the focus is in the row");
    }
    let last = browser.count("[data-row]").await - 1;
    browser.press(&"j".repeat(last + 5)).await;
    assert_eq!(selected(browser).await, i64::try_from(last).expect("a number"));
    let is_shown = browser
        .evaluate(
            "const box = document.querySelector('.selected').getBoundingClientRect(); \
             return box.top >= 0 && box.bottom <= innerHeight",
        )
        .await;
    assert_eq!(is_shown, true, "the selected row is in the window");
}

async fn open_a_row(browser: &Browser) {
    for (list, row) in [("/clients", 1), ("/statements", 2), ("/dead-letters", 0)] {
        browser.open(&year().url(list)).await;
        browser.press(&"j".repeat(row + 1)).await;
        let to = browser
            .evaluate(&format!(
                "return document.querySelectorAll('[data-row]')[{row}].querySelector('a').href"
            ))
            .await;
        browser.type_here(ENTER).await;
        browser
            .wait_until("the row", &format!("return location.href === {to}"))
            .await;
    }
}

async fn slider(browser: &Browser) {
    let year = year();
    browser
        .open(&year.url(&format!("/clients/{}", year.client)))
        .await;
    let handle = "document.querySelector('input[type=range]')";
    let ticks = browser
        .evaluate(&format!(
            "{handle}.focus(); return {handle}.dataset.moment.split(' ').map(Number)"
        ))
        .await;
    let ticks: Vec<i64> = serde_json::from_value(ticks).expect("moments");
    let value = async || {
        let value = browser.evaluate(&format!("return Number({handle}.value)")).await;
        value.as_i64().expect("a moment")
    };
    let mut here = value().await;
    let before = ticks.iter().filter(|tick| **tick < here).count();
    assert!(before > 3, "{ticks:?}");
    for key in [LEFT, LEFT, LEFT, RIGHT, LEFT, RIGHT, RIGHT] {
        browser.type_here(key).await;
        let expected = if key == LEFT {
            ticks.iter().rev().find(|tick| **tick < here)
        } else {
            ticks.iter().find(|tick| **tick > here)
        };
        here = *expected.expect("another event");
        assert_eq!(value().await, here);
    }
    assert!(
        !browser.url().await.contains("at="),
        "the moment is not shown yet"
    );
}

async fn go(browser: &Browser, key: &str, page: &str) {
    browser.open(&year().url("/clients?q=zzzz-nobody")).await;
    let path = browser
        .evaluate(&format!(
            "return [...document.querySelectorAll('header.side nav a')].find(link => link.textContent === {}).pathname",
            json!(page)
        ))
        .await;
    browser.press(&format!("g{key}")).await;
    browser
        .wait_until(
            page,
            &format!("return location.pathname === {path} && location.search === ''"),
        )
        .await;
    let heading = browser.text("h1").await;
    assert_eq!(heading, page);
}

async fn dialog(browser: &Browser) {
    browser.open(&year().url("/policy")).await;
    let open = "return document.getElementById('keys').open";
    let focus = "return document.activeElement.closest('#keys') !== null";
    browser.press("?").await;
    assert_eq!(browser.evaluate(open).await, true);
    assert_eq!(browser.evaluate(focus).await, true);
    browser.type_here(ESCAPE).await;
    assert_eq!(browser.evaluate(open).await, false);
    browser.press("?").await;
    browser.click("#keys [data-close]").await;
    assert_eq!(browser.evaluate(open).await, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_with_others_held_are_those_of_the_browser() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser.open(&year().url("/clients")).await;
    for held in ["ctrlKey", "metaKey", "altKey"] {
        let pressed = browser
            .evaluate(&format!(
                "return ['/', 'j', '?', 'g', 'o'].map(key => document.body.dispatchEvent( \
                   new KeyboardEvent('keydown', {{key, {held}: true, bubbles: true, cancelable: true}})))"
            ))
            .await;
        assert_eq!(pressed, json!([true, true, true, true, true]), "{held}");
        let shown = browser
            .evaluate("return [document.activeElement.tagName, document.getElementById('keys').open]")
            .await;
        assert_eq!(shown, json!(["BODY", false]), "{held}");
        assert_eq!(selected(&browser).await, -1, "{held}");
    }
    // A letter that is no place ends the wait for one.
    browser.press("gz").await;
    browser.press("o").await;
    assert!(browser.url().await.ends_with("/clients"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dialog_lists_only_pages_that_the_reader_may_see() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let token = "token-of-one-0123456789";
    let tokens =
        format!(r#"[{{ name = "one", token = "{token}", scopes = ["read"], partners = ["acme"] }}]"#);
    let site = Site::start(noon(), &[("TENURE_HTTP__TOKENS", &tokens)]).await;
    sign_in(&browser, &site, token).await;
    let listed = listed(&browser).await;
    let pages: Vec<&str> = listed
        .iter()
        .filter(|(keys, _)| keys[0] == "g")
        .map(|(_, page)| page.as_str())
        .collect();
    assert_eq!(pages, ["Clients", "Forecast"]);
    browser.press("gs").await;
    browser.press("gf").await;
    browser.expect("h1", "Forecast").await;
}
