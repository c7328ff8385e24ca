//! An operator's questions, answered from the console alone, on the year of `tenure demo --serve`. What the console says is compared
//! with the API, and no answer is more than three clicks away.

use std::cell::Cell;
use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tempfile::TempDir;
use tenure::clock::{Clock as _, SystemClock};

use super::browser::Browser;
use crate::support::http_client;
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

    /// What the API says.
    async fn api(&self, path: &str) -> Value {
        let response = http_client().get(format!("{}{path}", self.url)).send().await;
        response.expect("a response").json().await.expect("JSON")
    }
}

/// The texts of one field of all entries of a list.
fn field(list: &Value, name: &str) -> BTreeSet<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one[name].as_str().expect("text").to_owned())
        .collect()
}

/// The clients to which the rows of the last table link.
async fn listed(browser: &Browser) -> BTreeSet<String> {
    let listed = browser
        .evaluate(
            "return [...[...document.querySelectorAll('main table.rows')].at(-1).querySelectorAll('tbody th a')] \
             .map(link => decodeURIComponent(link.pathname).replace('/clients/', ''))",
        )
        .await;
    serde_json::from_value(listed).expect("clients")
}

/// An operator at the overview, who follows links, and counts how many to each answer.
struct Operator<'a> {
    browser: &'a Browser,
    demo: &'a Demo,
    /// Clicks since the overview. A search is one too, and so are the keys that open a page.
    clicks: Cell<u32>,
}

impl Operator<'_> {
    /// Opens the overview. No other page is opened by its address.
    async fn begin(&self) {
        self.browser.open(&format!("{}/", self.demo.url)).await;
        self.clicks.set(0);
    }

    fn count(&self) {
        self.clicks.set(self.clicks.get() + 1);
    }

    async fn click(&self, css: &str) {
        self.count();
        self.browser.click(css).await;
    }

    async fn click_text(&self, text: &str) {
        self.count();
        self.browser.click_text("a", text).await;
    }

    /// Opens a part of the console by its key.
    async fn go(&self, key: &str, path: &str) {
        self.count();
        self.browser.press(&format!("g{key}")).await;
        let is_there = format!("return location.pathname === '{path}'");
        self.browser.wait_until(path, &is_there).await;
    }

    async fn search(&self, text: &str) {
        self.count();
        self.browser.press("/").await;
        self.browser.type_here(&format!("{text}\u{e007}")).await;
    }

    /// Chooses values of filters, and applies them.
    async fn filter(&self, chosen: &[(&str, &str)]) {
        for (name, value) in chosen {
            self.browser
                .evaluate(&format!(
                    "document.querySelector('.filters [name={name}]').value = '{value}'"
                ))
                .await;
        }
        self.click(".filters button").await;
        for (name, value) in chosen {
            let is_applied = format!("return location.search.includes('{name}={value}')");
            self.browser.wait_until("the filter", &is_applied).await;
        }
    }

    /// The page has the answer.
    fn has_found(&self, what: &str) {
        let clicks = self.clicks.get();
        assert!(clicks <= 3, "{what} takes {clicks} clicks");
    }
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
    let operator = Operator {
        browser: &browser,
        demo: &demo,
        clicks: Cell::new(0),
    };
    is_all_well_and_who_paused_the_sweep(&operator).await;
    why_a_partner_lost_access(&operator).await;
    what_lapses_next_week(&operator).await;
    what_last_nights_sweep_changed(&operator).await;
    which_message_was_refused_and_why(&operator).await;
    the_dead_letter_is_edited_and_redriven(&operator).await;
    the_month_is_closed(&operator).await;
}

async fn is_all_well_and_who_paused_the_sweep(operator: &Operator<'_>) {
    let browser = operator.browser;
    operator.begin().await;
    let verdict = browser.text(".verdict").await;
    assert!(verdict.contains("Subscription end was paused"), "{verdict}");
    operator.has_found("whether all is well");
    operator.click_text("Subscription end was paused").await;
    let sweep = browser.text("#subscription-end").await;
    assert!(
        sweep.contains("by ann") && sweep.contains("until Friday"),
        "{sweep}"
    );
    operator.has_found("who paused the sweep");
    operator.click("#subscription-end a[href^='/audit']").await;
    let entry = browser.text("tbody tr").await;
    assert!(
        entry.contains("ann") && entry.contains("sweep.pause") && entry.contains("until Friday"),
        "{entry}"
    );
    operator.has_found("when and how the sweep was paused");
}

/// A partner calls: why can they not get in? The operator knows the id of the partner.
async fn why_a_partner_lost_access(operator: &Operator<'_>) {
    let browser = operator.browser;
    let demo = operator.demo;
    let lost = demo.api("/v1/clients?access=expired&limit=1000").await;
    let partner = lost["clients"][0]["partner"]
        .as_str()
        .expect("a client that lost access");
    operator.begin().await;
    operator.search(partner).await;
    browser.expect("main", "By partner").await;
    operator.filter(&[("by", "partner"), ("access", "expired")]).await;
    let shown = listed(browser).await;
    let lost = demo
        .api(&format!("/v1/clients?access=expired&partner={partner}&limit=50"))
        .await;
    let expected: BTreeSet<String> = field(&lost["clients"], "client");
    let expected: BTreeSet<String> = expected
        .iter()
        .map(|client| format!("{partner}/{client}"))
        .collect();
    assert_eq!(shown, expected);
    operator.click("tbody tr a").await;
    let why = browser.text("#why-access").await;
    assert!(why.contains("expired"), "{why}");
    operator.has_found("why the partner lost access");
    browser.click("#why-access summary").await;
    let causes = browser.text("#why-access").await;
    assert!(
        causes.contains("It rests on") && causes.contains("access expired, 60 days after"),
        "{causes}"
    );
    // The moment of the expiry is a link. An hour before, the partner still had access.
    let expiry = browser
        .evaluate(
            "const line = [...document.querySelectorAll('#why-access li')].find(line => line.textContent.includes('access expired')); \
             const link = line.querySelector('a'); \
             return [link.getAttribute('href'), link.querySelector('time').dateTime]",
        )
        .await;
    let (href, at): (String, DateTime<Utc>) = serde_json::from_value(expiry).expect("a link");
    browser.click(&format!("#why-access a[href='{href}']")).await;
    browser.expect(".bar", "in the past").await;
    let client = browser
        .evaluate("return decodeURIComponent(location.pathname)")
        .await;
    let client = client.as_str().expect("a path").trim_start_matches("/clients/");
    operator.begin().await;
    operator.search(client).await;
    browser.expect(".head", "Verify").await;
    let before = (at - TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M");
    browser
        .evaluate(&format!(
            "document.querySelector('input[name=at]').value = '{before}'"
        ))
        .await;
    operator.click(".slider .row button").await;
    browser
        .expect_url(&format!("at={}", before.to_string().replace(':', "%3A")))
        .await;
    let chips = browser.text(".chips").await;
    assert!(chips.contains("enabled"), "at {before}: {chips}");
    operator.has_found("which access there was an hour before");
}

async fn what_lapses_next_week(operator: &Operator<'_>) {
    let browser = operator.browser;
    operator.begin().await;
    operator.go("f", "/forecast").await;
    operator.filter(&[("days", "7")]).await;
    operator.has_found("what lapses next week");
    let forecast = browser.text("main").await;
    assert!(
        forecast.contains("access.expired") || forecast.contains("access.expiring"),
        "{forecast}"
    );
    let until = (SystemClock.now() + TimeDelta::days(7)).format("%Y-%m-%dT%H:%M:%SZ");
    let expected = operator
        .demo
        .api(&format!("/v1/forecast?until={until}&limit=1000"))
        .await;
    let expected = field(&expected["clients"], "client");
    let shown = listed(browser).await;
    // The page has the first fifty.
    assert!(
        !shown.is_empty() && shown.is_subset(&expected),
        "{shown:?} of {expected:?}"
    );
    assert_eq!(shown.len(), expected.len().min(50));
}

async fn what_last_nights_sweep_changed(operator: &Operator<'_>) {
    let browser = operator.browser;
    operator.begin().await;
    operator.click("a[href='/sweeps#access-expiry']").await;
    operator.click("a[href='/sweeps?sweep=access-expiry']").await;
    browser.expect_url("/sweeps?sweep=access-expiry").await;
    // The newest run that changed anything.
    let run = browser
        .evaluate(
            "return [...document.querySelectorAll('tbody tr')].find(row => \
             row.querySelector('[data-label=\"Clients changed\"]').textContent !== '0').querySelector('a').pathname",
        )
        .await;
    let run = run.as_str().expect("a run");
    operator.click(&format!("tbody a[href='{run}']")).await;
    browser.expect_url(run).await;
    operator.has_found("what the sweep changed");
    let changed = browser.text("main").await;
    assert!(
        changed.contains("access.expir") && changed.contains("Took effect"),
        "{changed}"
    );
    // The story of a client that it changed has the same change.
    let change = browser.text("td[data-label='Change'] code").await;
    browser.click("tbody th a").await;
    browser.expect(".tale", &change).await;
}

async fn which_message_was_refused_and_why(operator: &Operator<'_>) {
    let browser = operator.browser;
    operator.begin().await;
    operator.go("r", "/refusals").await;
    let refused = browser.text("tbody tr").await;
    let why = browser.text("td[data-label='Refused because'] .muted").await;
    assert!(!why.is_empty(), "{refused}");
    assert!(
        browser.count("td[data-label='Since then']").await > 0,
        "{refused}"
    );
    operator.has_found("what was refused, and why");
    // The story of its client has it, struck through.
    let kind = browser.text("td[data-label='Event'] code").await;
    operator.click("tbody th a").await;
    let story = browser.expect(".tale", &format!("refused: {why}")).await;
    assert!(story.contains(&kind), "{kind}: {story}");
    operator.has_found("what else happened to the client");
}

async fn the_dead_letter_is_edited_and_redriven(operator: &Operator<'_>) {
    let browser = operator.browser;
    operator.begin().await;
    operator.go("d", "/dead-letters").await;
    operator.click_text("unknown event type").await;
    operator.click("table.rows tbody th a").await;
    browser.expect(".note", "client.vanished").await;
    operator.has_found("what is wrong with the message, and where it is edited");
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
    browser.expect("main", "Last redrive").await;
    operator.begin().await;
    operator.go("a", "/audit").await;
    operator.filter(&[("action", "dead_letter")]).await;
    operator.has_found("who edited the message");
    let entry = browser.text("tbody tr").await;
    assert!(
        entry.contains("dead_letter.edit") && entry.contains(WHY),
        "{entry}"
    );
}

async fn the_month_is_closed(operator: &Operator<'_>) {
    let browser = operator.browser;
    operator.begin().await;
    operator.go("m", "/statements").await;
    operator.has_found("which month is next to close");
    let month = browser
        .evaluate(
            "return [...document.querySelectorAll('tbody tr')].find(row => \
             row.textContent.includes('next to close')).querySelector('a').pathname",
        )
        .await;
    let month = month.as_str().expect("a month");
    operator.click(&format!("tbody a[href='{month}']")).await;
    operator.click_text("Close this month").await;
    // A month with warnings is asked about twice.
    browser
        .wait_until(
            "the question",
            "return document.querySelector('.confirm') !== null \
             || document.querySelector('main').textContent.includes('Close it anyway')",
        )
        .await;
    operator.has_found("whether the month may be closed");
    if browser.text("main").await.contains("Close it anyway") {
        browser.click_text("a", "Close it anyway").await;
    }
    confirm(browser, "Close the month").await;
    browser.expect("main", "Closed by").await;
    browser.shoot("walk-closed-light").await;
    operator.begin().await;
    operator.go("a", "/audit").await;
    operator.filter(&[("action", "statement")]).await;
    operator.has_found("who closed the month");
    let entry = browser.text("tbody tr").await;
    assert!(
        entry.contains(month.trim_start_matches("/statements/")),
        "{entry}"
    );
    assert!(entry.contains(WHY), "{entry}");
    // Another month is next now, which has not ended.
    operator.begin().await;
    operator.go("m", "/statements").await;
    assert!(!browser.text("main").await.contains("next to close"));
}
