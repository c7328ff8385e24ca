//! Signing in to the console with a token, and signing out. The pages need no JavaScript.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::principal::{How, Principal};
use super::sessions::{self, Peer, Secret};
use super::{Api, ApiError, body, cross_site};
use crate::config::{AccessToken, Scope};
use crate::engine::{Authority, Engine};
use crate::store::{AuditHow, EndedSessions};

/// Where a browser signs in.
pub const SIGN_IN: &str = "/sign-in";
/// Where a browser signs out.
pub const SIGN_OUT: &str = "/sign-out";
/// Where all browsers with the same token are signed out.
pub const SIGN_OUT_EVERYWHERE: &str = "/sign-out-everywhere";

/// The longest form, in bytes.
const LONGEST_FORM: usize = 16 << 10;
/// The longest path to return to, in bytes.
const LONGEST_NEXT: usize = 4 << 10;

/// What a browser may load and send, on every page.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Routes for browsers without a session.
pub(super) fn open() -> Router<Arc<Api>> {
    let sign_in: MethodRouter<Arc<Api>> = get(show).post(sign_in);
    Router::new().route(SIGN_IN, sign_in)
}

/// Routes for browsers with a session, whatever its scopes.
pub(super) fn signed_in() -> Router<Arc<Api>> {
    Router::new()
        .route(SIGN_OUT, post(sign_out))
        .route(SIGN_OUT_EVERYWHERE, post(sign_out_everywhere))
}

/// Protects a page against being framed, cached or taken for something else.
pub(super) async fn protect(request: Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The response to a browser without a session.
///
/// # Errors
/// The request is not for a page.
pub(super) fn instead_of(request: &Request) -> Result<Response, ApiError> {
    let headers = request.headers();
    if *request.method() != Method::GET || headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::Unauthorized);
    }
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    // A browser that follows a link of another site leaves out the cookie, because of `SameSite=Strict`. It sends it with the next
    // request, which this page makes.
    if headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site")
    {
        return Ok(Html(again(&safe_next(target))).into_response());
    }
    Ok(see_other(&format!(
        "{SIGN_IN}?next={}",
        percent_encoded(&safe_next(target))
    )))
}

async fn show(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    cross_site::check_host(&api, &headers)?;
    let next = field(&query, "next").map_or_else(|| "/".to_owned(), safe_next);
    if api.tokens.is_empty() {
        return Ok(see_other(&next));
    }
    Ok(Html(page(&next, None)).into_response())
}

async fn sign_in(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    cross_site::check_host(&api, &headers)?;
    cross_site::check_origin(&headers)?;
    let mut share = api.memory.share();
    let form = Bytes::from(body::receive(body, LONGEST_FORM, &mut share).await?);
    let fields = cross_site::fields(form).await?;
    let next = field(&fields, "next").map_or_else(|| "/".to_owned(), safe_next);
    if api.tokens.is_empty() {
        return Ok(see_other(&next));
    }
    let peer = Peer::of(&extensions);
    let wait = api.throttle.wait(peer, Instant::now());
    if !wait.is_zero() {
        return Ok(too_many(&next, wait));
    }
    let given = field(&fields, "token").unwrap_or_default().trim();
    let found = api.tokens.find(given.as_bytes());
    if let Some(token) = found.filter(|token| token.scopes.contains(Scope::Read)) {
        api.throttle.succeed(peer);
        return accept(&api, &headers, token, &next).await;
    }
    reject(&api, peer, found).await?;
    let why = match found {
        Some(_) => "This token cannot read, so it cannot sign in. Use one with the scope read.",
        None => "This is not a token of this worker. Check it, and try again.",
    };
    Ok((StatusCode::UNAUTHORIZED, Html(page(&next, Some(why)))).into_response())
}

/// Adds a session.
async fn accept(
    api: &Api,
    headers: &HeaderMap,
    token: &AccessToken,
    next: &str,
) -> Result<Response, ApiError> {
    let secret = Secret::new();
    let session = sessions::session(&secret, token, api.session, api.engine()?.now());
    let authority = authority(&token.name);
    api.run_detached(move |engine| async move {
        let entry = engine.operator(&authority).entry("sign_in", None, Value::Null);
        engine.store().add_browser_session(&session, &entry).await
    })
    .await?;
    let cookie = secret.cookie(headers, api.session.num_seconds());
    Ok(with_cookie(see_other(next), cookie))
}

/// Records a failed sign-in, unless there are too many.
async fn reject(api: &Api, peer: IpAddr, found: Option<&AccessToken>) -> Result<(), ApiError> {
    if !api.throttle.fail(peer, Instant::now()) {
        return Ok(());
    }
    tracing::warn!(http.peer = %peer, "a sign-in failed");
    let who = found.map_or_else(String::new, |token| token.name.to_string());
    let authority = authority(&who);
    api.run_detached(move |engine| async move {
        let operator = engine.operator(&authority);
        operator
            .record("sign_in.fail", None, json!({ "peer": peer.to_string() }))
            .await
    })
    .await
}

async fn sign_out(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let How::Session(digest) = principal.how {
        end(&api, &principal, "sign_out", EndedSessions::One(digest)).await?;
    }
    Ok(with_cookie(see_other(SIGN_IN), sessions::no_cookie(&headers)))
}

async fn sign_out_everywhere(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if principal.how != How::Open {
        let which = EndedSessions::OfToken(principal.name.to_string());
        end(&api, &principal, "sign_out.everywhere", which).await?;
    }
    Ok(with_cookie(see_other(SIGN_IN), sessions::no_cookie(&headers)))
}

async fn end(
    api: &Api,
    principal: &Principal,
    action: &'static str,
    which: EndedSessions,
) -> Result<u64, ApiError> {
    let authority = principal.authority(None);
    let end = move |engine: Arc<Engine>| async move {
        let entry = engine.operator(&authority).entry(action, None, Value::Null);
        engine.store().end_browser_sessions(&which, &entry).await
    };
    api.run_detached(end).await
}

fn authority(who: &str) -> Authority {
    Authority {
        who: who.to_owned(),
        how: AuditHow::Console,
        reason: None,
        request_id: None,
    }
}

fn field<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let mut fields = fields.iter().filter(|(given, _)| given == name);
    fields.next().map(|(_, value)| value.as_str())
}

/// A path on this host. Anything else, such as `//other.example`, becomes `/`.
fn safe_next(next: &str) -> String {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain && next.len() <= LONGEST_NEXT && !next.starts_with(SIGN_IN) {
        next.to_owned()
    } else {
        "/".to_owned()
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn see_other(location: &str) -> Response {
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn too_many(next: &str, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let why = format!("Too many sign-ins have failed. Try again in {seconds} seconds.");
    let retry = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, retry, Html(page(next, Some(&why)))).into_response()
}

/// The sign-in form. The console's style sheet applies, if there is one.
fn page(next: &str, why: Option<&str>) -> String {
    let why = why.map_or_else(String::new, |why| {
        format!("<p role=\"alert\">{}</p>", escaped(why))
    });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Sign in · Tenure</title>\n<link rel=\"stylesheet\" \
         href=\"/console.css\">\n</head>\n<body class=\"sign-in\">\n<main>\n<h1>Sign in to Tenure</h1>\n{why}\n<form method=\"post\" \
         action=\"{SIGN_IN}\">\n<input type=\"hidden\" name=\"next\" value=\"{}\">\n<p><label for=\"token\">Token</label> <input \
         id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus></p>\n<p><button \
         type=\"submit\">Sign in</button></p>\n</form>\n<p>Use a token of <code>http.tokens</code> with the scope \
         <code>read</code>.</p>\n</main>\n</body>\n</html>\n",
        escaped(next)
    )
}

/// A page that asks for another one at once.
fn again(next: &str) -> String {
    let next = escaped(next);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" content=\"0; \
         url={next}\">\n<title>Tenure</title>\n</head>\n<body>\n<p><a href=\"{next}\">Continue</a></p>\n</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_returns_only_to_paths_of_this_host() {
        for next in ["/", "/clients?name=a%20b&at=2026-03-01T00:00:00Z"] {
            assert_eq!(safe_next(next), next);
        }
        for next in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a b",
            "/\r\nset-cookie: a=b",
            "/sign-in?next=/",
        ] {
            assert_eq!(safe_next(next), "/", "{next:?}");
        }
    }

    #[test]
    fn text_in_a_page_is_escaped() {
        assert!(page("/?a=\"><script>", None).contains("value=\"/?a=&quot;&gt;&lt;script&gt;\""));
        assert_eq!(percent_encoded("/a?b=c&d"), "/a%3Fb%3Dc%26d");
    }
}
