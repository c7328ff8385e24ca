//! Accessibility of the pages that nobody looks at every day: the sign-in, empty pages, the keys, rare states, and errors.

use std::sync::Arc;

use serde_json::Value;

use super::browser::{Browser, Look};
use super::pages::shown;
use super::site::{Site, noon};
use super::stage::{ANN, EVE, confirm, guarded_site, look_at, pass, sign_in};
use super::walks::tripped;

async fn status(browser: &Browser) -> Value {
    browser
        .evaluate("return performance.getEntriesByType('navigation')[0].responseStatus")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_in_is_accessible() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = guarded_site().await;
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        browser.open(&site.url("/clients")).await;
        browser.expect_url("/sign-in?next=/clients").await;
        problems.extend(look_at(&browser, "sign-in", look).await);
        let focus = browser.evaluate("return document.activeElement.name").await;
        assert_eq!(focus, "token");
        browser.type_here("wrong-token-0123456789\u{e007}").await;
        browser.expect("[role=alert]", "not a token").await;
        assert_eq!(status(&browser).await, 401);
        problems.extend(look_at(&browser, "sign-in-wrong", look).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_an_empty_store_is_accessible() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    // The others are about something, which an empty store lacks.
    let shown = shown().into_iter().map(|path| path.replace("{month}", "2026-02"));
    let shown: Vec<String> = shown.filter(|path| !path.contains('{')).collect();
    assert!(shown.len() > 10, "{shown:?}");
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        for path in &shown {
            browser.open(&site.url(path)).await;
            assert_eq!(status(&browser).await, 200, "{path}");
            let name = format!("empty{}", path.replace('/', "-"));
            problems.extend(look_at(&browser, &name, look).await);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_are_accessible() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        browser.open(&site.url("/")).await;
        browser.press("?").await;
        browser
            .wait_until("the keys", "return document.getElementById('keys').open")
            .await;
        problems.extend(look_at(&browser, "keys", look).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_a_rare_state_are_accessible() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    tripped(&site).await;
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        browser.open(&site.url("/")).await;
        browser.expect(".verdict.bad", "breaker stopped").await;
        problems.extend(look_at(&browser, "rare-tripped", look).await);
        // Nothing had happened by the end of that month.
        browser.open(&site.url("/statements/2025-11/close")).await;
        browser.expect("main", "The month is not closed").await;
        problems.extend(look_at(&browser, "rare-month-not-closed", look).await);
        browser.open(&site.url("/clients")).await;
        browser.press("j").await;
        browser
            .wait_until("a row", "return document.querySelector('tr.selected') !== null")
            .await;
        problems.extend(look_at(&browser, "rare-selected-row", look).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_errors_are_accessible_and_say_what_to_do() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = guarded_site().await;
    site.dead("http", "it is not JSON", b"x", &[]).await;
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        sign_in(&browser, &site, ANN).await;
        for (name, path, code, heading) in [
            ("unknown-path", "/nothing", 404, "Not found"),
            ("unknown-client", "/clients/acme/nobody", 404, "Not found"),
            ("unknown-dead-letter", "/dead-letters/99", 404, "Not found"),
            ("unknown-sweep", "/sweeps/spring-clean/pause", 404, "Not found"),
            ("unknown-verb", "/sweeps/access-expiry/stop", 404, "Not found"),
            (
                "not-valid",
                "/clients?link=blue",
                400,
                "This request is not valid",
            ),
            (
                "not-a-moment",
                "/clients/acme/x?at=soon",
                400,
                "This request is not valid",
            ),
            (
                "no-such-method",
                "/dead-letters/1/discard",
                405,
                "Nothing to show here",
            ),
        ] {
            browser.open(&site.url(path)).await;
            assert_eq!(status(&browser).await, code, "{path}");
            assert_eq!(browser.text("h1").await, heading, "{path}");
            browser.expect("main", "Go to the overview").await;
            // `/openapi.json` is for programs.
            assert!(!browser.text("main").await.contains("openapi"), "{path}");
            problems.extend(look_at(&browser, &format!("error-{name}"), look).await);
        }
        // The session ends before the form is sent.
        browser.open(&site.url("/sweeps/access-expiry/pause")).await;
        pass(&site, chrono::TimeDelta::hours(2));
        confirm(&browser, "Pause").await;
        browser.expect("h1", "Not signed in").await;
        assert_eq!(status(&browser).await, 401);
        problems.extend(look_at(&browser, "error-signed-out", look).await);
        sign_in(&browser, &site, EVE).await;
        browser.open(&site.url("/sweeps/access-expiry/pause")).await;
        browser.expect("h1", "Not allowed").await;
        assert_eq!(status(&browser).await, 403);
        problems.extend(look_at(&browser, "error-not-allowed", look).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_starting_says_so_in_a_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let mut site = Site::start(noon(), &[]).await;
    site.stop().await;
    let api = site.serve_closed().await;
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        browser.open(&site.url("/clients")).await;
        assert_eq!(status(&browser).await, 503);
        browser.expect("h1", "Not available at the moment").await;
        problems.extend(look_at(&browser, "error-starting", look).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    // The link works as soon as the worker does.
    api.open(Arc::clone(&site.engine));
    browser.click_text("a", "Load the page again").await;
    browser.expect("h1", "Clients").await;
}
