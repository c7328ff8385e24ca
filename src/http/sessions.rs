//! The sessions of browsers. The cookie is a random number that is stored nowhere: the store has its digest.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::principal::{How, Principal, SESSION_COOKIE};
use super::{Api, ApiError, hosts};
use crate::config::AccessToken;
use crate::domain::policy::later;
use crate::engine::Engine;
use crate::store::{BrowserSession, SessionDigest, hex};

/// The name of the cookie over TLS: a browser accepts it from no other host and only with `Secure`.
const SECURE_COOKIE: &str = "__Host-tenure-session";
/// The last use of a session is recorded to within this time.
const SEEN_WITHIN: TimeDelta = TimeDelta::minutes(1);

/// The secret of a session, which is the value of its cookie: 32 random bytes in hexadecimal.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new() -> Self {
        Self(hex(&rand::random::<[u8; 32]>()))
    }

    /// The secret in the cookie. None: there is none, or several.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let name = cookie_name(headers);
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
        let pairs = cookies.flat_map(|cookies| cookies.split(';')).map(str::trim);
        let mut values = pairs.filter_map(|pair| pair.split_once('=').filter(|(given, _)| *given == name));
        let (Some((_, value)), None) = (values.next(), values.next()) else {
            return None;
        };
        let is_secret = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_secret.then(|| Self(value.to_owned()))
    }

    fn derive(&self, purpose: &str, more: &[u8]) -> SessionDigest {
        let mut digest = Sha256::new();
        for part in [purpose.as_bytes(), self.0.as_bytes(), more] {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    pub(super) fn digest(&self) -> SessionDigest {
        self.derive("session", &[])
    }

    /// Salted with the secret: the store alone does not tell the token, not even a short one.
    pub(super) fn token_digest(&self, token: &AccessToken) -> SessionDigest {
        self.derive("token", token.secret.reveal().as_bytes())
    }

    fn csrf(&self) -> Arc<str> {
        hex(&self.derive("csrf", &[])).into()
    }

    /// The header that sets the cookie.
    pub(super) fn cookie(&self, headers: &HeaderMap, seconds: i64) -> Option<HeaderValue> {
        cookie(headers, &self.0, seconds)
    }
}

/// The header that removes the cookie.
pub(super) fn no_cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    cookie(headers, "", 0)
}

fn cookie(headers: &HeaderMap, value: &str, seconds: i64) -> Option<HeaderValue> {
    let name = cookie_name(headers);
    let secure = if name == SECURE_COOKIE { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::from_str(&cookie).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// A browser on this machine may use HTTP.
fn cookie_name(headers: &HeaderMap) -> &'static str {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(hosts::is_loopback) {
        SESSION_COOKIE
    } else {
        SECURE_COOKIE
    }
}

/// A secret that lasts as long as the process, for pages without sessions.
pub(super) fn process_secret() -> Arc<str> {
    hex(&rand::random::<[u8; 32]>()).into()
}

/// Who has the session of a request. None: there is no session, or it has ended.
pub(super) async fn principal(api: &Arc<Api>, headers: &HeaderMap) -> Result<Option<Principal>, ApiError> {
    let Some(secret) = Secret::of(headers) else {
        return Ok(None);
    };
    let digest = secret.digest();
    let find = |engine: Arc<Engine>| async move { engine.store().browser_session(&digest).await };
    let Some(session) = api.run_detached(find).await? else {
        return Ok(None);
    };
    let now = api.engine()?.now();
    let Some(token) = api.tokens.named(&session.token) else {
        return Ok(None);
    };
    let is_same: bool = session.token_digest.ct_eq(&secret.token_digest(token)).into();
    if !is_same || has_ended(&session, api.session_idle, now) {
        return Ok(None);
    }
    if now >= later(session.seen_at, SEEN_WITHIN) {
        let seen =
            |engine: Arc<Engine>| async move { engine.store().use_browser_session(&digest, now).await };
        api.run_detached(seen).await?;
    }
    let mut principal = Principal::of_token(token, How::Session(digest));
    principal.csrf = secret.csrf();
    Ok(Some(principal))
}

fn has_ended(session: &BrowserSession, idle: TimeDelta, now: DateTime<Utc>) -> bool {
    now >= session.expires_at || now >= later(session.seen_at, idle)
}

/// A new session with a token.
pub(super) fn session(
    secret: &Secret,
    token: &AccessToken,
    lasts: TimeDelta,
    now: DateTime<Utc>,
) -> BrowserSession {
    BrowserSession {
        digest: secret.digest(),
        token: token.name.to_string(),
        token_digest: secret.token_digest(token),
        created_at: now,
        seen_at: now,
        expires_at: later(now, lasts),
    }
}

/// The address of the other end of a connection, as an extension of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub IpAddr);

impl Peer {
    /// That of a request.
    pub(super) fn of(extensions: &Extensions) -> IpAddr {
        let peer = extensions.get::<Self>();
        peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Self(address)| *address)
    }
}
