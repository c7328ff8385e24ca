//! Browsers: signing in and out, sessions, and what other sites try.

use axum::routing::{get, post};
use reqwest::redirect::Policy as Redirects;
use reqwest::{Client, Response};
use tenure::config::Scope;
use tenure::http::{Pages, Principal, Reach};
use tenure::store::{AuditFilter, AuditRecord};

use super::*;

const TOKEN: &str = "token-of-the-operator";
const TOKENS: &str = r#"[
    { name = "ann", token = "token-of-the-operator", scopes = ["read", "operate"] },
    { name = "viewer", token = "token-of-the-viewer", scopes = ["read"] },
    { name = "app", token = "token-of-an-application", scopes = ["publish"] },
]"#;
const FORM: &str = "application/x-www-form-urlencoded";

/// A page that shows the CSRF token, and an action.
fn pages() -> Pages {
    async fn page(principal: Principal) -> String {
        format!("{} {}", principal.name, principal.csrf())
    }
    async fn act(principal: Principal, body: String) -> String {
        format!("{} did {body}", principal.name)
    }
    Pages::default()
        .add("/page", Scope::Read, Reach::All, get(page))
        .add("/act", Scope::Operate, Reach::All, post(act))
}

async fn start(env: &[(&str, &str)]) -> Server {
    let server = Server::with_pages(env, pages()).await;
    server.api.open(server.engine.clone());
    server
}

async fn with_tokens() -> Server {
    start(&[("TENURE_HTTP__TOKENS", TOKENS)]).await
}

/// A browser with at most one cookie.
struct Browser<'s> {
    server: &'s Server,
    client: Client,
    cookie: Option<String>,
}

impl<'s> Browser<'s> {
    fn of(server: &'s Server) -> Self {
        let client = Client::builder().redirect(Redirects::none());
        Self {
            server,
            client: client.build().unwrap(),
            cookie: None,
        }
    }

    async fn signed_in(server: &'s Server, token: &str) -> Self {
        let mut browser = Self::of(server);
        let response = browser.sign_in(token).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert!(browser.cookie.is_some());
        browser
    }

    /// The same browser with another worker.
    fn at<'o>(&self, server: &'o Server) -> Browser<'o> {
        Browser {
            server,
            client: self.client.clone(),
            cookie: self.cookie.clone(),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.server.address);
        let request = self.client.request(method, url);
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.server.address)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Sends a form as a page of the same host does.
    async fn post(&self, path: &str, form: &str) -> Response {
        let request = self.request(Method::POST, path).header("origin", self.origin());
        let request = request.header("content-type", FORM).body(form.to_owned());
        request.send().await.unwrap()
    }

    async fn sign_in(&mut self, token: &str) -> Response {
        let response = self
            .post("/sign-in", &format!("token={token}&next=%2Fpage%3Fa%3Db"))
            .await;
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookie = Some(cookie.to_owned());
        }
        response
    }

    async fn csrf(&self) -> String {
        let page = self.get("/page").await;
        assert_eq!(page.status(), StatusCode::OK);
        let text = page.text().await.unwrap();
        text.split_once(' ').unwrap().1.to_owned()
    }
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap_or_default();
    (
        status,
        body["error"]["code"].as_str().unwrap_or_default().to_owned(),
    )
}

async fn audit(server: &Server) -> Vec<AuditRecord> {
    let all = AuditFilter::default();
    let page = server.engine.audit_log(&all, i64::MAX, 1_000).await.unwrap();
    page.entries
}

#[tokio::test]
async fn a_browser_signs_in_with_a_token_and_out_again() {
    let server = with_tokens().await;
    let mut browser = Browser::of(&server);
    let response = browser.get("/page?a=b").await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), "/sign-in?next=/page%3Fa%3Db");
    let form = browser.get("/sign-in?next=/page%3Fa%3Db").await;
    assert_eq!(form.status(), StatusCode::OK);
    for (name, part) in [
        ("content-security-policy", "default-src 'self'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        assert!(header(&form, name).contains(part), "{name}");
    }
    let form = form.text().await.unwrap();
    assert!(
        form.contains("name=\"next\" value=\"/page?a=b\"") && !form.contains("<script"),
        "{form}"
    );

    let response = browser.sign_in(TOKEN).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), "/page?a=b");
    let cookie = header(&response, "set-cookie");
    assert!(cookie.starts_with("tenure-session="), "{cookie}");
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    let page = browser.get("/page").await;
    assert_eq!(header(&page, "cache-control"), "no-store");
    assert!(page.text().await.unwrap().starts_with("ann "));
    // The API knows the session too.
    assert_eq!(browser.get("/v1/clients").await.status(), StatusCode::OK);

    let csrf = browser.csrf().await;
    let response = browser.post("/sign-out", &format!("csrf={csrf}")).await;
    assert_eq!(header(&response, "location"), "/sign-in");
    assert!(header(&response, "set-cookie").contains("tenure-session=; Path=/; Max-Age=0"));
    // The cookie again, from a copy.
    assert_eq!(browser.get("/page").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        browser.get("/v1/clients").await.status(),
        StatusCode::UNAUTHORIZED
    );
    let response = browser.post("/act", &format!("csrf={csrf}")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let done: Vec<(String, String, &str)> = audit(&server)
        .await
        .into_iter()
        .map(|record| (record.entry.who, record.entry.action, record.entry.how.as_str()))
        .collect();
    let by_ann = |action: &str| ("ann".to_owned(), action.to_owned(), "console");
    assert_eq!(done, [by_ann("sign_out"), by_ann("sign_in")]);
}

#[tokio::test]
async fn other_sites_can_neither_act_nor_sign_in() {
    let server = with_tokens().await;
    let browser = Browser::signed_in(&server, TOKEN).await;
    let other = Browser::signed_in(&server, TOKEN).await;
    let csrf = browser.csrf().await;
    let foreign = other.csrf().await;
    assert_ne!(csrf, foreign);
    let good = format!("a=b&csrf={csrf}");
    let act = |headers: &[(&'static str, String)], body: &str| {
        let mut request = browser.request(Method::POST, "/act").header("content-type", FORM);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.body(body.to_owned()).send()
    };
    let own = ("origin", browser.origin());
    for (headers, body, expected) in [
        (vec![own.clone()], "a=b".to_owned(), (403, "wrong_csrf_token")),
        (
            vec![own.clone()],
            "a=b&csrf=".to_owned(),
            (403, "wrong_csrf_token"),
        ),
        (
            vec![own.clone()],
            format!("csrf={foreign}"),
            (403, "wrong_csrf_token"),
        ),
        (
            vec![own.clone(), ("x-csrf-token", foreign.clone())],
            good.clone(),
            (403, "wrong_csrf_token"),
        ),
        (
            vec![("origin", "https://evil.example".to_owned())],
            good.clone(),
            (403, "foreign_origin"),
        ),
        (
            vec![("origin", "null".to_owned())],
            good.clone(),
            (403, "foreign_origin"),
        ),
        (
            vec![("origin", "http://127.0.0.1:1".to_owned())],
            good.clone(),
            (403, "foreign_origin"),
        ),
        (
            vec![("sec-fetch-site", "cross-site".to_owned())],
            good.clone(),
            (403, "foreign_origin"),
        ),
        (
            vec![("sec-fetch-site", "same-site".to_owned())],
            good.clone(),
            (403, "foreign_origin"),
        ),
        (vec![], good.clone(), (400, "bad_header")),
        (
            vec![own.clone(), ("host", "evil.example".to_owned())],
            good.clone(),
            (421, "unknown_host"),
        ),
    ] {
        let (status, error) = code(act(&headers, &body).await.unwrap()).await;
        assert_eq!((status, error.as_str()), expected, "{headers:?} {body}");
    }
    for headers in [
        vec![own.clone()],
        vec![("sec-fetch-site", "same-origin".to_owned())],
        vec![own.clone(), ("x-csrf-token", csrf.clone())],
    ] {
        let response = act(&headers, &good).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{headers:?}");
        // The handler gets the form as it was sent.
        assert_eq!(response.text().await.unwrap(), format!("ann did {good}"));
    }
    // Nor through the API, with the content type that other sites may send.
    let close = browser.request(Method::POST, "/v1/statements/2026-02/close");
    let (status, error) = code(close.header("origin", browser.origin()).send().await.unwrap()).await;
    assert_eq!((status, error.as_str()), (403, "wrong_csrf_token"));

    let sign_in = browser
        .request(Method::POST, "/sign-in")
        .header("content-type", FORM);
    let sign_in = sign_in
        .header("origin", "https://evil.example")
        .body(format!("token={TOKEN}"));
    let (status, error) = code(sign_in.send().await.unwrap()).await;
    assert_eq!((status, error.as_str()), (403, "foreign_origin"));
}

#[tokio::test]
async fn the_host_is_checked_although_tokens_are_required() {
    let server = with_tokens().await;
    let browser = Browser::signed_in(&server, TOKEN).await;
    for path in ["/page", "/sign-in", "/v1/clients"] {
        let request = browser
            .request(Method::GET, path)
            .header("host", "rebound.example");
        let (status, error) = code(request.send().await.unwrap()).await;
        // The API accepts any host from programs with a token, and a cookie belongs to one host.
        let expected = if path == "/v1/clients" {
            (401, "unauthorized")
        } else {
            (421, "unknown_host")
        };
        assert_eq!((status, error.as_str()), expected, "{path}");
    }
    let server = start(&[
        ("TENURE_HTTP__TOKENS", TOKENS),
        ("TENURE_HTTP__HOSTS", "tenure.example"),
    ])
    .await;
    let browser = Browser::of(&server);
    let sign_in = browser
        .request(Method::POST, "/sign-in")
        .header("content-type", FORM);
    let sign_in = sign_in
        .header("host", "tenure.example")
        .header("origin", "https://tenure.example");
    let response = sign_in.body(format!("token={TOKEN}")).send().await.unwrap();
    let cookie = header(&response, "set-cookie").to_owned();
    assert!(
        cookie.starts_with("__Host-tenure-session=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    assert_eq!(header(&response, "location"), "/");
    let cookie = cookie.split(';').next().unwrap();
    let page = browser.request(Method::GET, "/page").header("cookie", cookie);
    let page = page.header("host", "tenure.example").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_too_old_or_its_token_has_changed() {
    let server = with_tokens().await;
    let browser = Browser::signed_in(&server, TOKEN).await;
    let is_signed_in = async || browser.get("/page").await.status() == StatusCode::OK;
    let mut now = noon();
    for _ in 0..13 {
        now += TimeDelta::minutes(55);
        server.clock.set(now);
        assert!(is_signed_in().await, "{now}: it was used");
    }
    server.clock.set(noon() + TimeDelta::hours(12));
    assert!(!is_signed_in().await, "too old");

    server.clock.set(noon());
    let browser = Browser::signed_in(&server, TOKEN).await;
    server.clock.set(noon() + TimeDelta::minutes(59));
    let another = server.another(&[("TENURE_HTTP__TOKENS", TOKENS)], pages()).await;
    assert_eq!(
        browser.at(&another).get("/page").await.status(),
        StatusCode::OK,
        "another worker"
    );
    for changed in [
        TOKENS.replace(TOKEN, "another-token-of-ann"),
        TOKENS.replace("\"ann\"", "\"bob\""),
    ] {
        let worker = server
            .another(&[("TENURE_HTTP__TOKENS", &changed)], pages())
            .await;
        assert_eq!(
            browser.at(&worker).get("/page").await.status(),
            StatusCode::SEE_OTHER
        );
    }
    server.clock.set(noon() + TimeDelta::hours(3));
    assert_eq!(browser.get("/page").await.status(), StatusCode::SEE_OTHER, "idle");
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_sessions_of_the_token() {
    let server = with_tokens().await;
    let first = Browser::signed_in(&server, TOKEN).await;
    let second = Browser::signed_in(&server, TOKEN).await;
    let viewer = Browser::signed_in(&server, "token-of-the-viewer").await;
    let csrf = first.csrf().await;
    let (status, error) = code(first.post("/sign-out-everywhere", "").await).await;
    assert_eq!((status, error.as_str()), (403, "wrong_csrf_token"));
    first.post("/sign-out-everywhere", &format!("csrf={csrf}")).await;
    for (browser, expected) in [
        (&first, StatusCode::SEE_OTHER),
        (&second, StatusCode::SEE_OTHER),
        (&viewer, StatusCode::OK),
    ] {
        assert_eq!(browser.get("/page").await.status(), expected);
    }
}

#[tokio::test]
async fn a_session_has_the_scopes_of_its_token() {
    let server = with_tokens().await;
    let viewer = Browser::signed_in(&server, "token-of-the-viewer").await;
    let csrf = viewer.csrf().await;
    let (status, error) = code(viewer.post("/act", &format!("csrf={csrf}")).await).await;
    assert_eq!((status, error.as_str()), (403, "missing_scope"));
    let response = Browser::of(&server).sign_in("token-of-an-application").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.text().await.unwrap().contains("scope read"));
}

#[tokio::test]
async fn failed_sign_ins_are_slowed_down_and_recorded() {
    let server = with_tokens().await;
    let mut browser = Browser::of(&server);
    for _ in 0..5 {
        let response = browser.sign_in("guess").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(!response.text().await.unwrap().contains("guess"));
    }
    // The right token has to wait too.
    let response = browser.sign_in(TOKEN).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = header(&response, "retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(browser.cookie, None);
    // Programs that read with a token are not affected.
    let request = browser.request(Method::GET, "/v1/clients").bearer_auth(TOKEN);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let failed = audit(&server).await;
    assert_eq!(failed.len(), 5);
    assert!(
        failed.iter().all(|record| record.entry.action == "sign_in.fail"),
        "{failed:?}"
    );
    assert_eq!(failed[0].entry.details["peer"], "127.0.0.1");
}

/// Acts until an action is refused, and returns how many went through.
async fn act_until_refused(browser: &Browser<'_>, csrf: &str) -> usize {
    for admitted in 0..1_000 {
        let response = browser.post("/act", &format!("csrf={csrf}")).await;
        if response.status() != StatusCode::OK {
            assert_eq!(header(&response, "retry-after"), "1");
            let (status, error) = code(response).await;
            assert_eq!((status, error.as_str()), (429, "too_many_actions"));
            return admitted;
        }
    }
    panic!("no action is refused")
}

#[tokio::test]
async fn actions_are_slowed_down_where_sign_ins_have_failed() {
    let server = with_tokens().await;
    let operator = Browser::signed_in(&server, TOKEN).await;
    let csrf = operator.csrf().await;
    let mut guesser = Browser::of(&server);
    for _ in 0..4 {
        guesser.sign_in("guess").await;
    }
    for _ in 0..30 {
        let response = operator.post("/act", &format!("csrf={csrf}")).await;
        assert_eq!(
            response.status(),
            StatusCode::OK,
            "four wrong tokens are a person's"
        );
    }
    guesser.sign_in("guess").await;
    let admitted = act_until_refused(&operator, &csrf).await;
    assert!((10..30).contains(&admitted), "{admitted}");
    // The same with a token: what an operator does over the API is an action too, and nothing else is.
    let mut refused = None;
    for _ in 0..1_000 {
        let request = operator
            .request(Method::DELETE, "/v1/workers/none")
            .bearer_auth(TOKEN);
        let response = request.send().await.unwrap();
        if response.status() != StatusCode::NOT_FOUND {
            refused = Some(code(response).await);
            break;
        }
    }
    assert_eq!(refused, Some((429, "too_many_actions".to_owned())));
    for _ in 0..30 {
        assert_eq!(operator.get("/page").await.status(), StatusCode::OK);
        let request = operator
            .request(Method::POST, "/v1/events")
            .bearer_auth("token-of-an-application");
        let published = request.json(&json!({})).send().await.unwrap();
        assert_eq!(published.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    // A second later one action goes through. A sign-in does not change that: its token may have been guessed.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(guesser.sign_in(TOKEN).await.status(), StatusCode::SEE_OTHER);
    let csrf = guesser.csrf().await;
    assert!(act_until_refused(&guesser, &csrf).await >= 1);
}

#[tokio::test]
async fn wrong_tokens_of_programs_slow_down_actions_and_no_sign_in() {
    let server = with_tokens().await;
    let mut operator = Browser::of(&server);
    for _ in 0..50 {
        let request = operator.request(Method::GET, "/v1/clients").bearer_auth("guess");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(operator.sign_in(TOKEN).await.status(), StatusCode::SEE_OTHER);
    let csrf = operator.csrf().await;
    assert!((10..30).contains(&act_until_refused(&operator, &csrf).await));
}

#[tokio::test]
async fn a_link_of_another_site_opens_the_page_of_a_signed_in_browser() {
    let server = with_tokens().await;
    let browser = Browser::signed_in(&server, TOKEN).await;
    // The browser leaves the cookie out of the first request.
    let followed = Browser::of(&server).request(Method::GET, "/page?a=b");
    let response = followed
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.text().await.unwrap();
    assert!(text.contains("content=\"0; url=/page?a=b\""), "{text}");
    let request = browser.request(Method::GET, "/page?a=b");
    let again = request
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_tokens_pages_are_open_to_this_machine_but_not_to_other_sites() {
    let server = start(&[]).await;
    let browser = Browser::of(&server);
    let csrf = browser.csrf().await;
    let (status, error) = code(browser.post("/act", "a=b").await).await;
    assert_eq!((status, error.as_str()), (403, "wrong_csrf_token"));
    let response = browser.post("/act", &format!("csrf={csrf}")).await;
    assert_eq!(response.text().await.unwrap(), format!("local did csrf={csrf}"));
    for (name, value, expected) in [
        ("host", "evil.example", (421, "unknown_host")),
        ("origin", "https://evil.example", (403, "foreign_origin")),
    ] {
        let request = browser.request(Method::POST, "/act").header("content-type", FORM);
        let request = request.header(name, value).body(format!("csrf={csrf}"));
        let (status, error) = code(request.send().await.unwrap()).await;
        assert_eq!((status, error.as_str()), expected, "{name}");
    }
    assert_eq!(browser.get("/sign-in").await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_store_has_neither_cookies_nor_tokens() {
    let server = with_tokens().await;
    let browser = Browser::signed_in(&server, TOKEN).await;
    let cookie = browser.cookie.unwrap();
    let (_, secret) = cookie.split_once('=').unwrap();
    assert_eq!(secret.len(), 64);
    server.engine.store().close().await;
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(server.folder()).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("sign_in"),
        "the file has the entry of the audit log"
    );
    assert!(!text.contains(secret) && !text.contains(TOKEN));
}
