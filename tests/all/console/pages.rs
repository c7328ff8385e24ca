//! Every page: what it shows, how it looks, and that it reads without scripts.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::axe;
use super::browser::{Browser, Look};
use super::site::{Site, Year, noon, year};
use crate::support::http_client;
use crate::support::site::Site as Servers;

/// Every page, with a name for its picture and a text that it shows.
fn pages(year: &Year) -> Vec<(&'static str, String, &'static str)> {
    let client = format!("/clients/{}", year.client);
    vec![
        ("overview", "/".into(), "Events in the last hour"),
        ("overview-day", "/?span=day".into(), "quarter of an hour"),
        ("overview-workers", "/#workers".into(), "tenure-1-5f0c2a9e"),
        ("clients", "/clients".into(), "Download CSV"),
        ("clients-tab", "/clients?tab=inactive".into(), "Inactive"),
        ("clients-search", "/clients?q=shop".into(), "By name"),
        (
            "clients-empty",
            "/clients?q=zzzz-nobody".into(),
            "No client matches",
        ),
        ("client", client.clone(), "Pending timers"),
        (
            "client-past",
            format!("{client}?at=2026-01-10T12:00"),
            "in the past",
        ),
        (
            "client-future",
            format!("{client}?at=2026-04-20T12:00:00Z"),
            "to come",
        ),
        (
            "client-before",
            format!("{client}?at=2020-01-01T00:00:00Z"),
            "had not been added yet",
        ),
        ("client-verified", format!("{client}?verify=now"), "Verified."),
        ("forecast", "/forecast?days=90".into(), "Calendar"),
        ("what-if", "/what-if".into(), "Change a value"),
        (
            "what-if-compared",
            "/what-if?access.idle=20d".into(),
            "Would be lost",
        ),
        ("statements", "/statements".into(), "next to close"),
        ("statement-closed", "/statements/2026-01".into(), "Closed"),
        ("statement-open", "/statements/2026-02".into(), "Close this month"),
        ("sweeps", "/sweeps".into(), "Expires access"),
        ("sweep-run", format!("/sweeps/runs/{}", year.run), "Swept up to"),
        ("sweep-pause", "/sweeps/access-expiry/pause".into(), "Why?"),
        ("sweep-preview", "/sweeps/access-expiry/run".into(), "Run"),
        (
            "dead-letters",
            "/dead-letters".into(),
            "Open, by reason, source and origin",
        ),
        (
            "dead-letter",
            format!("/dead-letters/{}", year.dead_letter),
            "Edit and redrive",
        ),
        ("refusals", "/refusals".into(), "still refused"),
        ("sources", "/sources".into(), "/partner-space"),
        ("policy", "/policy".into(), "agreed with the agencies"),
        ("webhooks", "/webhooks".into(), "Last delivery"),
        ("audit", "/audit".into(), "sweep.pause"),
        ("not-found", "/clients/acme/nobody".into(), "Unknown client"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_right_in_light() {
    every_page_is_right(Look::Light).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_right_in_dark() {
    every_page_is_right(Look::Dark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_right_on_a_phone() {
    every_page_is_right(Look::Phone).await;
}

/// The pictures of the README.
const DOCUMENTED: [(&str, Look); 2] = [("overview", Look::Light), ("client", Look::Dark)];

/// It shows what it must, fits into the window, is accessible, and loads nothing from elsewhere.
async fn every_page_is_right(look: Look) {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    let mut problems = Vec::new();
    browser.look(look).await;
    // The first overview may show that the accesses are still being counted.
    browser.open(&year.url("/")).await;
    for _ in 0..100 {
        if !browser.text("main").await.contains("are being counted") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        browser.open(&year.url("/")).await;
    }
    for (name, path, text) in pages(year) {
        browser.open(&year.url(&path)).await;
        let shown = browser.text("body").await;
        if !shown.contains(text) {
            problems.push(format!("{name}: no `{text}` in {shown}"));
        }
        problems.extend(look_at(&browser, name, look).await);
        if DOCUMENTED.contains(&(name, look)) {
            browser.document(&format!("console-{name}")).await;
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Keeps a picture of the page. Returns what is wrong with how it looks.
async fn look_at(browser: &Browser, name: &str, look: Look) -> Vec<String> {
    let mut problems = Vec::new();
    browser.shoot(&format!("{name}-{}", look.name())).await;
    // On a phone, the inner width grows with the content.
    let wide = browser
        .evaluate("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        .await;
    if wide.as_i64().is_none_or(|wide| wide > 0) {
        problems.push(format!("{name} is {wide} px too wide"));
    }
    if let Some(axe) = axe() {
        let found = browser.axe(axe).await;
        problems.extend(found.into_iter().map(|found| format!("{name}: {found}")));
    }
    let foreign = browser
        .evaluate("return performance.getEntriesByType('resource').map(one => one.name).filter(name => !name.startsWith(location.origin))")
        .await;
    assert_eq!(foreign, json!([]), "{name}");
    problems
}

/// The year of the other tests has no broker.
#[tokio::test(flavor = "multi_thread")]
async fn the_lanes_and_the_relay_of_a_real_worker_are_right() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let started = tokio::task::spawn_blocking(|| {
        let servers = Servers::new("console_lanes");
        let tenure = servers.tenure(&[
            ("TENURE_BROKER__LANES", "2"),
            ("TENURE_BROKER__HEARTBEAT", "200ms"),
        ]);
        let worker = tenure.run();
        let events = (0..20).map(|client| {
            json!({
                "specversion": "1.0", "id": client.to_string(), "source": "/space", "type": "client.added",
                "subject": format!("acme/c{client}"), "time": "2026-01-05T09:00:00Z",
                "data": {"name": format!("Shop {client}")},
            })
        });
        tenure.ok(&["publish", &servers.file(events)]);
        worker.wait_until("the changes", || worker.metric("tenure_events_total") > 19.5);
        worker.wait_until("depths, watermarks and the relay", || {
            let (_, page) = worker.get("/sources");
            let is_waiting = ["unknown", "no heartbeat yet", "not known yet"].map(|text| page.contains(text));
            is_waiting == [false; 3] && page.contains("all changes are published")
        });
        (servers, worker)
    });
    let (_servers, worker) = started.await.expect("a worker");
    let mut problems = Vec::new();
    for look in [Look::Light, Look::Dark, Look::Phone] {
        browser.look(look).await;
        for (name, path, texts) in [
            (
                "overview-broker",
                "/",
                &["Low watermark", "tenure.events.1", "waiting", "Changes by cause"][..],
            ),
            (
                "sources-broker",
                "/sources",
                &[
                    "Low watermark",
                    "tenure.events.1",
                    "Not published",
                    "all changes are published",
                ],
            ),
        ] {
            browser.open(&format!("http://{}{path}", worker.address)).await;
            for text in texts {
                browser.expect("main", text).await;
            }
            problems.extend(look_at(&browser, name, look).await);
        }
        let cells = browser
            .evaluate(
                "return ['Depth', 'Lag'].map(name => [...document.querySelectorAll(`td[data-label=${name}]`)] \
                 .filter(cell => /^[0-9]/.test(cell.textContent)).length)",
            )
            .await;
        assert_eq!(cells, json!([2, 2]), "each lane has a depth and a lag");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heads_of_a_long_table_stay_in_the_window() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser.look(Look::Light).await;
    browser.open(&year().url("/clients")).await;
    browser.expect("h1", "Clients").await;
    let places = browser
        .evaluate(
            "window.scrollTo(0, 800);
            const top = name => Math.round(document.querySelector(name).getBoundingClientRect().top);
            return [window.scrollY > 400, top('table.rows') < 0, top('table.rows thead th')];",
        )
        .await;
    assert_eq!(places, json!([true, true, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_reads_without_scripts() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    browser.scripts(false).await;
    for (_, path, text) in pages(year) {
        browser.open(&year.url(&path)).await;
        browser.expect("body", text).await;
    }
    // The slider, the moment and the filters are forms.
    browser
        .open(&year.url(&format!("/clients/{}", year.client)))
        .await;
    browser.click(".slider .ends button").await;
    browser.expect(".bar", "As of").await;
    browser.click_text("a", "Back to now").await;
    browser.expect(".bar", "Now").await;
    browser.open(&year.url("/clients")).await;
    browser.fill("main input[type=search]", "shop").await;
    browser.click(".filters button").await;
    browser.expect_url("q=shop").await;
    browser.shoot("clients-search-no-script").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_move_through_the_console() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    browser.open(&year.url("/")).await;
    browser.press("gc").await;
    browser
        .wait_until("the clients", "return location.pathname === '/clients'")
        .await;
    browser.press("j").await;
    browser.press("j").await;
    browser.press("k").await;
    let selected = browser.evaluate("return [...document.querySelectorAll('[data-row]')].findIndex(row => row.classList.contains('selected'))").await;
    assert_eq!(selected, 0);
    browser.press("j").await;
    let second = browser
        .evaluate("return document.querySelectorAll('[data-row]')[1].querySelector('a').pathname")
        .await;
    browser.press("\u{e007}").await;
    browser
        .wait_until("the client", &format!("return location.pathname === {second}"))
        .await;
    browser.press("/").await;
    assert_eq!(browser.evaluate("return document.activeElement.name").await, "q");
    browser.press("\u{e00c}").await;
    browser.press("?").await;
    browser
        .wait_until("the keys", "return document.getElementById('keys').open")
        .await;
    browser.shoot("keys-light").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slider_shows_another_moment_and_its_end_is_ahead() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    browser.expect("main", "enabled").await;
    // The End key moves the handle, and nothing else: the moment is shown on Enter.
    browser
        .evaluate("document.querySelector('input[type=range]').focus()")
        .await;
    browser.type_here("\u{e010}").await;
    browser.expect(".slider output", "2026-05-30 12:00 UTC").await;
    assert!(!browser.url().await.contains("at="), "the page is not loaded yet");
    browser.type_here("\u{e007}").await;
    browser
        .wait_until(
            "the moment ahead",
            "return location.search.startsWith('?at=2026-05-30')",
        )
        .await;
    browser.expect(".bar", "to come").await;
    browser.expect(".chips", "expired").await;
    assert_eq!(
        browser.evaluate("return document.body.className").await,
        "elsewhen"
    );
    // The page explains the value that it shows.
    let why = browser.text(".why").await;
    assert!(why.contains("Access") && why.contains("expired"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slider_moves_from_event_to_event_and_can_be_dragged() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let entered = noon() - TimeDelta::milliseconds(90_500);
    site.event("bakery", "account.accessed", entered, json!({"by": "partner"}))
        .await;
    site.event(
        "bakery",
        "access.disabled",
        noon() - TimeDelta::seconds(10),
        json!({}),
    )
    .await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    // No eye could tell these events apart, and no timer is pending: access is disabled.
    assert_eq!(browser.count(".axis .tick:not(.here, .present)").await, 1);
    let steps = browser
        .evaluate("return document.querySelector('input[type=range]').dataset.moment.split(' ').length")
        .await;
    assert_eq!(steps, 4, "three moments with events, and now");
    browser
        .evaluate("document.querySelector('input[type=range]').focus()")
        .await;
    // Back to the last event but one, as a screen reader says it.
    browser.type_here("\u{e012}\u{e012}").await;
    let said = browser
        .evaluate("return document.querySelector('input[type=range]').getAttribute('aria-valuetext')")
        .await;
    assert_eq!(said, "2026-03-01 11:58 UTC");
    browser.type_here("\u{e007}").await;
    // The state at this second includes the event.
    browser.expect_url("at=2026-03-01T11:58:30Z").await;
    browser.expect(".bar", "in the past").await;
    browser.expect(".chips", "enabled").await;
    browser.expect(".explained", "Last entered").await;
    // The pointer shows the moment where it releases the handle.
    let place = browser
        .evaluate(
            "const box = document.querySelector('input[type=range]').getBoundingClientRect(); \
             return [box.left + 10, box.left + box.width / 2, box.top + box.height / 2]",
        )
        .await;
    let [from, to, height] = [0, 1, 2].map(|part| place[part].as_f64().expect("a place"));
    for (kind, x) in [("mousePressed", from), ("mouseMoved", to), ("mouseReleased", to)] {
        let mouse =
            json!({"type": kind, "x": x, "y": height, "button": "left", "buttons": 1, "clickCount": 1});
        browser.cdp("Input.dispatchMouseEvent", mouse).await;
    }
    browser.expect_url("at=2026-04-1").await;
    browser.expect(".bar", "to come").await;
    // A moment can be typed.
    browser
        .evaluate("document.querySelector('input[name=at]').value = '2026-03-01T11:30:00'")
        .await;
    browser.click(".slider .row button").await;
    browser.expect_url("at=2026-03-01T11%3A30").await;
    browser.expect(".chips", "enabled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_joined_to_what_it_corrects() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let at = noon() - TimeDelta::minutes(30);
    // The request is refused at first, and the late event makes access disabled before it.
    site.event("bakery", "access.requested", at, json!({})).await;
    site.event(
        "bakery",
        "client.renamed",
        at + TimeDelta::minutes(5),
        json!({"name": "Bakery"}),
    )
    .await;
    site.event("bakery", "access.denied", at + TimeDelta::minutes(10), json!({}))
        .await;
    site.event(
        "bakery",
        "user.removed",
        at + TimeDelta::minutes(12),
        json!({"user_id": "nobody"}),
    )
    .await;
    site.event("bakery", "access.disabled", at - TimeDelta::minutes(5), json!({}))
        .await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    // Each line has two ends, one at the correction.
    let ends = browser
        .evaluate("return ['.joint.down', '.joint.up', '.correction .joint:not(.through)'].map(css => document.querySelectorAll(css).length)")
        .await;
    let [down, up, corrections] = [0, 1, 2].map(|part| ends[part].as_u64().expect("a number"));
    assert!(down > 0 && down == up && corrections >= down, "{ends}");
    // It is unbroken: the parts of a lane touch each other.
    let gaps = browser
        .evaluate(
            "const gaps = []; let bottom; \
             for (const joint of document.querySelectorAll('.joint.n0')) { \
               const box = joint.getBoundingClientRect(); \
               if (!joint.classList.contains('down') && Math.abs(box.top - bottom) > 1) gaps.push([bottom, box.top]); \
               bottom = box.bottom; \
             } \
             return gaps",
        )
        .await;
    assert_eq!(gaps, json!([]));
    // Text says the same, and leads from each end to the other.
    let there = browser
        .evaluate(
            "const correction = document.querySelector('.correction a[href^=\"#l\"]'); \
             const corrected = document.querySelector(correction.getAttribute('href')); \
             const back = corrected.querySelector('a[href^=\"#l\"]'); \
             return [correction.textContent.startsWith('corrects '), back.textContent.startsWith('corrected by '), \
               document.querySelector(back.getAttribute('href')) === correction.closest('li')]",
        )
        .await;
    assert_eq!(there, json!([true, true, true]));
    assert_eq!(
        browser
            .evaluate("return [...document.querySelectorAll('.joint, .mark')].every(one => one.getAttribute('aria-hidden') === 'true')")
            .await,
        true
    );
    // A refusal is struck through, with what became of it.
    let refused = browser.text(".story .refused").await;
    assert!(
        refused.contains("user.removed") && refused.contains("still refused"),
        "{refused}"
    );
    let struck = browser
        .evaluate(
            "return getComputedStyle(document.querySelector('.story .refused .what b')).textDecorationLine",
        )
        .await;
    assert_eq!(struck, "line-through");
    let tale = browser.text(".tale").await;
    assert!(
        tale.contains("applied after all, because an earlier event arrived late"),
        "{tale}"
    );
    browser.shoot("client-corrected-light").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_begins_with_now_and_timers_are_clocks() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    let tale = browser.text(".tale").await;
    let places = [
        "Now",
        "To come, if no event arrives",
        "Access expiry",
        "Until now",
        "invitation.accepted",
    ]
    .map(|text| tale.find(text).unwrap_or_else(|| panic!("no {text} in {tale}")));
    assert!(places.is_sorted(), "{tale}");
    let line = browser
        .evaluate("return getComputedStyle(document.querySelector('.tale .now')).borderTopStyle")
        .await;
    assert_eq!(line, "dashed");
    // The hands of a clock.
    assert!(browser.count(".story.future .expected .mark circle + path").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_a_client_leads_to_why_it_is_so() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    for query in ["", "?story=all"] {
        browser
            .open(&year.url(&format!("/clients/{}{query}", year.client)))
            .await;
        let values = browser
            .evaluate(
                "return [...document.querySelectorAll('.explained dt')].map(name => { \
                   const links = [...name.nextElementSibling.querySelectorAll('a[href*=\"#\"]')]; \
                   const found = links.filter(link => link.getAttribute('href').startsWith('#')) \
                     .every(link => document.getElementById(decodeURIComponent(link.hash.slice(1)))); \
                   return [name.textContent, links.length > 0, found]; \
                 })",
            )
            .await;
        let values: Vec<(String, bool, bool)> = serde_json::from_value(values).expect("values");
        assert!(values.len() > 15, "{values:?}");
        for (name, is_explained, is_found) in values {
            assert!(is_explained && is_found, "{name}: {is_explained} {is_found}");
        }
    }
    // A link to an explanation that is folded opens it.
    browser.scripts(false).await;
    browser
        .open(&year.url(&format!("/clients/{}#why-visible", year.client)))
        .await;
    let why = browser.expect("#why-visible", "What would change it").await;
    assert!(why.contains("dashboard"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_change_in_place() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    browser.open(&site.url("/")).await;
    browser
        .wait_until(
            "connected",
            "return document.querySelector('#live .dot').classList.contains('on')",
        )
        .await;
    browser.evaluate("window.same = true").await;
    site.linked("bakery").await;
    site.dead("http", "it is not JSON", b"x", &[]).await;
    browser
        .wait_until(
            "the figures",
            "return document.querySelector('[data-live=events]').textContent === '4' \
             && document.querySelector('[data-live=\"dead-letters\"]').textContent === '1'",
        )
        .await;
    assert_eq!(
        browser.evaluate("return window.same").await,
        Value::Bool(true),
        "the page was not loaded again"
    );
    assert_eq!(
        browser
            .evaluate("return document.getElementById('stale').hidden")
            .await,
        Value::Bool(false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_worker_says_what_to_do() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    for (name, path, text) in [
        ("empty-overview", "/", "Send events over RabbitMQ"),
        ("empty-clients", "/clients", "adds the first"),
        ("empty-sweeps", "/sweeps", "No run yet"),
        ("empty-dead-letters", "/dead-letters", "No open dead letters"),
        ("empty-refusals", "/refusals", "No refused event"),
        ("empty-forecast", "/forecast", "No timer fires"),
        ("empty-statement", "/statements/2026-02", "No client has a day"),
        ("empty-sources", "/sources", "No source is expected"),
        ("empty-audit", "/audit", "No entry"),
    ] {
        browser.open(&site.url(path)).await;
        let shown = browser.text("body").await;
        assert!(shown.contains(text), "{name}: {shown}");
        browser.shoot(&format!("{name}-light")).await;
    }
}

#[tokio::test]
async fn responses_have_strict_headers_and_assets_are_kept() {
    let site = Site::start(noon(), &[]).await;
    site.clock.set(noon() + TimeDelta::days(1));
    let client = http_client();
    let get = async |path: &str| client.get(site.url(path)).send().await.expect("a response");
    let page = get("/").await;
    let header = |response: &reqwest::Response, name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("text").to_owned())
            .unwrap_or_default()
    };
    let policy = header(&page, "content-security-policy");
    assert!(
        policy.starts_with("default-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(header(&page, "cache-control"), "no-store");
    let text = page.text().await.expect("text");
    for forbidden in ["style=", "<style", "onclick", "javascript:", "<script>"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
    let mut bytes = 0;
    for (kind, begin) in [
        ("css", "href=\"/assets/console."),
        ("js", "src=\"/assets/console."),
    ] {
        let at = text.find(begin).expect("an asset") + begin.len() - "/assets/console.".len();
        let path = &text[at..at + text[at..].find('"').expect("its end")];
        let asset = get(path).await;
        assert_eq!(asset.status(), 200, "{kind} {path}");
        assert!(header(&asset, "cache-control").contains("immutable"));
        bytes += asset.bytes().await.expect("bytes").len();
    }
    assert!(bytes < 40_000, "{bytes} bytes");
    assert_eq!(get("/assets/console.0000000000000000.css").await.status(), 404);
    assert_eq!(get("/clients/acme/nobody").await.status(), 404);
}

#[tokio::test]
async fn downloads_have_what_the_page_lists() {
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
    assert!(!get("/clients.csv?tab=active").await.contains("draft"));
    let month = get("/statements/2026-03?format=csv").await;
    assert!(month.contains("acme/bakery,2026-03,0,1,1,1"), "{month}");
}
