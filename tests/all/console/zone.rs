//! Time zones: a reader elsewhere sees their own time beside UTC, on every page.

use chrono::{DateTime, Datelike as _, FixedOffset, Utc};
use serde_json::json;

use super::browser::{Browser, Look};
use super::pages::pages;
use super::site::{Site, noon, year};
use super::stage::too_wide;

/// Puts the browser into a time zone, with the dates of Britain.
async fn move_to(browser: &Browser, zone: &str) {
    browser
        .cdp("Emulation.setLocaleOverride", json!({"locale": "en-GB"}))
        .await;
    browser
        .cdp("Emulation.setTimezoneOverride", json!({"timezoneId": zone}))
        .await;
}

/// A moment as a page shows it to a reader in Britain's words, so many minutes east of UTC.
fn own(at: DateTime<Utc>, minutes: i32) -> String {
    let offset = FixedOffset::east_opt(minutes * 60).expect("an offset");
    let text = at.with_timezone(&offset).format("%-d %b %Y, %H:%M");
    format!("{} your time", text.to_string().replace(" Sep ", " Sept "))
}

/// As [`own`], with the day only if it is another one than in UTC.
fn short(at: DateTime<Utc>, minutes: i32) -> String {
    let offset = FixedOffset::east_opt(minutes * 60).expect("an offset");
    let own = at.with_timezone(&offset);
    let form = if own.day() == at.day() {
        "%H:%M"
    } else {
        "%-d %b, %H:%M"
    };
    format!(
        "{} your time",
        own.format(form).to_string().replace(" Sep,", " Sept,")
    )
}

/// A `<time>` of a page.
#[derive(serde::Deserialize)]
struct Time {
    datetime: DateTime<Utc>,
    text: String,
    title: String,
    /// Whether the own time has its date too.
    is_full: bool,
    /// What stands beside it.
    beside: Option<String>,
    /// Whether that is not hidden.
    is_shown: bool,
}

async fn times(browser: &Browser) -> Vec<Time> {
    let times = browser
        .evaluate(
            "return [...document.querySelectorAll('time')].filter(time => !time.closest('#live')).map(time => { \
               const next = time.nextElementSibling; \
               return {datetime: time.dateTime, text: time.textContent, title: time.title, is_full: 'own' in time.dataset, \
                 beside: next?.classList.contains('own') ? next.textContent : null, \
                 is_shown: next !== null && getComputedStyle(next).display !== 'none'}})",
        )
        .await;
    serde_json::from_value(times).expect("times")
}

/// The texts with a time of day in UTC that are in no `<time>`. Ids, code and messages are shown as they are, and an example is no
/// moment.
async fn bare_times(browser: &Browser) -> Vec<String> {
    let texts = browser
        .evaluate(
            "const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); const found = []; \
             const bare = /\\d:\\d\\d(:\\d\\d)?(\\.\\d+)?\\s+UTC|\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d/; \
             while (walker.nextNode()) { \
               const node = walker.currentNode; \
               if (bare.test(node.textContent.replace(/such as \\S+/, '')) && !node.parentElement.closest('time, code, pre, textarea, script, .id, #live')) \
                 found.push(node.parentElement.outerHTML.slice(0, 200)); \
             } \
             return found",
        )
        .await;
    serde_json::from_value(texts).expect("texts")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_has_the_readers_own_time_beside_utc() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    // It is half an hour away from whole hours.
    move_to(&browser, "Asia/Kolkata").await;
    let mut problems = Vec::new();
    let mut seen = 0;
    for look in [Look::Light, Look::Phone] {
        browser.look(look).await;
        for (name, path, _) in pages(year) {
            browser.open(&year.url(&path)).await;
            for time in times(&browser).await {
                let own = own(time.datetime, 330);
                let utc = time.datetime.format("%H:%M").to_string();
                assert!(
                    time.text.contains(&utc),
                    "{name}: {} for {}",
                    time.text,
                    time.datetime
                );
                assert!(time.title.ends_with(&own), "{name}: no {own} in {}", time.title);
                let beside = if time.is_full {
                    own
                } else {
                    short(time.datetime, 330)
                };
                if time.beside.as_deref() != Some(&*beside) || !time.is_shown {
                    problems.push(format!(
                        "{name}: {:?} beside {}, not {beside}",
                        time.beside, time.text
                    ));
                }
                seen += 1;
            }
            let bare = bare_times(&browser).await;
            problems.extend(bare.iter().map(|text| format!("{name}: no <time> in {text}")));
            problems.extend(too_wide(&browser, name).await);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(seen > 600, "{seen} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_time_is_that_of_the_zone_on_that_day() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    for (zone, at, shown) in [
        // Before and after the clocks go forward.
        (
            "America/New_York",
            "2026-03-01T11:30:00Z",
            Some("1 Mar 2026, 06:30 your time"),
        ),
        (
            "America/New_York",
            "2026-03-08T11:30:00Z",
            Some("8 Mar 2026, 07:30 your time"),
        ),
        // Another day.
        (
            "Pacific/Auckland",
            "2026-03-01T11:30:00Z",
            Some("2 Mar 2026, 00:30 your time"),
        ),
        ("UTC", "2026-03-01T11:30:00Z", None),
    ] {
        move_to(&browser, zone).await;
        browser
            .open(&site.url(&format!("/clients/acme/bakery?at={at}")))
            .await;
        let bar = browser.expect(".bar", "11:30 UTC").await;
        match shown {
            Some(shown) => assert!(bar.contains(shown), "{zone}: {bar}"),
            None => assert!(!bar.contains("your time"), "{bar}"),
        }
        // The moment that is chosen is in UTC, as its label says.
        let field = browser
            .evaluate("return document.querySelector('[type=datetime-local]').value")
            .await;
        assert!(
            field.as_str().is_some_and(|field| field.contains("T11:30")),
            "{field}"
        );
        browser
            .evaluate("document.querySelector('input[type=range]').focus()")
            .await;
        browser.type_here("\u{e010}").await;
        browser.expect(".slider output", "2026-05-30 12:00 UTC").await;
    }
    browser.scripts(false).await;
    move_to(&browser, "America/New_York").await;
    browser
        .open(&site.url("/clients/acme/bakery?at=2026-03-01T11:30:00Z"))
        .await;
    let bar = browser.expect(".bar", "11:30 UTC").await;
    assert!(!bar.contains("your time"), "{bar}");
}
