//! What a page says about what it leaves out, about lists that are empty, and about who did something.

use chrono::TimeDelta;
use serde_json::json;
use tenure::domain::Sweep;
use tenure::engine::FeedStart;

use super::site::{Site, by, noon};
use crate::support::http_client;

/// A page as text, with plain spaces and commas in its numbers.
async fn page(site: &Site, path: &str) -> String {
    let response = http_client()
        .get(site.url(path))
        .send()
        .await
        .expect("a response");
    assert_eq!(response.status(), 200, "{path}");
    let text = response.text().await.expect("text");
    text.replace("<wbr>", "")
        .replace('\u{202f}', ",")
        .replace('\u{a0}', " ")
}

/// Where the link to the next rows leads.
fn next(page: &str) -> String {
    let (_, rest) = page.split_once("rel=\"next\" href=\"").expect("a link");
    rest[..rest.find('"').expect("its end")].replace("&amp;", "&")
}

/// Adds a linked client of each of some partners.
async fn partners(site: &Site, count: usize) {
    let at = site.engine.now() - TimeDelta::hours(1);
    for number in 0..count {
        let partner = format!("partner-{number:02}");
        for (kind, data) in [
            ("client.added", json!({"name": "Shop"})),
            ("client.invited", json!({"steps": ["accepted"]})),
            ("invitation.accepted", json!({})),
        ] {
            site.event_of(&partner, &format!("shop-{number}"), kind, at, data)
                .await;
        }
    }
}

#[tokio::test]
async fn a_forecast_leads_to_all_partners() {
    let site = Site::start(noon(), &[]).await;
    partners(&site, 25).await;
    let first = page(&site, "/forecast?days=90").await;
    assert!(first.contains("1 to 20 of 25 partners"), "{first}");
    let second = page(&site, &next(&first)).await;
    assert!(second.contains("21 to 25 of 25 partners"), "{second}");
    assert!(second.contains("First page"), "{second}");
    let is_listed = |page: &str, number: usize| page.contains(&format!("partner=partner-{number:02}"));
    for number in 0..25 {
        assert_ne!(is_listed(&first, number), is_listed(&second, number), "{number}");
    }
}

#[tokio::test]
async fn a_comparison_leads_to_all_partners_and_says_if_nobody_differs() {
    let site = Site::start(noon(), &[]).await;
    let none = page(&site, "/what-if?access.idle=45d").await;
    assert!(
        none.contains("No partner has a client that would differ"),
        "{none}"
    );
    assert!(none.contains("No client would differ"), "{none}");
    // It has compared them already.
    assert!(!none.contains("the clients of all partners"), "{none}");
    partners(&site, 52).await;
    let first = page(&site, "/what-if?access.idle=45d").await;
    assert!(first.contains("1 to 50 of 52 partners"), "{first}");
    // The next page compares the same clients, however long that takes.
    assert!(next(&first).contains("upto=end"), "{first}");
    let second = page(&site, &next(&first)).await;
    assert!(second.contains("51 to 52 of 52 partners"), "{second}");
    let upto = page(&site, "/what-if?access.idle=45d&upto=partner-07/shop-7").await;
    assert!(upto.contains("52 partners"), "{upto}");
    let beyond = page(&site, "/what-if?access.idle=45d&clients_from=500").await;
    assert!(
        beyond.contains("No rows here") && beyond.contains("First page"),
        "{beyond}"
    );
    assert!(!beyond.contains("No client would differ"), "{beyond}");
}

#[tokio::test]
async fn the_overview_counts_what_its_cards_leave_out() {
    let site = Site::start(noon(), &[]).await;
    for reason in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
        site.dead("http", &format!("reason {reason}"), reason.as_bytes(), &[])
            .await;
    }
    let overview = page(&site, "/").await;
    assert!(
        overview.contains("<a href=\"/dead-letters\">and 2 more</a>"),
        "{overview}"
    );
}

#[tokio::test]
async fn sources_that_are_not_expected_are_listed() {
    let site = Site::start(noon(), &[("TENURE_SOURCES", "/partner-space=2h")]).await;
    let none = page(&site, "/sources").await;
    assert!(none.contains("No other source has sent an event"), "{none}");
    site.linked("bakery").await;
    site.clock.set(noon() + TimeDelta::minutes(3));
    let listed = page(&site, "/sources").await;
    let (_, others) = listed.split_once("Other sources").expect("a card");
    let (others, _) = others.split_once("</section>").expect("its end");
    assert!(others.contains("/test"), "{others}");
    assert!(!others.contains("/partner-space"), "{others}");
}

#[tokio::test]
async fn events_of_less_active_sources_are_counted_below_no_other_source() {
    let expected: Vec<String> = (0..20).map(|number| format!("/app-{number}")).collect();
    let setting = format!("{}=2h", expected.join("=2h,"));
    let site = Site::start(noon(), &[("TENURE_SOURCES", setting.as_str())]).await;
    for (number, source) in expected.iter().map(String::as_str).chain(["/late"]).enumerate() {
        let event = json!({
            "specversion": "1.0", "id": number.to_string(), "source": source, "type": "client.added",
            "subject": format!("acme/shop-{number}"), "time": noon(), "data": {"name": "Shop"},
        });
        site.line(&event.to_string()).await;
    }
    let shown = page(&site, "/sources").await;
    let (_, others) = shown.split_once("Other sources").expect("a card");
    let (others, _) = others.split_once("</section>").expect("its end");
    assert!(
        others.contains("1 event from sources while they were less active"),
        "{others}"
    );
    assert!(!others.contains("No other source"), "{others}");
}

#[tokio::test]
async fn changes_that_the_relay_has_not_published_are_marked() {
    let broker = [("TENURE_BROKER__URL", "amqp://localhost")];
    for is_relayed in [false, true] {
        let env = if is_relayed { broker.as_slice() } else { &[] };
        let site = Site::start(noon(), env).await;
        site.linked("bakery").await;
        let shown = page(&site, "/sources").await;
        assert_eq!(shown.contains("not published yet"), is_relayed, "{shown}");
    }
}

#[tokio::test]
async fn a_paused_endpoint_shows_who_paused_it_and_why() {
    let site = Site::start(noon(), &[]).await;
    site.endpoint("crm", FeedStart::Latest).await;
    let before = page(&site, "/webhooks").await;
    assert!(!before.contains("Paused"), "{before}");
    let authority = by("the CRM moves to another host");
    let operator = site.engine.operator(&authority);
    operator.pause_endpoint("crm").await.expect("paused");
    let paused = page(&site, "/webhooks").await;
    assert!(paused.contains("by <b>ann</b>"), "{paused}");
    assert!(paused.contains("the CRM moves to another host"), "{paused}");
    operator.resume_endpoint("crm").await.expect("resumed");
    let resumed = page(&site, "/webhooks").await;
    assert!(!resumed.contains("the CRM moves"), "{resumed}");
}

#[tokio::test]
async fn a_pause_of_long_ago_shows_who_paused_the_sweep() {
    let site = Site::start(noon(), &[]).await;
    let authority = by("the account app is being migrated");
    let operator = site.engine.operator(&authority);
    let sweep = Sweep::SubscriptionEnd;
    operator.pause_sweep(sweep).await.expect("paused");
    for _ in 0..60 {
        site.clock.set(site.engine.now() + TimeDelta::minutes(1));
        operator.pause_sweep(Sweep::RequestLapse).await.expect("paused");
        operator.resume_sweep(Sweep::RequestLapse).await.expect("resumed");
    }
    let sweeps = page(&site, "/sweeps").await;
    assert!(sweeps.contains("by <b>ann</b>"), "{sweeps}");
}

#[tokio::test]
async fn a_filter_that_leaves_nothing_can_be_cleared() {
    let site = Site::start(noon(), &[]).await;
    for (path, without, with) in [
        ("/audit", "No entry", "No entry matches the filter"),
        ("/refusals", "No refused events", "No refusal matches the filter"),
        ("/sweeps", "No run yet", "No run of"),
    ] {
        let all = page(&site, path).await;
        assert!(
            all.contains(without) && !all.contains("Clear the filter"),
            "{path}: {all}"
        );
        let query = match path {
            "/audit" => "by=nobody",
            "/refusals" => "source=/nowhere",
            _ => "sweep=request-lapse",
        };
        let filtered = page(&site, &format!("{path}?{query}")).await;
        assert!(filtered.contains(with), "{path}: {filtered}");
        let clear = format!("<a href=\"{path}\">Clear the filter</a>");
        assert!(filtered.contains(&clear), "{path}: {filtered}");
    }
}

#[tokio::test]
async fn a_page_after_the_last_row_leads_to_the_first() {
    let site = Site::start(noon(), &[]).await;
    for (path, one) in [("/audit", "entry"), ("/sweeps", "run")] {
        let beyond = page(&site, &format!("{path}?before=1")).await;
        let none = format!("<b>No other {one}</b><a href=\"{path}\">First page</a>");
        assert!(beyond.contains(&none), "{path}: {beyond}");
        assert!(!beyond.contains("Clear the filter"), "{path}: {beyond}");
    }
}

#[tokio::test]
async fn a_closing_asks_with_the_number_of_its_clients_and_partners() {
    let site = Site::start(noon(), &[]).await;
    partners(&site, 7).await;
    let asked = page(&site, "/statements/2026-02/close?confirm=true").await;
    assert!(asked.contains("7 clients of 7 partners"), "{asked}");
    assert!(
        asked.contains("a client without a day has no statement"),
        "{asked}"
    );
    assert!(
        asked.contains("partner-04") && !asked.contains("partner-05"),
        "{asked}"
    );
    assert!(asked.contains("and 2 more"), "{asked}");
}
