//! Every action: asked back in words, done, and recorded with its reason.

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;
use tenure::domain::Sweep;
use tenure::engine::{FeedStart, SweepMode, SweepOptions};
use tenure::wire::{Decoder, Limits};

use super::browser::Browser;
use super::site::{Site, noon};
use crate::support::http_client;

/// The reason that an operator gives in these tests.
const WHY: &str = "the partner asked for it";

async fn confirm(browser: &Browser, button: &str) {
    browser.fill("input[name=reason]", WHY).await;
    browser.click_text("button", button).await;
}

/// The last entry of the audit log, as the page shows it.
async fn last_entry(browser: &Browser, site: &Site) -> String {
    browser.open(&site.url("/audit")).await;
    browser.text("tbody tr").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_paused_resumed_and_run() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    site.clock.set(noon() + TimeDelta::days(70));
    browser.open(&site.url("/sweeps")).await;
    browser.click("#access-expiry a[href$=pause]").await;
    confirm(&browser, "Pause").await;
    browser.expect("[role=status]", "paused").await;
    browser.expect("#access-expiry", WHY).await;
    let entry = last_entry(&browser, &site).await;
    assert!(
        entry.contains("sweep.pause") && entry.contains(WHY) && entry.contains("access-expiry"),
        "{entry}"
    );

    browser.open(&site.url("/sweeps/access-expiry/resume")).await;
    confirm(&browser, "Resume").await;
    browser.expect("[role=status]", "resumed").await;

    browser.click("#access-expiry a[href$=run]").await;
    let asked = browser.text(".confirm").await;
    assert!(
        asked.contains("1 client") && asked.contains("acme/bakery"),
        "{asked}"
    );
    browser.shoot("sweep-confirm-light").await;
    confirm(&browser, "Run").await;
    browser.expect("[role=status]", "changed 1 client").await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    browser.expect(".chips", "expired").await;
    let entry = last_entry(&browser, &site).await;
    assert!(entry.contains("sweep.run") && entry.contains(WHY), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_breaker_stopped_is_confirmed_with_the_first_names() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    for client in ["a", "b", "c", "d", "e", "f", "g"] {
        site.linked(client).await;
    }
    site.clock.set(noon() + TimeDelta::days(70));
    let tick = SweepMode::Scheduled {
        tick: site.engine.now(),
    };
    site.engine
        .sweep(Sweep::AccessExpiry, SweepOptions::new(tick), |_| {})
        .await
        .expect("tripped");
    browser.open(&site.url("/")).await;
    browser.expect(".verdict.bad", "breaker stopped").await;
    browser.shoot("overview-tripped-light").await;
    browser.click(".verdict a").await;
    browser.click("#access-expiry a[href$=confirm]").await;
    let asked = browser.text(".confirm").await;
    for part in ["7 clients", "acme/a", "acme/e", "and 2 more"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    browser.shoot("sweep-tripped-confirm-light").await;
    confirm(&browser, "Confirm and run").await;
    browser.expect("[role=status]", "7 clients").await;
    assert!(last_entry(&browser, &site).await.contains("sweep.confirm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_edited_redriven_and_discarded() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let body = r#"{"specversion":"1.0","id":"1","source":"/space","type":"client.adedd","subject":"acme/x","time":"2026-03-01T11:00:00Z","data":{"name":"X"}}"#;
    site.line(body).await;
    for number in 0..3 {
        site.dead(
            "http",
            "it is not JSON",
            format!("nonsense {number}").as_bytes(),
            &[],
        )
        .await;
    }
    let other_source = [("ce-specversion", "1.0"), ("ce-source", "/accounts")];
    site.dead("http", "it is not JSON", b"nonsense", &other_source)
        .await;
    browser.open(&site.url("/dead-letters/1")).await;
    let fixed = body.replace("adedd", "added");
    // Still wrong: nothing changes.
    browser.fill("form[action$=edit] input[name=reason]", WHY).await;
    browser.click("form[action$=edit] button").await;
    browser.expect("[role=status]", "could not be redriven").await;
    browser.fill("textarea", &fixed).await;
    browser.fill("form[action$=edit] input[name=reason]", WHY).await;
    browser.click("form[action$=edit] button").await;
    browser.expect("[role=status]", "1 dead letter redriven").await;
    browser.open(&site.url("/clients/acme/x")).await;
    browser.expect("h1", "X").await;
    let entry = last_entry(&browser, &site).await;
    assert!(
        entry.contains("dead_letter.edit") && entry.contains(WHY),
        "{entry}"
    );

    browser.open(&site.url("/dead-letters")).await;
    browser.shoot("dead-letters-sources-light").await;
    browser.click_text("a", "it is not JSON").await;
    browser.click_text("a", "Discard all").await;
    let asked = browser.text(".confirm").await;
    assert!(
        asked.contains("Discard 3 dead letters with no source") && asked.contains("it is not JSON"),
        "{asked}"
    );
    browser.shoot("dead-letters-confirm-light").await;
    confirm(&browser, "Discard all").await;
    browser.expect("[role=status]", "3 dead letters discarded").await;
    // That of the other source is in another group.
    browser.click_text("a", "it is not JSON").await;
    browser.expect("dl", "/accounts").await;
    browser.click_text("a", "Discard all").await;
    browser
        .expect(".confirm", "Discard 1 dead letter of /accounts")
        .await;
    confirm(&browser, "Discard all").await;
    browser.expect("main", "No open dead letters").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_does_nothing_says_why() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    for client in ["a", "b"] {
        let event = json!({
            "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
            "subject": format!("acme/{client}"), "time": "2026-03-01T11:00:00Z", "data": {"name": client},
        });
        site.dead("amqp:tenure.dead", "given up", event.to_string().as_bytes(), &[])
            .await;
    }
    let submit = async |form: &str| {
        browser
            .fill(&format!("form[action$={form}] input[name=reason]"), WHY)
            .await;
        browser.click(&format!("form[action$={form}] button")).await;
    };
    // Each page was opened before something else happened to the dead letter.
    browser.open(&site.url("/dead-letters/1")).await;
    browser.expect("h1", "Dead letter 1").await;
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    site.engine.redrive(1, &decoder).await.expect("redriven");
    submit("edit").await;
    browser
        .expect("[role=status]", "The edited message was not ingested")
        .await;
    browser.shoot("dead-letter-edited-too-late-light").await;
    browser.open(&site.url("/dead-letters/2")).await;
    browser.expect("h1", "Dead letter 2").await;
    let (store, now) = (site.engine.store(), site.engine.now());
    let claimed = store.claim_dead_letter(2, now, now + TimeDelta::minutes(1)).await;
    assert!(claimed.expect("a claim").is_some());
    submit("redrive").await;
    browser.expect("[role=status]", "another process").await;
    let discarded = store.discard_dead_letter(2, now).await;
    assert!(discarded.expect("discarded"));
    submit("redrive").await;
    browser.expect("[role=status]", "discarded by somebody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_was_resolved_is_not_discarded() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let added = json!({
        "specversion": "1.0", "id": "a", "source": "/space", "type": "client.added",
        "subject": "acme/a", "time": "2026-03-01T11:00:00Z", "data": {"name": "A"},
    });
    for body in [added.to_string(), "no event".to_owned()] {
        site.dead("amqp:tenure.dead", "given up", body.as_bytes(), &[])
            .await;
    }
    // Each page was opened before the dead letter was resolved.
    let discard = async || {
        browser
            .fill("form[action$=redrive] input[name=reason]", WHY)
            .await;
        browser.click("form[action$=redrive] button[formaction]").await;
    };
    browser.open(&site.url("/dead-letters/1")).await;
    browser.expect("h1", "Dead letter 1").await;
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    site.engine.redrive(1, &decoder).await.expect("redriven");
    discard().await;
    browser
        .expect("[role=status]", "not discarded: redriven before")
        .await;
    browser.expect("dl", "redriven").await;
    browser.open(&site.url("/dead-letters/2")).await;
    browser.expect("h1", "Dead letter 2").await;
    let now = site.engine.now();
    let discarded = site.engine.store().discard_dead_letter(2, now).await;
    assert!(discarded.expect("discarded"));
    discard().await;
    browser.expect("[role=status]", "had been discarded before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_closed_after_a_warning() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.event(
        "old",
        "client.added",
        noon() - TimeDelta::days(10),
        json!({"name": "Old"}),
    )
    .await;
    browser.open(&site.url("/statements/2026-02")).await;
    browser.click_text("a", "Close this month").await;
    confirm(&browser, "Close the month").await;
    browser.expect("[role=status]", "closed").await;
    browser.expect("main", "Closed by local").await;
    assert!(last_entry(&browser, &site).await.contains("statement.close"));
    // A month before the first event is asked about.
    let other = Site::start(noon(), &[]).await;
    other.linked("bakery").await;
    browser.open(&other.url("/statements/2026-01/close")).await;
    confirm(&browser, "Close the month").await;
    browser.expect("main", "Close it anyway").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compared_policy_is_applied() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    site.clock.set(noon() + TimeDelta::days(30));
    browser.open(&site.url("/what-if")).await;
    browser.fill("input[name='access.idle']", "20d").await;
    browser.fill("input[name='access.warn_before']", "7d, 1d").await;
    browser.click_text("button", "Compare").await;
    browser.expect("main", "1 of 1 client").await;
    browser.click_text("button", "Apply the policy").await;
    let asked = browser.text(".confirm").await;
    assert!(
        asked.contains("access.idle=20d") && asked.contains("acme/bakery"),
        "{asked}"
    );
    confirm(&browser, "Apply the policy").await;
    browser.expect("[role=status]", "recorded").await;
    browser.expect("main", "20d").await;
    browser.expect("main", "to come").await;
    assert!(last_entry(&browser, &site).await.contains("policy.apply"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_no_action_and_starts_none() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let tokens = r#"[{ name = "viewer", token = "viewer-token-0123456789", scopes = ["read"] }, { name = "ann", token = "operator-token-0123456789", scopes = ["read", "operate"] }]"#;
    let site = Site::start(noon(), &[("TENURE_HTTP__TOKENS", tokens)]).await;
    site.dead("http", "it is not JSON", b"x", &[]).await;
    browser.open(&site.url("/dead-letters/1")).await;
    browser.expect_url("/sign-in").await;
    browser.shoot("sign-in-light").await;
    browser.fill("input[name=token]", "wrong-token-0123456789").await;
    browser.click("button[type=submit]").await;
    browser.expect("[role=alert]", "not a token").await;
    browser.fill("input[name=token]", "viewer-token-0123456789").await;
    browser.click("button[type=submit]").await;
    browser.expect("h1", "Dead letter 1").await;
    browser.expect(".side .foot", "viewer").await;
    assert_eq!(browser.count("form.confirm").await, 0);
    browser.open(&site.url("/sweeps/access-expiry/pause")).await;
    browser.expect("main", "operate").await;
    browser.open(&site.url("/")).await;
    browser.click_text("button", "Sign out").await;
    browser.expect_url("/sign-in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_everywhere_ends_the_sessions_of_other_browsers() {
    let (Some(one), Some(other)) = (Browser::start().await, Browser::start().await) else {
        return;
    };
    let tokens = r#"[{ name = "ann", token = "operator-token-0123456789", scopes = ["read", "operate"] }]"#;
    let site = Site::start(noon(), &[("TENURE_HTTP__TOKENS", tokens)]).await;
    for browser in [&one, &other] {
        browser.open(&site.url("/clients")).await;
        browser
            .fill("input[name=token]", "operator-token-0123456789")
            .await;
        browser.click("button[type=submit]").await;
        browser.expect("h1", "Clients").await;
    }
    one.click_text("button", "Sign out everywhere").await;
    one.expect_url("/sign-in").await;
    other.open(&site.url("/clients")).await;
    other.expect_url("/sign-in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_some_partners_is_offered_their_pages_only() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let tokens = r#"[
        { name = "one", token = "token-of-one-0123456789", scopes = ["read", "operate"], partners = ["acme"] },
        { name = "two", token = "token-of-two-0123456789", scopes = ["read"], partners = ["best", "acme"] },
    ]"#;
    let site = Site::start(noon(), &[("TENURE_HTTP__TOKENS", tokens)]).await;
    for partner in ["acme", "best", "other"] {
        let name = json!({"name": format!("Shop of {partner}")});
        // The id of the event has the name of the client.
        let client = format!("shop-{partner}");
        site.event_of(partner, &client, "client.added", noon(), name)
            .await;
    }
    for (token, home, clients) in [
        ("token-of-one-0123456789", "/clients?partner=acme", &["acme"][..]),
        ("token-of-two-0123456789", "/clients", &["acme", "best"]),
    ] {
        browser.open(&site.url("/")).await;
        browser.fill("input[name=token]", token).await;
        browser.click("button[type=submit]").await;
        browser.expect_url(home).await;
        let shown = browser.expect("main", "Shop of acme").await;
        for partner in ["acme", "best", "other"] {
            let is_shown = shown.contains(&format!("Shop of {partner}"));
            assert_eq!(is_shown, clients.contains(&partner), "{partner}: {shown}");
        }
        assert_eq!(
            browser.text(".tabs a:first-child .count").await,
            clients.len().to_string()
        );
        let offered = offered(&browser).await;
        assert_eq!(offered.len(), 3, "{offered:?}");
        for url in &offered {
            browser.open(url).await;
            assert_eq!(browser.count("main h1").await, 1);
            let heading = browser.text("main h1").await;
            assert!(
                ["Clients", "Forecast"].contains(&heading.as_str()),
                "{url}: {heading}"
            );
            assert_eq!(browser.count("#live").await, 0, "the figures are of all partners");
        }
        // So do the pages of errors.
        for (path, text) in [
            ("/clients/acme/nobody", "Unknown client"),
            ("/nothing", "Unknown path"),
            ("/clients?link=blue", "link"),
            ("/clients/other/shop-other", "other partners"),
            ("/clients?partner=other", "other partners"),
            ("/dead-letters", "some partners only"),
        ] {
            browser.open(&site.url(path)).await;
            let shown = browser.text("main").await;
            assert!(shown.contains(text), "{path}: {shown}");
            assert_eq!(self::offered(&browser).await, offered, "{path}");
            assert_eq!(browser.count("main a[href='/']").await, 0, "{path}");
        }
        browser.open(&site.url("/")).await;
        browser.fill("#find", "Shop\u{e007}").await;
        browser.expect_url("q=Shop").await;
        let found = browser.expect("main", "Shop of acme").await;
        assert_eq!(
            found.contains("Shop of best"),
            clients.contains(&"best"),
            "{found}"
        );
        assert!(!found.contains("Shop of other"), "{found}");
        browser.click_text("button", "Sign out").await;
        browser.expect_url("/sign-in").await;
    }
    // Whoever may not read is offered nothing.
    browser.open(&site.url("/")).await;
    browser.expect_url("/sign-in").await;
    assert_eq!(browser.count("header.side a[data-key]").await, 0);
}

/// The addresses that the navigation offers.
async fn offered(browser: &Browser) -> Vec<String> {
    let offered = browser
        .evaluate("return [...document.querySelectorAll('header.side a')].map(link => link.href)")
        .await;
    serde_json::from_value(offered).expect("addresses")
}

#[tokio::test]
async fn a_reader_of_several_partners_lists_the_clients_of_all_of_them() {
    let tokens = r#"[{ name = "two", token = "token-of-two-0123456789", scopes = ["read"], partners = ["best", "acme"] }]"#;
    let site = Site::start(noon(), &[("TENURE_HTTP__TOKENS", tokens)]).await;
    for partner in ["acme", "and", "best", "other"] {
        for number in 0..60 {
            let (client, name) = (
                format!("{partner}-{number:02}"),
                format!("Shop {number} of {partner}"),
            );
            site.event_of(partner, &client, "client.added", noon(), json!({"name": name}))
                .await;
        }
    }
    let client = http_client();
    let get = async |path: &str| {
        let request = client.get(site.url(path)).bearer_auth("token-of-two-0123456789");
        let response = request.send().await.expect("a response");
        (response.status(), response.text().await.expect("text"))
    };
    // Page after page, each client once.
    let mut path = "/clients".to_owned();
    let mut listed = Vec::new();
    for _ in 0..4 {
        let (status, page) = get(&path).await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("All<span class=\"count\">120</span>"), "{page}");
        let links = page.split("href=\"/clients/").skip(1);
        let links = links.filter_map(|link| link.split_once('"'));
        listed.extend(links.map(|(subject, _)| subject.to_owned()));
        let next = page.split_once("rel=\"next\" href=\"").map(|(_, rest)| rest);
        let Some((next, _)) = next.and_then(|rest| rest.split_once('"')) else {
            break;
        };
        path = next.replace("&amp;", "&");
    }
    let expected =
        ["acme", "best"].map(|partner| (0..60).map(move |number| format!("{partner}/{partner}-{number:02}")));
    assert_eq!(listed, expected.into_iter().flatten().collect::<Vec<_>>());
    let (_, csv) = get("/clients.csv").await;
    assert_eq!(csv.lines().count(), 121, "{csv}");
    assert!(!csv.contains("other") && !csv.contains("and,"), "{csv}");
    for (path, shown, hidden) in [
        ("/clients?q=shop+7", "best/best-07", "other/"),
        ("/clients?q=other&by=partner", "No client matches", "other/other"),
        ("/clients?q=best&by=partner", "best/best-07", "acme/acme"),
        ("/clients?q=other", "No client matches", "other/other"),
        (
            "/clients?q=other/other-07",
            "No client matches",
            "Shop 7 of other",
        ),
        ("/clients?partner=best", "best/best-07", "acme/acme"),
    ] {
        let (status, page) = get(path).await;
        assert_eq!(status, 200, "{path}");
        let page = page.replace("<wbr>", "");
        assert!(page.contains(shown) && !page.contains(hidden), "{path}: {page}");
    }
    for path in [
        "/clients?partner=other",
        "/clients.csv?partner=other",
        "/clients?partner=best&partner=other",
    ] {
        assert_eq!(get(path).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn requests_of_other_sites_and_of_readers_change_nothing() {
    let tokens = r#"[{ name = "viewer", token = "viewer-token-0123456789", scopes = ["read"] }]"#;
    let open = Site::start(noon(), &[]).await;
    let guarded = Site::start(noon(), &[("TENURE_HTTP__TOKENS", tokens)]).await;
    let client = http_client();
    let own = open.url("");
    for (site, name, value, status) in [
        (&open, "origin", "https://evil.example", StatusCode::FORBIDDEN),
        (&open, "sec-fetch-site", "cross-site", StatusCode::FORBIDDEN),
        // Without the token of the form.
        (&open, "origin", own.as_str(), StatusCode::FORBIDDEN),
        (&open, "host", "evil.example", StatusCode::MISDIRECTED_REQUEST),
        (
            &guarded,
            "authorization",
            "Bearer viewer-token-0123456789",
            StatusCode::FORBIDDEN,
        ),
    ] {
        for path in [
            "/sweeps/access-expiry/pause",
            "/dead-letters/1/discard",
            "/dead-letter-groups/discard",
            "/statements/2026-02/close",
            "/webhooks/crm/pause",
            "/workers/crashed-1/remove",
            "/policy/adopt",
        ] {
            let sent = client
                .post(site.url(path))
                .header(name, value)
                .header("content-type", "application/x-www-form-urlencoded")
                .body("reason=because&set=access.idle%3D1d")
                .send();
            let given = sent.await.expect("a response").status();
            assert_eq!(given, status, "{path} with {name}: {value}");
        }
    }
    for site in [&open, &guarded] {
        let engine = &site.engine;
        assert!(engine.store().halts().await.expect("halts").is_empty());
        assert!(engine.closings().await.expect("closings").is_empty());
        assert_eq!(engine.recorded_policies().await.expect("policies").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_gone_is_removed() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.worker("shop/floor-1").await;
    site.clock.set(noon() + TimeDelta::minutes(2));
    site.worker("tenure-1").await;
    browser.open(&site.url("/")).await;
    browser.expect("#workers", "shop/floor-1").await;
    browser.click("#workers a[href$=remove]").await;
    confirm(&browser, "Remove").await;
    browser.expect("[role=status]", "removed").await;
    let workers = site.engine.workers().await.expect("workers");
    let names: Vec<&str> = workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["tenure-1"]);
    let entry = last_entry(&browser, &site).await;
    assert!(entry.contains("worker.remove") && entry.contains(WHY), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_paused_and_resumed() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.endpoint("crm", FeedStart::Latest).await;
    browser.open(&site.url("/webhooks")).await;
    browser.click("#crm a[href$=pause]").await;
    confirm(&browser, "Pause").await;
    browser.expect("[role=status]", "paused").await;
    browser.expect("#crm", "paused").await;
    let entry = last_entry(&browser, &site).await;
    assert!(entry.contains("webhook.pause") && entry.contains(WHY), "{entry}");
    browser.open(&site.url("/")).await;
    browser.expect(".verdict", "crm is paused").await;
    browser.open(&site.url("/webhooks/crm/resume")).await;
    confirm(&browser, "Resume").await;
    browser.expect("#crm", "active").await;
}
