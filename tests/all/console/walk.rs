//! An operator's questions, answered from the console alone, on the year of `tenure demo --serve`.

use tempfile::TempDir;

use super::browser::Browser;
use crate::support::tenure::{Spawned, Tenure};

/// The reason that the operator gives.
const WHY: &str = "asked by the agency";

/// The demo, and the address of its console.
struct Demo {
    url: String,
    _running: Spawned,
    _folder: TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tenure = Tenure::new(folder.path(), &[]);
        let mut running = tenure.spawn(&["demo", "--clients", "60", "--serve", "--port", "0"]);
        let line = running.wait_for_stdout("Serving http://127.0.0.1:");
        let (_, rest) = line.split_once("Serving ").expect("an address");
        Self {
            url: rest.split(' ').next().expect("an address").to_owned(),
            _running: running,
            _folder: folder,
        }
    }
}

async fn open(browser: &Browser, demo: &Demo, path: &str) {
    browser.open(&format!("{}{path}", demo.url)).await;
}

async fn confirm(browser: &Browser, button: &str) {
    browser.fill("input[name=reason]", WHY).await;
    browser.click_text("button", button).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_every_answer_in_the_console() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let demo = tokio::task::spawn_blocking(Demo::start).await.expect("the demo");
    is_all_well_and_who_paused_the_sweep(&browser, &demo).await;
    why_a_partner_lost_access(&browser, &demo).await;
    what_lapses_next_week(&browser, &demo).await;
    what_last_nights_sweep_changed(&browser, &demo).await;
    which_message_was_refused_and_why(&browser, &demo).await;
    the_dead_letter_is_edited_and_redriven(&browser, &demo).await;
    the_month_is_closed(&browser, &demo).await;
}

async fn is_all_well_and_who_paused_the_sweep(browser: &Browser, demo: &Demo) {
    open(browser, demo, "/").await;
    let verdict = browser.text(".verdict").await;
    assert!(verdict.contains("Subscription end was paused"), "{verdict}");
    browser.click_text("a", "Subscription end was paused").await;
    let sweep = browser.text("#subscription-end").await;
    assert!(
        sweep.contains("by ann") && sweep.contains("until Friday"),
        "{sweep}"
    );
    browser.click("#subscription-end a[href^='/audit']").await;
    let entry = browser.text("tbody tr").await;
    assert!(
        entry.contains("ann") && entry.contains("sweep.pause") && entry.contains("until Friday"),
        "{entry}"
    );
}

async fn why_a_partner_lost_access(browser: &Browser, demo: &Demo) {
    open(browser, demo, "/").await;
    browser.press("gc").await;
    browser
        .wait_until("the clients", "return location.pathname === '/clients'")
        .await;
    browser
        .evaluate("document.querySelector('select[name=access]').value = 'expired'")
        .await;
    browser.click(".filters button").await;
    browser
        .wait_until("the filter", "return location.search.includes('access=expired')")
        .await;
    browser.click("tbody tr a").await;
    let why = browser.text("#why-access").await;
    assert!(why.contains("expired"), "{why}");
    browser.click("#why-access summary").await;
    let causes = browser.text("#why-access").await;
    assert!(
        causes.contains("It rests on") && causes.contains("access expired, 60 days after"),
        "{causes}"
    );
}

async fn what_lapses_next_week(browser: &Browser, demo: &Demo) {
    open(browser, demo, "/").await;
    browser.press("gf").await;
    browser
        .wait_until("the forecast", "return location.pathname === '/forecast'")
        .await;
    browser
        .evaluate("document.querySelector('select[name=days]').value = '7'")
        .await;
    browser.click(".filters button").await;
    browser
        .wait_until("the filter", "return location.search.includes('days=7')")
        .await;
    let forecast = browser.text("main").await;
    assert!(
        forecast.contains("access.expired") || forecast.contains("access.expiring"),
        "{forecast}"
    );
    browser.expect_url("days=7").await;
}

async fn what_last_nights_sweep_changed(browser: &Browser, demo: &Demo) {
    open(browser, demo, "/sweeps?sweep=access-expiry").await;
    // The newest run that changed anything.
    let run = browser
        .evaluate(
            "return [...document.querySelectorAll('tbody tr')].find(row => \
             row.querySelector('[data-label=\"Clients changed\"]').textContent !== '0').querySelector('a').pathname",
        )
        .await;
    open(browser, demo, run.as_str().expect("a run")).await;
    let changed = browser.text("main").await;
    assert!(
        changed.contains("access.expir") && changed.contains("Took effect"),
        "{changed}"
    );
}

async fn which_message_was_refused_and_why(browser: &Browser, demo: &Demo) {
    open(browser, demo, "/").await;
    browser.press("gr").await;
    browser
        .wait_until("the refusals", "return location.pathname === '/refusals'")
        .await;
    let refused = browser.text("tbody tr").await;
    let why = browser.text("td[data-label='Refused because'] .muted").await;
    assert!(!why.is_empty(), "{refused}");
    assert!(
        browser.count("td[data-label='Since then']").await > 0,
        "{refused}"
    );
}

async fn the_dead_letter_is_edited_and_redriven(browser: &Browser, demo: &Demo) {
    open(browser, demo, "/dead-letters").await;
    browser.click_text("a", "unknown event type").await;
    browser.click("table.rows tbody th a").await;
    browser.expect(".note", "client.vanished").await;
    let fixed = browser
        .evaluate(
            "return document.querySelector('textarea').value.replace('client.vanished', 'client.archived')",
        )
        .await;
    browser
        .fill("textarea", fixed.as_str().expect("the message"))
        .await;
    browser.fill("form[action$=edit] input[name=reason]", WHY).await;
    browser.click("form[action$=edit] button").await;
    let status = browser.text("[role=status]").await;
    assert!(status.contains("redriven"), "{status}");
}

async fn the_month_is_closed(browser: &Browser, demo: &Demo) {
    open(browser, demo, "/").await;
    browser.press("gm").await;
    browser
        .wait_until("the statements", "return location.pathname === '/statements'")
        .await;
    let month = browser
        .evaluate(
            "return [...document.querySelectorAll('tbody tr')].find(row => \
             row.textContent.includes('next to close')).querySelector('a').pathname",
        )
        .await;
    open(browser, demo, month.as_str().expect("a month")).await;
    browser.click_text("a", "Close this month").await;
    confirm(browser, "Close the month").await;
    // A month with warnings is asked about again.
    browser
        .wait_until(
            "the answer",
            "const main = document.querySelector('main').textContent; \
             return main.includes('Close it anyway') || main.includes('Closed by')",
        )
        .await;
    if browser.text("main").await.contains("Close it anyway") {
        browser.click_text("a", "Close it anyway").await;
        confirm(browser, "Close the month").await;
    }
    browser.expect("main", "Closed by").await;
    browser.shoot("walk-closed-light").await;
}
