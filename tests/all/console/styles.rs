//! What the style sheet makes of a page, where no picture is compared: numbers, widths, the tint of another moment, and ticks.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::browser::{Browser, Look};
use super::site::{Site, noon, year};

/// Gives the window a size.
async fn resize(browser: &Browser, width: u32) {
    browser
        .cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}),
        )
        .await;
}

/// The cells with a number that is not aligned with those above and below it, and how many cells have one. What a change leads from
/// and to is text, also where it looks like a number.
const NUMBERS: &str = r"
    const cells = [...document.querySelectorAll('main table:not(.calendar) td')]
        .filter(cell => !['From', 'To'].includes(cell.dataset.label))
        .filter(cell => cell.matches('.num') || /^[−+]?\d[\d\u202f]*\+?$/.test(cell.textContent.trim()));
    const isAligned = cell => {
        const style = getComputedStyle(cell);
        return ['right', 'end'].includes(style.textAlign) && style.fontVariantNumeric.includes('tabular-nums');
    };
    const head = cell => cell.closest('table').tHead?.rows[0].cells[cell.cellIndex];
    const wrong = cells.filter(cell => !isAligned(cell) || (head(cell) && !isAligned(head(cell))));
    return [wrong.map(cell => cell.outerHTML), cells.length];";

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_aligned_and_their_digits_have_one_width() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    for look in [Look::Light, Look::Phone] {
        browser.look(look).await;
        let mut cells = 0;
        for path in [
            "/",
            "/forecast?days=90",
            "/what-if?access.idle=20d",
            "/statements",
            "/statements/2026-01",
            "/sweeps",
            "/dead-letters",
            "/sources",
        ] {
            browser.open(&year.url(path)).await;
            let found = browser.evaluate(NUMBERS).await;
            assert_eq!(found[0], json!([]), "{path} {}", look.name());
            cells += found[1].as_u64().expect("a number");
        }
        assert!(cells > 100, "{cells} cells have a number");
        browser.open(&year.url("/")).await;
        let figures = browser
            .evaluate(
                "return [...document.querySelectorAll('.figure b')].map(figure => { \
                   const style = getComputedStyle(figure); \
                   return [style.fontSize, style.fontVariantNumeric] \
                 })",
            )
            .await;
        let expected = [["24px", "tabular-nums"]; 6];
        assert_eq!(figures, json!(expected));
    }
}

/// The figures that count events have a line of the last hour, minute by minute.
#[tokio::test(flavor = "multi_thread")]
async fn figures_of_the_last_hour_have_a_line() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser.look(Look::Light).await;
    browser.open(&year().url("/")).await;
    let lines = browser
        .evaluate(
            "const root = getComputedStyle(document.documentElement); \
             const probe = document.createElement('i'); \
             document.body.append(probe); \
             const painted = name => { probe.style.color = root.getPropertyValue(name); return getComputedStyle(probe).color }; \
             return [['events', '--c1'], ['changes', '--c6'], ['refused', '--c3']].map(([name, hue]) => { \
               const line = document.querySelector(`.figure:has([data-live=${name}]) svg polyline`); \
               return [line.getAttribute('points').trim().split(/\\s+/).length, getComputedStyle(line).stroke === painted(hue)] \
             })",
        )
        .await;
    let expected = [(60, true); 3];
    assert_eq!(lines, json!(expected));
}

/// Where the navigation and the content are: left, top, width.
async fn places(browser: &Browser) -> [[i64; 3]; 2] {
    let places = browser
        .evaluate(
            "return ['.side', 'main'].map(css => { \
               const box = document.querySelector(css).getBoundingClientRect(); \
               return [box.left, box.top, box.width].map(Math.round) \
             })",
        )
        .await;
    serde_json::from_value(places).expect("places")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_navigation_is_on_the_left_and_a_bar_at_the_top_of_a_narrow_window() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    for width in [721, 1_280, 1_920] {
        resize(&browser, width).await;
        browser.open(&year.url("/clients")).await;
        let [side, main] = places(&browser).await;
        assert_eq!((side, main[0], main[1]), ([0, 0, 220], 220, 0), "{width}");
        browser.evaluate("window.scrollTo(0, 400)").await;
        let [side, main] = places(&browser).await;
        assert!(
            main[1] < -100 && side[1] == 0,
            "the navigation stays in a window of {width} px: {side:?} {main:?}"
        );
    }
    // On a wide window, lines do not become too long to be read.
    let boxes = browser
        .evaluate(
            "return [...document.querySelectorAll('main > .card')].map(card => { \
               const style = getComputedStyle(card); \
               return [card.getBoundingClientRect().width, style.borderTopWidth, style.borderTopLeftRadius, style.boxShadow] \
             })",
        )
        .await;
    let boxes = boxes.as_array().expect("cards");
    assert!(!boxes.is_empty());
    for card in boxes {
        assert_eq!(card, &json!([1_200, "1px", "8px", "none"]));
    }
    for width in [390, 719] {
        resize(&browser, width).await;
        browser.open(&year.url("/clients")).await;
        let [side, main] = places(&browser).await;
        let whole = i64::from(width);
        assert_eq!((side, main[0], main[2]), ([0, 0, whole], 0, whole), "{width}");
        let links = browser
            .evaluate(
                "const bar = document.querySelector('.side').getBoundingClientRect(); \
                 const tops = [...document.querySelectorAll('.side nav a')].map(link => link.getBoundingClientRect().top); \
                 return [new Set(tops).size, document.querySelector('main').getBoundingClientRect().top >= bar.bottom, bar.height < 200]",
            )
            .await;
        assert_eq!(links, json!([1, true, true]), "the links are in one line");
    }
}

/// The ground of a page, and that of its first card.
async fn grounds(browser: &Browser, path: &str) -> Value {
    browser.open(&year().url(path)).await;
    browser
        .evaluate(
            "const ground = getComputedStyle(document.body); \
             return [ground.backgroundImage + ground.backgroundColor, getComputedStyle(document.querySelector('.card')).backgroundColor]",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_moment_has_a_tint() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let client = format!("/clients/{}", year().client);
    for look in Look::ALL {
        browser.look(look).await;
        let now = grounds(&browser, &client).await;
        let past = grounds(&browser, &format!("{client}?at=2026-01-10T12:00")).await;
        let future = grounds(&browser, &format!("{client}?at=2026-04-20T12:00")).await;
        assert_ne!(now[0], past[0], "{}", look.name());
        assert_eq!(past, future, "{}", look.name());
        assert_eq!(now[1], past[1], "a card is as always: {}", look.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_shows_the_same_page_as_it_is_now_without_scripts() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    browser.scripts(false).await;
    for look in [Look::Light, Look::Phone] {
        browser.look(look).await;
        let client = format!("bakery-{}", look.name());
        browser
            .open(&site.url(&format!("/clients?q={client}&by=name")))
            .await;
        browser.expect("main", "No client matches").await;
        site.linked(&client).await;
        browser.click_text("a", "Refresh").await;
        browser.expect("tbody", &client).await;
        browser.expect_url(&format!("q={client}&by=name")).await;
    }
}

/// Nobody who cannot tell their colours apart takes one for the other.
#[tokio::test(flavor = "multi_thread")]
async fn ticks_of_refused_events_have_another_shape() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    site.event(
        "bakery",
        "user.removed",
        noon() - TimeDelta::minutes(10),
        json!({"user_id": "nobody"}),
    )
    .await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    let ticks = browser
        .evaluate(
            "const line = document.querySelector('.axis .base').getBoundingClientRect().top; \
             const ticks = [...document.querySelectorAll('.axis .tick:not(.here, .present)')]; \
             return [true, false].map(isRefused => { \
               const boxes = ticks.filter(tick => tick.matches('.refused') === isRefused).map(tick => tick.getBoundingClientRect()); \
               return [boxes.length > 0, boxes.every(box => isRefused ? box.top >= line - 1 && box.height > 3 : box.bottom <= line + 1)] \
             })",
        )
        .await;
    assert_eq!(ticks, json!([[true, true], [true, true]]));
    browser.shoot("slider-refused-light").await;
}
