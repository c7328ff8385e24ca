//! What the console refuses, action by action: requests of other origins, without the token of the form, with the token of another
//! session, and of readers who may not do it.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tenure::config::{Scope, Settings};
use tenure::console;
use tokio::net::TcpListener;

use super::actions::{actions, entries};
use super::browser::Browser;
use super::site::{Site, noon};
use super::stage::{ANN, EVE, WHY, confirm, guarded_site, pass, sign_in};
use super::walks::{is_done, prepared};
use crate::support::http_client;

/// What a form sends.
#[derive(Clone)]
struct Sent {
    url: String,
    fields: Vec<(String, String)>,
}

impl Sent {
    /// What the button of a form sends, from the page that is shown.
    async fn by(browser: &Browser, form: &str, button: &str) -> Self {
        let script = format!(
            "const form = document.querySelector({});
             const button = [...form.querySelectorAll('button')].find(one => one.textContent.includes({}));
             return [button.hasAttribute('formaction') ? button.formAction : form.action, [...new FormData(form)]]",
            json!(form),
            json!(button)
        );
        let sent = browser.evaluate(&script).await;
        let (url, fields) = serde_json::from_value(sent).expect("a form");
        Self { url, fields }
    }

    /// The same with another token of the form. None: without one.
    fn with_csrf(&self, csrf: Option<&str>) -> Self {
        let mut fields = self.fields.clone();
        fields.retain(|(name, _)| name != "csrf");
        assert_eq!(fields.len() + 1, self.fields.len(), "the form has a token");
        fields.extend(csrf.map(|csrf| ("csrf".to_owned(), csrf.to_owned())));
        Self {
            url: self.url.clone(),
            fields,
        }
    }

    /// Sends it from the page that is shown, as a form. Returns the status of the response, and what the browser shows of it.
    async fn from(&self, browser: &Browser) -> (u64, String) {
        let script = format!(
            "const form = document.createElement('form');
             form.method = 'post';
             form.action = {};
             for (const [name, value] of {}) {{
               const field = document.createElement('textarea');
               field.name = name;
               field.value = value;
               form.append(field);
             }}
             document.body.append(form);
             window.isOld = true;
             form.submit();",
            json!(self.url),
            json!(self.fields)
        );
        browser.evaluate(&script).await;
        browser.wait_until("the response", "return !window.isOld").await;
        let status = browser
            .evaluate("return performance.getEntriesByType('navigation')[0].responseStatus")
            .await;
        (status.as_u64().expect("a status"), browser.text("body").await)
    }
}

/// A session of the browser.
async fn session(browser: &Browser, site: &Site, token: &str) -> (Value, String) {
    browser.cdp("Network.clearBrowserCookies", json!({})).await;
    sign_in(browser, site, token).await;
    let cookies = browser
        .cdp("Network.getCookies", json!({"urls": [site.url("/")]}))
        .await;
    let cookie = cookies["cookies"][0]["value"].clone();
    assert!(cookie.is_string(), "{cookies}");
    let csrf = browser
        .evaluate("return document.querySelector('[name=csrf]').value")
        .await;
    (cookie, csrf.as_str().expect("a token").to_owned())
}

/// Continues a session.
async fn take(browser: &Browser, site: &Site, cookie: &Value) {
    let cookie = json!({
        "url": site.url("/"), "name": "tenure-session", "value": cookie, "httpOnly": true, "sameSite": "Strict",
    });
    browser.cdp("Network.setCookie", cookie).await;
}

/// A page of another origin. Its host may be the one of the console, so that the browser sends the cookie.
async fn foreign_port() -> u16 {
    let page = "<!doctype html><title>Win a prize</title><p>Win a prize";
    let router: Router = Router::new().route("/", get(move || async move { Html(page) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_request_of_any_action_is_refused_and_changes_nothing() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = guarded_site().await;
    let port = foreign_port().await;
    let (eve, csrf_of_eve) = session(&browser, &site, EVE).await;
    let (_, csrf_of_before) = session(&browser, &site, ANN).await;
    let (ann, csrf) = session(&browser, &site, ANN).await;
    assert!(csrf != csrf_of_before, "each session has a token of its own");
    for action in actions() {
        let walk = prepared(&site, &action).await.expect("a walk");
        walk.lead(&browser, &site).await;
        let reason = format!("{} input[name=reason]", walk.form);
        browser.fill(&reason, WHY).await;
        let sent = Sent::by(&browser, walk.form, walk.button).await;
        let before = entries(&site).await;
        // The host is the same, so the browser sends the cookie; and the token is right.
        browser.open(&format!("http://127.0.0.1:{port}/")).await;
        let of_other_port = sent.from(&browser).await;
        // Another site: the browser does not send the cookie.
        browser.open(&format!("http://localhost:{port}/")).await;
        let of_other_site = sent.from(&browser).await;
        browser.open(&site.url("/clients")).await;
        let without_token = sent.with_csrf(None).from(&browser).await;
        browser.open(&site.url("/clients")).await;
        let of_other_session = sent.with_csrf(Some(&csrf_of_before)).from(&browser).await;
        take(&browser, &site, &eve).await;
        browser.open(&site.url("/clients")).await;
        let of_reader = sent.with_csrf(Some(&csrf_of_eve)).from(&browser).await;
        for (who, (status, page), expected, text) in [
            ("another port", of_other_port, 403, "web pages of"),
            ("another site", of_other_site, 401, "not signed in"),
            ("no token of the form", without_token, 403, "csrf"),
            ("the token of another session", of_other_session, 403, "csrf"),
            ("a reader", of_reader, 403, "operate"),
        ] {
            assert_eq!(status, expected, "{action} by {who}: {page}");
            assert!(page.to_lowercase().contains(text), "{action} by {who}: {page}");
        }
        assert!(!is_done(&site, &action).await, "{action}");
        assert_eq!(entries(&site).await, before, "{action}");
        // Nothing else was wrong with those requests.
        take(&browser, &site, &ann).await;
        browser.open(&site.url("/clients")).await;
        let (status, page) = sent.from(&browser).await;
        assert_eq!(status, 200, "{action}: {page}");
        assert!(is_done(&site, &action).await, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_after_the_session_ended_changes_nothing_and_leads_to_the_sign_in() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = guarded_site().await;
    sign_in(&browser, &site, ANN).await;
    browser.open(&site.url("/sweeps/access-expiry/pause")).await;
    browser.expect("h1", "Pause").await;
    pass(&site, TimeDelta::hours(2));
    confirm(&browser, "Pause").await;
    browser.expect("h1", "Not signed in").await;
    browser.expect("main", "Nothing was changed").await;
    browser.shoot("signed-out-light").await;
    assert!(site.engine.store().halts().await.expect("halts").is_empty());
    browser.click_text("a", "Sign in").await;
    browser.expect_url("/sign-in").await;
}

/// A path of the table with values for its parameters.
fn filled(path: &str) -> String {
    let mut filled = path.to_owned();
    for (name, value) in [
        ("sweep", "access-expiry"),
        ("id", "1"),
        ("month", "2026-02"),
        ("name", "crm"),
        ("run", "1"),
        ("partner", "acme"),
        ("client", "bakery"),
    ] {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    assert!(!filled.contains('{'), "{path} has a parameter without a value");
    filled
}

#[tokio::test]
async fn requests_of_other_sites_and_of_readers_change_nothing() {
    let open = Site::start(noon(), &[]).await;
    let guarded = guarded_site().await;
    let client = http_client();
    let own = open.url("");
    let of_eve = format!("Bearer {EVE}");
    for (site, name, value, status) in [
        (&open, "origin", "https://evil.example", StatusCode::FORBIDDEN),
        (&open, "sec-fetch-site", "cross-site", StatusCode::FORBIDDEN),
        // Without the token of the form.
        (&open, "origin", own.as_str(), StatusCode::FORBIDDEN),
        (&open, "host", "evil.example", StatusCode::MISDIRECTED_REQUEST),
        (&guarded, "authorization", &of_eve, StatusCode::FORBIDDEN),
    ] {
        for action in actions() {
            let sent = client
                .post(site.url(&filled(&action)))
                .header(name, value)
                .header("content-type", "application/x-www-form-urlencoded")
                .body("reason=because&set=access.idle%3D1d")
                .send();
            let given = sent.await.expect("a response").status();
            assert_eq!(given, status, "{action} with {name}: {value}");
        }
    }
    for site in [&open, &guarded] {
        let engine = &site.engine;
        assert!(engine.store().halts().await.expect("halts").is_empty());
        assert!(engine.closings().await.expect("closings").is_empty());
        assert_eq!(engine.recorded_policies().await.expect("policies").len(), 1);
        assert_eq!(entries(site).await, 0);
    }
}

#[tokio::test]
async fn a_page_that_shows_something_takes_no_form() {
    let site = guarded_site().await;
    let client = http_client();
    let settings = Settings::load(None, std::iter::empty()).expect("settings");
    let pages = console::pages(&settings);
    let shown = pages
        .table()
        .iter()
        .filter(|(_, needs)| needs.scope != Scope::Operate);
    let mut count = 0;
    for (path, _) in shown {
        let sent = client
            .post(site.url(&filled(path)))
            .bearer_auth(ANN)
            .header("content-type", "application/x-www-form-urlencoded")
            .body("reason=because");
        let status = sent.send().await.expect("a response").status();
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        count += 1;
    }
    assert!(count > 10, "{count} pages");
}
