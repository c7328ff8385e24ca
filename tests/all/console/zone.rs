//! Time zones: a reader elsewhere sees their own time beside UTC, on every page.

use chrono::{DateTime, FixedOffset, Utc};
use serde_json::json;

use super::browser::Browser;
use super::pages::pages;
use super::site::{Site, noon, year};

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

/// A `<time>` of a page.
#[derive(serde::Deserialize)]
struct Time {
    datetime: DateTime<Utc>,
    text: String,
    title: String,
    /// Whether there is room beside it.
    has_room: bool,
    /// What stands beside it.
    beside: Option<String>,
}

async fn times(browser: &Browser) -> Vec<Time> {
    let times = browser
        .evaluate(
            "return [...document.querySelectorAll('main time[datetime]')].map(time => ({ \
               datetime: time.dateTime, text: time.textContent, title: time.title, \
               has_room: 'own' in time.dataset && !time.closest('#live'), \
               beside: time.nextElementSibling?.classList.contains('own') ? time.nextElementSibling.textContent : null}))",
        )
        .await;
    serde_json::from_value(times).expect("times")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_has_the_readers_own_time_beside_utc() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    // It is half an hour away from whole hours.
    move_to(&browser, "Asia/Kolkata").await;
    let (mut seen, mut beside) = (0, 0);
    for (name, path, _) in pages(year) {
        browser.open(&year.url(&path)).await;
        for time in times(&browser).await {
            let own = own(time.datetime, 330);
            let utc = time.datetime.format("%H:%M").to_string();
            // Some show the day only.
            let is_utc = time.text.contains(&utc) || !time.text.contains(':');
            assert!(is_utc, "{name}: {} for {}", time.text, time.datetime);
            assert!(time.title.ends_with(&own), "{name}: no {own} in {}", time.title);
            if time.has_room {
                assert_eq!(time.beside.as_deref().map(str::trim), Some(&*own), "{name}");
                beside += 1;
            }
            seen += 1;
        }
    }
    assert!(seen > 300 && beside > 3, "{seen} times, {beside} with room");
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
