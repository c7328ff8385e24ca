//! Every page: what it shows, how it looks, and that it reads without scripts.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tenure::config::{Scope, Settings};
use tenure::console;

use super::browser::{Browser, Look};
use super::site::{Site, Year, by, noon, year};
use super::stage::{guarded_site, look_at, too_wide};
use crate::support::http_client;
use crate::support::site::Site as Servers;

/// Every page, with a name for its picture and a text that it shows.
pub fn pages(year: &Year) -> Vec<(&'static str, String, &'static str)> {
    let client = format!("/clients/{}", year.client);
    vec![
        ("overview", "/".into(), "Events, last hour"),
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
            "what-if-invalid",
            "/what-if?access.idle=soon".into(),
            "This is not a policy.",
        ),
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
        ("dead-letters-group", year.group.clone(), "First seen"),
        ("refusals", "/refusals".into(), "still refused"),
        ("sources", "/sources".into(), "/partner-space"),
        ("policy", "/policy".into(), "agreed with the agencies"),
        ("webhooks", "/webhooks".into(), "Last delivery"),
        ("audit", "/audit".into(), "sweep.pause"),
        ("not-found", "/clients/acme/nobody".into(), "Unknown client"),
    ]
}

/// The paths of all pages that show something, from the table of the routes.
pub fn shown() -> Vec<String> {
    let settings = Settings::load(None, std::iter::empty()).expect("settings");
    let pages = console::pages(&settings);
    let read = pages
        .table()
        .iter()
        .filter(|(_, needs)| needs.scope == Scope::Read);
    // A download and a stream are no pages.
    read.map(|(path, _)| path.clone())
        .filter(|path| !["/clients.csv", "/console/live"].contains(&path.as_str()))
        .collect()
}

/// Whether a route serves an address.
pub fn serves(route: &str, address: &str) -> bool {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    let mut parts = route.iter().zip(&path);
    route.len() == path.len() && parts.all(|(part, given)| part.starts_with('{') || part == given)
}

#[test]
fn every_route_that_shows_something_has_a_picture() {
    let pages = pages(year());
    let without = shown().into_iter().filter(|route| {
        let mut found = pages.iter().filter(|(name, ..)| *name != "not-found");
        !found.any(|(_, address, _)| serves(route, address))
    });
    assert_eq!(without.collect::<Vec<_>>(), Vec::<String>::new());
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

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_right_on_a_dark_phone() {
    every_page_is_right(Look::DarkPhone).await;
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

/// In a window that is too narrow for every table, the table scrolls in its card.
#[tokio::test(flavor = "multi_thread")]
async fn the_heads_of_a_long_table_stay_in_a_narrow_window() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser
        .cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": 900, "height": 700, "deviceScaleFactor": 1, "mobile": false}),
        )
        .await;
    browser.open(&year().url("/clients")).await;
    browser.expect("h1", "Clients").await;
    let places = browser
        .evaluate(
            "const box = document.querySelector('.card.flush > .scroll');
            box.scrollTo(0, 800);
            const top = part => Math.round(part.getBoundingClientRect().top);
            return [box.scrollTop > 400, box.clientHeight < innerHeight, top(box.querySelector('thead th')) - top(box)];",
        )
        .await;
    assert_eq!(places, json!([true, true, 0]));
    // Paper does not scroll.
    browser
        .cdp("Emulation.setEmulatedMedia", json!({"media": "print"}))
        .await;
    let is_whole = browser
        .evaluate(
            "const box = document.querySelector('.card.flush > .scroll');
            return box.clientHeight > innerHeight && box.scrollHeight === box.clientHeight;",
        )
        .await;
    assert_eq!(is_whole, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_anywhere_in_a_row_opens_it_but_not_on_other_links() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    browser.open(&year.url("/clients")).await;
    let client = browser
        .evaluate("return document.querySelector('tbody tr[data-row] a').pathname")
        .await;
    browser.click("tbody tr[data-row] td:last-child").await;
    browser
        .wait_until("the row", &format!("return location.pathname === {client}"))
        .await;
    // A worker that is gone has a button, which is not the way to its page.
    let site = Site::start(noon(), &[]).await;
    site.worker("tenure-1-5f0c2a9e").await;
    site.clock.set(noon() + TimeDelta::minutes(3));
    browser.open(&site.url("/#workers")).await;
    let gone = "#workers tr:has(.button) td:last-child";
    let sweep = "tr[data-row]:has(a[href=\"/sweeps#access-expiry\"]) td:last-child";
    assert_eq!(
        followed(&browser, &[gone, sweep]).await,
        json!(["/sweeps#access-expiry"])
    );
    // The link of an entry to all of its author filters the list, and an id is there to be selected.
    let authority = by("the books are closed");
    let operator = site.engine.operator(&authority);
    operator
        .record("prune", None, json!(null))
        .await
        .expect("recorded");
    browser.open(&site.url("/audit")).await;
    let (reason, action) = ("tr[data-row] td:last-child", "tr[data-row] code");
    assert_eq!(followed(&browser, &[reason, action]).await, json!([]));
}

/// Where clicks on elements lead.
async fn followed(browser: &Browser, clicked: &[&str]) -> serde_json::Value {
    let script = format!(
        "const followed = []; \
         document.addEventListener('click', event => {{ \
           const link = event.target.closest('a'); \
           if (link) {{ followed.push(link.getAttribute('href')); event.preventDefault(); }} \
         }}); \
         {}.forEach(css => document.querySelector(css).click()); \
         return followed",
        json!(clicked)
    );
    browser.evaluate(&script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_reads_without_scripts() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    browser.scripts(false).await;
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        for (name, path, text) in pages(year) {
            browser.open(&year.url(&path)).await;
            browser.expect("body", text).await;
            problems.extend(too_wide(&browser, &format!("{name} {}", look.name())).await);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    browser.look(Look::Light).await;
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

/// What in the text of a page would need an exception in its policy: scripts and styles that are not files of the console.
fn inline(page: &str) -> Vec<&str> {
    // Text of others is escaped: outside of tags there is no `<`.
    let tags = page.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    let is_inline = |tag: &&str| {
        let tag = tag.to_lowercase();
        let is_script = tag.starts_with("script") && !tag.contains("src=\"/assets/console.");
        let handles = tag
            .split_whitespace()
            .any(|part| part.starts_with("on") && part.contains('='));
        is_script
            || handles
            || tag.starts_with("style")
            || tag.contains(" style=")
            || tag.contains("javascript:")
    };
    tags.filter(is_inline).collect()
}

#[tokio::test]
async fn no_page_has_a_script_or_a_style_of_its_own_and_each_forbids_them() {
    let year = year();
    let site = guarded_site().await;
    let mut urls: Vec<String> = pages(year).iter().map(|(_, path, _)| year.url(path)).collect();
    urls.extend(["/nothing", "/clients?link=blue", "/dead-letters/1/discard"].map(|path| year.url(path)));
    urls.push(site.url("/sign-in"));
    for url in urls {
        let request = http_client().get(&url).header("accept", "text/html");
        let page = request.send().await.expect("a response");
        let policy = page.headers().get("content-security-policy");
        let policy = policy.and_then(|policy| policy.to_str().ok()).unwrap_or_default();
        assert!(
            policy.contains("default-src '") && !policy.contains("unsafe"),
            "{url}: {policy}"
        );
        let text = page.text().await.expect("text");
        assert!(text.contains("</html>"), "{url}: {text}");
        assert_eq!(inline(&text), Vec::<&str>::new(), "{url}");
    }
    for harmful in [
        "<p onclick=\"x()\">",
        "<script>x()</script>",
        "<style>p {}</style>",
        "<p style=\"color: red\">",
        "<a href=\"javascript:x()\">",
    ] {
        assert!(!inline(harmful).is_empty(), "{harmful}");
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
