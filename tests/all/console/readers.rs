//! Readers: what the console offers those who may not do everything, or see only some partners.

use serde_json::json;

use super::browser::Browser;
use super::site::{Site, noon};
use crate::support::http_client;

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
            ("/nothing", "There is no page at this address"),
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
